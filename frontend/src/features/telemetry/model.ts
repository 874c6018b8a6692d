/** Lines of several origins on one time axis; a missing value is a gap, never zero. */
import type { Series } from "@/node/client";

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
};
