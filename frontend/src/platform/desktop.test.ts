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

test("an answer in the window is told piece by piece, and stopping it ends it at the node", async () => {
  type Channel = { onmessage: (told: unknown) => void };
  const calls: [string, Record<string, unknown>][] = [];
  let next = 0;
  (globalThis.window as never as Record<string, unknown>).__TAURI_INTERNALS__ = {
    transformCallback: () => ++next,
    unregisterCallback: () => {},
    invoke: (name: string, args: Record<string, unknown>) => {
      calls.push([name, args]);
      return Promise.resolve(7);
    },
  };
  const { carryLines } = await import("./desktop");
  const page = () => calls.findLast(([name]) => name === "listen")?.[1].page as Channel;
  const heard: string[] = [];
  const whole = carryLines("/x", "{}", (text) => heard.push(text), new AbortController().signal);
  page().onmessage({ kind: "begun", status: 200 });
  page().onmessage({ kind: "text", text: "one\n" });
  expect(heard).toEqual(["one\n"]);
  page().onmessage({ kind: "end" });
  expect(await whole).toEqual({ status: 200, text: "" });

  const stop = new AbortController();
  const stopped = carryLines("/x", "{}", (text) => heard.push(text), stop.signal);
  await Promise.resolve();
  stop.abort(new Error("stopped"));
  await expect(stopped).rejects.toThrow("stopped");
  expect(calls.at(-1)).toEqual(["leave", { number: 7 }]);
  page().onmessage({ kind: "begun", status: 200 });
  page().onmessage({ kind: "text", text: "late\n" });
  expect(heard).toEqual(["one\n"]);

  const refused = carryLines("/x", "{}", (text) => heard.push(text), new AbortController().signal);
  page().onmessage({ kind: "begun", status: 503 });
  page().onmessage({ kind: "text", text: "{}" });
  page().onmessage({ kind: "end" });
  expect(await refused).toEqual({ status: 503, text: "{}" });
  expect(heard).toEqual(["one\n"]);
});
