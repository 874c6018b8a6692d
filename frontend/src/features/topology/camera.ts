/** What part of the drawing is in sight; pure. Pixels are those of the page, y goes down in both. */
import type { Spot } from "./spots";

export interface Camera {
  /** The place in the middle of the view. */
  x: number;
  y: number;
  /** Pixels per unit. */
  scale: number;
  /** The scale at which all of it was in sight. */
  whole: number;
}
export interface Size {
  width: number;
  height: number;
}

const EDGE_PX = 44;
const IN_MAX = 24;
const OUT_MAX = 4;
const SCALE_MAX = 1.2;

/** All of it in sight, with room at the edges for names. */
export function fitted(spots: Iterable<Spot>, { width, height }: Size): Camera {
  let [x0, x1] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  let [y0, y1] = [x0, x1];
  for (const { x, y } of spots) {
    x0 = Math.min(x0, x);
    x1 = Math.max(x1, x);
    y0 = Math.min(y0, y);
    y1 = Math.max(y1, y);
  }
  if (x1 < x0) return { x: 0, y: 0, scale: 1, whole: 1 };
  const across = Math.max(1, width - 2 * EDGE_PX) / Math.max(1, x1 - x0);
  const down = Math.max(1, height - 2 * EDGE_PX) / Math.max(1, y1 - y0);
  const scale = Math.min(across, down, SCALE_MAX);
  return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale, whole: scale };
}

export const toPage = (c: Camera, { width, height }: Size, p: Spot): Spot => ({
  x: (p.x - c.x) * c.scale + width / 2,
  y: (p.y - c.y) * c.scale + height / 2,
});
export const toPlace = (c: Camera, { width, height }: Size, p: Spot): Spot => ({
  x: (p.x - width / 2) / c.scale + c.x,
  y: (p.y - height / 2) / c.scale + c.y,
});

/** Nearer by `by`; what is at `at` stays where it is. */
export function zoomed(c: Camera, size: Size, by: number, at: Spot): Camera {
  const scale = Math.max(c.whole / OUT_MAX, Math.min(c.whole * IN_MAX, c.scale * by));
  const held = toPlace(c, size, at);
  const next = { ...c, scale };
  const now = toPlace(next, size, at);
  return { ...next, x: c.x + held.x - now.x, y: c.y + held.y - now.y };
}

export const panned = (c: Camera, dx: number, dy: number): Camera => ({
  ...c,
  x: c.x - dx / c.scale,
  y: c.y - dy / c.scale,
});

/** At this scale nodes that stand side by side, as the layout sets them, just leave room between them. */
const ROOMY = 0.12;
const SMALL = 0.35;

/** How much larger a node is drawn: less than what is zoomed, or it would cover the others. */
export const growth = (c: Camera): number =>
  Math.max(SMALL, Math.min(1, c.whole / ROOMY) * Math.min(3, Math.sqrt(c.scale / c.whole)));
