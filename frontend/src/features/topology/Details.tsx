/** What is known of the selected node or link. */
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { health } from "@/lib/condition";
import { bytes, device, millis, span, value } from "@/lib/format";
import { codeWord, listed, statusWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Actuator, Fact, Status, Topology } from "@/node/client";
import { useActuators, usePeers, useSession, useSpark, useStanding, useWorld } from "@/node/reads";
import { Age, CopyButton, Hex, Pairs, Since, State, StatusMark, Txt, useNow, Worth } from "@/ui/kit";
import { NodeState, roleGlyph } from "@/ui/nodes";
import { Claimed, Withheld } from "@/ui/offers";
import { usePlace } from "@/ui/place";
import { Spark } from "@/ui/spark";
import { type Flow, isOpen, linkId, type Link as TopLink } from "./model";

const SPARKS_MAX = 12;

interface Known {
  top: Topology;
  flow: ReadonlyMap<string, Flow>;
  status?: Status;
}
const nameIn = (top: Topology) => (id: string) =>
  line(top.nodes.find((n) => n.deviceId === id)?.name ?? id.slice(0, 8), 48);

const Part = ({ name, children }: { name: string; children: ReactNode }) => (
  <section>
    <h3 className="mb-0.5 font-semibold text-[12px] text-t2">{name}</h3>
    {children}
  </section>
);

export function Details({ node, link, ...known }: Known & { node?: string; link?: string }) {
  const l = link ? known.top.links.find((x) => linkId(x) === link) : undefined;
  if (l) return <OfLink l={l} {...known} />;
  const n = node ? known.top.nodes.find((x) => x.deviceId.startsWith(node)) : undefined;
  return n ? <OfNode key={n.deviceId} n={n} {...known} /> : <p className="text-t2">{t("selectNode")}</p>;
}

function OfLink({ l, top, flow }: Known & { l: TopLink }) {
  const [, go] = usePlace();
  const name = nameIn(top);
  const perSec = flow.get(linkId(l))?.perSec;
  return (
    <Pairs
      rows={[
        [
          t("between"),
          <span key="b">
            {[l.a, l.b].map((id, i) => (
              <span key={id}>
                {i ? " – " : ""}
                <button
                  type="button"
                  className="text-accent hover:underline"
                  onClick={() => go({ node: id, link: undefined }, true)}
                >
                  <bdi>{name(id)}</bdi>
                </button>
              </span>
            ))}
          </span>,
        ],
        [
          t("posture"),
          <span key="p" className={isOpen(l.posture) ? "text-warn" : "text-ok"}>
            {isOpen(l.posture) ? "▲ " : "● "}
            <Txt>{l.posture ? codeWord("po", l.posture) : t("notKnown")}</Txt>
          </span>,
        ],
        [t("label"), <Txt key="l">{l.label ?? "–"}</Txt>],
        [t("latency"), l.rttMs == null ? "–" : millis(l.rttMs)],
        [t("skew"), l.skewMs == null ? "–" : millis(l.skewMs, 0)],
        [t("perSec"), perSec == null ? (l.own ? "–" : t("noOwnTraffic")) : `${bytes(perSec)}/s`],
        [t("traffic"), l.bytesIn == null ? "–" : bytes(l.bytesIn)],
        [
          t("reported"),
          <span key="r">
            <Age time={l.reportedAt} /> (<bdi>{name(l.reportedBy)}</bdi>)
          </span>,
        ],
        [t("state"), <State key="s" is={l.fresh ? "healthy" : "degraded"} />],
      ]}
    />
  );
}

