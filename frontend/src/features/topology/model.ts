/**
 * Where nodes stand and what a link carries; pure. The force layout starts from where nodes stood before,
 * and what stood there holds its place: an update moves nothing, a new node finds room beside the others.
 */
import {
  forceCollide,
  forceLink,
  forceManyBody,
  forceSimulation,
  forceX,
  forceY,
  type SimulationNodeDatum,
} from "d3-force";
import type { Topology } from "@/node/client";
import { bySite, centres, type Sites } from "./sites";
import type { Spot, Spots } from "./spots";

export interface Wire {
  a: string;
  b: string;
}

const RING = 400;
/** Flat, because screens are wide. */
const FLAT = 0.6;
const TICKS_MAX = 300;
/** A large graph gets fewer rounds: each costs more, and its pattern shows early. */
const ticksFor = (nodes: number): number =>
  Math.max(80, Math.min(TICKS_MAX, Math.round(40_000 / Math.max(1, nodes))));
const NODE_RADIUS = 130;
/** A node with so few links belongs to who is at their other end. */
const LEAF_LINKS_MAX = 3;
/** Above this many they stand closer: the pattern is looked at, not the boxes. */
export const MANY = 120;

/** A place that depends on ids alone: the same graph looks the same at every visit. */
export function ring(ids: readonly string[], own: string | undefined): Map<string, Spot> {
  const spots = new Map<string, Spot>();
  if (own && ids.includes(own)) spots.set(own, { x: 0, y: 0 });
  const rest = ids.filter((id) => id !== own).sort();
  for (let round = 1, placed = 0; placed < rest.length; round += 1) {
    const here = rest.slice(placed, placed + round * 6);
    here.forEach((id, i) => {
      const angle = (2 * Math.PI * i) / here.length + round * 0.3;
      spots.set(id, { x: RING * round * Math.cos(angle), y: RING * FLAT * round * Math.sin(angle) });
    });
    placed += here.length;
  }
  return spots;
}

interface Body extends SimulationNodeDatum {
  id: string;
}

/** What the layout is made from; it travels to the worker as it is. */
export interface Asked {
  ids: readonly string[];
  wires: readonly Wire[];
  known: Spots;
  own?: string;
  sites?: Sites;
}

