/** What happened, each thing once; pure. */
import { action } from "@/lib/format";
import { statusWord } from "@/lib/i18n";
import type { NodeEvent, Proposal } from "@/node/client";

export interface Told {
  /** The newest of them. */
  event: NodeEvent;
  times: number;
}

/** Newest first; the same sentence again and again is one line with a count. */
export function told(events: readonly NodeEvent[], since: number): Told[] {
  const seen = new Map<string, Told>();
  for (let i = events.length - 1; i >= 0; i--) {
    const event = events[i];
    if (!event || event.time < since) continue;
    const was = seen.get(event.message);
    if (was) was.times += 1;
    else seen.set(event.message, { event, times: 1 });
  }
  return [...seen.values()];
}

export interface Line {
  text: string;
  /** Where there is more about it. */
  to?: { to: string; search: Record<string, string> };
}
const field = (data: unknown, name: string): string | undefined => {
  const v = (data as Record<string, unknown> | null)?.[name];
  return typeof v === "string" ? v : undefined;
};

/** The node's sentence, or a plainer one where what it is about is known here; and the way to it. */
export function sentence(e: NodeEvent, proposals: ReadonlyMap<string, Proposal>): Line {
  const id = field(e.data, "proposalId");
  if (id) {
    const p = proposals.get(id);
    const status = field(e.data, "status");
    const text = p && status ? `${action(p.operation, p.target, p.runMs)}: ${statusWord(status)}` : e.message;
    return { text, to: { to: "/approvals", search: { id } } };
  }
  if (e.kind.startsWith("peer.")) {
    const node = field(e.data, "deviceId") ?? field(e.data, "subject");
    return { text: e.message, to: node ? { to: "/topology", search: { node } } : undefined };
  }
  return { text: e.message };
}
