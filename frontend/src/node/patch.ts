/** Pure merging of what the stream says into what was read. */
import type { NodeEvent, Proposal } from "./client";

export const EVENTS_KEPT = 500;

/** By id; an older revision never replaces a newer one. */
export function patchProposal(list: Proposal[], next: Proposal): Proposal[] {
  const at = list.findIndex((p) => p.id === next.id);
  const known = list[at];
  if (!known) return [next, ...list];
  if (known.revision > next.revision) return list;
  return list.with(at, next);
}

/** By number, oldest first, bounded. */
export function mergeEvents(list: NodeEvent[], news: NodeEvent[]): NodeEvent[] {
  const last = list.at(-1)?.seq ?? -1;
  const fresh = news.filter((e) => e.seq > last);
  return fresh.length ? [...list, ...fresh].slice(-EVENTS_KEPT) : list;
}

export const isWaiting = (p: Proposal): boolean => p.status === "awaiting_approval";
const OVER = new Set(["completed", "failed", "unknown", "rejected", "expired", "superseded", "withdrawn"]);
export const isOver = (p: Proposal): boolean => OVER.has(p.status);

/** Riskiest first, then the one that ends soonest. */
export const byUrgency = (a: Proposal, b: Proposal): number =>
  b.level.localeCompare(a.level) || a.expiresAt - b.expiresAt;
