import { describe, expect, it } from "vitest";
import { SPARE_ROWS, visible } from "./rows";

describe("visible", () => {
  it("draws the rows in sight and a few more, wherever it stands in 10,000", () => {
    for (const top of [0, 1, 160_000, 319_000]) {
      const v = visible(10_000, 32, top, 640);
      expect(v.to - v.from).toBeLessThanOrEqual(20 + 1 + 2 * SPARE_ROWS);
      expect(v.before + (v.to - v.from) * 32 + v.after).toBe(320_000);
      expect(v.from * 32).toBeLessThanOrEqual(top);
      expect(v.to * 32).toBeGreaterThanOrEqual(Math.min(320_000, top + 640));
    }
  });
  it("bears an empty list and a place beyond the end, as after a filter", () => {
    expect(visible(0, 32, 0, 640)).toEqual({ from: 0, to: 0, before: 0, after: 0 });
    const v = visible(3, 32, 5_000, 640);
    expect([v.from, v.to, v.after]).toEqual([0, 3, 0]);
  });
});
