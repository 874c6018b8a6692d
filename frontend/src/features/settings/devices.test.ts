import { describe, expect, it } from "vitest";
import type { Device, Fact, Reloaded } from "@/node/client";
import { factOf, healthOf, linesOf, matches, pictureOf, positionOf, sorted } from "./devices";

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

describe("a picture", () => {
  const picture = {
    sha256: "a".repeat(64),
    bytes: 5,
    width: 640,
    height: 480,
    type: "image/jpeg",
    thumbnail: "data:image/jpeg;base64,/9j/4AAQ==",
  };
  const seen = (over: object = {}) => pictureOf({ data: { picture: { ...picture, ...over } } });
  it("is shown where its frame tells of one as a camera does", () => {
    expect(seen()?.width).toBe(640);
    expect(pictureOf(undefined)).toBeNull();
    expect(pictureOf({ data: {} })).toBeNull();
  });
  it("is not shown where anything of it could be something else", () => {
    for (const thumbnail of ["https://x/y.jpg", "data:text/html;base64,AAAA", "data:image/svg+xml,<svg/>", 7])
      expect(seen({ thumbnail })).toBeNull();
    expect(seen({ thumbnail: `data:image/jpeg;base64,${"A".repeat(5_000)}` })).toBeNull();
    expect(seen({ sha256: "../status" })).toBeNull();
    expect(seen({ width: "640" })).toBeNull();
  });
});

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

describe("a configuration that was read again", () => {
  const report = (over: Partial<Reloaded>): Reloaded => ({
    outcome: "applied",
    added: [],
    removed: [],
    changed: [],
    unchanged: 1,
    redundant: false,
    restart: [],
    mistakes: [],
    busy: [],
    ...over,
  });
  it("says what has changed and what waits for the next start", () => {
    const lines = linesOf(report({ added: ["file a", "file b"], restart: ["port"] }));
    expect(lines).toHaveLength(2);
    expect(lines[0]).toContain("file a");
    expect(lines[1]).toContain("port");
    expect(linesOf(report({ outcome: "unchanged" }))).toHaveLength(1);
  });
  it("names every mistake, and what is in the way", () => {
    const wrong = linesOf(report({ outcome: "refused", mistakes: ["line 1", "line 2"] }));
    expect(wrong.slice(1)).toEqual(["line 1", "line 2"]);
    const busy = linesOf(report({ outcome: "refused", busy: ["the pump runs"] }));
    expect(busy.slice(1)).toEqual(["the pump runs"]);
    expect(busy[0]).not.toBe(wrong[0]);
  });
});
