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

test("a stop that came before anybody listened is told at once, and only once", async () => {
  type Channel = { onmessage: (told: unknown) => void };
  let page: Channel | undefined;
  let next = 0;
  (globalThis.window as never as Record<string, unknown>).__TAURI_INTERNALS__ = {
    transformCallback: () => ++next,
    unregisterCallback: () => {},
    invoke: (name: string, args: { page: Channel }) => {
      if (name === "desk") page = args.page;
      return Promise.resolve();
    },
  };
  const { attend, onStop } = await import("./desktop");
  attend();
  const stopped = { report: null, problem: "no node runs" };
  page?.onmessage({ kind: "stop", stopped });
  const heard: unknown[] = [];
  onStop((what) => heard.push(what))();
  onStop((what) => heard.push(what));
  expect(heard).toEqual([stopped]);
  page?.onmessage({ kind: "stop", stopped });
  expect(heard).toEqual([stopped, stopped]);
});
