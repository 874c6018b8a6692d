import { describe, expect, it } from "vitest";
import { layout } from "./model";
import { bySite, centres, grounds, hull, sitesOf } from "./sites";
import type { Spot } from "./spots";

const at = (x: number, y: number): Spot => ({ x, y });
const ids = Array.from({ length: 40 }, (_, i) => `n${i}`);
const sites = new Map(ids.flatMap((id, i) => (i % 4 ? [[id, `site ${i % 4}`] as const] : [])));
const settled = (known: ReadonlyMap<string, Spot> = new Map()) => {
  const wires = ids.slice(1).map((b) => ({ a: "n0", b }));
  const work = layout({ ids, wires, known, own: "n0", sites });
  while (!work.run(1_000));
  return work.spots();
};
/** Whether a point is inside a polygon that turns one way. */
const inside = (points: Spot[], p: Spot) =>
  points.every((a, i) => {
    const b = points[(i + 1) % points.length] ?? a;
    return (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x) >= 0;
  });

describe("sites", () => {
  it("are read from what a site file places, and never guessed", () => {
    const device = (deviceId: string | null) => ({ device: { deviceId } });
    const read = sitesOf({
      sites: [
        { name: "north", zones: [device("a"), {}], assets: [device("both"), { device: null }] },
        { name: "south", zones: [device("both")], assets: [device("b"), device(null)] },
      ],
    });
    expect([...read]).toEqual([
      ["a", "north"],
      ["b", "south"],
    ]);
  });
  it("stand apart, with nobody else on their ground", () => {
    const spots = settled();
    const list = grounds(spots, sites, 80);
    expect(list.map((g) => g.site).sort()).toEqual(["site 1", "site 2", "site 3"]);
    for (const { site, points } of list)
      for (const [id, spot] of spots)
        expect(inside(points, spot), `${id} in ${site}`).toBe(sites.get(id) === site);
  });
  it("are the same at every visit, and hold what stood", () => {
    const before = settled();
    expect(settled()).toEqual(before);
    const known = new Map([...before].filter(([id]) => id !== "n5"));
    const after = settled(known);
    for (const [id, spot] of known) expect(after.get(id)).toEqual(spot);
    const middle = centres(new Map([["site 1", bySite(ids, sites).get("site 1") ?? []]]), known, 100);
    const [n5, site] = [after.get("n5") ?? at(9e9, 0), middle.get("site 1") ?? at(0, 0)];
    expect(Math.hypot(n5.x - site.x, n5.y - site.y)).toBeLessThan(700);
  });
  it("have a ground round every one of their nodes", () => {
    expect(hull([at(0, 0), at(4, 0), at(4, 4), at(0, 4), at(2, 2)])).toHaveLength(4);
    const [one] = grounds(new Map([["a", at(5, 5)]]), new Map([["a", "lone"]]), 50);
    expect(one?.top.y).toBeLessThan(-40);
    expect(inside(one?.points ?? [], at(5, 5))).toBe(true);
    expect(grounds(new Map([["a", at(5, 5)]]), new Map(), 50)).toEqual([]);
  });
});
