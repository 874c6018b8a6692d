import { describe, expect, it } from "vitest";
import { flows, type Link, layout, linkId, ring, thickness, type Wire } from "./model";
import type { Sites } from "./sites";
import type { Spots } from "./spots";

const ids = (n: number) => Array.from({ length: n }, (_, i) => `n${String(i).padStart(3, "0")}`);
const star = (list: string[]): Wire[] => list.slice(1).map((b) => ({ a: list[0] ?? "", b }));
const settle = (ids: string[], wires: Wire[], known: Spots, own?: string, sites?: Sites) => {
  const l = layout({ ids, wires, known, own, sites });
  while (!l.run(1_000));
  return l.spots();
};

describe("layout", () => {
  it("is the same for the same graph, whatever the order", () => {
    const list = ids(12);
    const one = settle(list, star(list), new Map(), "n000");
    const two = settle(list, star(list), new Map(), "n000");
    expect(two).toEqual(one);
    expect(ring([...list].reverse(), "n003")).toEqual(ring(list, "n003"));
  });
  it("puts no two nodes on top of each other and our own in the middle", () => {
    const list = ids(30);
    const spots = settle(list, star(list), new Map(), "n000");
    expect(spots.get("n000")).toEqual({ x: 0, y: 0 });
    for (const a of list)
      for (const b of list)
        if (a < b) {
          const [p, q] = [spots.get(a), spots.get(b)];
          expect(Math.hypot((p?.x ?? 0) - (q?.x ?? 0), (p?.y ?? 0) - (q?.y ?? 0))).toBeGreaterThan(150);
        }
  });
  it("moves nothing that is known when a node comes or goes", () => {
    const list = ids(10);
    const before = settle(list, star(list), new Map(), "n000");
    const more = settle([...list, "zz"], star([...list, "zz"]), before, "n000");
    for (const id of list) expect(more.get(id)).toEqual(before.get(id));
    expect(more.has("zz")).toBe(true);
    const fewer = settle(list.slice(0, 5), [], before, "n000");
    for (const id of list.slice(0, 5)) expect(fewer.get(id)).toEqual(before.get(id));
  });
  it("bears links to nodes that are not there", () => {
    expect(settle(["a"], [{ a: "a", b: "gone" }], new Map(), "a").size).toBe(1);
    expect(settle([], [], new Map(), undefined).size).toBe(0);
  });
  it("works in slices, so that 500 nodes block the page for no longer than asked", () => {
    const list = ids(500);
    const l = layout({ ids: list, wires: star(list), known: new Map(), own: "n000" });
    expect(l.run(1)).toBe(false);
    expect(l.spots().size).toBe(500);
  });
});

describe("traffic", () => {
  const link = (bytesIn: number | null) => ({ a: "x", b: "y", bytesIn }) as Link;
  it("is told from two reports, never invented from one", () => {
    const one = flows(new Map(), [link(1_000)], 10_000);
    expect(one.get(linkId(link(0)))?.perSec).toBeNull();
    const two = flows(one, [link(3_000)], 12_000);
    expect(two.get("x|y")?.perSec).toBe(1_000);
    expect(flows(two, [link(10)], 14_000).get("x|y")?.perSec).toBeNull();
    expect(flows(two, [link(null)], 14_000).size).toBe(0);
  });
  it("is drawn in bounds", () => {
    expect(thickness(null)).toBe(1.2);
    expect(thickness(1e12)).toBe(6);
  });
});
