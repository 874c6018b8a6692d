import { Link } from "@tanstack/react-router";
import { action, value } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import type { Frame } from "@/node/client";
import { useFrames, useProposals, useTrace, useWorld } from "@/node/reads";
import {
  Age,
  Button,
  Cell,
  CopyButton,
  cx,
  Empty,
  Id,
  Json,
  Loaded,
  Pairs,
  Panel,
  Row,
  Select,
  Since,
  StatusMark,
  Table,
  Tabs,
  Txt,
  Words,
  Worth,
} from "@/ui/kit";
import { usePlace } from "@/ui/place";

export function View() {
  const [place, go] = usePlace();
  const tab = place.tab ?? "latest";
  return (
    <div className="flex flex-1 flex-col gap-3 md:min-h-0">
      <div>
        <span className="inline-block">
          <Tabs
            label={t("world")}
            on={tab}
            onPick={(id) => go({ tab: id, frame: undefined, before: undefined })}
            tabs={[
              ["latest", t("latest")],
              ["frames", t("frameLog")],
              ["trace", t("traces")],
            ]}
          />
        </span>
      </div>
      {tab === "frames" ? <Frames /> : tab === "trace" ? <Traces /> : <Latest />}
    </div>
  );
}

function Latest() {
  const q = useWorld();
  const [place, go] = usePlace();
  const words = (place.q ?? "").toLowerCase();
  return (
    <Panel
      flush
      title={t("latest")}
      className="md:min-h-0 md:flex-1"
      aside={
        <input
          aria-label={t("filter")}
          placeholder={t("filter")}
          value={place.q ?? ""}
          onChange={(e) => go({ q: e.target.value })}
          className="h-7 w-40 rounded-md border border-line bg-s0 px-2"
        />
      }
    >
      <Loaded q={q}>
        {(facts) =>
          facts.length ? (
            <Table
              label={t("latest")}
              head={[t("metric"), t("zone"), t("value"), t("age"), t("origin"), t("tier")]}
            >
              {facts
                .filter((f) =>
                  `${f.metric} ${f.zone} ${f.originName} ${f.origin}`.toLowerCase().includes(words),
                )
                .map((f) => (
                  <Row key={f.metric + f.zone + f.origin}>
                    <Cell className="font-medium">
                      <Link to="/telemetry" search={{ m: f.metric } as never} className="hover:underline">
                        <Txt>{f.metric}</Txt>
                      </Link>
                    </Cell>
                    <Cell>
                      <Txt>{f.zone}</Txt>
                    </Cell>
                    <Cell className={cx("font-medium", f.ageMs > 60_000 && "opacity-70")}>
                      <Words text={value(f.value, f.unit)} max={80} />
                    </Cell>
                    <Cell>
                      <Since time={f.sensedAt} />
                    </Cell>
                    <Cell>
                      <Id id={f.origin} label={f.originName} />
                    </Cell>
                    <Cell>
                      <Link to="/world" search={{ tab: "frames", frame: f.frameId } as never}>
                        <Worth
                          claimed={f.claimedTier}
                          effective={f.effectiveTier}
                          signature={f.signature}
                          tainted={f.tainted}
                        />
                      </Link>
                    </Cell>
                  </Row>
                ))}
            </Table>
          ) : (
            <Empty>{t("noFacts")}</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}

const KINDS = ["observation", "event", "human_input", "inference", "capability_update", "agent_response"];

function Frames() {
  const [place, go] = usePlace();
  const origins = new Map((useWorld().data ?? []).map((f) => [f.origin, f.originName]));
  const q = useFrames({ kind: place.kind, origin: place.origin, before: place.before, limit: 100 });
  const chosen = q.data?.find((f) => f.frameId === place.frame);
  const last = q.data?.at(-1);
  return (
    <div className="grid gap-3 md:min-h-0 md:flex-1 lg:grid-cols-[1fr_minmax(320px,420px)]">
      <Panel
        flush
        title={t("frameLog")}
        aside={
          <>
            <Select
              label={t("kind")}
              value={place.kind ?? ""}
              onChange={(e) => go({ kind: e.target.value, before: undefined })}
            >
              <option value="">{t("anyKind")}</option>
              {KINDS.map((k) => (
                <option key={k}>{k}</option>
              ))}
            </Select>
            <Select
              label={t("origin")}
              value={place.origin ?? ""}
              className="max-sm:hidden"
              onChange={(e) => go({ origin: e.target.value, before: undefined })}
            >
              <option value="">{t("anyOrigin")}</option>
              {[...origins].map(([id, name]) => (
                <option key={id} value={id}>
                  {name ?? id.slice(0, 8)}
                </option>
              ))}
            </Select>
          </>
        }
      >
        <Loaded q={q}>
          {(frames) =>
            frames.length ? (
              <>
                <Table
                  label={t("frameLog")}
                  head={[t("seq"), t("age"), t("kind"), t("origin"), t("content"), t("tier")]}
                >
                  {frames.map((f) => (
                    <Row key={f.seq} on={f.frameId === place.frame}>
                      <Cell className="text-t2">{f.seq}</Cell>
                      <Cell>
                        <Since time={f.time} stale={Number.POSITIVE_INFINITY} />
                      </Cell>
                      <Cell>{f.kind}</Cell>
                      <Cell>
                        <Id id={f.origin} label={origins.get(f.origin)} />
                      </Cell>
                      <Cell>
                        <button
                          type="button"
                          className="max-w-80 truncate text-left text-accent hover:underline"
                          onClick={() => go({ frame: f.frameId }, true)}
                        >
                          <Txt>{gist(f)}</Txt>
                        </button>
                      </Cell>
                      <Cell>
                        <Worth
                          claimed={f.claimedTier}
                          effective={f.effectiveTier}
                          signature={f.signature}
                          tainted={f.tainted}
                        />
                      </Cell>
                    </Row>
                  ))}
                </Table>
                <div className="flex gap-2 p-2">
                  {place.before ? (
                    <Button onClick={() => go({ before: undefined })}>{t("newest")}</Button>
                  ) : null}
                  <Button
                    disabled={frames.length < 100}
                    onClick={() => go({ before: String(last?.seq) }, true)}
                  >
                    {t("older")}
                  </Button>
                </div>
              </>
            ) : (
              <Empty>{t("noFrames")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <Panel
        title={t("frame")}
        aside={
          chosen ? (
            <CopyButton
              label={t("copyLink")}
              text={`${location.origin}/world?tab=frames&frame=${chosen.frameId}`}
            />
          ) : null
        }
      >
        {chosen ? (
          <div className="flex flex-col gap-3">
            <Pairs
              rows={[
                [
                  t("frame"),
                  <code key="f" className="font-mono text-[12px]">
                    {chosen.frameId}
                  </code>,
                ],
                [t("kind"), chosen.kind],
                [t("origin"), <Id key="o" id={chosen.origin} label={origins.get(chosen.origin)} />],
                [t("time"), <Age key="t" time={chosen.time} />],
                [t("received"), <Age key="r" time={chosen.receivedAt} />],
                [
                  t("tier"),
                  <Worth
                    key="w"
                    claimed={chosen.claimedTier}
                    effective={chosen.effectiveTier}
                    signature={chosen.signature}
                    tainted={chosen.tainted}
                  />,
                ],
                [
                  t("hash"),
                  <code key="h" className="font-mono text-[12px]">
                    {chosen.content}
                  </code>,
                ],
              ]}
            />
            {chosen.ahead ? <p className="text-warn">◐ {t("ahead")}</p> : null}
            <Json data={chosen.frame} />
          </div>
        ) : (
          <p className="text-t2">{place.frame ? t("frameGone") : t("noCited")}</p>
        )}
      </Panel>
    </div>
  );
}

/** One line of what a frame says. */
function gist(f: Frame): string {
  const frame = f.frame as { data?: Record<string, unknown> } | null;
  const d = frame?.data ?? {};
  if (typeof d.metric === "string")
    return [d.metric, d.zone, "=", value(d.value, typeof d.unit === "string" ? d.unit : null)]
      .filter(Boolean)
      .join(" ")
      .slice(0, 120);
  return JSON.stringify(frame?.data ?? f.frame).slice(0, 120);
}

function Traces() {
  const [place, go] = usePlace();
  const proposals = useProposals();
  const id = place.id ?? proposals.data?.[0]?.id;
  return (
    <Panel
      title={t("traces")}
      className="md:min-h-0 md:flex-1"
      aside={
        <Select
          label={t("traces")}
          className="max-w-72"
          value={id ?? ""}
          onChange={(e) => go({ id: e.target.value }, true)}
        >
          {(proposals.data ?? []).slice(0, 200).map((p) => (
            <option key={p.id} value={p.id}>
              {`${action(p.operation, p.target, p.runMs)} · ${statusWord(p.status)} · ${p.id.slice(0, 8)}`}
            </option>
          ))}
        </Select>
      }
    >
      {id ? <TraceOf id={id} /> : <Empty>{t("emptyInbox")}</Empty>}
    </Panel>
  );
}

const STAGES: Record<string, string> = {
  reading: "border-info",
  minted: "border-accent",
  decision: "border-human",
  executing: "border-warn",
  ended: "border-warn",
  outcome: "border-ok",
};

function TraceOf({ id }: { id: string }) {
  const q = useTrace(id);
  return (
    <Loaded q={q}>
      {({ proposal, steps }) => (
        <div className="flex flex-col gap-4">
          <div className="flex flex-wrap gap-3">
            <strong>
              <Txt>{action(proposal.operation, proposal.target, proposal.runMs)}</Txt>
            </strong>
            <StatusMark status={proposal.status} word={statusWord(proposal.status)} />
            <Link to="/approvals" search={{ id } as never} className="text-accent hover:underline">
              {t("open")}
            </Link>
          </div>
          <ol className="relative flex flex-col gap-2 pl-6 before:absolute before:top-2 before:bottom-2 before:left-2 before:border-line before:border-l-2">
            {steps.map((s) => (
              <li
                key={`${s.time}${s.stage}${s.message}`}
                className={cx(
                  "relative rounded-md border-l-4 bg-s2 px-3 py-2",
                  STAGES[s.stage] ?? "border-line",
                )}
              >
                <span aria-hidden="true" className="absolute top-2 -left-[25px] text-accent">
                  ●
                </span>
                <div className="flex flex-wrap gap-x-3 text-t2">
                  <span className="font-semibold text-t1">{s.stage}</span>
                  <Txt className="wrap-anywhere">
                    {/^[0-9a-f]{64}$/.test(s.actor) ? s.actor.slice(0, 8) : s.actor.slice(0, 120)}
                  </Txt>
                  <span className="ml-auto">
                    <Age time={s.time} />
                  </span>
                </div>
                <Words text={s.message} />
                <details>
                  <summary className="text-t2">{t("details")}</summary>
                  <Json data={s.data} />
                </details>
              </li>
            ))}
          </ol>
        </div>
      )}
    </Loaded>
  );
}
