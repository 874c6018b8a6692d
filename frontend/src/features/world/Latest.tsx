/** The newest value of every metric, zone and origin, each with where it comes from. */
import { Link } from "@tanstack/react-router";
import { value } from "@/lib/format";
import { t } from "@/lib/i18n";
import type { Fact } from "@/node/client";
import { useWorld } from "@/node/reads";
import { Cell, cx, Empty, Id, Loaded, Panel, Row, Search, Since, Table, Txt, Worth } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { VirtualRows } from "@/ui/virtual";

const STALE_MS = 60_000;

export function Latest() {
  const q = useWorld();
  const [place, go] = usePlace();
  const words = (place.q ?? "").toLowerCase();
  const sort = place.sort ?? "metric";
  const key = (f: Fact): string =>
    sort === "origin"
      ? (f.originName ?? f.origin)
      : sort === "zone"
        ? (f.zone ?? "~")
        : sort === "tier"
          ? f.effectiveTier
          : f.metric;
  const head = (id: string, name: string) => (
    <button type="button" aria-pressed={sort === id} className="font-medium" onClick={() => go({ sort: id })}>
      {name}
      <span aria-hidden="true">{sort === id ? " ▾" : ""}</span>
    </button>
  );
  const all = q.data ?? [];
  const found = all
    .filter((f) => `${f.metric} ${f.zone} ${f.originName} ${f.origin}`.toLowerCase().includes(words))
    .sort((a, b) =>
      sort === "age"
        ? b.sensedAt - a.sensedAt
        : key(a).localeCompare(key(b)) || a.metric.localeCompare(b.metric),
    );
  return (
    <Panel
      flush
      title={t("latest")}
      className="md:min-h-0 md:flex-1"
      aside={
        <>
          {all.length ? <span>{t("shownOf", { n: found.length, all: all.length })}</span> : null}
          <Search value={place.q ?? ""} onChange={(x) => go({ q: x })} className="w-40" />
        </>
      }
    >
      <Loaded q={q}>
        {() =>
          found.length ? (
            <Table
              label={t("latest")}
              className="max-sm:[&_tr>:nth-child(2)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden max-sm:[&_tr>:nth-child(7)]:hidden"
              head={[
                head("metric", t("metric")),
                head("zone", t("zone")),
                t("value"),
                head("age", t("age")),
                head("origin", t("origin")),
                head("tier", t("tier")),
                t("frame"),
              ]}
            >
              <VirtualRows items={found} columns={7}>
                {(f) => (
                  <Row key={f.metric + f.zone + f.origin}>
                    <Cell className="max-w-40 truncate font-medium sm:max-w-64">
                      <Link to="/telemetry" search={{ m: f.metric } as never} className="hover:underline">
                        <Txt>{f.metric}</Txt>
                      </Link>
                      {f.zone ? (
                        <span className="font-normal text-t2 sm:hidden">
                          {" "}
                          <Txt>{f.zone}</Txt>
                        </span>
                      ) : null}
                    </Cell>
                    <Cell className="max-w-40 truncate">
                      <Txt>{f.zone}</Txt>
                    </Cell>
                    <Cell className={cx("max-w-64 truncate font-medium", f.ageMs > STALE_MS && "opacity-75")}>
                      <Txt max={80}>{value(f.value, f.unit)}</Txt>
                    </Cell>
                    <Cell>
                      <Since time={f.sensedAt} stale={STALE_MS} />
                    </Cell>
                    <Cell className="max-w-48 truncate">
                      <Link to="/topology" search={{ node: f.origin } as never} className="hover:underline">
                        <Id id={f.origin} label={f.originName} />
                      </Link>
                    </Cell>
                    <Cell>
                      <Worth
                        claimed={f.claimedTier}
                        effective={f.effectiveTier}
                        signature={f.signature}
                        tainted={f.tainted}
                      />
                    </Cell>
                    <Cell>
                      <Link
                        to="/world"
                        search={{ tab: "frames", frame: f.frameId } as never}
                        title={f.frameId}
                        className="font-mono text-[12px] text-accent hover:underline"
                      >
                        {f.frameId.slice(-8)}
                      </Link>
                    </Cell>
                  </Row>
                )}
              </VirtualRows>
            </Table>
          ) : (
            <Empty>{words ? t("noHit") : t("noFacts")}</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}
