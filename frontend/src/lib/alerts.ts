/** Which events still ask for attention; pure. */
import type { components } from "@/contract/operator.gen";

type NodeEvent = components["schemas"]["EventView"];

/** What ends a state that an event told of, and the member of its data that says whose state it was. */
const ENDED_BY: Record<string, { kind: string; whose?: string }> = {
  "planner.paused": { kind: "planner.resumed" },
  "estop.engaged": { kind: "estop.released" },
  // Those that stand are listed with what people have said about them.
  "alert.began": { kind: "alert.ended", whose: "alert" },
  "peer.state": { kind: "peer.connect", whose: "deviceId" },
};

const name = (kind: string, whose: string | undefined, e: NodeEvent): string =>
  `${kind} ${whose ? String((e.data as Record<string, unknown> | null)?.[whose]) : ""}`;

/** The events that ask for attention, oldest first as they came: of a state that has ended since, none. */
export function alerting(events: readonly NodeEvent[]): NodeEvent[] {
  const ended = new Set<string>();
  const left: NodeEvent[] = [];
  for (let i = events.length - 1; i >= 0; i--) {
    const e = events[i];
    if (!e) continue;
    for (const { kind, whose } of Object.values(ENDED_BY)) {
      if (e.kind === kind) ended.add(name(kind, whose, e));
    }
    const by = ENDED_BY[e.kind];
    const over = by !== undefined && ended.has(name(by.kind, by.whose, e));
    if (e.severity !== "info" && !over) left.push(e);
  }
  return left.reverse();
}
