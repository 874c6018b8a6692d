/** A proposal's steps as the columns of a diagram: what belongs together side by side, with the time between. */
import type { components } from "@/contract/operator.gen";

export type Step = components["schemas"]["TraceStep"];
export interface Column {
  stage: string;
  steps: Step[];
  /** From the last step of the column before to the first of this one, in milliseconds. */
  after: number | null;
}

/** Steps of one stage that follow each other share a column; order is kept. */
export function columns(steps: Step[]): Column[] {
  const list: Column[] = [];
  for (const step of steps) {
    const last = list.at(-1);
    if (last?.stage === step.stage) last.steps.push(step);
    else
      list.push({
        stage: step.stage,
        steps: [step],
        after: last ? Math.max(0, step.time - (last.steps.at(-1)?.time ?? step.time)) : null,
      });
  }
  return list;
}

/** The frame that a step rests on or came as, if it names one. */
export function frameOf(step: Step): string | undefined {
  const id = (step.data as { frameId?: unknown } | null)?.frameId;
  return typeof id === "string" ? id : /\bframe ([0-9a-f-]{36})\b/.exec(step.message)?.[1];
}

/** Names by id: devices and operators. */
export type Who = ReadonlyMap<string, string>;
const ID_SHOWN = 8;

/** A sentence of the node with the names of those it tells of by their ids; a frame's id is shortened. */
export function named(text: string, who: Who): string {
  const known = (part: string) => {
    const hits = [...who].filter(([id]) => id.startsWith(part));
    return hits.length === 1 ? hits[0]?.[1] : undefined;
  };
  return text
    .replace(/\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "$1")
    .replace(
      /(?:\boperator )?\b([0-9a-f]{12,64})\b/g,
      (all: string, id: string) => known(id) ?? all.replace(id, id.slice(0, ID_SHOWN)),
    )
    .replace(/^(.+) \((.+)\)$/, (all: string, name: string, again: string) => (name === again ? name : all));
}
