import { expect, test } from "vitest";
import type { Model, Offering } from "@/node/client";
import { condition, elsewhere, keyRows, used } from "./model";

const model = (over: Partial<Model> = {}): Model =>
  ({
    model: "openai/big",
    local: false,
    key: "provider/openai",
    variable: null,
    unfit: null,
    seen: {},
    ...over,
  }) as Model;

test("a model is what keeps it from being asked, else how it did last", () => {
  expect(condition(model())).toBe("unasked");
  expect(condition(model({ seen: { answeredAt: 5, failedAt: 3 } as never }))).toBe("fit");
  expect(condition(model({ seen: { answeredAt: 5, failedAt: 7 } as never }))).toBe("failed");
  const unfit = { kind: "budget", why: "used up" } as const;
  expect(condition(model({ unfit, seen: { answeredAt: 5 } as never }))).toBe("budget");
});

test("a key is missing where a model elsewhere has none", () => {
  const models = [
    model(),
    model({ model: "openai/small" }),
    model({ model: "google/x", key: "provider/google", variable: "GEMINI_API_KEY" }),
    model({ model: "ollama/y", key: "provider/ollama", local: true }),
  ];
  const rows = keyRows(models, [{ name: "provider/old", setAt: 9 }]);
  expect(rows.map((r) => [r.name, r.missing])).toEqual([
    ["provider/google", false],
    ["provider/old", false],
    ["provider/openai", true],
  ]);
  expect(rows[2]?.models).toEqual(["openai/big", "openai/small"]);
});

test("what other nodes serve is told by their capabilities", () => {
  const node = (own: boolean, capabilities: string[]) => ({ own, capabilities }) as Offering;
  const found = elsewhere([
    node(true, ["llm:ollama/own"]),
    node(false, ["sensor:moisture", "llm:ollama/qwen:1.5b", "llm:"]),
  ]);
  expect(found.map((f) => f.model)).toEqual(["ollama/qwen:1.5b"]);
});

test("a limit of nothing is used up", () => {
  expect(used(0, 0)).toBe(1);
  expect(used(5, 10)).toBe(0.5);
  expect(used(5, null)).toBeUndefined();
});
