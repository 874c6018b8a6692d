import "uplot/dist/uPlot.min.css";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { value } from "@/lib/format";
import type { Series } from "@/node/client";
import { align } from "./model";

const COLORS = ["--accent", "--human", "--warn", "--info", "--ok", "--danger"];
const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function Chart({
  series,
  range,
  actions,
  label,
}: {
  series: Series;
  range: number;
  actions: { time: number; text: string }[];
  label: string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const marks = useRef(actions);
  marks.current = actions;
  const shape = series.lines.map((l) => `${l.origin}${l.zone}${l.unit}`).join("|");
  const latest = useRef(series);
  latest.current = series;

  useEffect(() => {
    const here = box.current;
    if (!here) return;
    const draw = () => {
      plot.current?.destroy();
      const { labels, data } = align(latest.current);
      const axis = {
        stroke: color("--t2"),
        grid: { stroke: color("--line"), width: 1 },
        ticks: { stroke: color("--line"), width: 1 },
      };
      const unit = latest.current.lines[0]?.unit ?? "";
      const line = (u: uPlot, at: number) => {
        const x = u.valToPos(at, "x", true);
        if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) return;
        u.ctx.strokeStyle = color("--warn");
        u.ctx.setLineDash([4, 4]);
        u.ctx.beginPath();
        u.ctx.moveTo(x, u.bbox.top);
        u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
        u.ctx.stroke();
        u.ctx.setLineDash([]);
      };
      plot.current = new uPlot(
        {
          width: Math.max(200, here.clientWidth),
          height: Math.max(140, here.clientHeight - 34),
          cursor: { sync: { key: "clawmesh" } },
          scales: { x: { range: (_u, min, max) => [Math.max(min, max - range / 1000), max] } },
          axes: [
            {
              ...axis,
              values: (_u, v) => v.map((x) => new Date(x * 1000).toLocaleTimeString("en-GB")),
              space: 90,
            },
            { ...axis, size: 64, values: (_u, v) => v.map((x) => value(x, unit)) },
          ],
          series: [
            { value: (_u, v) => (v == null ? "–" : new Date(v * 1000).toLocaleTimeString("en-GB")) },
            ...labels.map((name, i) => ({
              label: name,
              stroke: color(COLORS[i % COLORS.length] ?? "--accent"),
              width: 1.5,
              dash: i >= COLORS.length ? [6, 3] : undefined,
              spanGaps: false,
              value: (_u: uPlot, v: number | null) => value(v, unit),
            })),
          ],
          hooks: {
            draw: [
              (u) => {
                for (const a of marks.current) line(u, a.time / 1000);
              },
            ],
          },
        },
        data as uPlot.AlignedData,
        here,
      );
    };
    draw();
    const resize = new ResizeObserver(() =>
      plot.current?.setSize({
        width: Math.max(200, here.clientWidth),
        height: Math.max(140, here.clientHeight - 34),
      }),
    );
    resize.observe(here);
    window.addEventListener("clawmesh-theme", draw);
    return () => {
      resize.disconnect();
      window.removeEventListener("clawmesh-theme", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, range]);
  useEffect(() => {
    plot.current?.setData(align(series).data as uPlot.AlignedData);
  }, [series]);
  return (
    <div ref={box} role="img" aria-label={label} className="min-h-44 flex-1 overflow-hidden px-1 pt-1" />
  );
}
