import { describe, expect, it } from "vitest";
import type { NodeEvent, Proposal } from "./client";
import { byUrgency, EVENTS_KEPT, hearing, mergeEvents, notOlder, patchProposals, tellReads } from "./patch";

const p = (id: string, revision: number, level = "L2", expiresAt = 0) =>
  ({ id, revision, level, expiresAt }) as Proposal;
const e = (seq: number) => ({ seq }) as NodeEvent;

describe("patches", () => {
  it("keeps the newer revision whatever the order of arrival", () => {
    expect(patchProposals([p("a", 3)], [p("a", 2)])[0]?.revision).toBe(3);
    expect(patchProposals([p("a", 3)], [p("a", 4)])[0]?.revision).toBe(4);
    expect(patchProposals([p("a", 3)], [p("b", 1)]).map((x) => x.id)).toEqual(["b", "a"]);
  });
  it("takes many at once as it would take them one by one, and leaves alone what they do not change", () => {
    const list = [p("a", 3), p("b", 1)];
    const news = [p("c", 1), p("b", 3), p("b", 2), p("d", 1), p("a", 2)];
    const one = news.reduce((l, x) => patchProposals(l, [x]), list);
    const all = patchProposals(list, news);
    expect(all).toEqual(one);
    expect(all.map((x) => `${x.id}${x.revision}`)).toEqual(["d1", "c1", "a3", "b3"]);
    expect(all[2]).toBe(list[0]);
    expect(patchProposals(list, [p("a", 1)])).toBe(list);
  });
  it("gives a read under way what came meanwhile, and nothing before or after", () => {
    tellReads(p("a", 1));
    const read = hearing();
    tellReads(p("a", 2));
    tellReads(p("b", 1));
    read.end();
    tellReads(p("a", 3));
    expect(patchProposals([p("a", 1)], read.heard).map((x) => `${x.id}${x.revision}`)).toEqual(["b1", "a2"]);
  });
  it("reads nothing that is older than what is known, and forgets what is gone", () => {
    const seen = notOlder([p("a", 1), p("b", 3)], [p("a", 2), p("b", 2), p("gone", 9)]);
    expect(seen.map((x) => `${x.id}${x.revision}`)).toEqual(["a2", "b3"]);
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
