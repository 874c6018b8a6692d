/** What the page of messages works out by itself. */
import type { Able, Message, MessageState, Sent } from "@/node/client";

/** What the list can be narrowed to; "dead" is what was not answered and is not repeated by itself. */
export const SHOWN = {
  all: [],
  open: ["queued", "sent", "accepted", "running"],
  answered: ["answered"],
  dead: ["failed", "expired", "unclear"],
  cancelled: ["cancelled"],
} as const satisfies Record<string, readonly MessageState[]>;
export type Shown = keyof typeof SHOWN;
export const shownOf = (word: string | undefined): Shown =>
  word !== undefined && Object.hasOwn(SHOWN, word) ? (word as Shown) : "all";

/** How many messages a narrowing leaves. */
export function countOf(shown: Shown, counts: Record<string, number>): number {
  const states: readonly string[] = shown === "all" ? Object.keys(counts) : SHOWN[shown];
  return states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}

export const isOpen = (state: MessageState): boolean => (SHOWN.open as readonly string[]).includes(state);

/** The shape and colour of a state, by those of proposals. */
const LOOKS: Record<MessageState, string> = {
  queued: "expired",
  sent: "executing",
  accepted: "executing",
  running: "executing",
  answered: "completed",
  failed: "failed",
  unclear: "awaiting_approval",
  expired: "expired",
  cancelled: "rejected",
};
export const lookOf = (state: MessageState): string => LOOKS[state];

/** Where a message is to go, as it is chosen on the page: "", `node:ID` or `group:NAME`. */
export function placeOf(where: string, agent: string): Pick<Sent<"/messages">, "node" | "group" | "agent"> {
  const at = where.indexOf(":");
  const [kind, name] = [where.slice(0, at), where.slice(at + 1)];
  return {
    node: kind === "node" ? name : null,
    group: kind === "group" ? name : null,
    agent: agent || null,
  };
}

/** The agents that can be asked for: those of the chosen node, else those of all. */
export function agentsOf(able: Able[], where: string): string[] {
  const nodes = where.startsWith("node:") ? able.filter((one) => `node:${one.deviceId}` === where) : able;
  return [...new Set(nodes.flatMap((one) => one.agents))].sort();
}

/** What the sender chose, in the names that people gave; empty where the rules decide. */
export function chosenPlace(
  m: Pick<Message, "toNode" | "toGroup" | "toAgent">,
  names: ReadonlyMap<string, string>,
) {
  const node = m.toNode ? (names.get(m.toNode) ?? m.toNode) : "";
  return [node, m.toGroup ?? "", m.toAgent ?? ""].filter(Boolean).join(" · ");
}

/** The same content has the same key until it was taken: sent twice it is one message. */
export class Keys {
  private last = { content: "", key: "" };
  constructor(private readonly fresh: () => string) {}
  of(content: string): string {
    if (!this.last.key || this.last.content !== content) this.last = { content, key: this.fresh() };
    return this.last.key;
  }
  taken(): void {
    this.last = { content: "", key: "" };
  }
}

/** 128 random bits; unlike `randomUUID` also where the page came without TLS. */
export const freshKey = (): string =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

/** How many bytes a text has on its way: the node's limit counts those. */
export const bytesOf = (text: string): number => new TextEncoder().encode(text).length;
