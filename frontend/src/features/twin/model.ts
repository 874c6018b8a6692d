/** What a site's zones and assets are to be shown as, from what was read. Pure; it invents nothing. */
import { type Health, health } from "@/lib/condition";
import type { Actuator, Fact, Topology, Twin } from "@/node/client";

export type Site = Twin["sites"][number];
export type Zone = Site["zones"][number];
export type Metric = Zone["metrics"][number];
export type Asset = Site["assets"][number];
type TopNode = Topology["nodes"][number];
export interface Spot {
  x: number;
  y: number;
}

/**
 * How a value stands. `odd`: not in the unit that its limits are in; `none`: nobody has told one;
 * `plain`: known, and nobody says what is good.
 */
export type Mark = "outside" | "near" | "odd" | "stale" | "none" | "within" | "plain";
/** The worst first. */
export const MARKS: readonly Mark[] = ["outside", "near", "odd", "stale", "none", "within", "plain"];
export const worst = (marks: Mark[]): Mark => MARKS.find((m) => marks.includes(m)) ?? "plain";

/** A limit that nobody gave a margin is near within this part of the good span, or of the limit. */
const NEAR_PART = 0.1;

export function judge(m: Metric, value: unknown): "outside" | "near" | "within" | "plain" {
  const { low, high } = m;
  if (typeof value !== "number" || (low == null && high == null)) return "plain";
  if ((low != null && value < low) || (high != null && value > high)) return "outside";
  const part = low != null && high != null ? high - low : Math.abs(low ?? high ?? 0);
  const margin = m.near ?? part * NEAR_PART;
  const close = (limit: number | null | undefined) => limit != null && Math.abs(value - limit) < margin;
  return close(low) || close(high) ? "near" : "within";
}

/** The latest values by metric and zone: found without walking through all of them. */
export type Index = ReadonlyMap<string, Fact[]>;
const place = (metric: string, zone: string | null | undefined) => `${metric}\u0000${zone ?? ""}`;
export function index(facts: Fact[]): Index {
  const found = new Map<string, Fact[]>();
  for (const f of facts) {
    const key = place(f.metric, f.zone);
    const list = found.get(key);
    if (list) list.push(f);
    else found.set(key, [f]);
  }
  return found;
}

export const isStale = (f: Fact, staleMs: number, now: number): boolean => now - f.sensedAt > staleMs;
const rank = (f: Fact) => Number(f.effectiveTier.slice(1, 2)) || 0;
/** Fresh before old, well proven before guessed, then the newest. */
const better = (staleMs: number, now: number) => (a: Fact, b: Fact) =>
  Number(isStale(a, staleMs, now)) - Number(isStale(b, staleMs, now)) ||
  rank(b) - rank(a) ||
  b.sensedAt - a.sensedAt;

export interface Reading {
  metric: Metric;
  mark: Mark;
  fact?: Fact;
  /** What other devices say of the same. */
  others: Fact[];
}
export function reading(m: Metric, zone: Zone, facts: Index, now: number): Reading {
  const [fact, ...others] = (facts.get(place(m.metric, zone.zone)) ?? [])
    .filter((f) => !zone.device || f.origin === zone.device.deviceId)
    .sort(better(m.staleMs, now));
  const mark = !fact
    ? "none"
    : isStale(fact, m.staleMs, now)
      ? "stale"
      : m.unit && m.unit !== (fact.unit ?? "")
        ? "odd"
        : judge(m, fact.value);
  return { metric: m, mark, fact, others };
}

export interface ZoneSeen {
  zone: Zone;
  mark: Mark;
  readings: Reading[];
  /** The reading that makes it stand so: the one that is told on the plan, beside the mark. */
  telling?: Reading;
}
export function zoneSeen(zone: Zone, facts: Index, now: number): ZoneSeen {
  const readings = zone.metrics.map((m) => reading(m, zone, facts, now));
  const mark = worst(readings.map((r) => r.mark));
  return { zone, readings, mark, telling: readings.find((r) => r.mark === mark) };
}

/** How an asset stands; `is` gives the shape. */
export interface AssetSeen {
  asset: Asset;
  is: Health;
  why:
    | "running"
    | "problem"
    | "away"
    | "position"
    | "reading"
    | "old"
    | "silent"
    | "unknown"
    | "node"
    | "bare";
  actuator?: Actuator;
  fact?: Fact;
  node?: TopNode;
  /** Whether what it moves is moved: its sensor says so, now. */
  active: boolean;
}
const STALE_MS = 60_000;

