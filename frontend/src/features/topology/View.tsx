import { lazy, Suspense } from "react";
import { health } from "@/lib/condition";
import { bytes, span, value } from "@/lib/format";
import { t } from "@/lib/i18n";
import type { Topology } from "@/node/client";
import { useStatus, useTopology, useWorld } from "@/node/reads";
import {
  Age,
  Button,
  Cell,
  Empty,
  Id,
  Loaded,
  Pairs,
  Panel,
  Row,
  Since,
  Table,
  Tabs,
  Txt,
  Worth,
} from "@/ui/kit";
import { NodeState } from "@/ui/nodes";
import { usePlace } from "@/ui/place";

const Graph = lazy(() => import("./Graph").then((m) => ({ default: m.Graph })));

export function View() {
  const q = useTopology();
  const [place, go] = usePlace();
  const view = place.view ?? "graph";
  const words = (place.q ?? "").toLowerCase();
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 md:grid-cols-[1fr_minmax(260px,340px)]">
      <Panel
        flush
        title={t("topology")}
        className="max-md:h-96"
        aside={
          <>
            <input
              aria-label={t("filter")}
              placeholder={t("filter")}
              value={place.q ?? ""}
              onChange={(e) => go({ q: e.target.value })}
              className="h-7 w-28 rounded-md border border-line bg-s0 px-2"
            />
            <Tabs
              label={t("topology")}
              on={view}
              onPick={(id) => go({ view: id })}
              tabs={[
                ["graph", t("graph")],
                ["list", t("list")],
              ]}
            />
          </>
        }
      >
        <Loaded q={q}>
          {(top) => {
            const nodes = top.nodes.filter((n) =>
              `${n.name} ${n.role} ${n.deviceId} ${n.capabilities.join(" ")}`.toLowerCase().includes(words),
            );
            return view === "list" ? (
              <List top={{ ...top, nodes }} />
            ) : (
              <Suspense fallback={<Empty>{t("loading")}</Empty>}>
                <Graph
                  top={{ ...top, nodes }}
                  node={place.node}
                  link={place.link}
                  onNode={(id) => go({ node: id, link: undefined }, true)}
                  onLink={(id) => go({ link: id, node: undefined }, true)}
                />
              </Suspense>
            );
          }}
        </Loaded>
      </Panel>
      <Panel title={t("details")}>
        {q.data ? <Details top={q.data} node={place.node} link={place.link} /> : null}
      </Panel>
    </div>
  );
}

function List({ top }: { top: Topology }) {
  const status = useStatus().data;
  const [place, go] = usePlace();
  const sort = place.sort ?? "name";
  const key = (n: Topology["nodes"][number]): string =>
    sort === "state" ? health(n) : sort === "role" ? (n.role ?? "") : (n.name ?? n.deviceId);
  const head = (id: string, name: string) => (
    <button type="button" aria-pressed={sort === id} className="font-medium" onClick={() => go({ sort: id })}>
      {name}
      {sort === id ? " ▾" : ""}
    </button>
  );
  return (
    <Table
      label={t("nodesTitle")}
      head={[
        head("name", t("name")),
        head("state", t("state")),
        head("role", t("role")),
        t("reported"),
        t("links"),
        t("version"),
      ]}
    >
      {[...top.nodes]
        .sort((a, b) => key(a).localeCompare(key(b)))
        .map((n) => (
          <Row key={n.deviceId} on={place.node === n.deviceId}>
            <Cell>
              <button
                type="button"
                className="font-medium text-accent hover:underline"
                onClick={() => go({ node: n.deviceId, link: undefined }, true)}
              >
                <Id id={n.deviceId} label={n.name} />
              </button>
            </Cell>
            <Cell>
              <NodeState n={n} status={status} />
            </Cell>
            <Cell>{n.role ?? "–"}</Cell>
            <Cell>{n.reportedAt ? <Since time={n.reportedAt} /> : "–"}</Cell>
            <Cell>{top.links.filter((l) => l.a === n.deviceId || l.b === n.deviceId).length}</Cell>
            <Cell>{n.version ?? "–"}</Cell>
          </Row>
        ))}
    </Table>
  );
}

