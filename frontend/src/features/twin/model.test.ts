import { describe, expect, it } from "vitest";
import type { Actuator, Fact, Topology } from "@/node/client";
import * as M from "./model";

const NOW = 1_000_000;
const metric = (rest: Partial<M.Metric> = {}): M.Metric => ({
  metric: "moisture",
  unit: "%",
  staleMs: 60_000,
  fromPolicy: false,
  rules: [],
  ...rest,
});
const zone = (rest: Partial<M.Zone> = {}): M.Zone => ({
  id: "bed",
  name: "Bed",
  zone: "zone-1",
  outline: [],
  metrics: [metric({ low: 20, high: 60 })],
  ...rest,
});
const fact = (rest: Partial<Fact> = {}): Fact => ({
  metric: "moisture",
  zone: "zone-1",
  value: 40,
  unit: "%",
  origin: "a",
  frameId: "f",
  sensedAt: NOW - 1_000,
  ageMs: 1_000,
  claimedTier: "T2",
  effectiveTier: "T2",
  signature: "verified",
  tainted: false,
  ...rest,
});
const seen = (facts: Fact[], z = zone(), now = NOW) => M.zoneSeen(z, M.index(facts), now);

describe("judging a value", () => {
  it("knows within, near and outside, on both sides", () => {
    const m = metric({ low: 20, high: 60 });
    expect([19.9, 20, 23.9, 24, 40, 56.1, 60, 60.1].map((v) => M.judge(m, v))).toEqual([
      "outside",
      "near",
      "near",
      "within",
      "within",
      "near",
      "near",
      "outside",
    ]);
  });
  it("takes a tenth of a lone limit, or the margin that is given", () => {
    expect(M.judge(metric({ low: 20 }), 21.9)).toBe("near");
    expect(M.judge(metric({ low: 20 }), 22)).toBe("within");
    expect(M.judge(metric({ high: 100, near: 0 }), 100)).toBe("within");
    expect(M.judge(metric({ low: -10, near: 5 }), -6)).toBe("near");
  });
  it("judges nothing without limits, and no words", () => {
    expect(M.judge(metric(), 1e9)).toBe("plain");
    expect(M.judge(metric({ low: 1 }), "open")).toBe("plain");
  });
});

describe("a zone", () => {
  it("says that there is no data, and never shows another zone's", () => {
    const s = seen([fact({ zone: "zone-2" }), fact({ zone: null }), fact({ metric: "level" })]);
    expect(s.mark).toBe("none");
    expect(s.readings[0]?.fact).toBeUndefined();
  });
  it("turns stale by itself when nothing new comes", () => {
    const facts = [fact({ value: 5 })];
    expect(seen(facts).mark).toBe("outside");
    expect(seen(facts, zone(), NOW + 59_001).mark).toBe("stale");
  });
  it("prefers the fresh, then the better proven, then the newer, and keeps the others", () => {
    const s = seen([
      fact({ origin: "old", effectiveTier: "T3", sensedAt: NOW - 90_000 }),
      fact({ origin: "guess", effectiveTier: "T0", sensedAt: NOW }),
      fact({ origin: "late", sensedAt: NOW - 5_000 }),
      fact({ origin: "best", sensedAt: NOW - 2_000 }),
    ]);
    const [r] = s.readings;
    expect([r?.fact, ...(r?.others ?? [])].map((f) => f?.origin)).toEqual(["best", "late", "guess", "old"]);
  });
  it("takes only its own device's word where it names one", () => {
    const named = (deviceId?: string) => zone({ device: { written: "x", deviceId } });
    expect(seen([fact({ origin: "b" })], named("a")).mark).toBe("none");
    expect(seen([fact()], named("a")).mark).toBe("within");
    expect(seen([fact()], named(undefined)).mark).toBe("none");
  });
  it("compares no value with limits of another unit", () => {
    expect(seen([fact({ unit: "kPa", value: 5 })]).mark).toBe("odd");
    expect(seen([fact({ unit: null })]).mark).toBe("odd");
    expect(seen([fact({ unit: "kPa" })], zone({ metrics: [metric({ unit: null, high: 60 })] })).mark).toBe(
      "within",
    );
  });
  it("is as bad as its worst metric", () => {
    const two = zone({ metrics: [metric({ low: 1 }), metric({ metric: "level" })] });
    expect(seen([fact()], two).mark).toBe("none");
    expect(seen([fact({ value: 0 })], two).mark).toBe("outside");
    const level = fact({ metric: "level", value: 7 });
    expect(seen([fact(), level], two).telling?.metric.metric).toBe("moisture");
    expect(seen([fact({ sensedAt: 0 }), level], two).telling?.fact?.value).toBe(40);
    expect(seen([fact()], two).telling?.fact).toBeUndefined();
    expect(seen([], zone({ metrics: [] })).mark).toBe("plain");
    expect(M.worst(["plain", "within", "stale", "near"])).toBe("near");
  });
});

