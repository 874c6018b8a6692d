import { describe, expect, it } from "vitest";
import type { NodeEvent, Proposal } from "./client";
import { byUrgency, EVENTS_KEPT, mergeEvents, patchProposal } from "./patch";

const p = (id: string, revision: number, level = "L2", expiresAt = 0) =>
  ({ id, revision, level, expiresAt }) as Proposal;
const e = (seq: number) => ({ seq }) as NodeEvent;

describe("patches", () => {
  it("keeps the newer revision whatever the order of arrival", () => {
    expect(patchProposal([p("a", 3)], p("a", 2))[0]?.revision).toBe(3);
    expect(patchProposal([p("a", 3)], p("a", 4))[0]?.revision).toBe(4);
    expect(patchProposal([p("a", 3)], p("b", 1)).map((x) => x.id)).toEqual(["b", "a"]);
  });
  it("drops events it has and stays bounded", () => {
    expect(mergeEvents([e(1), e(2)], [e(2), e(3)]).map((x) => x.seq)).toEqual([1, 2, 3]);
    const many = Array.from({ length: EVENTS_KEPT + 50 }, (_, i) => e(i));
    expect(mergeEvents([], many)).toHaveLength(EVENTS_KEPT);
  });
  it("puts the riskiest and then the soonest first", () => {
    const list = [p("late", 1, "L2", 9), p("l3", 1, "L3", 99), p("soon", 1, "L2", 1)];
    expect(list.sort(byUrgency).map((x) => x.id)).toEqual(["l3", "soon", "late"]);
  });
});
