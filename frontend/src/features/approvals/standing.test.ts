import { describe, expect, it } from "vitest";
import type { Given, Offer, Proposal } from "@/node/client";
import {
  allowedOf,
  begin,
  bounds,
  compose,
  type Form,
  found,
  moment,
  offerFor,
  ordered,
  runMax,
  stands,
  useOf,
  wall,
} from "./standing";

const NOW = 1_000_000;
const given = (over: object = {}) =>
  ({
    id: "ab",
    state: "counts",
    used: 0,
    usesMax: 3,
    validUntil: NOW + 1,
    givenAt: 1,
    target: "actuator:mock:pump-1",
    operation: "start",
    name: "ada",
    executorName: "field-1",
    uses: [],
    ...over,
  }) as unknown as Given;
const integer = { is: "integer", required: true, min: 1, max: 600 } as const;
const offer = {
  executor: "e",
  target: "actuator:mock:pump-1",
  operation: "start",
  rule: "pump",
  deadlineMs: 600_000,
  durationParam: "durationSec",
  params: {
    durationSec: integer,
    mode: { is: "text", required: false, values: ["soft", "hard"] },
  },
} as Offer;
const put = (least: string, most: string) => ({ on: true, least, most, is: "" });
const form = (over: Partial<Form> = {}): Form => ({
  params: { durationSec: put("60", "600"), mode: { on: false, least: "", most: "", is: "soft" } },
  uses: "3",
  until: wall(NOW + 3_600_000),
  rules: true,
  persons: false,
  note: " ",
  ...over,
});
const MOST = { uses: 100, ms: 604_800_000 };

describe("standing approvals", () => {
  it("stand where people tell them apart", () => {
    const ended = (over: object) => stands(given({ state: "ended", ...over }), NOW);
    expect([stands(given(), NOW), stands(given({ state: "held" }), NOW)]).toEqual(["counts", "held"]);
    expect(ended({ why: "revoked by ada: rain", used: 3, validUntil: 0 })).toBe("revoked");
    expect(ended({ why: "used up", used: 3 })).toBe("usedUp");
    expect(ended({ why: "its time has run out", validUntil: NOW })).toBe("ranOut");
    expect(ended({ why: "ended by an administrator" })).toBe("ended");
  });
  it("list what counts first, and find by every word", () => {
    const list = [
      given({ id: "old", state: "ended", givenAt: 9 }),
      given({ id: "later", state: "later", givenAt: 8 }),
      given({ id: "new", givenAt: 7 }),
      given({ id: "held", state: "held", givenAt: 6 }),
    ];
    expect(ordered(list, NOW).map((a) => a.id)).toEqual(["new", "held", "later", "old"]);
    expect(found(list, "PUMP old").map((a) => a.id)).toEqual(["old"]);
    expect(found(list, " ")).toBe(list);
  });
  it("tell which use a proposal began by", () => {
    const list = [given(), given({ id: "cd", uses: [{ proposalId: "p1" }, { proposalId: "p2" }] })];
    expect(useOf(list, "p2")).toMatchObject({ number: 2, of: { id: "cd" } });
    expect(useOf(list, "p3")).toBeUndefined();
  });
  it("are offered for the very action at the very executor", () => {
    const p = { executor: "e", target: offer.target, operation: "start" };
    expect(offerFor([offer], p)).toBe(offer);
    expect(offerFor([offer], { ...p, executor: "other" })).toBeUndefined();
    expect(offerFor([offer], { ...p, operation: "stop" })).toBeUndefined();
  });
});

describe("the form", () => {
  it("begins with what was asked for: as long or shorter, of everything else exactly that", () => {
    const from = { params: { durationSec: 20, level: 7 } } as unknown as Proposal;
    expect(begin("durationSec", integer, offer, from)).toMatchObject({ least: "1", most: "20" });
    expect(begin("level", integer, offer, from)).toMatchObject({ least: "7", most: "7" });
    expect(begin("durationSec", integer, offer, undefined)).toMatchObject({ least: "1", most: "600" });
    expect(begin("mode", { is: "text", required: false, values: ["soft"] }, offer, from).on).toBe(false);
  });
  it("takes numbers within what the policy allows, and says what is wrong with others", () => {
    expect(allowedOf(integer, put("60", "600"))).toEqual({ min: 60, max: 600 });
    expect(allowedOf(integer, put("60", "60"))).toEqual({ is: 60 });
    expect(allowedOf(integer, put("", "600"))).toBe("notNumber");
    expect(allowedOf(integer, put("1e999", "600"))).toBe("notNumber");
    expect(allowedOf(integer, put("1.5", "600"))).toBe("notWhole");
    expect(allowedOf(integer, put("600", "60"))).toBe("reversed");
    expect(allowedOf(integer, put("0", "60"))).toBe("outside");
    expect(allowedOf(integer, put("1", "601"))).toBe("outside");
    expect(allowedOf({ is: "boolean", required: true }, { ...put("", ""), is: "false" })).toEqual({
      is: false,
    });
  });
  it("signs exactly what it says, and an optional parameter only where it was chosen", () => {
    expect(compose(offer, form(), NOW, MOST)).toEqual({
      wish: {
        executor: "e",
        target: "actuator:mock:pump-1",
        operation: "start",
        params: { durationSec: { min: 60, max: 600 } },
        askers: ["rules"],
        runMaxMs: 600_000,
        usesMax: 3,
        validUntil: moment(wall(NOW + 3_600_000)),
      },
    });
    const more = compose(
      offer,
      form({
        params: { durationSec: put("5", "5"), mode: { on: true, least: "", most: "", is: "hard" } },
        persons: true,
        note: " me ",
      }),
      NOW,
      MOST,
    );
    expect(more).toMatchObject({
      wish: { params: { mode: { is: "hard" } }, askers: ["rules", "person"], runMaxMs: 5_000, note: "me" },
    });
  });
  it("signs nothing while something is wrong", () => {
    const problem = (over: Partial<Form>) =>
      (compose(offer, form(over), NOW, MOST) as { problem?: string }).problem;
    expect(problem({ uses: "0" })).toMatch(/1 to 100/);
    expect(problem({ uses: "101" })).toMatch(/1 to 100/);
    expect(problem({ uses: "2.5" })).toMatch(/whole/);
    expect(problem({ until: "" })).toMatch(/7 days/);
    expect(problem({ until: wall(NOW - 3_600_000) })).toMatch(/to come/);
    expect(problem({ until: wall(NOW + 8 * 86_400_000) })).toMatch(/7 days/);
    expect(problem({ rules: false })).toMatch(/whose wishes/);
    expect(problem({ params: { durationSec: put("60", "601") } })).toMatch(/durationSec.*1 to 600/);
    expect(problem({ params: {} })).toBeUndefined();
  });
  it("knows the longest that one use runs", () => {
    expect(runMax(offer, { durationSec: { min: 1, max: 90 } })).toBe(90_000);
    expect(runMax(offer, { durationSec: { is: 2.5 } })).toBe(2_500);
    expect(runMax(offer, {})).toBe(600_000);
    expect(runMax({ ...offer, durationParam: null }, {})).toBe(600_000);
  });
  it("shows what each parameter may be", () => {
    expect(bounds({ a: { min: 1, max: 2 }, b: { is: "x" }, c: { is: true } })).toEqual([
      ["a", "1 to 2"],
      ["b", "x"],
      ["c", "true"],
    ]);
  });
});
