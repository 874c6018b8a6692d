import "@xyflow/react/dist/style.css";
import {
  Background,
  type Edge,
  Handle,
  MiniMap,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  useNodesState,
} from "@xyflow/react";
import { useEffect } from "react";
import { health } from "@/lib/condition";
import { t } from "@/lib/i18n";
import type { Topology } from "@/node/client";
import { cx, healthWord, Txt } from "@/ui/kit";
import { StateOf } from "@/ui/nodes";
import { layout } from "./model";

type Box = Node<{ n: Topology["nodes"][number] }, "box">;

function BoxView({ data: { n }, selected }: NodeProps<Box>) {
  return (
    <div
      className={cx(
        "w-44 rounded-md border bg-s1 px-3 py-2 text-t1",
        selected ? "border-accent outline-2 outline-accent" : "border-line",
        n.trusted ? "" : "border-dashed",
      )}
    >
      <Handle type="target" position={Position.Left} className="!top-1/2 !left-1/2 opacity-0" />
      <div className="flex items-center gap-2">
        <span aria-hidden="true">{n.role === "planner" ? "♛" : n.role === "field" ? "◈" : "◻"}</span>
        <Txt className="truncate font-semibold">{n.name ?? n.deviceId.slice(0, 8)}</Txt>
      </div>
      <div className="flex justify-between gap-2 text-[12px] text-t2">
        <span className="truncate">{n.role ?? t("notKnown")}</span>
        <StateOf is={health(n)} />
      </div>
      <Handle type="source" position={Position.Right} className="!top-1/2 !right-1/2 opacity-0" />
    </div>
  );
}
const types = { box: BoxView };

export function Graph({
  top,
  node,
  link,
  onNode,
  onLink,
}: {
  top: Topology;
  node?: string;
  link?: string;
  onNode: (id: string) => void;
  onLink: (id: string) => void;
}) {
  const [nodes, setNodes, onNodesChange] = useNodesState<Box>([]);
  useEffect(() => {
    const spots = new Map(
      layout(
        top.nodes.map((n) => n.deviceId),
        top.nodes.find((n) => n.own)?.deviceId,
      ).map((s) => [s.id, s]),
    );
    // What a person has moved stays where they put it.
    setNodes((old) =>
      top.nodes.map((n) => ({
        ...old.find((o) => o.id === n.deviceId),
        id: n.deviceId,
        type: "box" as const,
        position: old.find((o) => o.id === n.deviceId)?.position ?? {
          x: spots.get(n.deviceId)?.x ?? 0,
          y: spots.get(n.deviceId)?.y ?? 0,
        },
        data: { n },
        selected: n.deviceId === node,
        ariaLabel: `${n.name ?? n.deviceId.slice(0, 8)}, ${n.role ?? ""}, ${healthWord(health(n))}`,
      })),
    );
  }, [top, node, setNodes]);
  const shown = new Set(top.nodes.map((n) => n.deviceId));
  const edges: Edge[] = top.links
    .filter((l) => shown.has(l.a) && shown.has(l.b))
    .map((l) => {
      const id = `${l.a}|${l.b}`;
      const open = l.posture !== "tls-pinned" && l.posture !== "identity-bound";
      const stroke = id === link ? "var(--accent)" : open ? "var(--warn)" : "var(--t3)";
      return {
        id,
        source: l.a,
        target: l.b,
        type: "straight",
        label:
          l.rttMs == null ? (l.posture ?? "") : `${l.rttMs.toFixed(1)} ms · ${l.posture ?? t("notKnown")}`,
        ariaLabel: `${t("link")} ${l.posture ?? ""}`,
        style: {
          stroke,
          strokeWidth: Math.min(6, 1 + Math.log10(1 + (l.bytesIn ?? 0)) / 2),
          strokeDasharray: open ? "6 4" : undefined,
          opacity: l.fresh ? 1 : 0.5,
        },
        labelStyle: { fill: "var(--t1)" },
        labelBgStyle: { fill: "var(--s1)" },
      };
    });
  const dark = document.documentElement.dataset.theme === "dark";
  return (
    <div className="absolute inset-0">
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={types}
        onNodesChange={onNodesChange}
        onNodeClick={(_, n) => onNode(n.id)}
        onEdgeClick={(_, e) => onLink(e.id)}
        onSelectionChange={({ nodes: [n] }) => n && n.id !== node && onNode(n.id)}
        colorMode={dark ? "dark" : "light"}
        fitView
        fitViewOptions={{ maxZoom: 1.2, padding: 0.2 }}
        minZoom={0.05}
        nodesConnectable={false}
        proOptions={{ hideAttribution: true }}
      >
        <Background />
        {top.nodes.length > 8 ? <MiniMap pannable zoomable ariaLabel={t("graph")} /> : null}
      </ReactFlow>
    </div>
  );
}
