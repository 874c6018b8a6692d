/**
 * The drawing of very many nodes as the page has it: two canvases, a camera, and what a pointer does. It is
 * told what to draw and tells what was pressed; it knows neither the mesh nor the page around it.
 */
import { type Camera, fitted, growth, panned, type Size, toPage, toPlace, zoomed } from "./camera";
import { type Drawn, type Hit, under } from "./drawn";
import { Painter, type Rgb, type Tones } from "./painter";
import type { Told } from "./painter.worker";
import type { Ground } from "./sites";
import type { Spot } from "./spots";

/** How far a press may slip and still be one. */
const SLIP_PX = 4;
const WORKER_MS = 15_000;
const ZOOM_KEY = 1.5;
const ZOOM_WHEEL = 0.0016;
const PAN_PX = 80;
/** So near to the edge a node counts as out of sight. */
const EDGE_PX = 20;

export interface Hears {
  pick: (hit: Hit) => void;
  hover: (hit: Hit, at: Spot) => void;
  moved: (id: string, at: Spot) => void;
  /** It cannot be drawn here, or no longer. */
  lost: () => void;
}

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
  const [back, ok, warn, danger, t3] = [of("--s1"), of("--ok"), of("--warn"), of("--danger"), of("--t3")];
  const line = back.map((v, i) => v + ((t3[i] ?? v) - v) * 0.45) as unknown as Rgb;
  return {
    back,
    line,
    accent: of("--accent"),
    rim: of("--t2"),
    text: of("--t1"),
    ground: of("--s2"),
    open: warn,
    is: { healthy: ok, degraded: warn, needs: warn, stopped: danger, offline: t3, unknown: t3 },
  };
}

/** Sends to a painter in a worker, or has one here where a canvas cannot be given away. */
function hire(shapes: HTMLCanvasElement, names: HTMLCanvasElement, lost: () => void) {
  if (typeof shapes.transferControlToOffscreen === "function") {
    const worker = new Worker(new URL("./painter.worker.ts", import.meta.url), { type: "module" });
    // One that says nothing at all paints nothing either.
    const late = setTimeout(lost, WORKER_MS);
    worker.onmessage = ({ data }) => {
      clearTimeout(late);
      if (data !== "ready") lost();
    };
    worker.onerror = lost;
    const canvases = [shapes.transferControlToOffscreen(), names.transferControlToOffscreen()] as const;
    worker.postMessage({ canvases } satisfies Told, [...canvases]);
    const end = () => {
      clearTimeout(late);
      worker.terminate();
    };
    return { tell: (told: Told) => worker.postMessage(told), end };
  }
  const painter = new Painter(shapes, names);
  shapes.addEventListener("webglcontextlost", lost);
  return {
    tell: ({ scene, view }: Told) => {
      if (scene) painter.take(scene);
      if (view) painter.paint(view);
    },
    end: () => undefined,
  };
}

export class Stage {
  readonly #painter: ReturnType<typeof hire>;
  readonly #ends = new AbortController();
  readonly #resized: ResizeObserver;
  #tones = tones();
  #drawn: Drawn = { dots: [], strokes: [] };
  #grounds: Ground[] = [];
  #size: Size = { width: 0, height: 0 };
  #camera: Camera = { x: 0, y: 0, scale: 1, whole: 1 };
  #fresh = true;
  #changed = false;
  #frame = 0;
  #pointers = new Map<number, Spot>();
  #press: { from: Spot; slipped: boolean; node?: string } | undefined;
  #hovering: Spot | undefined;