/** The forces; call `run` until it says it is at rest. Split in steps, for where there is no worker. */
export function layout({ ids, wires, known, own, sites = new Map() }: Asked) {
  const spread = ids.length > MANY ? NODE_RADIUS * 0.65 : NODE_RADIUS;
  // Without sites everything belongs to one middle, and the links decide.
  const members = sites.size ? bySite(ids, sites) : undefined;
  const middles = members ? centres(members, known, spread * 1.1) : undefined;
  const middle = (id: string): Spot => middles?.get(sites.get(id) ?? "") ?? { x: 0, y: 0 };
  const fresh = new Map<string, Spot>();
  for (const [site, list] of members ?? [["", ids] as const])
    for (const [id, spot] of ring(list, own)) {
      const at = middles?.get(site) ?? { x: 0, y: 0 };
      const scale = members ? 0.35 : 1;
      fresh.set(id, { x: at.x + spot.x * scale, y: at.y + spot.y * scale });
    }
  const near = new Map<string, Spot[]>();
  for (const { a, b } of wires)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const spot = known.get(to);
      if (spot) near.set(from, [...(near.get(from) ?? []), spot]);
    }
  const anyKnown = ids.some((id) => known.has(id));
  const bodies: Body[] = ids.map((id) => {
    const stood = known.get(id);
    if (stood) {
      // What stood somewhere stays there while others are new beside it.
      return { id, x: stood.x, y: stood.y, fx: stood.x, fy: stood.y };
    }
    const base = fresh.get(id) ?? { x: 0, y: 0 };
    const friend = near.get(id)?.[0];
    const beside = anyKnown && friend && !sites.has(id);
    const at = beside ? { x: friend.x + base.x / 3, y: friend.y + base.y / 3 } : base;
    const body: Body = { id, x: at.x, y: at.y };
    if (!anyKnown && !members && id === own) Object.assign(body, { fx: 0, fy: 0 });
    return body;
  });
  const has = new Set(ids);
  const name = (end: unknown): string => (end as Body).id;
  const away = (l: { source: unknown; target: unknown }) =>
    (sites.get(name(l.source)) ?? "") !== (sites.get(name(l.target)) ?? "");
  // Of very many, those with few links gather round who links them, so that the pattern shows.
  const many = bodies.length > MANY;
  const ends = new Map<string, number>();
  for (const w of wires) for (const id of [w.a, w.b]) ends.set(id, (ends.get(id) ?? 0) + 1);
  const leaf = (l: { source: unknown; target: unknown }) =>
    Math.min(ends.get(name(l.source)) ?? 0, ends.get(name(l.target)) ?? 0) <= LEAF_LINKS_MAX;
  const simulation = forceSimulation(bodies)
    .stop()
    .force(
      "link",
      forceLink<Body, { source: string; target: string }>(
        wires.filter((w) => has.has(w.a) && has.has(w.b)).map((w) => ({ source: w.a, target: w.b })),
      )
        .id((b) => b.id)
        .distance((l) => (many ? (leaf(l) ? 120 : 620) : 380))
        // A link between two sites pulls nobody out of either.
        .strength((l) => (members && away(l) ? 0 : many ? (leaf(l) ? 0.8 : 0.04) : 0.15)),
    )
    .force(
      "apart",
      forceManyBody<Body>()
        .strength((b) => (many ? -250 - 90 * (ends.get(b.id) ?? 0) : -2_000) * (members ? 0.15 : 1))
        .distanceMax(many ? 3_000 : 1_500),
    )
    .force("room", forceCollide<Body>(spread).iterations(2))
    .force("x", forceX<Body>((b) => middle(b.id).x).strength(members ? 0.2 : 0.025))
    .force("y", forceY<Body>((b) => middle(b.id).y).strength(members ? 0.2 : 0.06));
  const most = ticksFor(bodies.length);
  simulation.alphaDecay(1 - 0.001 ** (1 / most));
  let ticks = anyKnown && bodies.every((b) => b.fx !== undefined) ? most : 0;
  const spots = (): Map<string, Spot> =>
    new Map(bodies.map((b) => [b.id, { x: Math.round(b.x ?? 0), y: Math.round(b.y ?? 0) }]));
  return {
    spots,
    /** Works for at most `ms`; true when nothing moves any more. */
    run(ms: number): boolean {
      const until = performance.now() + ms;
      while (ticks < most) {
        simulation.tick();
        ticks += 1;
        if (performance.now() >= until) break;
      }
      return ticks >= most;
    },
  };
}

export type Link = Topology["links"][number];
export const linkId = (l: Wire): string => `${l.a}|${l.b}`;
export const isOpen = (posture: string | null | undefined): boolean =>
  posture !== "tls-pinned" && posture !== "identity-bound";

export interface Flow {
  bytes: number;
  at: number;
  perSec: number | null;
}
/** Bytes a second over each link, from two reports; unknown until there are two, or after a new link. */
export function flows(
  before: ReadonlyMap<string, Flow>,
  links: readonly Link[],
  at: number,
): Map<string, Flow> {
  const next = new Map<string, Flow>();
  for (const l of links) {
    if (l.bytesIn == null) continue;
    const id = linkId(l);
    const was = before.get(id);
    if (was && at - was.at < 500) {
      next.set(id, was);
      continue;
    }
    const grown = was ? l.bytesIn - was.bytes : -1;
    const perSec = was && grown >= 0 ? (grown * 1000) / (at - was.at) : null;
    next.set(id, { bytes: l.bytesIn, at, perSec });
  }
  return next;
}

/** From one to six pixels, by the logarithm: a busy link is seen, a mad one does not cover the page. */
export const thickness = (perSec: number | null | undefined): number =>
  perSec ? Math.min(6, 1 + Math.log10(1 + perSec)) : 1.2;
