import { expect, it } from "vitest";
import type { NodeEvent } from "@/node/client";
import { told } from "./model";

it("tells each thing once, the newest first, with how often", () => {
  const e = (seq: number, message: string) => ({ seq, time: seq * 1000, message }) as NodeEvent;
  const list = told([e(1, "old"), e(5, "a"), e(6, "b"), e(7, "a"), e(8, "a")], 2_000);
  expect(list.map((x) => [x.event.message, x.event.seq, x.times])).toEqual([
    ["a", 8, 3],
    ["b", 6, 1],
  ]);
});
