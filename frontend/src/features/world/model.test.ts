import { describe, expect, it } from "vitest";
import { gist } from "./model";

const frame = (data: unknown) => ({ frame: { data } });
describe("gist", () => {
  it("says a reading as a reading", () => {
    expect(gist(frame({ metric: "moisture", zone: "z", value: 31.84, unit: "%" }))).toBe(
      "moisture z = 31.8%",
    );
  });
  it("bears frames of any shape", () => {
    for (const odd of [null, 3, "x", [], { data: null }, { data: [1] }, { data: { metric: 7 } }])
      expect(typeof gist({ frame: odd })).toBe("string");
  });
  it("shows markup as text, clips 100 kB, and draws what would turn the order", () => {
    expect(gist(frame({ message: "<img src=x onerror=alert(1)>" }))).toBe("<img src=x onerror=alert(1)>");
    expect(gist(frame({ message: "x".repeat(100_000) }))).toHaveLength(121);
    expect(gist(frame({ metric: "a\u202eb", value: 1 }))).toBe("a⟦RLO⟧b = 1");
    expect(gist(frame({ message: "one\ntwo" }))).toBe("one⏎two");
  });
});
