import "@xyflow/react/dist/style.css";
import {
  Background,
  type Edge,
  Handle,
  MiniMap,
  type Node,
  type NodeProps,
  Panel as Over,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useNodesState,
  useReactFlow,
  ViewportPortal,
} from "@xyflow/react";
import { useEffect, useMemo, useRef } from "react";
import { type Health, health } from "@/lib/condition";
import { bytes } from "@/lib/format";
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Status, Topology } from "@/node/client";
import { cx, healthWord, State } from "@/ui/kit";
import { roleGlyph, StateOf } from "@/ui/nodes";
import { Bar } from "./Bar";
import { type Flow, isOpen, linkId, MANY, thickness } from "./model";
import { usePlaces } from "./places";
import { type Ground, grounds, type Sites } from "./sites";
import type { Spot } from "./spots";

type TopNode = Topology["nodes"][number];
interface Looks extends Record<string, unknown> {
  n: TopNode;
  is: Health;
  faded: boolean;
  pinned: boolean;
}
type Box = Node<Looks, "box" | "dot">;
const samePlace = (a: Spot, b: Spot) => a.x === b.x && a.y === b.y;
const sameLooks = (a: Looks, b: Looks) =>
  a.is === b.is &&
  a.faded === b.faded &&
  a.pinned === b.pinned &&
  a.n.name === b.n.name &&
  a.n.role === b.n.role &&
  a.n.trusted === b.n.trusted;

/** So few links have room for their whole label. */
const FEW = 30;
/** A clock that is off by less than this is right enough to say nothing. */
const SKEW_SHOWN_MS = 100;

function BoxView({ data: { n, is, faded, pinned }, selected }: NodeProps<Box>) {
  return (
    <div
      className={cx(
        "w-52 rounded-md border-2 bg-s1 px-3 py-1.5 text-t1",
        selected
          ? "border-accent outline-2 outline-accent"
          : is === "stopped"
            ? "border-danger"
            : "border-line",
        !n.trusted && !n.own && "border-dashed",
        n.own && "bg-s2",
        faded && "opacity-30",
      )}
    >
      <Handle type="target" position={Position.Left} className="!top-1/2 !left-1/2 opacity-0" />
      <div className="flex items-center gap-2">
        <span aria-hidden="true" title={n.role ?? undefined}>
          {roleGlyph(n.role)}
        </span>
        <bdi className="min-w-0 flex-1 truncate font-semibold">
          {n.name ? line(n.name, 40) : n.deviceId.slice(0, 8)}
        </bdi>
        {pinned ? (
          <span role="img" aria-label={t("pinned")} title={t("pinned")} className="text-[10px] text-t2">
            ◉
          </span>
        ) : null}
      </div>
      <div className="flex justify-between gap-2 text-[12px] text-t2">
        <span className="truncate">{n.role ? line(n.role, 24) : t("notKnown")}</span>
        <StateOf is={is} />
      </div>
      <Handle type="source" position={Position.Right} className="!top-1/2 !right-1/2 opacity-0" />
    </div>
  );
}
const TINTS: Partial<Record<Health, string>> = {
  healthy: "border-ok bg-s1",
  degraded: "border-warn bg-s2",
  stopped: "border-danger bg-s2",
  offline: "border-dashed border-t3 bg-s1",
};
/** Of very many, each is a shape and a name: it is the pattern that is looked at. */
function DotView({ data: { n, is, faded }, selected }: NodeProps<Box>) {
  return (
    <div
      className={cx(
        "flex h-20 w-32 flex-col items-center justify-center rounded-md border-4 px-1 text-[16px] text-t1",
        selected ? "border-accent" : (TINTS[is] ?? "border-line bg-s1"),
        faded && "opacity-30",
      )}
    >
      <Handle type="target" position={Position.Left} className="!top-1/2 !left-1/2 opacity-0" />
      <span className="text-[36px] leading-9">
        <State is={is} word={false} />
      </span>
      <bdi className="max-w-full truncate">{n.name ? line(n.name, 24) : n.deviceId.slice(0, 8)}</bdi>
      <Handle type="source" position={Position.Right} className="!top-1/2 !right-1/2 opacity-0" />
    </div>
  );
}
const types = { box: BoxView, dot: DotView };

