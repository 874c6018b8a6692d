/** A small line for a row: the path of a series in a box, gaps as gaps; pure. */
export interface Sample {
  time: number;
  value?: number | null;
}
export function sparkPath(
  points: readonly Sample[],
  from: number,
  to: number,
  width: number,
  height: number,
): string {
  const values = points.flatMap((p) => (typeof p.value === "number" ? [p.value] : []));
  if (!values.length || to <= from) return "";
  const min = Math.min(...values);
  const reach = Math.max(...values) - min;
  const x = (time: number) => (((time - from) / (to - from)) * width).toFixed(1);
  // A value that never changes is a line in the middle, not at an edge.
  const y = (v: number) => (reach ? height - 1 - ((v - min) / reach) * (height - 2) : height / 2).toFixed(1);
  let path = "";
  let down = false;
  for (const p of points) {
    if (typeof p.value !== "number") {
      down = false;
      continue;
    }
    path += `${down ? "L" : "M"}${x(p.time)} ${y(p.value)}`;
    down = true;
  }
  return path;
}
