import { describe, expect, it } from "vitest";
import type { Device, Fact } from "@/node/client";
import { factOf, healthOf, matches, positionOf, sorted } from "./devices";

const sensor = (over: object = {}) => ({
  name: "bench temperature",
  values: [{ metric: "temperature", zone: "bench", unit: "Cel", value: 20, at: 5 }],
  ...over,
});
const moved = (over: object = {}) => ({
  capability: "actuator:lamp:bench",
  operations: ["on"],
  actions: [],
  running: false,
  safe: true,
  ...over,
});
const device = (sensors: object[], actuators: object[], name = "bench") =>
  ({ kind: "twin", name, sensors, actuators }) as unknown as Device;

describe("a device", () => {
  it("needs somebody where something is not safe, whatever its sensors say", () => {
    expect(healthOf(device([sensor()], [moved({ safe: false })]))).toBe("needs");
    expect(healthOf(device([sensor()], [moved({ safe: false, running: true })]))).toBe("healthy");
    expect(healthOf(device([sensor()], [moved({ problem: "no answer" })]))).toBe("needs");
  });
  it("is degraded where one sensor fails or is doubted, and offline where all fail", () => {
    const failing = sensor({ failingSince: 1, problem: "gone" });
    const doubted = sensor({ values: [{ metric: "t", unit: "Cel", value: 1, at: 1, doubt: "stuck" }] });
    expect(healthOf(device([sensor(), failing], []))).toBe("degraded");
    expect(healthOf(device([failing], []))).toBe("offline");
    expect(healthOf(device([doubted], []))).toBe("degraded");
  });
  it("is not called healthy before anything was said", () => {
    expect(healthOf(device([sensor({ values: [] })], []))).toBe("unknown");
    expect(healthOf(device([], [moved({ safe: null })]))).toBe("unknown");
  });
  it("comes first where it needs somebody, and is found by what it measures and moves", () => {
    const list = [device([sensor()], [], "a"), device([], [moved({ safe: false })], "b")];
    expect(sorted(list).map((d) => d.name)).toEqual(["b", "a"]);
    expect(list.filter((d) => matches(d, "TEMPERATURE bench")).map((d) => d.name)).toEqual(["a"]);
    expect(list.filter((d) => matches(d, "lamp")).map((d) => d.name)).toEqual(["b"]);
    expect(list.filter((d) => matches(d, "")).length).toBe(2);
  });
  it("is away only by a run; otherwise safe is what its driver confirmed", () => {
    const at = (over: object) => positionOf(moved(over) as never);
    expect([at({ running: true, safe: false }), at({}), at({ safe: false }), at({ safe: null })]).toEqual([
      "away",
      "safe",
      "unsafe",
      "unknown",
    ]);
  });
  it("has the tier of its own published reading and of no other", () => {
    const facts = [
      { origin: "other", metric: "t", zone: "bench" },
      { origin: "own", metric: "t", zone: null },
      { origin: "own", metric: "t", zone: "bench" },
    ] as unknown as Fact[];
    expect(factOf(facts, "own", { metric: "t", zone: "bench" })).toBe(facts[2]);
    expect(factOf(facts, "own", { metric: "t" })).toBe(facts[1]);
    expect(factOf(facts, "own", { metric: "x" })).toBeUndefined();
  });
});
