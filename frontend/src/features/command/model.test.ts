import { describe, expect, it } from "vitest";
import type { Answered } from "@/node/client";
import { asksWord, renewed, understand } from "./model";

it("shows the answer of a model in the place of that of the rules once it has come", () => {
  const of = (answerer: string, answer: string) =>
    ({ id: "a", answerer, answer, proposals: [] }) as never as Answered;
  const lines = [{ text: "How?" }, { text: "by rules", said: of("rules", "by rules") }];
  expect(renewed(lines, [of("rules", "by rules")])).toBe(lines);
  expect(renewed(lines, [of("model", "dry")]).map((l) => l.text)).toEqual(["How?", "dry"]);
});

it("says who asks for what a schedule wants, or why nobody does", () => {
  const pause = { since: 1, by: "ana", reason: "pump service" };
  expect(asksWord({ why: "" }, {})).toBe("this node asks");
  expect(asksWord({ why: "", pause }, {})).toContain("pump service");
  expect(asksWord({ why: "", pause }, { leftTo: "hub" })).toContain("left to hub");
});

describe("understand", () => {
  it("knows status questions and says what it cannot do", () => {
    expect(understand("what waits?", []).kind).toBe("waiting");
    expect(understand("which nodes are offline", []).kind).toBe("nodes");
    expect(understand("what is the moisture?", ["moisture"])).toEqual({ kind: "world", metric: "moisture" });
    expect(understand("Was ist offen?", []).kind).toBe("waiting");
    expect(understand("Welche Knoten sind verbunden?", []).kind).toBe("nodes");
    expect(understand("please water the garden", []).kind).toBe("question");
  });
  it("reads an instruction with parameters and a reason, and refuses half of one", () => {
    expect(understand("/do actuator:mock:valve-1 open durationSec=10 because it is dry", [])).toEqual({
      kind: "do",
      target: "actuator:mock:valve-1",
      operation: "open",
      params: { durationSec: 10 },
      reason: "it is dry",
    });
    expect(understand("/do actuator:mock:valve-1 open weil es trocken ist", [])).toMatchObject({
      kind: "do",
      reason: "es trocken ist",
    });
    expect(
      understand("/do actuator:mock:valve-1 open durationSec=3 at north field because it is dry", []),
    ).toMatchObject({ executor: "north field", params: { durationSec: 3 }, reason: "it is dry" });
    expect(understand("/do actuator:mock:valve-1 open in zone-2 weil es trocken ist", [])).toMatchObject({
      zone: "zone-2",
      reason: "es trocken ist",
    });
    expect(understand("/do actuator:mock:valve-1 open", []).kind).toBe("bad");
  });
});
