import { describe, expect, it } from "vitest";
import { fitted, growth, panned, toPage, toPlace, zoomed } from "./camera";

const size = { width: 800, height: 600 };
const spots = [
  { x: -3_000, y: -500 },
  { x: 1_000, y: 900 },
];

describe("the camera", () => {
  const c = fitted(spots, size);
  it("has all of it in sight", () => {
    for (const s of spots) {
      const p = toPage(c, size, s);
      expect(p.x).toBeGreaterThan(20);
      expect(p.x).toBeLessThan(780);
      expect(p.y).toBeGreaterThan(20);
      expect(p.y).toBeLessThan(580);
    }
    expect(fitted([], size).scale).toBe(1);
    expect(fitted([{ x: 5, y: 5 }], size).scale).toBeLessThan(2);
  });
  it("finds the place under a point again", () => {
    const p = toPlace(c, size, { x: 123, y: 456 });
    expect(toPage(c, size, p).x).toBeCloseTo(123);
    expect(toPage(c, size, p).y).toBeCloseTo(456);
  });
  it("holds what is under the pointer while it zooms, within bounds", () => {
    const at = { x: 700, y: 100 };
    const near = zoomed(c, size, 3, at);
    expect(toPlace(near, size, at).x).toBeCloseTo(toPlace(c, size, at).x);
    expect(toPlace(near, size, at).y).toBeCloseTo(toPlace(c, size, at).y);
    expect(zoomed(c, size, 1e9, at).scale).toBeLessThan(c.scale * 100);
    expect(zoomed(c, size, 1e-9, at).scale).toBeGreaterThan(c.scale / 100);
    expect(growth(near)).toBeGreaterThan(growth(c));
    const phone = { ...c, scale: 0.05, whole: 0.05 };
    expect(growth(phone)).toBeLessThan(0.5);
  });
  it("moves what is seen with the hand", () => {
    const was = toPage(c, size, { x: 0, y: 0 });
    const now = toPage(panned(c, 30, -10), size, { x: 0, y: 0 });
    expect([now.x - was.x, now.y - was.y]).toEqual([expect.closeTo(30), expect.closeTo(-10)]);
  });
});