export interface Around {
  facts: Index;
  actuators: Actuator[];
  nodes: TopNode[];
  now: number;
}
/** All assets of a site; what they refer to is looked up, not searched for. */
export function assetsSeen(site: Site, around: Around): AssetSeen[] {
  const zones = new Map(site.zones.map((z) => [z.id, z]));
  const nodes = new Map(around.nodes.map((n) => [n.deviceId, n]));
  const byTarget = new Map<string, Actuator[]>();
  for (const a of around.actuators) byTarget.set(a.target, [...(byTarget.get(a.target) ?? []), a]);
  return site.assets.map((a) => assetSeen(a, zones.get(a.zone ?? ""), around, nodes, byTarget));
}
function assetSeen(
  asset: Asset,
  zone: Zone | undefined,
  { facts, now }: Around,
  nodes: ReadonlyMap<string, TopNode>,
  byTarget: ReadonlyMap<string, Actuator[]>,
): AssetSeen {
  const device = asset.device?.deviceId;
  const metric = zone?.metrics.find((m) => m.metric === asset.sensor);
  const staleMs = metric?.staleMs ?? STALE_MS;
  const told = asset.sensor ? (facts.get(place(asset.sensor, zone?.zone)) ?? []) : [];
  const [fact] = told.filter((f) => !asset.device || f.origin === device).sort(better(staleMs, now));
  const named = (byTarget.get(asset.actuator ?? "") ?? []).filter(
    (a) => !asset.device || a.deviceId === device,
  );
  // Several devices may own something of that name: then it is not known which one stands here.
  const actuator = named.length === 1 ? named[0] : undefined;
  const node = device ? nodes.get(device) : undefined;
  const fresh = fact !== undefined && !isStale(fact, staleMs, now);
  const on = Boolean(asset.actuator) && fresh && typeof fact.value === "number" && fact.value > 0;
  const seen = (is: Health, why: AssetSeen["why"]): AssetSeen => ({
    asset,
    is,
    why,
    actuator,
    fact,
    node,
    active: on,
  });
  if (actuator?.problem) return seen("needs", "problem");
  if (actuator?.running) return { ...seen("degraded", "running"), active: true };
  if (asset.actuator && !actuator) return seen("unknown", "unknown");
  if (actuator && !actuator.reachable) return seen("offline", "away");
  if (fact) return fresh ? seen("healthy", "reading") : seen("offline", "old");
  if (actuator?.position) return seen("healthy", "position");
  if (asset.actuator || asset.sensor) return seen("unknown", "silent");
  if (asset.device) return node ? seen(health(node), "node") : seen("unknown", "unknown");
  return seen("unknown", "bare");
}

/** A place inside the outline for its label: the middle, or of a bent one the middle of its widest part there. */
export function labelAt(outline: number[][]): Spot {
  const points = outline.map(([x = 0, y = 0]) => ({ x, y }));
  let twice = 0;
  let [cx, cy] = [0, 0];
  points.forEach((a, i) => {
    const b = points[(i + 1) % points.length] ?? a;
    const part = a.x * b.y - b.x * a.y;
    twice += part;
    cx += (a.x + b.x) * part;
    cy += (a.y + b.y) * part;
  });
  const middle = twice ? { x: cx / (3 * twice), y: cy / (3 * twice) } : (points[0] ?? { x: 0, y: 0 });
  // Where the line through the middle enters and leaves.
  const cuts: number[] = [];
  points.forEach((a, i) => {
    const b = points[(i + 1) % points.length] ?? a;
    if (a.y > middle.y !== b.y > middle.y) cuts.push(a.x + ((middle.y - a.y) / (b.y - a.y)) * (b.x - a.x));
  });
  cuts.sort((a, b) => a - b);
  let best: [number, number] | undefined;
  for (let i = 0; i + 1 < cuts.length; i += 2) {
    const [from = 0, to = 0] = [cuts[i], cuts[i + 1]];
    if (middle.x >= from && middle.x <= to) return middle;
    if (!best || to - from > best[1] - best[0]) best = [from, to];
  }
  return best ? { x: (best[0] + best[1]) / 2, y: middle.y } : middle;
}

const inside = (p: Spot, outline: number[][]): boolean => {
  let is = false;
  outline.forEach(([x = 0, y = 0], i) => {
    const [u = 0, v = 0] = outline[(i + 1) % outline.length] ?? [];
    if (y > p.y !== v > p.y && p.x < x + ((p.y - y) / (v - y)) * (u - x)) is = !is;
  });
  return is;
};

const STEPS = [0, -0.14, 0.14, -0.27, 0.27, -0.36, 0.36];
/** A place near `at` inside the outline where a label of that size hides nothing that stands there; else `at`. */
export function freeSpot(
  outline: number[][],
  at: Spot,
  standing: readonly Spot[],
  size: { width: number; height: number },
): Spot {
  const { width, height } = extent(outline);
  const near = standing.filter((s) => Math.abs(s.x - at.x) < width && Math.abs(s.y - at.y) < height);
  const hides = (p: Spot) =>
    near.some((s) => Math.abs(s.x - p.x) < size.width / 2 && Math.abs(s.y - p.y) < size.height / 2);
  if (!hides(at)) return at;
  const tries = STEPS.flatMap((dy) => STEPS.map((dx) => ({ x: at.x + dx * width, y: at.y + dy * height })));
  tries.sort((a, b) => Math.hypot(a.x - at.x, a.y - at.y) - Math.hypot(b.x - at.x, b.y - at.y));
  return tries.find((p) => inside(p, outline) && !hides(p)) ?? at;
}

/** How wide and high an outline is. */
export function extent(outline: number[][]): { width: number; height: number } {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x = 0, y = 0] of outline) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  return { width: right - left, height: bottom - top };
}

export type Way = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";
/** The nearest thing that way; what lies aside counts as further away. */
export function nearest<T extends Spot>(from: Spot, all: readonly T[], way: Way): T | undefined {
  let found: T | undefined;
  let least = Infinity;
  for (const one of all) {
    const [dx, dy] = [one.x - from.x, one.y - from.y];
    const ahead = { ArrowLeft: -dx, ArrowRight: dx, ArrowUp: -dy, ArrowDown: dy }[way];
    const aside = way === "ArrowLeft" || way === "ArrowRight" ? Math.abs(dy) : Math.abs(dx);
    if (ahead <= 0 || aside > ahead * 3) continue;
    const far = ahead + aside * 2;
    if (far < least) [least, found] = [far, one];
  }
  return found;
}

/** The site of an address: by its id or name; else the first. */
export const siteOf = (sites: Site[], asked: string | undefined): Site | undefined =>
  sites.find((s) => s.id === asked) ?? sites.find((s) => s.name === asked) ?? sites[0];

/** The plan fitted into a box. */
export const fit = (site: Pick<Site, "width" | "height">, boxWidth: number, boxHeight: number): number =>
  Math.max(1, Math.min(boxWidth, (boxHeight * site.width) / site.height));
