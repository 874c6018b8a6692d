/** How a model is, as far as the node has seen; pure. */
import type { Health } from "@/lib/condition";
import { number } from "@/lib/i18n";
import type { Credential, Model, Offering } from "@/node/client";

const MICROS = 1_000_000;
/** An amount in the currency that the operator reckons in. */
export const money = (micros: number): string => number(micros / MICROS, micros < MICROS ? 6 : 2);

export type Condition =
  | "fit"
  | "unasked"
  | "failed"
  | "resting"
  | "budget"
  | "private"
  | "busy"
  | "away"
  | "key";
/** What is to be said of a model now: what keeps it from being asked, else how it did last. */
export function condition(m: Model): Condition {
  if (m.unfit) return m.unfit.kind;
  if ((m.seen.failedAt ?? 0) > (m.seen.answeredAt ?? 0)) return "failed";
  return m.seen.answeredAt ? "fit" : "unasked";
}
const HEALTH: Record<Condition, Health> = {
  fit: "healthy",
  unasked: "unknown",
  failed: "degraded",
  resting: "offline",
  budget: "stopped",
  private: "degraded",
  busy: "degraded",
  away: "offline",
  key: "needs",
};
export const healthOf = (m: Model): Health => HEALTH[condition(m)];

/** How much of a limit is used, from 0 to 1; nothing without a limit. */
export const used = (spent: number, limit: number | null | undefined): number | undefined =>
  limit === null || limit === undefined ? undefined : limit > 0 ? Math.min(1, spent / limit) : 1;

export interface KeyRow {
  name: string;
  setAt?: number;
  variable?: string;
  /** Models that use it. */
  models: string[];
  /** Whether a model elsewhere uses it and nothing is set. */
  missing: boolean;
}
/** Every key that is kept or that a model would use. */
export function keyRows(models: Model[], credentials: Credential[]): KeyRow[] {
  const rows = new Map<string, KeyRow>();
  const row = (name: string) => {
    const known = rows.get(name) ?? { name, models: [], missing: false };
    rows.set(name, known);
    return known;
  };
  for (const c of credentials) row(c.name).setAt = c.setAt;
  for (const m of models) {
    // One on this machine needs none; where one is set, it is used.
    if (m.local && !rows.has(m.key) && !m.variable) continue;
    const r = row(m.key);
    r.models.push(m.model);
    r.variable ??= m.variable ?? undefined;
  }
  for (const r of rows.values()) r.missing = r.setAt === undefined && !r.variable;
  return [...rows.values()].sort((a, b) => a.name.localeCompare(b.name));
}

const LLM = "llm:";
/** Models that other nodes say they serve. */
export const elsewhere = (nodes: Offering[]): { node: Offering; model: string }[] =>
  nodes
    .filter((n) => !n.own)
    .flatMap((node) =>
      node.capabilities
        .filter((c) => c.startsWith(LLM) && c.length > LLM.length)
        .map((c) => ({ node, model: c.slice(LLM.length) })),
    );
