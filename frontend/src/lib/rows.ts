/** Which rows of a long list are in sight; pure. */

/** Rows drawn beyond the edges, so that a scroll shows no blank. */
export const SPARE_ROWS = 8;

export interface Visible {
  from: number;
  to: number;
  /** Heights of what is not drawn. */
  before: number;
  after: number;
}
export function visible(count: number, height: number, top: number, size: number): Visible {
  const from = Math.max(0, Math.min(count, Math.floor(top / height)) - SPARE_ROWS);
  const to = Math.min(count, Math.ceil((top + size) / height) + SPARE_ROWS);
  return { from, to: Math.max(from, to), before: from * height, after: Math.max(0, count - to) * height };
}