  /** Throws where it cannot be drawn at all. */
  constructor(
    readonly box: HTMLElement,
    readonly hears: Hears,
  ) {
    const canvas = () => {
      const c = document.createElement("canvas");
      c.className = "pointer-events-none absolute inset-0 size-full";
      c.ariaHidden = "true";
      return c;
    };
    const [shapes, names] = [canvas(), canvas()];
    this.#painter = hire(shapes, names, hears.lost);
    box.replaceChildren(shapes, names);
    this.#resized = new ResizeObserver(() => {
      const { width, height } = box.getBoundingClientRect();
      const first = !this.#size.width;
      this.#size = { width, height };
      if (first) this.fit();
      this.#soon();
    });
    this.#resized.observe(box);
    this.#listen();
  }

  end() {
    cancelAnimationFrame(this.#frame);
    this.#resized.disconnect();
    this.#ends.abort();
    this.#painter.end();
    this.box.replaceChildren();
  }

  draw(drawn: Drawn, grounds: Ground[]) {
    this.#drawn = drawn;
    this.#grounds = grounds;
    this.#tell();
    if (this.#fresh && drawn.dots.length) {
      this.#fresh = false;
      this.fit();
    }
  }
  #tell() {
    this.#changed = true;
    this.#soon();
  }
  /** After the theme has changed. */
  recolor() {
    this.#tones = tones();
    this.#tell();
  }
  /** However often something moves, once a frame is enough. */
  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      // What changed and from where it is seen go together, or it would be seen from where one was.
      const scene = this.#changed
        ? { ...this.#drawn, grounds: this.#grounds, tones: this.#tones }
        : undefined;
      this.#changed = false;
      this.#painter.tell({ scene, view: { ...this.#size, ratio, camera: this.#camera } });
      this.#look();
    });
  }
  #see(camera: Camera) {
    this.#camera = camera;
    this.#soon();
  }

  /** All of it in sight. */
  fit() {
    if (!this.#size.width) return;
    const all = [...this.#drawn.dots.map((d) => d.at), ...this.#grounds.flatMap((g) => [...g.points, g.top])];
    this.#see(fitted(all, this.#size));
  }
  /** Brings a node into the middle if it is out of sight. */
  seek(id: string) {
    const dot = this.#drawn.dots.find((d) => d.id.startsWith(id));
    const { width, height } = this.#size;
    if (!dot || !width) return;
    const p = toPage(this.#camera, this.#size, dot.at);
    const inside = (v: number, most: number) => v > EDGE_PX && v < most - EDGE_PX;
    if (!inside(p.x, width) || !inside(p.y, height)) this.#see({ ...this.#camera, ...dot.at });
  }
  /** What keys do. True if the key is one of ours. */
  key(key: string): boolean {
    const middle = { x: this.#size.width / 2, y: this.#size.height / 2 };
    const zoom = (by: number) => this.#see(zoomed(this.#camera, this.#size, by, middle));
    const pan = (dx: number, dy: number) => this.#see(panned(this.#camera, dx, dy));
    if (key === "+" || key === "=") zoom(ZOOM_KEY);
    else if (key === "-") zoom(1 / ZOOM_KEY);
    else if (key === "Home") this.fit();
    else if (key === "ArrowLeft") pan(PAN_PX, 0);
    else if (key === "ArrowRight") pan(-PAN_PX, 0);
    else if (key === "ArrowUp") pan(0, PAN_PX);
    else if (key === "ArrowDown") pan(0, -PAN_PX);
    else return false;
    return true;
  }

  #hit(p: Spot): Hit {
    const grown = growth(this.#camera);
    const dots = this.#drawn.dots.map((d) => ({
      id: d.id,
      at: toPage(this.#camera, this.#size, d.at),
      radius: d.radius * grown,
    }));
    return under(p, dots, this.#drawn.strokes);
  }
  #look() {
    const at = this.#hovering;
    this.#hovering = undefined;
    if (!at || this.#pointers.size) return;
    const hit = this.#hit(at);
    this.box.style.cursor = hit.node || hit.link ? "pointer" : "";
    this.hears.hover(hit, at);
  }

  #listen() {
    const { box } = this;
    const { signal } = this.#ends;
    const at = (e: MouseEvent): Spot => {
      const { left, top } = box.getBoundingClientRect();
      return { x: e.clientX - left, y: e.clientY - top };
    };
    const on = <K extends keyof HTMLElementEventMap>(kind: K, act: (e: HTMLElementEventMap[K]) => void) =>
      box.addEventListener(kind, act, { signal, passive: false });
    on("wheel", (e) => {
      e.preventDefault();
      const by = Math.exp(-Math.max(-300, Math.min(300, e.deltaY * (e.deltaMode ? 30 : 1))) * ZOOM_WHEEL);
      this.#see(zoomed(this.#camera, this.#size, by, at(e)));
    });
    on("pointerdown", (e) => {
      if (e.button !== 0) return;
      const p = at(e);
      box.setPointerCapture(e.pointerId);
      this.#pointers.set(e.pointerId, p);
      // A finger that pans must not take a node along.
      const { node } = e.pointerType === "touch" ? {} : this.#hit(p);
      this.#press = this.#pointers.size === 1 ? { from: p, slipped: false, node } : undefined;
    });
    on("pointermove", (e) => {
      const p = at(e);
      const was = this.#pointers.get(e.pointerId);
      if (!was) {
        this.#hovering = p;
        return this.#soon();
      }
      this.#pointers.set(e.pointerId, p);
      this.#drag(e.pointerId, was, p);
    });
    const up = (e: PointerEvent) => {
      if (!this.#pointers.delete(e.pointerId)) return;
      const press = this.#press;
      this.#press = undefined;
      if (!press || e.type === "pointercancel") return;
      if (!press.slipped) this.hears.pick(this.#hit(at(e)));
      else if (press.node) this.hears.moved(press.node, toPlace(this.#camera, this.#size, at(e)));
    };
    on("pointerup", up);
    on("pointercancel", up);
    on("pointerleave", () => {
      this.#hovering = undefined;
      this.hears.hover({}, { x: 0, y: 0 });
    });
  }

  #drag(pointer: number, was: Spot, p: Spot) {
    const other = [...this.#pointers].find(([id]) => id !== pointer)?.[1];
    if (other) {
      // Two fingers: what was between them stays between them.
      const far = (q: Spot) => Math.max(10, Math.hypot(q.x - other.x, q.y - other.y));
      const middle = { x: (p.x + other.x) / 2, y: (p.y + other.y) / 2 };
      const moved = panned(this.#camera, (p.x - was.x) / 2, (p.y - was.y) / 2);
      return this.#see(zoomed(moved, this.#size, far(p) / far(was), middle));
    }
    const press = this.#press;
    if (!press) return;
    if (!press.slipped && Math.hypot(p.x - press.from.x, p.y - press.from.y) < SLIP_PX) return;
    if (!press.slipped) this.hears.hover({}, { x: 0, y: 0 });
    press.slipped = true;
    if (!press.node) return this.#see(panned(this.#camera, p.x - was.x, p.y - was.y));
    const place = toPlace(this.#camera, this.#size, p);
    const dots = this.#drawn.dots.map((d) => (d.id === press.node ? { ...d, at: place } : d));
    this.#drawn = { ...this.#drawn, dots };
    this.#tell();
  }
}