export interface Shown {
  top: Topology;
  flow: ReadonlyMap<string, Flow>;
  status?: Status;
  /** Which site each node is at, of those that are known to be at one. */
  sites: Sites;
  /** Which nodes the filter keeps; the others fade, so that nothing jumps while one types. */
  keeps: (n: TopNode) => boolean;
  node?: string;
  link?: string;
  onNode: (id: string) => void;
  onLink: (id: string) => void;
}

export const Graph = (props: Shown) => (
  <ReactFlowProvider>
    <Inner {...props} />
  </ReactFlowProvider>
);

/** What a box covers, from its upper left corner, and how much ground it has round its middle. */
const BOX = { width: 208, height: 56 };
const DOT = { width: 128, height: 80 };

/** The sites' grounds under the boxes, with their names. */
const Grounds = ({ list }: { list: readonly Ground[] }) => (
  <ViewportPortal>
    <svg
      aria-hidden="true"
      className="pointer-events-none absolute top-0 left-0 -z-10 size-px overflow-visible"
    >
      {list.map(({ site, points, top }) => (
        <g key={site}>
          <polygon
            points={points.map((p) => `${p.x},${p.y}`).join(" ")}
            className="fill-s2 stroke-line"
            strokeWidth={2}
          />
          <text x={top.x} y={top.y - 10} textAnchor="middle" className="fill-t1 font-semibold text-[22px]">
            {line(site, 60)}
          </text>
        </g>
      ))}
    </svg>
  </ViewportPortal>
);

