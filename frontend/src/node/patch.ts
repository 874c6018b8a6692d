/** Pure merging of what the stream says into what was read. */
import type { NodeEvent, Proposal } from "./client";

export const EVENTS_KEPT = 500;

/** By id; an older revision never replaces a newer one. However many come at once, the list is copied once. */
export function patchProposals(list: Proposal[], news: readonly Proposal[]): Proposal[] {
  const newest = new Map<string, Proposal>();
  for (const p of news) if (!((newest.get(p.id)?.revision ?? -1) > p.revision)) newest.set(p.id, p);
  let changed = false;
  const next = list.map((known) => {
    const p = newest.get(known.id);
    newest.delete(known.id);
    if (!p || known.revision > p.revision) return known;
    changed = true;
    return p;
  });
  if (!changed && !newest.size) return list;
  return newest.size ? [...[...newest.values()].reverse(), ...next] : next;
}

/** A list as it was read, but nothing in it older than what is known already. */
export function notOlder(list: Proposal[], known: readonly Proposal[]): Proposal[] {
  const by = new Map(known.map((p) => [p.id, p]));
  return list.map((p) => {
    const had = by.get(p.id);
    return had && had.revision > p.revision ? had : p;
  });
}

const underWay = new Set<Proposal[]>();
/** Collects what the stream says of proposals from now on, for a read that is under way. */
export function hearing(): { heard: readonly Proposal[]; end: () => void } {
  const heard: Proposal[] = [];
  underWay.add(heard);
  return { heard, end: () => underWay.delete(heard) };
}
/** Tells every read that is under way. */
export function tellReads(p: Proposal): void {
  for (const heard of underWay) heard.push(p);
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
  (a.level === b.level ? 0 : a.level < b.level ? 1 : -1) || a.expiresAt - b.expiresAt;
