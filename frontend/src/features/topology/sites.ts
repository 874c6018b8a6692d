/** Nodes of one site stand together on a ground of their own; pure. A node without a site is in none. */
import type { Spot, Spots } from "./spots";

/** Which site each node is at; who is not in it has told none. */
export type Sites = ReadonlyMap<string, string>;

export const NO_SITES: Sites = new Map();

/** What a node's site file says, as far as it places devices: any zone or asset of a site may name one. */
interface Placed {
  sites: readonly {
    name: string;
    zones: readonly Placing[];
    assets: readonly Placing[];
  }[];
}
interface Placing {
  device?: { deviceId?: string | null } | null;
}
/** A node that two sites name is at neither: it cannot stand on both grounds. */
export function sitesOf({ sites }: Placed): Sites {
  const at = new Map<string, string | undefined>();
  for (const { name, zones, assets } of sites)
    for (const { device } of [...zones, ...assets]) {
      const id = device?.deviceId;
      if (id) at.set(id, at.has(id) && at.get(id) !== name ? undefined : name);
    }
  return new Map([...at].flatMap(([id, name]) => (name ? [[id, name] as const] : [])));
}

export interface Ground {
  site: string;
  points: Spot[];
  /** Where its name goes: the middle of its upper edge. */
  top: Spot;
}

const ROUND = 10;
const TURN = 2.4;

/** A place for each site's middle, no two in each other's way. A site that stands somewhere stays there. */
export function centres(members: ReadonlyMap<string, readonly string[]>, known: Spots, room: number) {
  const placed: { at: Spot; radius: number }[] = [];
  const middle = new Map<string, Spot>();
  const radius = (n: number) => room * (0.9 + Math.sqrt(n));
  const rest: [string, number][] = [];
  for (const [site, ids] of members) {
    const there = ids.flatMap((id) => known.get(id) ?? []);
    if (!there.length) {
      rest.push([site, ids.length]);
      continue;
    }
    const sum = there.reduce((a, b) => ({ x: a.x + b.x, y: a.y + b.y }), { x: 0, y: 0 });
    const at = { x: sum.x / there.length, y: sum.y / there.length };
    const reach = Math.max(...there.map((s) => Math.hypot(s.x - at.x, s.y - at.y)));
    middle.set(site, at);
    placed.push({ at, radius: Math.max(reach + room, radius(ids.length)) });
  }
  // The largest first, and by name: the same sites stand the same at every visit.
  rest.sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  for (const [site, n] of rest) {
    const own = radius(n);
    let at = { x: 0, y: 0 };
    for (
      let step = 0;
      placed.some((p) => Math.hypot(p.at.x - at.x, p.at.y - at.y) < p.radius + own);
      step++
    ) {
      const far = room * 0.6 * Math.sqrt(step);
      at = { x: far * 1.25 * Math.cos(step * TURN), y: far * Math.sin(step * TURN) };
    }
    middle.set(site, at);
    placed.push({ at, radius: own });
  }
  return middle;
}

/** The members of each site, and under "" those of none. */
export function bySite(ids: readonly string[], sites: Sites): Map<string, string[]> {
  const members = new Map<string, string[]>();
  for (const id of ids) {
    const site = sites.get(id) ?? "";
    const list = members.get(site);
    if (list) list.push(id);
    else members.set(site, [id]);
  }
  return members;
}

/** The outermost of some points, in order (Andrew's monotone chain). */
export function hull(points: readonly Spot[]): Spot[] {
  const sorted = [...points].sort((p, q) => p.x - q.x || p.y - q.y);
  if (sorted.length < 3) return sorted;
  const half = (list: Spot[]) => {
    const out: Spot[] = [];
    for (const p of list) {
      for (;;) {
        const [a, b] = [out.at(-2), out.at(-1)];
        if (!a || !b || (b.x - a.x) * (p.y - a.y) - (b.y - a.y) * (p.x - a.x) > 0) break;
        out.pop();
      }
      out.push(p);
    }
    return out.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** The ground of each site: round every node of it, `room` wide, `tall` high. */
export function grounds(spots: Spots, sites: Sites, room: number, tall = room): Ground[] {
  const members = bySite([...spots.keys()], sites);
  members.delete("");
  return [...members].map(([site, ids]) => {
    const points = hull(
      ids.flatMap((id) => {
        const s = spots.get(id);
        if (!s) return [];
        return Array.from({ length: ROUND }, (_, i) => {
          const angle = ((i + 0.5) * 2 * Math.PI) / ROUND;
          return { x: s.x + room * Math.cos(angle), y: s.y + tall * Math.sin(angle) };
        });
      }),
    );
    const xs = points.map((p) => p.x);
    const top = { x: (Math.min(...xs) + Math.max(...xs)) / 2, y: Math.min(...points.map((p) => p.y)) };
    return { site, points, top };
  });
}
