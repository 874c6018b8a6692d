import { expect, it } from "vitest";
import type { NodeEvent, Proposal } from "@/node/client";
import { sentence, told } from "./model";

it("tells each thing once, the newest first, with how often", () => {
  const e = (seq: number, message: string) => ({ seq, time: seq * 1000, message }) as NodeEvent;
  const list = told([e(1, "old"), e(5, "a"), e(6, "b"), e(7, "a"), e(8, "a")], 2_000);
  expect(list.map((x) => [x.event.message, x.event.seq, x.times])).toEqual([
    ["a", 8, 3],
    ["b", 6, 1],
  ]);
});

it("says in plain words what a proposal came to, and leads there", () => {
  const data = { proposalId: "p1", status: "executing" };
  const e = {
    kind: "proposal.updated",
    message: "Proposal p1 of f: executing",
    data,
  } as unknown as NodeEvent;
  const p = { id: "p1", operation: "open", target: "actuator:x:valve-1", runMs: 10_000 } as Proposal;
  expect(sentence(e, new Map([["p1", p]]))).toEqual({
    text: "Open valve-1 for 10 s: running",
    to: { to: "/approvals", search: { id: "p1" } },
  });
  expect(sentence(e, new Map()).text).toBe(e.message);
  expect(sentence({ ...e, data: null }, new Map()).to).toBeUndefined();
});