function OfNode({ n, top, flow, status }: Known & { n: Topology["nodes"][number] }) {
  const [, go] = usePlace();
  const now = useNow();
  const facts = useWorld().data?.filter((f) => f.origin === n.deviceId) ?? [];
  const actuators = useActuators().data?.filter((a) => a.deviceId === n.deviceId) ?? [];
  const peer = usePeers().data?.find((p) => p.deviceId === n.deviceId);
  const links = top.links.filter((x) => x.a === n.deviceId || x.b === n.deviceId);
  const name = nameIn(top);
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-x-3">
        <strong className="min-w-0 text-[15px]">
          <span aria-hidden="true">{roleGlyph(n.role)}</span>{" "}
          <bdi className="wrap-anywhere">{name(n.deviceId)}</bdi>
        </strong>
        <NodeState n={n} status={status} />
        <span className="ml-auto">
          <CopyButton label={t("copyLink")} text={`${location.origin}/topology?node=${n.deviceId}`} />
        </span>
      </div>
      {n.own && health(n, status) === "degraded"
        ? status?.problems.map((p) => (
            <p key={p} className="text-warn">
              ◐ <Txt max={300}>{p}</Txt>
            </p>
          ))
        : null}
      <Pairs
        rows={[
          [t("role"), <Txt key="r">{n.role ? codeWord("ro", n.role) : t("notKnown")}</Txt>],
          [t("version"), <Txt key="v">{n.version ?? t("notKnown")}</Txt>],
          [t("startedAt"), n.startedAt ? <Age key="s" time={n.startedAt} /> : t("notKnown")],
          [
            t("reported"),
            n.own ? (
              t("self")
            ) : n.reportedAt ? (
              <span key="a" className="inline-flex flex-wrap gap-2">
                <Since time={n.reportedAt} stale={90_000} />
                {n.effectiveTier ? (
                  <Worth
                    claimed={n.effectiveTier}
                    effective={n.effectiveTier}
                    signature={n.signature ?? "unverifiable"}
                  />
                ) : null}
              </span>
            ) : (
              t("notKnown")
            ),
          ],
          [t("trusted"), n.own ? t("self") : n.trusted ? t("yes") : `▲ ${t("no")}`],
          ...(peer
            ? ([
                [
                  t("lastProblem"),
                  <span
                    key="p"
                    className={["connected", "on-demand"].includes(peer.state) ? undefined : "text-warn"}
                  >
                    <Txt>{`${codeWord("ps", peer.state)}: ${peer.reason}`}</Txt>, <Age time={peer.since} />
                    {peer.nextAttemptAt && peer.nextAttemptAt > now
                      ? `, ${t("nextTry", { span: span(peer.nextAttemptAt - now) })}`
                      : ""}
                  </span>,
                ],
              ] as [string, ReactNode][])
            : []),
          [t("deviceId"), <Hex key="d">{n.deviceId}</Hex>],
        ]}
      />
      {n.truncated ? <p className="text-warn">◐ {t("truncatedNode")}</p> : null}
      <Part name={t("actuators")}>
        {actuators.length ? (
          <ul className="flex flex-col gap-1.5">
            {actuators.map((a) => (
              <Acts key={a.target} a={a} />
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noActuatorsHere")}</p>
        )}
        <Withheld device={n.deviceId} className="mt-1.5" />
        {n.own ? (
          <Link
            to="/settings"
            search={{ tab: "devices" } as never}
            className="mt-1.5 inline-block text-accent underline"
          >
            {t("devicesOfNode")}
          </Link>
        ) : null}
      </Part>
      <Part name={t("sensors")}>
        {facts.length ? (
          <ul>
            {facts.map((f, i) => (
              <Sensor key={f.metric + f.zone} f={f} drawn={i < SPARKS_MAX} />
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noReports")}</p>
        )}
      </Part>
      <Part name={t("linksTitle")}>
        {links.length ? (
          <ul>
            {links.map((x) => {
              const perSec = flow.get(linkId(x))?.perSec;
              return (
                <li key={linkId(x)}>
                  <button
                    type="button"
                    className="flex min-h-7 w-full flex-wrap items-center gap-x-2 text-left hover:underline"
                    onClick={() => go({ link: linkId(x), node: undefined }, true)}
                  >
                    <bdi className="text-accent">{name(x.a === n.deviceId ? x.b : x.a)}</bdi>
                    <Txt className={isOpen(x.posture) ? "text-warn" : "text-t2"}>
                      {x.posture ? codeWord("po", x.posture) : t("notKnown")}
                    </Txt>
                    <span className="ml-auto text-t2">
                      {x.rttMs == null ? "–" : millis(x.rttMs)}
                      {perSec == null ? "" : ` · ${bytes(perSec)}/s`}
                    </span>
                  </button>
                </li>
              );
            })}
          </ul>
        ) : (
          <p className="text-t2">{t("noLinks")}</p>
        )}
      </Part>
      <Part name={t("capabilities")}>
        {n.capabilities.length ? (
          <ul>
            {n.capabilities.map((c) => (
              <li key={c} className="wrap-anywhere font-mono text-[12px]">
                <Txt max={160}>{c}</Txt>
              </li>
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noCapabilities")}</p>
        )}
      </Part>
    </div>
  );
}

function Sensor({ f, drawn }: { f: Fact; drawn: boolean }) {
  return (
    <li className="flex min-h-7 items-center gap-2">
      <Link
        to="/telemetry"
        search={{ m: f.metric } as never}
        title={f.metric}
        className="min-w-0 flex-1 leading-4 wrap-anywhere hover:underline"
      >
        <Txt max={60}>{f.metric}</Txt>
      </Link>
      {drawn && typeof f.value === "number" ? <Line f={f} /> : null}
      <Txt className="min-w-14 max-w-24 shrink-0 truncate text-right font-medium" max={24}>
        {value(f.value, f.unit)}
      </Txt>
      <Worth
        claimed={f.claimedTier}
        effective={f.effectiveTier}
        signature={f.signature}
        tainted={f.tainted}
        secret={f.private}
      />
    </li>
  );
}

function Line({ f }: { f: Fact }) {
  const s = useSpark(f.metric, f.origin, f.zone).data;
  return s ? <Spark {...s} /> : null;
}

/** What of it can be approved ahead of time; nothing where its executor's policy takes none. */
function Ahead({ a }: { a: Actuator }) {
  const may = useSession().data?.scope !== "read";
  const known = useStanding(30_000).data;
  const offers = known?.allowed.filter((o) => o.executor === a.deviceId && o.target === a.target) ?? [];
  if (!may || !offers.length) return null;
  return (
    <ul className="text-[12px]">
      {offers.map((o) => (
        <li key={o.operation}>
          <Link
            to="/approvals"
            search={
              { tab: "standing", give: "1", target: a.target, op: o.operation, at: a.deviceId } as never
            }
            className="text-accent underline"
          >
            {t("standingAheadOf", { op: codeWord("op", o.operation) })}
          </Link>
        </li>
      ))}
    </ul>
  );
}

function Acts({ a }: { a: Actuator }) {
  const last = a.last;
  return (
    <li className="rounded-md border border-line px-2 py-1">
      <div className="flex flex-wrap items-center gap-x-2">
        <Txt className="font-medium" title={a.target}>
          {device(a.target)}
        </Txt>
        <span className="ml-auto">
          {a.running ? (
            <Link to="/approvals" search={{ id: a.running } as never} className="text-info">
              ◐ {t("running")}
            </Link>
          ) : a.position ? (
            <Txt className="font-medium">{codeWord("pos", a.position)}</Txt>
          ) : a.reachable ? (
            <span className="text-t2">
              ◇ {t("onlyThere", { name: line(a.deviceName ?? a.deviceId.slice(0, 8), 32) })}
            </span>
          ) : (
            <span className="text-warn">○ {t("unreachable")}</span>
          )}
        </span>
      </div>
      {a.operations.length ? (
        <Txt className="text-[12px] text-t2">{listed(a.operations.map((o) => codeWord("op", o)))}</Txt>
      ) : null}
      <Ahead a={a} />
      <Claimed device={a.deviceId} target={a.target} className="my-1" />
      {a.problem ? (
        <p className="text-danger">
          ▲ <Txt max={300}>{a.problem}</Txt>
        </p>
      ) : null}
      {last ? (
        <Link
          to="/approvals"
          search={{ id: last.proposal } as never}
          className="flex flex-wrap items-center gap-x-2 text-[12px] text-t2 hover:underline"
        >
          {t("lastAction")}: <Txt>{codeWord("op", last.operation)}</Txt>{" "}
          <StatusMark status={last.status} word={statusWord(last.status)} /> <Age time={last.at} />
          {last.message ? <Txt max={200}>{last.message}</Txt> : null}
        </Link>
      ) : null}
    </li>
  );
}
