import { describe, expect, it } from "vitest";
import { setLanguage } from "@/lib/i18n";
import type { Checks, Operator, Proposal } from "@/node/client";
import { agreed, checkWord, lastTime, liveChecks, matching, sorted } from "./model";

const p = (id: string, over: object = {}) =>
  ({
    id,
    level: "L2",
    status: "awaiting_approval",
    target: "actuator:mock:valve-1",
    operation: "open",
    runMs: 10_000,
    reason: "dry",
    requestedBy: { name: "dry soil" },
    rule: "water",
    expiresAt: 100,
    updatedAt: 0,
    ...over,
  }) as unknown as Proposal;

describe("approvals", () => {
  it("puts risk before urgency, and what moves now before what is over", () => {
    const { waiting, decided } = sorted([
      p("late"),
      p("soon", { expiresAt: 5 }),
      p("risky", { level: "L3", expiresAt: 999 }),
      p("old", { status: "completed", updatedAt: 1 }),
      p("new", { status: "rejected", updatedAt: 9 }),
      p("runs", { status: "executing", updatedAt: 2 }),
    ]);
    expect(waiting.map((x) => x.id)).toEqual(["risky", "soon", "late"]);
    expect(decided.map((x) => x.id)).toEqual(["runs", "new", "old"]);
  });
  it("finds by every word, whatever the field", () => {
    const list = [p("a1"), p("b2", { reason: "tank is low", target: "actuator:mock:pump-1" })];
    expect(matching(list, "pump LOW").map((x) => x.id)).toEqual(["b2"]);
    expect(matching(list, " ")).toBe(list);
  });
  it("remembers the last one that really ran, not one that was rejected", () => {
    const ran = (id: string, updatedAt: number) => p(id, { status: "completed", updatedAt, outcome: {} });
    expect(
      lastTime(p("now"), [ran("x", 1), ran("y", 3), p("z", { status: "rejected", updatedAt: 9 })])?.id,
    ).toBe("y");
    expect(lastTime(p("now"), [])).toBeUndefined();
    expect(lastTime(ran("y", 3), [ran("x", 1), ran("z", 9)])?.id).toBe("x");
  });
  it("shows what fails first, then the interlocks", () => {
    const checks = ["free", "interlock: b", "duration", "interlock: a > 5"].map((name) => ({
      name,
      passed: name !== "duration",
      detail: "",
    }));
    expect(liveChecks({ checks } as unknown as Checks).map((c) => c.name)).toEqual([
      "duration",
      "interlock: b",
      "interlock: a > 5",
      "free",
    ]);
  });
  it("loses none of 10,000", () => {
    const many = Array.from({ length: 10_000 }, (_, i) =>
      p(String(i), { expiresAt: (i * 7919) % 10_000, status: i % 3 ? "completed" : "awaiting_approval" }),
    );
    const { waiting, decided } = sorted(many);
    matching(decided, "valve");
    expect(waiting.length + decided.length).toBe(10_000);
  });
});

it("names a check in the language of the console and leaves the rule's own text alone", async () => {
  const names = [
    "interlock: tank.level > 5",
    "param durationSec",
    "emergency stop",
    "runs per day",
    "odd one",
  ];
  expect(names.map(checkWord)).toEqual(names);
  await setLanguage("de");
  expect(names.map(checkWord)).toEqual([
    "Verriegelung: tank.level > 5",
    "Parameter durationSec",
    "Not-Halt",
    "Läufe je Tag",
    "odd one",
  ]);
  await setLanguage("en");
});

it("counts people who agreed, not their keys, and no rejection", () => {
  const known = [
    { operatorId: "a1", person: "ada", name: "Ada" },
    { operatorId: "a2", person: "ada", name: "Ada" },
  ] as unknown as Operator[];
  const vote = (operatorId: string, verdict = "approve") => ({
    decision: { operatorId, verdict },
    signature: "",
  });
  const yes = agreed([vote("a1"), vote("a2"), vote("a1"), vote("b9", "reject"), null, {}], known);
  expect(yes).toEqual([{ person: "ada", name: "Ada", keys: ["a1", "a2"] }]);
  expect(agreed([vote("a1"), vote("0123456789ab")], known).map((a) => a.name)).toEqual(["Ada", "01234567"]);
});
