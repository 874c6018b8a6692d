/** What the command line of the console understands, and the conversations that were kept; pure. */
import { plannerWord, t } from "@/lib/i18n";
import type { Answered, Planner } from "@/node/client";

/** Who asks for what a schedule wants, or why nobody does. */
export function asksWord(
  planner: Pick<Planner, "pause" | "why">,
  schedule: { leftTo?: string | null },
): string {
  if (schedule.leftTo) return t("leftTo", { name: schedule.leftTo });
  return planner.pause ? plannerWord({ ...planner, state: "paused" }) : t("asksHere");
}

/** The conversation of an answer; one that an earlier version kept is a conversation of its own. */
export const conversationOf = (a: Answered): string => a.conversation || a.id;

export interface Conversation {
  id: string;
  /** The question that it began with, as far as it is kept. */
  first: string;
  count: number;
  /** When it was last asked something. */
  at: number;
  by: string;
  /** Whether a standing question of the planner asked, not a person. */
  standing: boolean;
  private: boolean;
}
/** The conversations of what was answered, the newest first; `answered` is newest first too. */
export function conversationsOf(answered: Answered[]): Conversation[] {
  const all = new Map<string, Conversation>();
  for (const a of answered) {
    const id = conversationOf(a);
    const known = all.get(id);
    all.set(id, {
      id,
      first: a.question,
      count: (known?.count ?? 0) + 1,
      at: known?.at ?? a.askedAt,
      by: known?.by ?? a.askedBy,
      standing: known?.standing ?? Boolean(a.standing),
      private: Boolean(known?.private || a.private?.length),
    });
  }
  return [...all.values()];
}

/** Lines with the answers that have come since in the place of those of the rules; the same lines where none has. */
export function renewed<L extends { text: string; said?: Answered; proposals?: string[] }>(
  lines: L[],
  answered: Answered[],
): L[] {
  let news = false;
  const all = lines.map((l) => {
    if (l.said?.answerer !== "rules") return l;
    const now = answered.find((a) => a.id === l.said?.id && a.answerer === "model");
    if (!now) return l;
    news = true;
    return { ...l, text: now.answer, said: now, proposals: now.proposals };
  });
  return news ? all : lines;
}

export type Wish =
  | { kind: "status" | "waiting" | "nodes" | "alerts" | "help" | "question" | "bad" }
  | { kind: "world"; metric: string }
  | {
      kind: "do";
      target: string;
      operation: string;
      params: Record<string, number | string | boolean>;
      reason: string;
      /** The executor that is meant, where several offer the target. */
      executor?: string;
      /** A zone of it instead. */
      zone?: string;
    };

export function understand(text: string, metrics: string[]): Wish {
  const line = text.trim();
  const lower = line.toLowerCase();
  if (lower.startsWith("/do")) {
    const m =
      /^\/do\s+(\S+)\s+([\w-]+)((?:\s+\w+=\S+)*)(?:\s+(at|bei|in)\s+(.+?))?\s+(?:because|weil)\s+(.+)$/i.exec(
        line,
      );
    if (!m?.[1] || !m[2] || !m[6]) return { kind: "bad" };
    const params: Record<string, number | string | boolean> = {};
    for (const [, k, v] of (m[3] ?? "").matchAll(/(\w+)=(\S+)/g)) {
      if (!k || v === undefined) continue;
      params[k] = v === "true" ? true : v === "false" ? false : /^-?\d+(\.\d+)?$/.test(v) ? Number(v) : v;
    }
    const place = m[5] ? (m[4]?.toLowerCase() === "in" ? { zone: m[5] } : { executor: m[5] }) : {};
    return { kind: "do", target: m[1], operation: m[2], params, reason: m[6], ...place };
  }
  if (lower.startsWith("/help")) return { kind: "help" };
  if (lower.startsWith("/world")) return { kind: "world", metric: lower.slice(6).trim() };
  const named = metrics.filter((m) => lower.includes(m.toLowerCase())).sort((a, b) => b.length - a.length)[0];
  if (named) return { kind: "world", metric: named };
  if (/^\/waiting|\bwait(s|ing)?\b|approv|\boffen\b|wartet|freigabe/.test(lower)) return { kind: "waiting" };
  if (/^\/nodes|\bnodes?\b|offline|connected|knoten|verbunden/.test(lower)) return { kind: "nodes" };
  if (/^\/alerts|alert|wrong|problem|meldung|warnung|fehler/.test(lower)) return { kind: "alerts" };
  if (/^\/status|\bstatus\b|how are|zustand|wie geht/.test(lower)) return { kind: "status" };
  return { kind: "question" };
}
