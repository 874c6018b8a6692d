/** Lines of several origins on one time axis; a missing value is a gap, never zero. */
import { action } from "@/lib/format";
import type { Proposal, Series } from "@/node/client";

export interface Aligned {
  labels: string[];
  data: (number | null | undefined)[][];
}

/** `undefined`: this line has no sample there, draw on. `null`: a gap, lift the pen. */
export function align(series: Series): Aligned {
  const times = [...new Set(series.lines.flatMap((l) => l.points.map((p) => p.time)))].sort((a, b) => a - b);
  const at = new Map(times.map((x, i) => [x, i]));
  const lines = series.lines.map((l) => {
    const row: (number | null | undefined)[] = new Array(times.length).fill(undefined);
    for (const p of l.points) row[at.get(p.time) ?? 0] = p.value ?? null;
    return row;
  });
  return {
    labels: series.lines.map((l) =>
      [l.originName ?? l.origin.slice(0, 8), l.zone].filter(Boolean).join(" · "),
    ),
    data: [times.map((x) => x / 1000), ...lines],
  };
}

export const RANGES: Record<string, number> = {
  "5m": 300_000,
  "15m": 900_000,
  "1h": 3_600_000,
  "6h": 21_600_000,
  "24h": 86_400_000,
  "7d": 604_800_000,
  "30d": 2_592_000_000,
  "365d": 31_536_000_000,
};

interface Range {
  time: number;
  low: number;
  high: number;
}

/** The stretches of a line whose points are means of old readings, without the gaps between them. */
export function ranges(points: Series["lines"][number]["points"]): Range[][] {
  const runs: Range[][] = [[]];
  for (const { time, low, high } of points)
    if (typeof low === "number" && typeof high === "number") runs.at(-1)?.push({ time, low, high });
    else if (runs.at(-1)?.length) runs.push([]);
  return runs.filter((run) => run.length);
}

/** The smallest and the largest readings that the points of each line stand for: the value axis has room for them. */
export const extremes = (series: Series): number[][] =>
  series.lines.map((l) => ranges(l.points).flatMap((run) => run.flatMap((p) => [p.low, p.high])));

/** A young store: the axis begins where the readings do, as long as they fill only a part of the range. */
const SHORTEST_AXIS_MS = 60_000;
export function begin(from: number, to: number, firsts: readonly number[]): number {
  const first = Math.min(...firsts);
  if (!firsts.length || first <= from) return from;
  const pad = (to - first) * 0.03;
  return Math.max(from, Math.min(first - pad, to - SHORTEST_AXIS_MS));
}

/** When the earliest reading of a series was taken. */
export const firstOf = (s: Series): number | undefined =>
  s.lines.reduce<number | undefined>(
    (least, l) => (l.points[0] ? Math.min(least ?? l.points[0].time, l.points[0].time) : least),
    undefined,
  );

export interface Action {
  id: string;
  from: number;
  /** Absent while it still runs. */
  to?: number;
  text: string;
}

/** What moved within a span: drawn in, so that cause and effect are seen together. */
export function actuations(proposals: Proposal[], from: number, to: number): Action[] {
  const list: Action[] = [];
  for (const p of proposals) {
    const begun = p.outcome?.startedAt ?? (p.status === "executing" ? p.updatedAt : undefined);
    if (begun === undefined || begun > to || (p.outcome?.endedAt ?? to) < from) continue;
    list.push({ id: p.id, from: begun, to: p.outcome?.endedAt, text: action(p.operation, p.target, 0) });
  }
  return list.sort((a, b) => a.from - b.from);
}

/**
 * From where to where the value axis goes: all values, and every limit that is not so far away that it
 * would press the values flat.
 */
export function span(
  values: (number | null | undefined)[][],
  limits: number[],
  share = false,
): [number, number] {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const row of values)
    for (const v of row)
      if (typeof v === "number") {
        min = Math.min(min, v);
        max = Math.max(max, v);
      }
  if (min > max) return limits.length ? [Math.min(...limits) - 1, Math.max(...limits) + 1] : [0, 1];
  const reach = Math.max((max - min) * 3, Math.abs(max) * 8, 10);
  const lowest = min;
  const highest = max;
  // A limit that a share can never reach says "never": it needs no room on the axis.
  const whole = share && lowest >= 0 && highest <= 100;
  for (const limit of limits)
    if (limit > lowest - reach && limit < highest + reach && !(whole && (limit < 0 || limit > 100))) {
      min = Math.min(min, limit);
      max = Math.max(max, limit);
    }
  const pad = (max - min || Math.abs(max) || 1) * 0.06;
  // What never goes below zero, or a share above all of it, has no axis there either.
  return [
    min >= 0 ? Math.max(0, min - pad) : min - pad,
    share && max <= 100 ? Math.min(100, max + pad) : max + pad,
  ];
}

export interface Group {
  name: string;
  metrics: string[];
}
/** The metric tree: by the part before the first dot, where more than one metric shares it. */
export function tree(metrics: string[]): Group[] {
  const groups = new Map<string, string[]>();
  for (const m of metrics) {
    const head = m.includes(".") ? m.slice(0, m.indexOf(".")) : "";
    groups.set(head, [...(groups.get(head) ?? []), m]);
  }
  const lone: string[] = groups.get("") ?? [];
  const list: Group[] = [];
  for (const [name, its] of groups)
    if (name && its.length > 1) list.push({ name, metrics: its });
    else if (name) lone.push(...its);
  list.sort((a, b) => a.name.localeCompare(b.name));
  return lone.length ? [{ name: "", metrics: lone.sort() }, ...list] : list;
}
