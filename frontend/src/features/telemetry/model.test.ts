import { expect, it } from "vitest";
import type { Series } from "@/node/client";
import { align } from "./model";

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