function Inner({ top, flow, status, sites, keeps, node, link, onNode, onLink }: Shown) {
  const [nodes, setNodes, onNodesChange] = useNodesState<Box>([]);
  const { fitView } = useReactFlow();
  const { spots, settled, pins, pin, tidy, again } = usePlaces(top, sites);
  const fitted = useRef(0);

  useEffect(() => {
    setNodes((old) => {
      const were = new Map(old.map((o) => [o.id, o]));
      const next = top.nodes.flatMap((n) => {
        const was = were.get(n.deviceId);
        const spot = spots.get(n.deviceId);
        if (!spot) return [];
        const data = { n, is: health(n, status), faded: !keeps(n), pinned: n.deviceId in pins };
        const position = was?.dragging ? was.position : spot;
        const selected = n.deviceId === node;
        const type = top.nodes.length > MANY ? ("dot" as const) : ("box" as const);
        // A box that would look the same is left alone: most reports change nothing but an age.
        if (
          was?.type === type &&
          was.selected === selected &&
          samePlace(was.position, position) &&
          sameLooks(was.data, data)
        )
          return [was];
        return [
          {
            ...was,
            id: n.deviceId,
            type,
            position,
            data,
            selected,
            ariaLabel: `${n.name ? line(n.name, 60) : n.deviceId.slice(0, 8)}, ${n.role ? line(n.role, 24) : ""}, ${healthWord(data.is)}`,
          },
        ];
      });
      return next.length === old.length && next.every((n, i) => n === old[i]) ? old : next;
    });
  }, [top, status, node, spots, keeps, pins, setNodes]);

  // The first time there is something to see, and after a new layout, all of it is in sight.
  useEffect(() => {
    if (!settled || !nodes.length || fitted.current === again + 1) return;
    fitted.current = again + 1;
    requestAnimationFrame(() => void fitView({ maxZoom: 1.1, padding: 0.15 }));
  }, [nodes.length, settled, again, fitView]);

  const size = top.nodes.length > MANY ? DOT : BOX;
  const ground = useMemo(() => {
    const middles = new Map<string, Spot>();
    for (const n of top.nodes) {
      const spot = spots.get(n.deviceId);
      if (spot) middles.set(n.deviceId, { x: spot.x + size.width / 2, y: spot.y + size.height / 2 });
    }
    return grounds(middles, sites, size.width * 0.62, size.height * 0.9);
  }, [top.nodes.length, spots, sites, size]);

  // Of very many links, traffic and latency are in the panel: only what changes a line redraws it.
  const many = top.links.length > MANY;
  const few = top.links.length <= FEW;
  const linksLook = many
    ? top.links.map((l) => `${linkId(l)}${l.posture}${l.fresh}`).join() + top.nodes.map((n) => n.name).join()
    : top;
  const edges = useMemo(() => {
    const shown = new Map(top.nodes.map((n) => [n.deviceId, n]));
    return top.links.flatMap((l): Edge[] => {
      const a = shown.get(l.a);
      const b = shown.get(l.b);
      if (!a || !b) return [];
      const id = linkId(l);
      const open = isOpen(l.posture);
      const perSec = flow.get(id)?.perSec;
      const stroke = id === link ? "var(--accent)" : open ? "var(--warn)" : "var(--t3)";
      const words = [
        l.rttMs == null ? null : `${l.rttMs.toFixed(1)} ms`,
        perSec == null ? null : `${bytes(perSec)}/s`,
        l.skewMs != null && Math.abs(l.skewMs) >= SKEW_SHOWN_MS ? `${t("skew")} ${l.skewMs} ms` : null,
        open || few ? (l.posture ? line(l.posture, 24) : t("notKnown")) : null,
      ];
      return [
        {
          id,
          source: l.a,
          target: l.b,
          type: "straight",
          label: !many || id === link ? words.filter(Boolean).join(" · ") : undefined,
          ariaLabel: `${t("link")} ${line(a.name ?? l.a.slice(0, 8), 40)} – ${line(b.name ?? l.b.slice(0, 8), 40)}, ${l.posture ? line(l.posture, 24) : t("notKnown")}`,
          interactionWidth: 24,
          style: {
            stroke,
            strokeWidth: many ? 1.2 : thickness(perSec),
            strokeDasharray: open ? "6 4" : undefined,
            opacity: (l.fresh ? 1 : 0.4) * (keeps(a) && keeps(b) ? 1 : 0.3),
          },
          labelStyle: { fill: "var(--t1)" },
          labelBgStyle: { fill: "var(--s1)" },
        },
      ];
    });
  }, [linksLook, few, many ? undefined : flow, link, keeps]);

  const dark = document.documentElement.dataset.theme === "dark";
  const colors: Partial<Record<Health, string>> = {
    healthy: "var(--ok)",
    degraded: "var(--warn)",
    stopped: "var(--danger)",
  };
  return (
    <div className="absolute inset-0" data-graph="boxes" data-settled={settled ? "" : undefined}>
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={types}
        onNodesChange={onNodesChange}
        onNodeClick={(_, n) => onNode(n.id)}
        onNodeDragStop={(_, __, moved) => pin(moved.map((n) => ({ id: n.id, at: n.position })))}
        onEdgeClick={(_, e) => onLink(e.id)}
        onSelectionChange={({ nodes: [n] }) => n && n.id !== node && onNode(n.id)}
        colorMode={dark ? "dark" : "light"}
        minZoom={0.04}
        maxZoom={1.5}
        onlyRenderVisibleElements={top.nodes.length > MANY}
        nodesConnectable={false}
        deleteKeyCode={null}
        proOptions={{ hideAttribution: true }}
      >
        <Background />
        <Grounds list={ground} />
        <Over position="top-left">
          <Bar
            pinned={Object.keys(pins).length > 0}
            onFit={() => void fitView({ padding: 0.15 })}
            onTidy={tidy}
          />
        </Over>
        {top.nodes.length > 4 ? (
          <MiniMap
            className="max-sm:hidden"
            pannable
            zoomable
            ariaLabel={t("miniMap")}
            nodeColor={(n) => colors[(n.data as Box["data"]).is] ?? "var(--t3)"}
          />
        ) : null}
      </ReactFlow>
    </div>
  );
}
