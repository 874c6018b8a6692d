/** How a node and the whole mesh are doing, from what was read; pure, and the same everywhere. */
import type { components } from "@/contract/operator.gen";
import { listed, t } from "./i18n";

type S = components["schemas"];
export type Health = "healthy" | "degraded" | "needs" | "stopped" | "offline" | "unknown";
type Node = Pick<S["TopologyNode"], "connected" | "onDemand" | "fresh" | "estop" | "own">;
type Own = Pick<S["StatusView"], "problems" | "clockTrusted"> & { policy: { problem?: string | null } };

/** `own` is the status of the node that answers: only of itself does it know more than the graph shows. */
export function health(n: Node, own?: Own): Health {
  if (n.estop) return "stopped";
  if (n.own) return own && isTroubled(own) ? "degraded" : "healthy";
  if (!n.connected && !n.fresh) return "offline";
  return (n.connected || n.onDemand) && n.fresh ? "healthy" : "degraded";
}

const isTroubled = (s: Own): boolean => s.problems.length > 0 || !s.clockTrusted || Boolean(s.policy.problem);

export interface Trouble {
  is: Health;
  what:
    | "estopOwn"
    | "estopOther"
    | "alarm"
    | "problem"
    | "policy"
    | "clock"
    | "away"
    | "refused"
    | "drafts"
    | "browserClock";
  /** Names or the node's own words. */
  text: string;
  ms?: number;
  alarm?: S["AlarmView"];
}

/** A browser whose clock is off by more than this shows ages by the node's clock, and says so. */
export const CLOCK_OFF_MS = 5_000;

/** So many nodes are named in one sentence; the others are counted. */
const NAMED_MAX = 6;

export interface Seen {
  status?: S["StatusView"];
  topology?: S["TopologyView"];
  peers?: S["PeerView"][];
  estop?: S["EstopView"];
  /** How far the node's clock is ahead of this browser's. */
  clockMs?: number;
}

/** Everything wrong, the worst first. Empty means that nothing wrong is known. */
export function troubles({ status, topology, peers, estop, clockMs = 0 }: Seen): Trouble[] {
  const list: Trouble[] = [];
  if (estop?.latched) list.push({ is: "stopped", what: "estopOwn", text: "" });
  const names = (of: { name?: string | null; deviceId: string }[]) =>
    listed([
      ...of.slice(0, NAMED_MAX).map((n) => n.name || n.deviceId.slice(0, 8)),
      ...(of.length > NAMED_MAX ? [t("moreTroubles", { n: of.length - NAMED_MAX })] : []),
    ]);
  const stopped = topology?.nodes.filter((n) => n.estop && !n.own) ?? [];
  if (stopped.length) list.push({ is: "stopped", what: "estopOther", text: names(stopped) });
  const alarms = status?.alarms ?? [];
  for (const alarm of alarms)
    list.push({
      is: alarm.severity === "critical" ? "needs" : "degraded",
      what: "alarm",
      text: `${alarm.kind} ${alarm.subject}`,
      alarm,
    });
  const policy = status?.policy.problem;
  // Each standing alarm is among the node's sentences too; it is told once, as what it is.
  const asSentence = new Set(alarms.flatMap((a) => [a.message, `${a.message}: ${a.advice}`]));
  const problems = (status?.problems ?? []).filter((x) => !asSentence.has(x));
  // The node's own sentences usually contain these two; each is told once.
  if (policy && !problems.some((x) => x.includes(policy)))
    list.push({ is: "degraded", what: "policy", text: policy });
  // The latch has its own line, with who and why.
  const told = (text: string) => estop?.latched && /emergency stop is latched/i.test(text);
  for (const text of problems) if (!told(text)) list.push({ is: "degraded", what: "problem", text });
  if (
    status &&
    !status.clockTrusted &&
    !alarms.some((a) => a.kind === "clock.untrusted") &&
    !problems.some((x) => x.includes("clock"))
  )
    list.push({ is: "degraded", what: "clock", text: "" });
  const stateOf = new Map((peers ?? []).map((p) => [p.deviceId, p]));
  const away = topology?.nodes.filter((n) => {
    const state = stateOf.get(n.deviceId)?.state;
    return n.trusted && !n.own && health(n) === "offline" && state !== "left" && state !== "refused";
  });
  if (away?.length) list.push({ is: "degraded", what: "away", text: names(away) });
  for (const p of peers ?? [])
    if (p.state === "refused")
      list.push({
        is: "degraded",
        what: "refused",
        text: `${p.displayName || p.deviceId.slice(0, 8)}: ${p.reason}`,
      });
  if (status?.draftsWaiting)
    list.push({ is: "degraded", what: "drafts", text: String(status.draftsWaiting) });
  if (Math.abs(clockMs) > CLOCK_OFF_MS)
    list.push({ is: "degraded", what: "browserClock", text: "", ms: clockMs });
  return list;
}

/** One word for the whole: what the top bar shows. */
export function overall(link: "connecting" | "live" | "lost", seen: Seen): Health {
  if (link === "lost") return "offline";
  if (!seen.status || !seen.topology) return "unknown";
  const list = troubles(seen);
  if (list.some((x) => x.is === "stopped")) return "stopped";
  return list.some((x) => x.is === "needs") ? "needs" : list.length ? "degraded" : "healthy";
}