function Details({ top, node, link }: { top: Topology; node?: string; link?: string }) {
  const [, go] = usePlace();
  const status = useStatus().data;
  const facts = useWorld().data?.filter((f) => f.origin === node) ?? [];
  const name = (id: string) => top.nodes.find((n) => n.deviceId === id)?.name ?? id.slice(0, 8);
  const l = link ? top.links.find((x) => `${x.a}|${x.b}` === link) : undefined;
  if (l)
    return (
      <Pairs
        rows={[
          [
            t("between"),
            <bdi key="b">
              {name(l.a)} – {name(l.b)}
            </bdi>,
          ],
          [t("posture"), <Txt key="p">{l.posture ?? t("notKnown")}</Txt>],
          [t("label"), <Txt key="l">{l.label ?? "–"}</Txt>],
          [t("latency"), l.rttMs == null ? "–" : `${l.rttMs.toFixed(1)} ms`],
          [t("skew"), l.skewMs == null ? "–" : `${l.skewMs} ms`],
          [t("traffic"), l.bytesIn == null ? "–" : bytes(l.bytesIn)],
          [
            t("reported"),
            <span key="r">
              <Age time={l.reportedAt} /> ({name(l.reportedBy)})
            </span>,
          ],
          [t("state"), l.fresh ? `● ${t("healthy")}` : `◐ ${t("degraded")}`],
        ]}
      />
    );
  const n = node ? top.nodes.find((x) => x.deviceId.startsWith(node)) : undefined;
  if (!n) return <p className="text-t2">{t("selectNode")}</p>;
  const links = top.links.filter((x) => x.a === n.deviceId || x.b === n.deviceId);
  return (
    <div className="flex flex-col gap-3">
      <div className="flex items-center gap-3">
        <strong className="text-[15px]">
          <Txt>{n.name ?? n.deviceId.slice(0, 8)}</Txt>
        </strong>
        <NodeState n={n} status={status} />
      </div>
      <Pairs
        rows={[
          [t("role"), n.role ?? t("notKnown")],
          [t("version"), n.version ?? t("notKnown")],
          [t("startedAt"), n.startedAt ? <Age key="s" time={n.startedAt} /> : t("notKnown")],
          [t("reported"), n.own ? t("self") : n.ageMs == null ? t("notKnown") : `${span(n.ageMs)} ago`],
          [t("trusted"), n.trusted ? t("yes") : t("no")],
          [
            t("deviceId"),
            <code key="d" className="font-mono text-[12px]">
              {n.deviceId}
            </code>,
          ],
        ]}
      />
      {n.truncated ? <p className="text-warn">◐ {t("truncatedNode")}</p> : null}
      <div>
        <h3 className="font-semibold text-t2">{t("capabilities")}</h3>
        {n.capabilities.length ? (
          <ul>
            {n.capabilities.map((c) => (
              <li key={c} className="wrap-anywhere font-mono text-[12px]">
                {c}
              </li>
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noCapabilities")}</p>
        )}
      </div>
      <div>
        <h3 className="font-semibold text-t2">{t("links")}</h3>
        {links.map((x) => (
          <Button
            key={x.a + x.b}
            tone="quiet"
            className="h-7 px-1"
            onClick={() => go({ link: `${x.a}|${x.b}`, node: undefined }, true)}
          >
            {name(x.a === n.deviceId ? x.b : x.a)} · {x.posture} ·{" "}
            {x.rttMs == null ? "–" : `${x.rttMs.toFixed(1)} ms`}
          </Button>
        ))}
        {links.length ? null : <p className="text-t2">{t("noLinks")}</p>}
      </div>
      <div>
        <h3 className="font-semibold text-t2">{t("reports")}</h3>
        {facts.length ? (
          <ul>
            {facts.map((f) => (
              <li key={f.metric + f.zone} className="flex items-center gap-2 py-0.5">
                <Txt className="min-w-0 flex-1 truncate">{f.metric}</Txt>
                <span className="font-medium">
                  <Txt>{value(f.value, f.unit).slice(0, 40)}</Txt>
                </span>
                <Worth
                  claimed={f.claimedTier}
                  effective={f.effectiveTier}
                  signature={f.signature}
                  tainted={f.tainted}
                />
              </li>
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noReports")}</p>
        )}
      </div>
      <p className="text-t2">{t("actuatorsNote")}</p>
    </div>
  );
}
