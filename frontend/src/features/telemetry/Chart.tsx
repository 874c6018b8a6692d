import "uplot/dist/uPlot.min.css";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { value } from "@/lib/format";
import { clockTime, dayAndTime, t } from "@/lib/i18n";
import { line, tame } from "@/lib/words";
import type { Series } from "@/node/client";
import { type Action, align, extremes, ranges, span } from "./model";

const COLORS = ["--accent", "--human", "--warn", "--info", "--ok", "--danger"];
const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (at: number, days: boolean) => (days ? dayAndTime : clockTime)(at * 1000);
const DAY_S = 86_400;

interface Drawn {
  series: Series;
  actions: Action[];
  from: number;
  to: number;
}

export function Chart({
  label,
  onZoom,
  ...drawn
}: Drawn & { label: string; onZoom: (from: number, to: number) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(null);
  const latest = useRef<Drawn>(drawn);
  latest.current = drawn;
  const zoom = useRef(onZoom);
  zoom.current = onZoom;
  const { series } = drawn;
  const shape = series.lines.map((l) => `${l.origin}${l.zone}${l.unit}`).join("|");

  useEffect(() => {
    const here = box.current;
    if (!here) return;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(here, latest, zoom), aligned(latest.current), here);
    };
    draw();
    const resize = new ResizeObserver(() => plot.current?.setSize(size(here)));
    resize.observe(here);
    window.addEventListener("clawmesh-theme", draw);
    return () => {
      resize.disconnect();
      window.removeEventListener("clawmesh-theme", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => {
    plot.current?.setData(aligned(latest.current));
  }, [series, drawn.from, drawn.to, drawn.actions.length]);
  return (
    <div ref={box} role="img" aria-label={label} className="min-h-44 flex-1 overflow-hidden px-1 pt-1" />
  );
}

const aligned = (d: Drawn) => align(d.series).data as uPlot.AlignedData;
const size = (here: HTMLElement) => ({
  width: Math.max(200, here.clientWidth - 8),
  height: Math.max(140, here.clientHeight - 34),
});

function options(
  here: HTMLElement,
  latest: React.RefObject<Drawn>,
  zoom: React.RefObject<(from: number, to: number) => void>,
): uPlot.Options {
  const axis = {
    stroke: color("--t2"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { stroke: color("--line"), width: 1 },
  };
  const unit = latest.current.series.lines[0]?.unit ?? "";
  const days = () => latest.current.to - latest.current.from > DAY_S * 1000;
  return {
    ...size(here),
    cursor: { sync: { key: "clawmesh" }, drag: { x: true, y: false, setScale: false } },
    scales: {
      x: { range: () => [latest.current.from / 1000, latest.current.to / 1000] },
      y: {
        range: (u) =>
          span(
            [...(u.data.slice(1) as (number | null)[][]), ...extremes(latest.current.series)],
            (latest.current.series.thresholds ?? []).map((x) => x.value),
            unit === "%",
          ),
      },
    },
    axes: [
      { ...axis, values: (_u, v) => v.map((x) => clock(x, days())), space: days() ? 120 : 90 },
      { ...axis, size: 64, values: (_u, v) => v.map((x) => value(x, unit)) },
    ],
    series: [
      { label: t("time"), value: (_u, v) => (v == null ? "–" : clock(v, days())) },
      ...align(latest.current.series).labels.map((name, i) => ({
        label: line(name, 48),
        stroke: color(COLORS[i % COLORS.length] ?? "--accent"),
        width: 1.5,
        dash: i >= COLORS.length ? [6, 3] : undefined,
        spanGaps: false,
        value: (_u: uPlot, v: number | null) => value(v, unit),
      })),
    ],
    hooks: {
      drawClear: [(u) => bands(u, latest.current), (u) => spread(u, latest.current)],
      draw: [(u) => limits(u, latest.current, unit)],
      setSelect: [
        (u) => {
          const { left, width } = u.select;
          if (width < 8) return;
          zoom.current(u.posToVal(left, "x") * 1000, u.posToVal(left + width, "x") * 1000);
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
        },
      ],
    },
  };
}

/** While something moved, its time is tinted behind the lines, with its name. */
function bands(u: uPlot, { actions, from, to }: Drawn) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const px = window.devicePixelRatio || 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.font = `${11 * px}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "top";
  let free = left;
  for (const a of actions) {
    const x0 = u.valToPos(Math.max(a.from, from) / 1000, "x", true);
    const x1 = Math.max(x0 + 2 * px, u.valToPos(Math.min(a.to ?? to, to) / 1000, "x", true));
    ctx.globalAlpha = 0.18;
    ctx.fillStyle = color("--warn");
    ctx.fillRect(x0, top, x1 - x0, height);
    ctx.globalAlpha = 1;
    ctx.fillRect(x0, top, px, height);
    const text = tame(a.text, 24);
    if (x0 < free) continue;
    ctx.fillText(text, x0 + 4 * px, top + 3 * px);
    free = x0 + ctx.measureText(text).width + 8 * px;
  }
  ctx.restore();
}

/** Old readings are means: from the smallest to the largest that each stands for is tinted in the line's colour. */
function spread(u: uPlot, { series }: Drawn) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.globalAlpha = 0.2;
  series.lines.forEach((l, i) => {
    ctx.fillStyle = color(COLORS[i % COLORS.length] ?? "--accent");
    for (const run of ranges(l.points)) {
      const x = (time: number) => u.valToPos(time / 1000, "x", true);
      ctx.beginPath();
      for (const p of run) ctx.lineTo(x(p.time), u.valToPos(p.high, "y", true));
      for (const p of [...run].reverse()) ctx.lineTo(x(p.time), u.valToPos(p.low, "y", true));
      ctx.fill();
    }
  });
  ctx.restore();
}

/** The limits that rules compare with: dashed, named at the right edge. */
function limits(u: uPlot, { series }: Drawn, unit: string) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const px = window.devicePixelRatio || 1;
  ctx.save();
  ctx.font = `${11 * px}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  for (const x of series.thresholds ?? []) {
    const y = u.valToPos(x.value, "y", true);
    if (y < top || y > top + height) continue;
    ctx.strokeStyle = ctx.fillStyle = color(x.of === "planner" ? "--info" : "--danger");
    ctx.lineWidth = px;
    ctx.setLineDash([6 * px, 4 * px]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillText(
      tame(`${x.rule} ${x.sign} ${value(x.value, unit)}`, 60),
      left + width - 4 * px,
      y - 2 * px < top + 12 * px ? y + 13 * px : y - 2 * px,
    );
  }
  ctx.restore();
}
