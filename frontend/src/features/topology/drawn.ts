/** What the drawing of very many nodes consists of, and what of it is under the pointer; pure. */
import { type Health, health } from "@/lib/condition";
import { line } from "@/lib/words";
import type { Status, Topology } from "@/node/client";
import { roleGlyph } from "@/ui/nodes";
import { type Flow, isOpen, linkId, thickness } from "./model";
import type { Spot, Spots } from "./spots";

type TopNode = Topology["nodes"][number];

/** A node: its state as a shape and a colour, as everywhere. */
export interface Dot {
  id: string;
  at: Spot;
  /** Its radius in pixels at the size at which all is in sight. */
  radius: number;
  is: Health;
  label: string;
  faded: boolean;
  selected: boolean;
  /** Not trusted: drawn with a broken rim. */
  stranger: boolean;
  /** Always named, however many there are. */
  named: boolean;
}
export interface Stroke {
  id: string;
  a: string;
  b: string;
  /** Not protected: broken, and in the colour of a warning. */
  open: boolean;
  stale: boolean;
  faded: boolean;
  selected: boolean;
  width: number;
}
export interface Drawn {
  dots: Dot[];
  strokes: Stroke[];
}

const RADIUS = 7;
const RADIUS_PLANNER = 9;
const RADIUS_OWN = 10;
/** When a filter leaves so few, each of them is named. */
const NAMED_MAX = 40;

export interface Asked {
  top: Topology;
  flow: ReadonlyMap<string, Flow>;
  status?: Status;
  spots: Spots;
  keeps: (n: TopNode) => boolean;
  node?: string;
  link?: string;
}

export const nameOf = (n: TopNode): string => (n.name ? line(n.name, 40) : n.deviceId.slice(0, 8));

export function drawn({ top, flow, status, spots, keeps, node, link }: Asked): Drawn {
  const kept = new Set(top.nodes.filter(keeps).map((n) => n.deviceId));
  const few = kept.size < top.nodes.length && kept.size <= NAMED_MAX;
  const dots = top.nodes.flatMap((n): Dot[] => {
    const at = spots.get(n.deviceId);
    if (!at) return [];
    const plans = n.role === "planner" || n.role === "standby-planner";
    const selected = Boolean(node) && n.deviceId.startsWith(node ?? "");
    const faded = !kept.has(n.deviceId);
    return [
      {
        id: n.deviceId,
        at,
        radius: n.own ? RADIUS_OWN : plans ? RADIUS_PLANNER : RADIUS,
        is: health(n, status),
        label: faded && !selected ? "" : plans ? `${roleGlyph(n.role)} ${nameOf(n)}` : nameOf(n),
        faded,
        selected,
        stranger: !n.trusted && !n.own,
        named: selected || n.own || (few && !faded),
      },
    ];
  });
  const shown = new Set(dots.map((d) => d.id));
  const strokes = top.links.flatMap((l): Stroke[] => {
    if (!shown.has(l.a) || !shown.has(l.b) || l.a === l.b) return [];
    const id = linkId(l);
    return [
      {
        id,
        a: l.a,
        b: l.b,
        open: isOpen(l.posture),
        stale: !l.fresh,
        faded: !kept.has(l.a) || !kept.has(l.b),
        selected: id === link,
        width: Math.min(4, thickness(flow.get(id)?.perSec)),
      },
    ];
  });
  return { dots, strokes };
}

/** How near to a link the pointer must be, in pixels. */
const LINK_REACH = 8;
/** A finger is wider than a node. */
const NODE_REACH = 5;

export interface Hit {
  node?: string;
  link?: string;
}

/** What is at a point of the drawing, all in pixels: a node before a link, the nearest of each. */
export function under(
  p: Spot,
  dots: readonly { id: string; at: Spot; radius: number }[],
  strokes: readonly Pick<Stroke, "id" | "a" | "b">[],
): Hit {
  let best = Number.POSITIVE_INFINITY;
  let node: string | undefined;
  const places = new Map<string, Spot>();
  for (const d of dots) {
    places.set(d.id, d.at);
    const far = Math.hypot(d.at.x - p.x, d.at.y - p.y) - d.radius - NODE_REACH;
    if (far <= 0 && far < best) {
      best = far;
      node = d.id;
    }
  }
  if (node) return { node };
  let link: string | undefined;
  best = LINK_REACH;
  for (const s of strokes) {
    const [a, b] = [places.get(s.a), places.get(s.b)];
    if (!a || !b) continue;
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const along = ((p.x - a.x) * dx + (p.y - a.y) * dy) / (dx * dx + dy * dy || 1);
    const on = Math.max(0, Math.min(1, along));
    const far = Math.hypot(a.x + on * dx - p.x, a.y + on * dy - p.y);
    if (far < best) {
      best = far;
      link = s.id;
    }
  }
  return link ? { link } : {};
}
