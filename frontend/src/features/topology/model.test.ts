import { expect, it } from "vitest";
import { layout } from "./model";

it("is stable whatever the order, puts our node in the middle, and no two on one spot", () => {
  const ids = Array.from({ length: 60 }, (_, i) => `n${String(i).padStart(2, "0")}`);
  const a = layout(ids, "n07");
  expect(layout([...ids].reverse(), "n07")).toEqual(a);
  expect(a.find((s) => s.id === "n07")).toEqual({ id: "n07", x: 0, y: 0 });
  expect(new Set(a.map((s) => `${s.x},${s.y}`)).size).toBe(60);
});
