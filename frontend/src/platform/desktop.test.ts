import { expect, test } from "vitest";

test("events come whole from gathered text", async () => {
  globalThis.window = {} as never;
  const { blocks } = await import("./desktop");
  const text = 'id: 7\nevent: event\ndata: {"a":"b: c"}\n\n: still here\n\nevent: proposal\ndata: {}\n\n';
  expect([...blocks(text)]).toEqual([
    { name: "event", data: '{"a":"b: c"}', id: "7" },
    { name: "proposal", data: "{}", id: "" },
  ]);
});
