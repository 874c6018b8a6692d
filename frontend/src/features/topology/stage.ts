/**
 * The drawing of very many nodes: sigma's camera and buffers, our shapes. It is told what to draw and tells
 * what a pointer did; it knows neither the mesh nor the page around it. Sigma's own way to find what is
 * under the pointer reads pixels back from the graphics card at each move; here the places are compared.
 */
import { UndirectedGraph } from "graphology";
import Sigma from "sigma";
import type { Settings } from "sigma/settings";
import type { MouseCoords, NodeDisplayData, TouchCoords } from "sigma/types";
import type { Health } from "@/lib/condition";
import { bounds, type Dot, type Drawn, type Hit, type Stroke, under } from "./drawn";
import type { Spot } from "./model";
import { DotProgram, look, SELECTED, SHAPE, STRANGER, StrokeProgram } from "./programs";
import type { Ground } from "./sites";

/** How far a press may slip and still be one. */
const SLIP_PX = 4;
const FADE = 0.28;
const ZOOM = 1.5;
const PAN_PX = 80;
const FONT = 'system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';

export interface Hears {
  pick: (hit: Hit) => void;
  hover: (hit: Hit, at: Spot) => void;
  moved: (id: string, at: Spot) => void;
  /** The graphics card took the drawing away. */
  lost: () => void;
}

type Rgb = [number, number, number];
interface Tones {
  back: Rgb;
  accent: Rgb;
  rim: Rgb;
  text: Rgb;
  dim: Rgb;
  line: Rgb;
  open: Rgb;
  is: Record<Health, Rgb>;
}
const hex = (rgb: Rgb): string => `#${rgb.map((v) => Math.round(v).toString(16).padStart(2, "0")).join("")}`;
const mix = (a: Rgb, b: Rgb, part: number): Rgb => [
  a[0] + (b[0] - a[0]) * part,
  a[1] + (b[1] - a[1]) * part,
  a[2] + (b[2] - a[2]) * part,
];

/** The page's colours as numbers: whatever way they are written in, a canvas can paint them. */
function tones(): Tones {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const c = canvas.getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): Rgb => {
    if (!c) return [128, 128, 128];
    c.fillStyle = style.getPropertyValue(name).trim();
    c.fillRect(0, 0, 1, 1);
    const [r = 0, g = 0, b = 0] = c.getImageData(0, 0, 1, 1).data;
    return [r, g, b];
  };
  const [ok, warn, danger, t3] = [of("--ok"), of("--warn"), of("--danger"), of("--t3")];
  return {
    back: of("--s1"),
    accent: of("--accent"),
    rim: of("--t2"),
    text: of("--t1"),
    dim: of("--s2"),
    line: mix(of("--s1"), t3, 0.55),
    open: warn,
    is: { healthy: ok, degraded: warn, needs: warn, stopped: danger, offline: t3, unknown: t3 },
  };
}

export class Stage {
  #graph = new UndirectedGraph();
  #sigma: Sigma;
  #tones = tones();
  #drawn: Drawn = { dots: [], strokes: [] };
  #grounds: Ground[] = [];
  #dragged: { id: string; from: Spot; moved: boolean } | undefined;
  #sized: ResizeObserver;
  #wide = 0;

