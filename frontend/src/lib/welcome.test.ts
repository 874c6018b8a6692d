import { expect, it } from "vitest";
import { badName, isFirstRun } from "./welcome";

it("is offered to a new node, once, and never to a demonstration", () => {
  const fresh = { demo: false, trusted: 0, peers: 0, dismissed: false };
  expect(isFirstRun(fresh)).toBe(true);
  expect(isFirstRun({ ...fresh, demo: true })).toBe(false);
  expect(isFirstRun({ ...fresh, trusted: 1 })).toBe(false);
  expect(isFirstRun({ ...fresh, peers: 1 })).toBe(false);
  expect(isFirstRun({ ...fresh, dismissed: true })).toBe(false);
  // Not before it is known: a page that jumps away is worse than one that waits.
  expect(isFirstRun({ ...fresh, trusted: undefined })).toBe(false);
});
it("knows names that cannot be", () => {
  expect([badName("Küche 1"), badName("  "), badName("x".repeat(129)), badName("a\u202eb")]).toEqual([
    undefined,
    "empty",
    "long",
    "odd",
  ]);
});
