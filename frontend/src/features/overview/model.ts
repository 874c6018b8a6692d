/** What happened, each thing once; pure. */
import type { NodeEvent } from "@/node/client";

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