  constructor(
    readonly box: HTMLElement,
    readonly hears: Hears,
  ) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#sigma = new Sigma(this.#graph, box, {
      allowInvalidContainer: true,
      nodeProgramClasses: { dot: DotProgram },
      edgeProgramClasses: { stroke: StrokeProgram },
      defaultNodeType: "dot",
      defaultEdgeType: "stroke",
      defaultDrawNodeLabel: this.#label,
      zIndex: true,
      stagePadding: 36,
      minCameraRatio: 0.05,
      maxCameraRatio: 4,
      labelFont: FONT,
      labelSize: 12,
      labelDensity: 1,
      labelGridCellSize: 110,
      labelRenderedSizeThreshold: 5,
      ...(still ? { zoomDuration: 1, doubleClickZoomingDuration: 1, inertiaRatio: 0 } : {}),
    });
    // A picture without a text of its own: the box around it has its name.
    for (const canvas of Object.values(this.#sigma.getCanvases()))
      canvas.addEventListener("webglcontextlost", this.hears.lost);
    this.#sigma.createCanvasContext("grounds", { beforeLayer: "edges" } as never);
    this.#listen();
    this.#sigma.on("beforeRender", this.#ground);
    this.#sized = new ResizeObserver(() => {
      const { width } = box.getBoundingClientRect();
      if (width) this.#sigma.scheduleRefresh();
      // Sizes are of a drawing that had no width until now.
      if (width && !this.#wide) this.fit();
      this.#wide = width;
    });
    this.#sized.observe(box);
    this.#paint();
  }

  end() {
    this.#sized.disconnect();
    this.#sigma.kill();
  }

  /** Makes the drawing what is given, touching only what has changed. */
  draw(drawn: Drawn, grounds: Ground[]) {
    const g = this.#graph;
    const were = new Map(this.#drawn.dots.map((d) => [d.id, d]));
    const wires = new Map(this.#drawn.strokes.map((s) => [s.id, s]));
    const dots = new Set(drawn.dots.map((d) => d.id));
    const strokes = new Set(drawn.strokes.map((s) => s.id));
    for (const id of wires.keys()) if (!strokes.has(id) && g.hasEdge(id)) g.dropEdge(id);
    for (const id of were.keys()) if (!dots.has(id)) g.dropNode(id);
    for (const dot of drawn.dots) {
      const was = were.get(dot.id);
      if (!was) g.addNode(dot.id, this.#dot(dot));
      else if (!same(was, dot)) g.replaceNodeAttributes(dot.id, this.#dot(dot));
    }
    for (const s of drawn.strokes) {
      const was = wires.get(s.id);
      if (!was) g.addUndirectedEdgeWithKey(s.id, s.a, s.b, this.#stroke(s));
      else if (!same(was, s)) g.replaceEdgeAttributes(s.id, this.#stroke(s));
    }
    const first = !this.#drawn.dots.length && drawn.dots.length > 0;
    this.#drawn = drawn;
    this.#grounds = grounds;
    if (first) this.fit();
    else this.#sigma.scheduleRender();
  }

  /** All of it in sight. */
  fit() {
    const corners = this.#grounds.flatMap((g) => g.points);
    this.#sigma.setCustomBBox(bounds([...this.#drawn.dots.map((d) => d.at), ...corners]));
    this.#sigma.getCamera().setState({ x: 0.5, y: 0.5, ratio: 1, angle: 0 });
    this.#sigma.scheduleRefresh();
  }

  /** Brings a node into the middle if it is out of sight. */
  seek(id: string) {
    const dot = this.#drawn.dots.find((d) => d.id === id);
    const { width, height } = this.#sigma.getDimensions();
    if (!dot || !width) return;
    const p = this.#sigma.graphToViewport({ x: dot.at.x, y: -dot.at.y });
    if (p.x > 20 && p.y > 20 && p.x < width - 20 && p.y < height - 20) return;
    const { x, y } = this.#sigma.viewportToFramedGraph(p);
    this.#sigma.getCamera().setState({ x, y });
  }

  /** What keys do. True if the key is one of ours. */
  key(key: string): boolean {
    const camera = this.#sigma.getCamera();
    const { ratio } = camera.getState();
    if (key === "+" || key === "=") camera.setState({ ratio: camera.getBoundedRatio(ratio / ZOOM) });
    else if (key === "-") camera.setState({ ratio: camera.getBoundedRatio(ratio * ZOOM) });
    else if (key === "Home") this.fit();
    else if (key === "ArrowLeft") this.#pan(-PAN_PX, 0);
    else if (key === "ArrowRight") this.#pan(PAN_PX, 0);
    else if (key === "ArrowUp") this.#pan(0, -PAN_PX);
    else if (key === "ArrowDown") this.#pan(0, PAN_PX);
    else return false;
    return true;
  }
  #pan(dx: number, dy: number) {
    const { width, height } = this.#sigma.getDimensions();
    this.#sigma
      .getCamera()
      .setState(this.#sigma.viewportToFramedGraph({ x: width / 2 + dx, y: height / 2 + dy }));
  }

  /** After the theme has changed. */
  recolor() {
    this.#tones = tones();
    this.#paint();
    for (const d of this.#drawn.dots) this.#graph.replaceNodeAttributes(d.id, this.#dot(d));
    for (const s of this.#drawn.strokes) this.#graph.replaceEdgeAttributes(s.id, this.#stroke(s));
    this.#sigma.scheduleRefresh();
  }
  #paint() {
    const { back, accent, rim } = this.#tones;
    look.back = back.map((v) => v / 255);
    look.accent = accent.map((v) => v / 255);
    look.rim = rim.map((v) => v / 255);
  }

  #dot(d: Dot) {
    const { is, back } = this.#tones;
    return {
      x: d.at.x,
      y: -d.at.y,
      size: d.radius,
      color: hex(d.faded ? mix(back, is[d.is], FADE) : is[d.is]),
      kind: SHAPE[d.is] + (d.selected ? SELECTED : 0) + (d.stranger ? STRANGER : 0),
      label: d.label,
      forceLabel: d.named,
      zIndex: d.selected ? 2 : d.faded ? 0 : 1,
    };
  }
  #stroke(s: Stroke) {
    const { accent, open, line, back } = this.#tones;
    const tone = s.selected ? accent : s.open ? open : line;
    const part = s.selected ? 1 : (s.faded ? FADE : 1) * (s.stale ? 0.45 : 1);
    return {
      color: hex(mix(back, tone, part)),
      size: s.selected ? Math.max(3, s.width) : s.width,
      broken: s.open,
      zIndex: s.selected ? 2 : s.faded ? 0 : 1,
    };
  }

  #label = (c: CanvasRenderingContext2D, data: Partial<NodeDisplayData>, s: Settings) => {
    const { label, x = 0, y = 0, size = 0 } = data;
    if (!label) return;
    c.font = `${s.labelSize}px ${s.labelFont}`;
    c.textBaseline = "middle";
    c.lineJoin = "round";
    c.lineWidth = 3;
    c.strokeStyle = hex(this.#tones.back);
    c.fillStyle = hex(this.#tones.text);
    c.strokeText(label, x + size + 5, y);
    c.fillText(label, x + size + 5, y);
  };

  /** The sites' grounds and names, under the links. */
  #ground = () => {
    const canvas = this.#sigma.getCanvases().grounds;
    const c = canvas?.getContext("2d");
    if (!canvas || !c) return;
    const { width, height } = this.#sigma.getDimensions();
    c.clearRect(0, 0, width, height);
    const { dim, line, text, back } = this.#tones;
    for (const { site, points, top } of this.#grounds) {
      const on = points.map((p) => this.#sigma.graphToViewport({ x: p.x, y: -p.y }));
      c.beginPath();
      for (const p of on) c.lineTo(p.x, p.y);
      c.closePath();
      c.fillStyle = hex(dim);
      c.strokeStyle = hex(mix(back, line, 0.7));
      c.lineWidth = 1;
      c.fill();
      c.stroke();
      const at = this.#sigma.graphToViewport({ x: top.x, y: -top.y });
      c.font = `600 12px ${FONT}`;
      c.textAlign = "center";
      c.textBaseline = "bottom";
      c.lineWidth = 3;
      c.lineJoin = "round";
      c.strokeStyle = hex(back);
      c.fillStyle = hex(text);
      c.strokeText(site, at.x, at.y - 2);
      c.fillText(site, at.x, at.y - 2);
    }
  };

  #hit(p: Spot): Hit {
    const s = this.#sigma;
    const scale = s.scaleSize(1);
    const dots = this.#drawn.dots.map((d) => ({
      id: d.id,
      at: s.graphToViewport({ x: d.at.x, y: -d.at.y }),
      radius: d.radius * scale,
    }));
    return under(p, dots, this.#drawn.strokes);
  }

  #listen() {
    const mouse = this.#sigma.getMouseCaptor();
    const touch = this.#sigma.getTouchCaptor();
    // Sigma's own ears, which read pixels back.
    mouse.removeAllListeners();
    touch.removeAllListeners();
    let pending: MouseCoords | undefined;
    let frame = 0;
    const look = () => {
      frame = 0;
      if (!pending) return;
      const hit = this.#hit(pending);
      this.box.style.cursor = hit.node || hit.link ? "pointer" : "";
      this.hears.hover(hit, { x: pending.x, y: pending.y });
      pending = undefined;
    };
    mouse.on("mousemove", (e) => {
      if (this.#dragged) return;
      pending = e;
      frame ||= requestAnimationFrame(look);
    });
    mouse.on("mouseleave", () => {
      pending = undefined;
      this.hears.hover({}, { x: 0, y: 0 });
    });
    mouse.on("click", (e) => this.hears.pick(this.#hit(e)));
    mouse.on("mousedown", (e) => {
      const { node } = e.original instanceof MouseEvent && e.original.button === 0 ? this.#hit(e) : {};
      if (node) this.#dragged = { id: node, from: { x: e.x, y: e.y }, moved: false };
    });
    mouse.on("mousemovebody", (e) => {
      const d = this.#dragged;
      if (!d) return;
      e.preventSigmaDefault();
      if (!d.moved && Math.hypot(e.x - d.from.x, e.y - d.from.y) < SLIP_PX) return;
      if (!d.moved) this.hears.hover({}, { x: 0, y: 0 });
      d.moved = true;
      const { x, y } = this.#sigma.viewportToGraph(e);
      this.#graph.mergeNodeAttributes(d.id, { x, y });
    });
    mouse.on("mouseup", (e) => {
      const d = this.#dragged;
      this.#dragged = undefined;
      if (!d?.moved) return;
      const { x, y } = this.#sigma.viewportToGraph(e);
      this.hears.moved(d.id, { x, y: -y });
    });
    touch.on("tap", (e: TouchCoords) => {
      const at = e.touches[0] ?? e.previousTouches[0];
      if (at) this.hears.pick(this.#hit(at));
    });
  }
}

function same<T extends Dot | Stroke>(a: T, b: T): boolean {
  for (const key of Object.keys(b) as (keyof T)[]) {
    if (key === "at") {
      const [p, q] = [(a as Dot).at, (b as Dot).at];
      if (p.x !== q.x || p.y !== q.y) return false;
    } else if (a[key] !== b[key]) return false;
  }
  return true;
}
