/** Which proposals are listed and in which order; pure. */
import { action } from "@/lib/format";
import { codeWord } from "@/lib/i18n";
import type { Checks, Operator, Proposal } from "@/node/client";
import { byUrgency, isOver, isWaiting } from "@/node/patch";

export interface Lists {
  waiting: Proposal[];
  decided: Proposal[];
}

/** Waiting: riskiest, then soonest. Decided: those under way first, then the newest. */
export function sorted(all: Proposal[]): Lists {
  const waiting: Proposal[] = [];
  const decided: Proposal[] = [];
  for (const p of all) (isWaiting(p) ? waiting : decided).push(p);
  waiting.sort(byUrgency);
  decided.sort((a, b) => Number(isOver(a)) - Number(isOver(b)) || b.updatedAt - a.updatedAt);
  return { waiting, decided };
}

export function matching(list: Proposal[], words: string): Proposal[] {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!parts.length) return list;
  return list.filter((p) => {
    const text =
      `${p.id} ${p.level} ${p.status} ${p.target} ${action(p.operation, p.target, p.runMs)} ${p.reason.slice(0, 500)} ${p.requestedBy.name} ${p.rule}`.toLowerCase();
    return parts.every((w) => text.includes(w));
  });
}

/** The last time the same was done: what there is to learn from before deciding. */
export function lastTime(p: Proposal, all: Proposal[]): Proposal | undefined {
  let best: Proposal | undefined;
  for (const o of all)
    if (
      o.id !== p.id &&
      o.outcome &&
      o.target === p.target &&
      o.operation === p.operation &&
      (isWaiting(p) || o.updatedAt < p.updatedAt) &&
      (!best || o.updatedAt > best.updatedAt)
    )
      best = o;
  return best;
}

/** What fails first, then the interlocks. */
export const liveChecks = (e: Checks): Checks["checks"] =>
  [...e.checks].sort(
    (a, b) =>
      Number(a.passed) - Number(b.passed) ||
      Number(b.name.startsWith("interlock")) - Number(a.name.startsWith("interlock")),
  );

/** A check by its name; what stands behind a colon, and the name of a parameter, is the rule's own text. */
export function checkWord(name: string): string {
  const [, kind, sign, own] = /^(interlock|condition|param)(: | )([\s\S]+)$/.exec(name) ?? [];
  return kind ? `${codeWord("ck", kind)}${sign}${own}` : codeWord("ck", name);
}

export interface Agreed {
  person: string;
  name: string;
  /** Their keys that said yes. */
  keys: string[];
}

/**
 * Who has agreed: decisions by the person their key belongs to, because a quorum counts persons. A key that
 * is not known here stands for itself; the executor may know whose it is.
 */
export function agreed(decisions: readonly unknown[], operators: readonly Operator[]): Agreed[] {
  const known = new Map(operators.map((o) => [o.operatorId, o]));
  const found = new Map<string, Agreed>();
  for (const one of decisions) {
    const d = (one as { decision?: { operatorId?: unknown; verdict?: unknown } } | null)?.decision;
    if (typeof d?.operatorId !== "string" || d.verdict !== "approve") continue;
    const o = known.get(d.operatorId);
    // The executor counts again at every decision: a key that was revoked since counts no more.
    if (o?.revokedAt) continue;
    const person = o?.person ?? d.operatorId;
    const so = found.get(person) ?? { person, name: o?.name ?? d.operatorId.slice(0, 8), keys: [] };
    if (!so.keys.includes(d.operatorId)) so.keys.push(d.operatorId);
    found.set(person, so);
  }
  return [...found.values()];
}
