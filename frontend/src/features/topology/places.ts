/**
 * Where the nodes stand, for whatever draws them: laid out beside the page, kept over a visit to another
 * page; what a person dragged somewhere outlives the browser. Knows nothing of how it is drawn.
 */
import { useCallback, useEffect, useRef, useState } from "react";
import { keep, recall } from "@/lib/keep";
import type { Topology } from "@/node/client";
import { type Asked, layout } from "./model";
import type { Sites } from "./sites";
import type { Spot, Spots } from "./spots";

const stood = new Map<string, Spot>();
/** The sites they stand by. */
let stoodBy = "";
const PINS = "topology.pins";
const SLICE_MS = 8;

/** A worker that has not answered by then may never do so. */
const WORKER_MS = 10_000;

/** Lays out in a worker; where there is none, in slices between frames. The answer comes once, or never after `stop`. */
function settle(asked: Asked, done: (spots: Spots) => void): () => void {
  let frame = 0;
  let worker: Worker | undefined;
  let late: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    clearTimeout(late);
    cancelAnimationFrame(frame);
    worker?.terminate();
    worker = undefined;
  };
  const here = () => {
    end();
    const work = layout(asked);
    const step = () => {
      if (work.run(SLICE_MS)) done(work.spots());
      else frame = requestAnimationFrame(step);
    };
    step();
  };
  try {
    worker = new Worker(new URL("./layout.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Spots>) => {
      end();
      done(data);
    };
    worker.onerror = here;
    late = setTimeout(here, WORKER_MS);
    worker.postMessage(asked);
  } catch {
    here();
  }
  return end;
}

export interface Places {
  spots: Spots;
  /** Whether everything stands where it will stand. */
  settled: boolean;
  pins: Record<string, Spot>;
  pin: (moved: readonly { id: string; at: Spot }[]) => void;
  /** Lays out anew; pinned nodes stay, unless `all` is to move. */
  tidy: (all: boolean) => void;
  /** How often it was laid out anew: the view is fitted then. */
  again: number;
}

export function usePlaces(top: Topology, sites: Sites): Places {
  const [again, setAgain] = useState(0);
  const [pins, setPins] = useState<Record<string, Spot>>(() => recall(PINS, {}));
  if (!stood.size) for (const [id, spot] of Object.entries(pins)) stood.set(id, spot);
  const ids = top.nodes.map((n) => n.deviceId).join();
  const [spots, setSpots] = useState<Spots>(() => new Map(stood));
  const [settled, setSettled] = useState("");
  // The links of the moment the nodes changed: a link that flaps must not move anything.
  const latest = useRef({ top, sites });
  latest.current = { top, sites };
  const by = [...sites].join(";");
  const wish = `${ids} ${again} ${by}`;
  useEffect(() => {
    const { top, sites } = latest.current;
    const list = ids.split(",").filter(Boolean);
    const done = (next: Spots) => {
      for (const [id, spot] of next) stood.set(id, spot);
      setSpots(new Map(stood));
      setSettled(wish);
    };
    // Sites that came or changed move what stood without them; what a person placed stays.
    if (by !== stoodBy) {
      stood.clear();
      for (const [id, spot] of Object.entries(recall<Record<string, Spot>>(PINS, {}))) stood.set(id, spot);
      stoodBy = by;
    }
    // Back on the page with nothing new, everything stands already.
    if (list.every((id) => stood.has(id))) return done(new Map());
    const wires = top.links.map(({ a, b }) => ({ a, b }));
    const own = top.nodes.find((n) => n.own)?.deviceId;
    return settle({ ids: list, wires, known: new Map(stood), own, sites }, done);
    // `again` is the wish to lay everything out anew.
  }, [wish]);
  const pin = useCallback((moved: readonly { id: string; at: Spot }[]) => {
    setPins((was) => {
      const next = { ...was };
      for (const { id, at } of moved) {
        const spot = { x: Math.round(at.x), y: Math.round(at.y) };
        next[id] = spot;
        stood.set(id, spot);
      }
      keep(PINS, next);
      return next;
    });
    setSpots(() => {
      for (const { id, at } of moved) stood.set(id, { x: Math.round(at.x), y: Math.round(at.y) });
      return new Map(stood);
    });
  }, []);
  const tidy = useCallback(
    (all: boolean) => {
      stood.clear();
      if (!all) for (const [id, spot] of Object.entries(pins)) stood.set(id, spot);
      else {
        setPins({});
        keep(PINS, {});
      }
      setAgain((n) => n + 1);
    },
    [pins],
  );
  return { spots, settled: settled === wish, pins, pin, tidy, again };
}
