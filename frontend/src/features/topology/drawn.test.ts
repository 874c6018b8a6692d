import { describe, expect, it } from "vitest";
import type { Topology } from "@/node/client";
import { drawn, under } from "./drawn";

const node = (deviceId: string, is: Partial<Topology["nodes"][number]> = {}) =>
  ({
    deviceId,
    name: `name of ${deviceId}`,
    role: "field",
    own: false,
    trusted: true,
    connected: true,
    fresh: true,
    estop: false,
    ...is,
  }) as Topology["nodes"][number];
const link = (a: string, b: string, is: Partial<Topology["links"][number]> = {}) =>
  ({ a, b, posture: "identity-bound", fresh: true, ...is }) as Topology["links"][number];
const top = {
  nodes: [
    node("me", { own: true, role: "planner" }),
    node("well"),
    node("away", { connected: false, fresh: false }),
    node("halt", { estop: true }),
    node("alien", { trusted: false }),
  ],
  links: [
    link("me", "well"),
    link("me", "halt", { posture: "plaintext" }),
    link("well", "gone"),
    link("me", "me"),
  ],
  at: 0,
} as Topology;
const spots = new Map(top.nodes.map((n, i) => [n.deviceId, { x: i * 100, y: 0 }]));
const draw = (is: Partial<Parameters<typeof drawn>[0]> = {}) =>
  drawn({ top, flow: new Map(), spots, keeps: () => true, ...is });

describe("what is drawn", () => {
  it("tells the state of each node and whether it is trusted", () => {
    const is = Object.fromEntries(draw().dots.map((d) => [d.id, d.is]));
    expect(is).toEqual({
      me: "healthy",
      well: "healthy",
      away: "offline",
      halt: "stopped",
      alien: "healthy",
    });
    expect(
      draw()
        .dots.filter((d) => d.stranger)
        .map((d) => d.id),
    ).toEqual(["alien"]);
  });
  it("tells a link that is not protected, and draws none to where nobody is", () => {
    expect(draw().strokes.map((s) => [s.id, s.open])).toEqual([
      ["me|well", false],
      ["me|halt", true],
    ]);
  });
  it("fades what a filter leaves out and names the few that it keeps", () => {
    const { dots, strokes } = draw({ keeps: (n) => n.deviceId === "well" });
    expect(dots.filter((d) => !d.faded).map((d) => [d.id, d.named, d.label])).toEqual([
      ["well", true, "name of well"],
    ]);
    expect(dots.find((d) => d.id === "away")?.label).toBe("");
    expect(strokes.every((s) => s.faded)).toBe(true);
  });
  it("names and marks the selection even where the filter leaves it out", () => {
    const { dots } = draw({ node: "hal", keeps: () => false });
    const at = dots.find((d) => d.id === "halt");
    expect([at?.selected, at?.named, at?.label]).toEqual([true, true, "name of halt"]);
    expect(draw({ link: "me|well" }).strokes.map((s) => s.selected)).toEqual([true, false]);
  });
  it("leaves out who has no place yet", () => {
    expect(draw({ spots: new Map([["well", { x: 0, y: 0 }]]) })).toMatchObject({
      dots: [{ id: "well" }],
      strokes: [],
    });
  });
});

describe("what is under the pointer", () => {
  const dots = [
    { id: "a", at: { x: 0, y: 0 }, radius: 8 },
    { id: "b", at: { x: 100, y: 0 }, radius: 8 },
    { id: "c", at: { x: 14, y: 0 }, radius: 8 },
  ];
  const strokes = [{ id: "a|b", a: "a", b: "b" }];
  it("is the nearest node, before any link", () => {
    expect(under({ x: 5, y: 1 }, dots, strokes)).toEqual({ node: "a" });
    expect(under({ x: 9, y: 1 }, dots, strokes)).toEqual({ node: "c" });
  });
  it("is a link that passes near, and nothing beyond its ends", () => {
    expect(under({ x: 60, y: 6 }, dots, strokes)).toEqual({ link: "a|b" });
    expect(under({ x: 60, y: 30 }, dots, strokes)).toEqual({});
    expect(under({ x: 140, y: 0 }, dots, strokes)).toEqual({});
  });
});
