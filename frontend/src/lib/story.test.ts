import { expect, it } from "vitest";
import { columns, frameOf, type Step } from "./story";

const step = (stage: string, time: number, more: object = {}): Step =>
  ({ stage, time, actor: "x", message: "", data: null, ...more }) as Step;

it("groups readings, keeps the order and tells the time between", () => {
  const list = columns([step("reading", 0), step("reading", 5), step("minted", 8), step("decision", 60_008)]);
  expect(list.map((c) => [c.stage, c.steps.length, c.after])).toEqual([
    ["reading", 2, null],
    ["minted", 1, 3],
    ["decision", 1, 60_000],
  ]);
  expect(columns([])).toEqual([]);
});
it("finds the frame a step names", () => {
  const id = "6b7840bf-0891-4339-85bc-d7a49276b40c";
  expect(frameOf(step("reading", 0, { data: { frameId: id } }))).toBe(id);
  expect(frameOf(step("outcome", 0, { message: `came back as frame ${id}, verified` }))).toBe(id);
  expect(frameOf(step("ended", 0))).toBeUndefined();
});
