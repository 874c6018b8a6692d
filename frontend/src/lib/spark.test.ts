import { expect, it } from "vitest";
import { sparkPath } from "./spark";

it("lifts the pen over a gap and fits the box", () => {
  const p = (time: number, value: number | null) => ({ time, value });
  expect(sparkPath([p(0, 0), p(5, 10), p(6, null), p(10, 10)], 0, 10, 100, 20)).toBe(
    "M0.0 19.0L50.0 1.0M100.0 1.0",
  );
  expect(sparkPath([p(0, 7), p(10, 7)], 0, 10, 100, 20)).toBe("M0.0 10.0L100.0 10.0");
  expect(sparkPath([], 0, 10, 100, 20)).toBe("");
  expect(sparkPath([p(1, null)], 0, 10, 100, 20)).toBe("");
});
