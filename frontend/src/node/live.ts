/**
 * The live side: one event stream that patches the query cache. It resumes by event number, and after
 * every new connection what is on screen is read again, so that nothing rests on a missed patch.
 */
import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { carryStream, type Hears, inWindow } from "@/platform/desktop";
import { get, type NodeEvent, type Proposal, Refused, ROOT } from "./client";
import { mergeEvents, patchProposals, tellReads } from "./patch";

const ASK_EVERY_MS = 5_000;
const ANSWER_MS = 4_000;
const FRAME_MS = 16;
/** So many messages are taken at once at most. */
const TAKEN_MAX = 500;
/** Without an answer for so long, what is on screen is called old. */
const LOST_AFTER_MS = 12_000;

export interface Link {
  state: "connecting" | "live" | "lost";
  /** When the node was last heard. */
  heard: number | null;
}

let link: Link = { state: "connecting", heard: null };
const watchers = new Set<() => void>();
function set(next: Partial<Link>) {
  const was = link.state;
  link = { ...link, ...next };
  if (was !== link.state) for (const w of watchers) w();
}
const subscribe = (w: () => void) => {
  watchers.add(w);
  return () => {
    watchers.delete(w);
  };
};
export const useLink = (): Link => useSyncExternalStore(subscribe, () => link);

/** Which reads an event makes old. */
const OLD: [string, string[]][] = [
  ["peer.", ["status", "topology", "peers", "trust"]],
  ["trust", ["trust", "peers", "topology"]],
  ["operator", ["operators", "session"]],
  ["policy", ["policy", "status"]],
  ["estop", ["estop", "status", "topology", "proposals"]],
  ["proposal", ["status", "audit", "trace"]],
  ["standing", ["approvals", "audit"]],
  ["message.unanswered", ["messages"]],
  ["routing.", ["routing"]],
];

/** The event stream by HTTP, from a browser; ends with `lost`, once. */
function fetchStream(since: string | null, on: Hears): () => void {
  const source = new EventSource(`${ROOT}/stream${since ? `?since=${since}` : ""}`);
  source.onopen = on.open;
  for (const name of ["event", "proposal"])
    source.addEventListener(name, (m) => on.event(name, m.data, m.lastEventId));
  source.onerror = () => {
    source.close();
    on.lost();
  };
  return () => source.close();
}

export function follow(client: QueryClient): () => void {
  let close: (() => void) | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = 500;
  let seen: string | null = null;
  let opened = 0;
  let ended = false;

  const old = new Set<string>();
  const refresh = setInterval(() => {
    for (const key of old) void client.invalidateQueries({ queryKey: [key] });
    old.clear();
  }, 500);

  // A stream that has silently died looks like one on which nothing happens: only an answer counts.
  const asking = setInterval(async () => {
    try {
      await get("/session", { timeoutMs: ANSWER_MS });
      if (link.state === "live") link = { ...link, heard: Date.now() };
    } catch (error) {
      // The session has ended, here or at the node: the page must not go on as if it only were offline.
      if (error instanceof Refused && error.status === 401)
        void client.invalidateQueries({ queryKey: ["session"] });
      // Otherwise counted below, by what was heard last.
    }
    if (link.state === "live" && Date.now() - (link.heard ?? 0) > LOST_AFTER_MS) lose();
  }, ASK_EVERY_MS);

  const connect = () => {
    if (ended) return;
    close = (inWindow ? carryStream : fetchStream)(seen, { open: begun, event: heard, lost: lose });
  };
  const begun = () => {
    wait = 500;
    opened += 1;
    set({ state: "live", heard: Date.now() });
    if (opened > 1) void client.invalidateQueries();
  };
  // What comes in one frame is taken in one: two hundred messages a second must not draw as often.
  let events: NodeEvent[] = [];
  let proposals: Proposal[] = [];
  let due: ReturnType<typeof setTimeout> | undefined;
  const take = () => {
    due = undefined;
    const [e, p] = [events, proposals];
    events = [];
    proposals = [];
    if (e.length)
      client.setQueryData<NodeEvent[]>(["events"], (list) => (list ? mergeEvents(list, e) : list));
    if (p.length)
      client.setQueryData<Proposal[]>(["proposals"], (list) => (list ? patchProposals(list, p) : list));
  };
  const heard = (name: string, data: string, id: string) => {
    set({ heard: Date.now() });
    if (name === "event") {
      const event = JSON.parse(data) as NodeEvent;
      seen = id || seen;
      events.push(event);
      for (const [prefix, keys] of OLD) if (event.kind.startsWith(prefix)) for (const k of keys) old.add(k);
    } else if (name === "proposal") {
      const proposal = JSON.parse(data) as Proposal;
      proposals.push(proposal);
      tellReads(proposal);
      for (const k of ["status", "trace"]) old.add(k);
    } else return;
    // A hidden page has no frames, so a timer; one too full does not wait for it.
    if (events.length + proposals.length >= TAKEN_MAX) {
      clearTimeout(due);
      take();
    } else due ??= setTimeout(take, FRAME_MS);
  };
  // Ours alone reconnects, so that the place in the stream and the pace are known.
  function lose() {
    close?.();
    set({ state: "lost" });
    clearTimeout(timer);
    timer = setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8_000);
  }
  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    clearTimeout(due);
    clearInterval(refresh);
    clearInterval(asking);
    close?.();
  };
}
