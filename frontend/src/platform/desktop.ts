/**
 * The desktop window's side of the bridge: requests and the event stream by Tauri's IPC, and what the
 * application tells of itself. In a browser nothing here is called.
 */
import { Channel, invoke } from "@tauri-apps/api/core";
import type { components } from "@/contract/operator.gen";

type S = components["schemas"];

export const inWindow = "__TAURI_INTERNALS__" in window;

/** What the API answered, whichever way it travelled. */
export interface Answer {
  status: number;
  text: string;
}

type Shaped = ArrayBuffer | number[];

/** Three digits of status, a line break, the body. */
function unshape(shaped: Shaped): Answer {
  const bytes = new Uint8Array(shaped);
  const text = new TextDecoder().decode(bytes);
  return { status: Number(text.slice(0, 3)), text: text.slice(4) };
}

export async function carry(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string | undefined,
  timeoutMs: number,
): Promise<Answer> {
  // A decision without a passphrase is signed by the application, on the person's own press.
  if (path.endsWith("/console/decide") && body) {
    const asked = JSON.parse(body) as Record<string, unknown>;
    // It may wait for the keychain, and so for the person.
    if (asked.passphrase === undefined) return unshape(await invoke<Shaped>("decide", { asked }));
  }
  const allowed = Object.entries(headers).filter(([name]) => name !== "x-clawmesh-csrf");
  const asked = { method, path, headers: allowed, body: body ?? null };
  return unshape(await within(timeoutMs, invoke<Shaped>("request", { asked })));
}

/** The application gives up by itself; this is for one that hangs. */
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => failed(new Error("no answer in time")), ms);
    work.then(done, failed).finally(() => clearTimeout(timer));
  });
}

type Piece = { kind: "begun"; status: number } | { kind: "text"; text: string } | { kind: "end" };

/**
 * A request whose answer comes piece by piece; its status, and the whole body where that is a refusal. Ending the
 * signal ends the request at the node.
 */
export function carryLines(
  path: string,
  body: string,
  on: (text: string) => void,
  signal: AbortSignal,
): Promise<Answer> {
  const asked = { method: "POST", path, headers: [["content-type", "application/json"]], body };
  return new Promise((done, failed) => {
    let status = 0;
    let text = "";
    let over = false;
    const finish = (how: () => void) => {
      if (over) return;
      over = true;
      how();
    };
    const page = new Channel<Piece>((told) => {
      if (over) return;
      if (told.kind === "begun") status = told.status;
      else if (told.kind === "end") finish(() => done({ status, text }));
      else if (status === 200) on(told.text);
      else text += told.text;
    });
    invoke<number>("listen", { asked, page }).then(
      (number) => {
        const leave = () => {
          void invoke("leave", { number });
          finish(() => failed(signal.reason));
        };
        if (signal.aborted) leave();
        else signal.addEventListener("abort", leave, { once: true });
      },
      (why) => finish(() => failed(why)),
    );
  });
}

type Told = { kind: "open" | "resync" } | { kind: "events"; text: string } | { kind: "end"; why: string };

export interface Hears {
  open(): void;
  event(name: string, data: string, id: string): void;
  lost(): void;
}

/** Server-sent events as text: blocks of `field: value` lines, apart by an empty line. */
export function* blocks(text: string): Generator<{ name: string; data: string; id: string }> {
  for (const block of text.split("\n\n")) {
    let [name, id] = ["message", ""];
    const data: string[] = [];
    for (const line of block.split("\n")) {
      const at = line.indexOf(":");
      if (at <= 0) continue;
      const value = line.slice(at + 1).replace(/^ /, "");
      const field = line.slice(0, at);
      if (field === "event") name = value;
      else if (field === "id") id = value;
      else if (field === "data") data.push(value);
    }
    if (data.length) yield { name, data: data.join("\n"), id };
  }
}

