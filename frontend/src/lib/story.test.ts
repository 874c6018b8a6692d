import { expect, it } from "vitest";
import { columns, frameOf, named, type Step } from "./story";

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
it("tells of devices and operators by name, and leaves alone what it does not know", () => {
  const [field, ada] = ["b7a4273a98e7".padEnd(64, "0"), "21f93483008e".padEnd(64, "1")];
  const who = new Map([
    [field, "field-jetson"],
    [ada, "ada"],
  ]);
  expect(named("field-jetson (b7a4273a98e7)", who)).toBe("field-jetson");
  expect(named("old-name (b7a4273a98e7)", who)).toBe("old-name (field-jetson)");
  expect(named("operator 21f93483008e", who)).toBe("ada");
  expect(named(field, who)).toBe("field-jetson");
  expect(named("c".repeat(64), who)).toBe("cccccccc");
  expect(named("came back as frame 6b7840bf-0891-4339-85bc-d7a49276b40c, verified", who)).toBe(
    "came back as frame 6b7840bf, verified",
  );
  expect(named("ran 8013 ms and is back in its safe state", who)).toContain("8013 ms");
  // Two that begin alike are neither.
  expect(named("b7a4273a98e7", new Map([...who, [`b7a4273a98e7${"f".repeat(52)}`, "other"]]))).toBe(
    "b7a4273a",
  );
});
