/** The node's time as this browser can tell it: a browser with a wrong clock must not show wrong ages. */
import { CLOCK_OFF_MS } from "./condition";

let ahead = 0;
/** Told with every answer that carries the node's time; `roundTripMs` bounds how wrong it can be. */
export function heardTime(nodeMs: number, roundTripMs: number): void {
  if (!Number.isFinite(nodeMs) || roundTripMs > CLOCK_OFF_MS) return;
  ahead = nodeMs + roundTripMs / 2 - Date.now();
}
/** How far the node's clock is ahead of ours, in milliseconds. */
export const clockAhead = (): number => ahead;
/** Now, by the node's clock where ours is clearly off. */
export const nodeNow = (): number => Date.now() + (Math.abs(ahead) > CLOCK_OFF_MS ? ahead : 0);