/** The event stream of the window; ends with `lost`, once. */
export function carryStream(since: string | null, on: Hears): () => void {
  let over = false;
  let stream = 0;
  let taken = 0;
  const lose = () => {
    if (!over) on.lost();
    over = true;
  };
  const page = new Channel<Told>((told) => {
    if (over) return;
    if (told.kind === "open") on.open();
    else if (told.kind === "events") {
      for (const { name, data, id } of blocks(told.text)) on.event(name, data, id);
      taken += 1;
      void invoke("heard", { stream, count: taken });
    } else lose();
  });
  invoke<number>("follow", { since: since === null ? null : Number(since), page }).then((number) => {
    stream = number;
    if (taken) void invoke("heard", { stream, count: taken });
  }, lose);
  return () => {
    over = true;
  };
}

export type Stage =
  | { stage: "starting" | "ending" }
  | { stage: "failed"; why: string }
  | { stage: "keychain"; why: string; filePossible: boolean; absent: boolean }
  | { stage: "running"; name: string; deviceId: string; run: number };

/** What was chosen for this desktop. */
export interface DeskSettings {
  notifications?: boolean;
  silentHours?: { from: string; to: string };
}

/** Who installs an update: this application, a package manager's command, the system's installer, the person; `source` built it. */
export type UpdateBy = "us" | "command" | "installer" | "image" | "source";
/** Newer versions of this application. */
export type Update = { here: string; from: string } & (
  | { is: "unasked" | "looking" | "newest" }
  | { is: "offered"; version: string; by: UpdateBy }
  | { is: "bringing"; version: string; megabytes: number }
  | { is: "ready"; version: string; by: UpdateBy; command: string | null }
  | { is: "failed"; why: string }
);

/** The desktop around the page; `autostart` is null where it is not offered, `update` where no place is known to ask. */
export type Desk = Stage & {
  notes: string[];
  tray: boolean;
  stateDir: string;
  settings: DeskSettings;
  autostart: boolean | null;
  update: Update | null;
};

/** What an emergency stop from outside the page came to; the report is absent if nobody was asked. */
export interface Stopped {
  report: S["EstopReport"] | null;
  problem: string | null;
}

type DeskTold =
  | { kind: "desk"; desk: Desk }
  | { kind: "goto"; path: string }
  | { kind: "stop"; stopped: Stopped };

let desk: Desk | undefined;
let going: string | undefined;
let visit: ((path: string) => void) | undefined;
let stopped: Stopped | undefined;
let onStopped: ((what: Stopped) => void) | undefined;
const watchers = new Set<() => void>();

/** Listens to the application from now on. */
export function attend(): void {
  const page = new Channel<DeskTold>((told) => {
    if (told.kind === "desk") {
      desk = told.desk;
      for (const w of watchers) w();
    } else if (told.kind === "stop") {
      if (onStopped) onStopped(told.stopped);
      else stopped = told.stopped;
    } else if (visit) visit(told.path);
    else going = told.path;
  });
  void invoke("desk", { page });
}

export const deskNow = (): Desk | undefined => desk;
export const onDesk = (watcher: () => void): (() => void) => {
  watchers.add(watcher);
  return () => {
    watchers.delete(watcher);
  };
};

/** Where the tray or a notification sends the page; one that came before is visited at once. */
export function onGoto(how: (path: string) => void): void {
  visit = how;
  if (going) how(going);
  going = undefined;
}

/** What the tray's emergency stop came to; one that came before is told at once. */
export function onStop(how: (what: Stopped) => void): () => void {
  onStopped = how;
  if (stopped) how(stopped);
  stopped = undefined;
  return () => {
    onStopped = undefined;
  };
}
/** The person has closed it. */
export const stopSeen = (): Promise<void> => invoke("stop_seen");

export const choose = (choice: "retry" | "file"): Promise<void> => invoke("choose", { choice });
/** Changes this desktop's settings; refuses with a sentence. */
export const configure = (change: { autostart?: boolean; settings?: DeskSettings }): Promise<void> =>
  invoke("configure", { change });
/** A step of an update, with a person's press; refuses with a sentence. */
export const takeUpdate = (
  step: { step: "look" | "restart" } | { step: "install"; version: string },
): Promise<void> => invoke("update", { step });
export const quit = (): Promise<void> => invoke("quit");
/** Opens the demonstration farm in a window of its own; refuses with a sentence. */
export const tryDemo = (): Promise<void> => invoke("try_demo");
