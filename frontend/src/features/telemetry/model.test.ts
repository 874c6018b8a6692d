import { expect, it } from "vitest";
import type { Proposal, Series } from "@/node/client";
import { actuations, align, begin, extremes, firstOf, ranges, span, tree } from "./model";

it("keeps gaps as gaps and tells them from times of other lines", () => {
  const point = (time: number, value: number | null) => ({ time, value, tainted: false });
  const line = (origin: string, points: object[]) => ({ origin, points, samples: points.length });
  const { data } = align({
    metric: "m",
    from: 0,
    to: 9,
    truncated: false,
    lines: [line("a", [point(1000, 5), point(2000, null), point(3000, 7)]), line("b", [point(1500, 0)])],
  } as Series);
  expect(data).toEqual([
    [1, 1.5, 2, 3],
    [5, undefined, null, 7],
    [undefined, 0, undefined, undefined],
  ]);
});

it("draws means of old readings with what they stand for, and no band over a gap or over samples", () => {
  const mean = (time: number, low: number, high: number) => ({ time, value: (low + high) / 2, low, high });
  const points = [mean(1, 2, 9), mean(2, 3, 4), { time: 3 }, mean(5, 1, 1), { time: 6, value: 7 }];
  expect(ranges(points as never).map((run) => run.map((p) => p.time))).toEqual([[1, 2], [5]]);
  expect(extremes({ lines: [{ points }] } as never)).toEqual([[2, 9, 3, 4, 1, 1]]);
  expect(ranges([])).toEqual([]);
});

it("draws what moved within the span, and what still runs", () => {
  const p = (id: string, over: object) =>
    ({
      id,
      operation: "open",
      target: "actuator:x:valve",
      status: "completed",
      updatedAt: 0,
      ...over,
    }) as unknown as Proposal;
  const list = actuations(
    [
      p("before", { outcome: { startedAt: 1, endedAt: 5 } }),
      p("over the edge", { outcome: { startedAt: 5, endedAt: 15 } }),
      p("runs", { status: "executing", updatedAt: 18 }),
      p("waits", { status: "awaiting_approval" }),
      p("after", { outcome: { startedAt: 25, endedAt: 26 } }),
    ],
    10,
    20,
  );
  expect(list.map((a) => [a.id, a.to])).toEqual([
    ["over the edge", 15],
    ["runs", undefined],
  ]);
  expect(list[0]?.text).toBe("Open valve");
});
it("shows limits near the values and none that would press them flat", () => {
  const [low, high] = span([[20, null, 30]], [32, 5_000]);
  expect(low).toBeLessThan(20);
  expect(high).toBeGreaterThan(32);
  expect(high).toBeLessThan(40);
  expect(span([[undefined]], [5])).toEqual([4, 6]);
  const flat = span([[7, 7]], []);
  expect(flat[0]).toBeLessThan(flat[1]);
});
it("groups metrics by their first part", () => {
  expect(tree(["tank.level", "moisture", "cpu.load", "cpu.temp"])).toEqual([
    { name: "", metrics: ["moisture", "tank.level"] },
    { name: "cpu", metrics: ["cpu.load", "cpu.temp"] },
  ]);
});
it("draws no axis below zero where nothing is below it, and none above the whole of a share", () => {
  expect(span([[0, 50]], [])[0]).toBe(0);
  expect(span([[-1, 50]], [])[0]).toBeLessThan(-1);
  expect(span([[0, 100]], [], true)).toEqual([0, 100]);
  expect(span([[0, 100]], [])[1]).toBeGreaterThan(100);
  expect(span([[20, 30]], [-1], true)[0]).toBeGreaterThan(0);
  expect(span([[20, 30]], [-1])[0]).toBeLessThan(-1);
  expect(span([[0, 140]], [], true)[1]).toBeGreaterThan(140);
});
it("begins the axis where a young store does, and never for less than a minute", () => {
  const [from, to] = [0, 900_000];
  expect(begin(from, to, [])).toBe(0);
  expect(begin(from, to, [10, 800_000])).toBe(0);
  expect(begin(from, to, [600_000, 700_000])).toBe(591_000);
  expect(begin(from, to, [895_000])).toBe(840_000);
  expect(begin(to - 30_000, to, [to - 10_000])).toBe(to - 30_000);
  expect(firstOf({ lines: [{ points: [] }] } as unknown as Series)).toBeUndefined();
  expect(
    firstOf({ lines: [{ points: [{ time: 9 }] }, { points: [{ time: 4 }] }] } as unknown as Series),
  ).toBe(4);
});