describe("an asset", () => {
  const asset = (rest: Partial<M.Asset> = {}): M.Asset => ({
    id: "v",
    name: "Valve",
    kind: "valve",
    x: 1,
    y: 1,
    zone: "bed",
    device: { written: "field", deviceId: "a" },
    actuator: "actuator:mock:valve-1",
    ...rest,
  });
  const valve = (rest: Partial<Actuator> = {}): Actuator => ({
    target: "actuator:mock:valve-1",
    deviceId: "a",
    own: false,
    alsoOfferedBy: [],
    reachable: true,
    operations: [],
    ...rest,
  });
  const site: M.Site = {
    id: "s",
    name: "S",
    plan: "",
    x: 0,
    y: 0,
    width: 1,
    height: 1,
    zones: [zone()],
    assets: [],
  };
  const is = (a: M.Asset, actuators: Actuator[], facts: Fact[] = [], nodes: Topology["nodes"] = []) =>
    M.assetsSeen({ ...site, assets: [a] }, { facts: M.index(facts), actuators, nodes, now: NOW })[0];
  it("shows what its actuator says, the worst first", () => {
    expect(is(asset(), [valve({ position: "closed" })])).toMatchObject({ is: "healthy", why: "position" });
    expect(is(asset(), [valve({ running: "p", position: "open" })])).toMatchObject({
      why: "running",
      active: true,
    });
    expect(is(asset(), [valve({ reachable: false })])).toMatchObject({ is: "offline", why: "away" });
    expect(is(asset(), [valve({ problem: "jammed", running: "p" })])).toMatchObject({ is: "needs" });
    expect(is(asset(), [valve()])).toMatchObject({ is: "unknown", why: "silent" });
  });
  it("does not guess which of two it is, nor takes another device's", () => {
    const unnamed = asset({ device: null });
    expect(is(unnamed, [valve(), valve({ deviceId: "b" })])).toMatchObject({ is: "unknown", why: "unknown" });
    expect(is(unnamed, [valve({ deviceId: "b", position: "open" })])).toMatchObject({ why: "position" });
    expect(is(asset(), [valve({ deviceId: "b" })])).toMatchObject({ why: "unknown" });
  });
  it("is active only while its sensor says so now", () => {
    const sensed = asset({ sensor: "valve.open" });
    const open = fact({ metric: "valve.open", value: 1, unit: "" });
    expect(is(sensed, [valve()], [open])).toMatchObject({ active: true, why: "reading", is: "healthy" });
    expect(is(sensed, [valve()], [{ ...open, value: 0 }])?.active).toBe(false);
    expect(is(sensed, [valve()], [{ ...open, sensedAt: NOW - 61_000 }])).toMatchObject({
      active: false,
      why: "old",
    });
    expect(is(sensed, [valve()], [{ ...open, origin: "b" }])).toMatchObject({ why: "silent", active: false });
  });
  it("without actuator and sensor shows its node, or nothing", () => {
    const station = asset({ actuator: null });
    const node = { deviceId: "a", own: false, connected: true, fresh: true, estop: false } as never;
    expect(is(station, [], [], [node])).toMatchObject({ is: "healthy", why: "node" });
    expect(is(station, [])).toMatchObject({ why: "unknown" });
    expect(is(asset({ actuator: null, device: null }), [])).toMatchObject({ why: "bare" });
  });
});

describe("the plan", () => {
  const inside = (p: M.Spot, outline: number[][]) => {
    let is = false;
    outline.forEach(([x = 0, y = 0], i) => {
      const [u = 0, v = 0] = outline[(i + 1) % outline.length] ?? [];
      if (y > p.y !== v > p.y && p.x < x + ((p.y - y) / (v - y)) * (u - x)) is = !is;
    });
    return is;
  };
  it("puts a label inside its zone, also in a bent one", () => {
    const square = [
      [0, 0],
      [4, 0],
      [4, 2],
      [0, 2],
    ];
    expect(M.labelAt(square)).toEqual({ x: 2, y: 1 });
    const bent = [
      [0, 0],
      [10, 0],
      [10, 1],
      [1, 1],
      [1, 9],
      [10, 9],
      [10, 10],
      [0, 10],
    ];
    expect(inside(M.labelAt(bent), bent)).toBe(true);
    expect(inside(M.labelAt([...bent].reverse()), bent)).toBe(true);
  });
  it("moves a label off what stands in its zone, and no further than needed", () => {
    const square = [
      [0, 0],
      [100, 0],
      [100, 100],
      [0, 100],
    ];
    const size = { width: 20, height: 20 };
    const middle = { x: 50, y: 50 };
    expect(M.freeSpot(square, middle, [{ x: 80, y: 80 }], size)).toEqual(middle);
    const moved = M.freeSpot(square, middle, [middle], size);
    expect(Math.max(Math.abs(moved.x - 50), Math.abs(moved.y - 50))).toBeGreaterThanOrEqual(10);
    expect(inside(moved, square)).toBe(true);
    // Nowhere is free: then it stays in the middle.
    expect(M.freeSpot(square, middle, [middle], { width: 500, height: 500 })).toEqual(middle);
  });
  it("finds the next thing by the arrow that points to it", () => {
    const at = (x: number, y: number) => ({ x, y });
    const all = [at(0, 0), at(10, 1), at(20, 0), at(0, 9)];
    expect(M.nearest(at(0, 0), all, "ArrowRight")).toBe(all[1]);
    expect(M.nearest(at(0, 0), all, "ArrowDown")).toBe(all[3]);
    expect(M.nearest(at(0, 0), all, "ArrowLeft")).toBeUndefined();
    expect(M.nearest(at(20, 0), all, "ArrowLeft")).toBe(all[1]);
  });
  it("fits into its box and finds a site by id, then name", () => {
    expect(M.fit({ width: 800, height: 400 }, 1_000, 250)).toBe(500);
    expect(M.fit({ width: 800, height: 400 }, 300, 250)).toBe(300);
    const sites = [
      { id: "a", name: "b" },
      { id: "b", name: "x" },
    ] as M.Site[];
    expect(M.siteOf(sites, "b")?.id).toBe("b");
    expect(M.siteOf(sites, "x")?.id).toBe("b");
    expect(M.siteOf(sites, "gone")?.id).toBe("a");
    expect(M.siteOf([], undefined)).toBeUndefined();
  });
});
