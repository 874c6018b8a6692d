/**
 * Paints very many nodes: grounds, links and nodes by WebGL, names on a canvas over them. A node's state is
 * a shape, drawn by its distance function; a link is a ribbon, whole or broken; both are measured in pixels
 * of the screen, so that zooming makes nothing fat. It runs in a worker, since without a graphics card one
 * picture takes longer than a page may wait; where there is no such worker, the same runs in the page.
 */
import type { Health } from "@/lib/condition";
import { type Camera, growth, toPage } from "./camera";
import type { Dot, Drawn } from "./drawn";
import type { Ground } from "./sites";

export type Rgb = readonly [number, number, number];
/** The page's colours, each from 0 to 255. */
export interface Tones {
  back: Rgb;
  accent: Rgb;
  rim: Rgb;
  text: Rgb;
  ground: Rgb;
  line: Rgb;
  open: Rgb;
  is: Record<Health, Rgb>;
}
export interface Scene extends Drawn {
  grounds: Ground[];
  tones: Tones;
}
export interface View {
  width: number;
  height: number;
  /** Screen pixels per pixel of the page. */
  ratio: number;
  camera: Camera;
}
export type Canvas = HTMLCanvasElement | OffscreenCanvas;

const SHAPE: Record<Health, number> = {
  healthy: 0,
  degraded: 1,
  needs: 2,
  stopped: 3,
  offline: 4,
  unknown: 5,
};
const SELECTED = 8;
const STRANGER = 16;
const PALE = 32;
const FADED = 0.28;
const STALE = 0.45;
const FONT = 'system-ui, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const TEXT_PX = 12;
/** Names that nobody asked for keep this far from each other when all is in sight. */
const APART_PX = 44;

const HEAD = `#version 300 es
precision highp float;
uniform vec2 u_middle;
uniform vec2 u_half;
uniform float u_scale;
uniform float u_ratio;
uniform float u_growth;
uniform vec3 u_back;
uniform vec3 u_accent;
uniform vec3 u_rim;
`;
const VERTEX = `${HEAD}
vec2 pixels(vec2 place) { return (place - u_middle) * u_scale * u_ratio * vec2(1.0, -1.0); }
`;
const DOT_VERTEX = `${VERTEX}
in vec2 a_corner;
in vec2 a_at;
in float a_radius;
in float a_kind;
in vec3 a_color;
out vec2 v_at;
flat out float v_radius;
flat out float v_kind;
flat out vec3 v_color;
void main() {
  v_radius = a_radius * u_growth * u_ratio;
  v_at = a_corner * (v_radius * 1.3 + 5.0 * u_ratio);
  v_kind = a_kind;
  v_color = a_color;
  gl_Position = vec4((pixels(a_at) + v_at) / u_half, 0, 1);
}`;
const DOT_FRAGMENT = `${HEAD}
in vec2 v_at;
flat in float v_radius;
flat in float v_kind;
flat in vec3 v_color;
out vec4 o_color;
float cover(float d) { return clamp(0.5 - d, 0.0, 1.0); }
void main() {
  float r = v_radius;
  vec2 p = v_at;
  float line = max(r * 0.26, 1.4 * u_ratio);
  float kind = mod(v_kind, 8.0);
  bool selected = mod(floor(v_kind / 8.0), 2.0) > 0.5;
  bool stranger = mod(floor(v_kind / 16.0), 2.0) > 0.5;
  float disc = length(p) - r;
  float all = disc;
  float ink = disc;
  if (kind < 0.5) {
  } else if (kind < 1.5) {
    ink = min(abs(disc + line * 0.5) - line * 0.5, max(disc, p.x));
  } else if (kind < 2.5) {
    all = max(abs(p.x) * 0.866 + (p.y + r * 0.28) * 0.5 - r * 0.62, -p.y - r * 0.9);
    ink = all;
  } else if (kind < 3.5) {
    all = max(abs(p.x), abs(p.y)) - r * 0.9;
    ink = all;
  } else if (kind < 4.5) {
    ink = abs(disc + line * 0.5) - line * 0.5;
  } else {
    all = (abs(p.x) + abs(p.y)) * 0.707 - r * 0.78;
    ink = abs(all + line * 0.5) - line * 0.5;
  }
  vec3 rgb = mix(u_back, v_color, cover(ink));
  float a = cover(all);
  if (stranger) {
    float rim = abs(length(p) - r * 1.12 - 3.0 * u_ratio) - 0.7 * u_ratio;
    float on = cover(rim) * step(fract(atan(p.y, p.x) * 1.2732), 0.55);
    bool pale = mod(floor(v_kind / 32.0), 2.0) > 0.5;
    rgb = mix(rgb, mix(u_back, u_rim, pale ? ${FADED} : 1.0), on * (1.0 - a));
    a = max(a, on);
  }
  if (selected) {
    float on = cover(abs(length(p) - r * 1.2 - 3.0 * u_ratio) - 1.4 * u_ratio);
    rgb = mix(rgb, u_accent, on);
    a = max(a, on);
  }
  o_color = vec4(rgb * a, a);
}`;
const STROKE_VERTEX = `${VERTEX}
in vec2 a_corner;
in vec2 a_from;
in vec2 a_to;
in float a_width;
in float a_broken;
in vec3 a_color;
out float v_along;
out float v_off;
flat out float v_half;
flat out float v_broken;
flat out vec3 v_color;
void main() {
  vec2 a = pixels(a_from);
  vec2 b = pixels(a_to);
  float far = max(length(b - a), 0.001);
  vec2 way = (b - a) / far;
  float end = (a_corner.x + 1.0) * 0.5;
  v_half = a_width * 0.5 * u_ratio;
  v_off = a_corner.y * (v_half + u_ratio);
  v_along = end * far / u_ratio;
  v_broken = a_broken;
  v_color = a_color;
  gl_Position = vec4((mix(a, b, end) + vec2(-way.y, way.x) * v_off) / u_half, 0, 1);
}`;
const STROKE_FRAGMENT = `${HEAD}
in float v_along;
in float v_off;
flat in float v_half;
flat in float v_broken;
flat in vec3 v_color;
out vec4 o_color;
void main() {
  float a = clamp(0.5 - (abs(v_off) - v_half), 0.0, 1.0);
  if (v_broken > 0.5 && fract(v_along / 9.0) > 0.6) a = 0.0;
  o_color = vec4(v_color * a, a);
}`;
const GROUND_VERTEX = `${VERTEX}
in vec2 a_at;
in vec3 a_color;
flat out vec3 v_color;
void main() {
  v_color = a_color;
  gl_Position = vec4(pixels(a_at) / u_half, 0, 1);
}`;
const GROUND_FRAGMENT = `${HEAD}
flat in vec3 v_color;
out vec4 o_color;
void main() { o_color = vec4(v_color, 1); }`;

const CORNERS = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);

const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;
const mix = (a: Rgb, b: Rgb, part: number): Rgb => [
  a[0] + (b[0] - a[0]) * part,
  a[1] + (b[1] - a[1]) * part,
  a[2] + (b[2] - a[2]) * part,
];
const unit = (rgb: Rgb): number[] => rgb.map((v) => v / 255);

/** One shader and its numbers: `layout` names them and says how many belong together. */
class Pass {
  readonly program: WebGLProgram;
  readonly #array: WebGLVertexArrayObject;
  readonly #buffer: WebGLBuffer;
  readonly #uniforms = new Map<string, WebGLUniformLocation | null>();
  readonly floats: number;
  count = 0;

  constructor(
    readonly gl: WebGL2RenderingContext,
    vertex: string,
    fragment: string,
    layout: readonly (readonly [string, number])[],
    readonly instanced: boolean,
  ) {
    this.program = gl.createProgram();
    for (const [kind, text] of [
      [gl.VERTEX_SHADER, vertex],
      [gl.FRAGMENT_SHADER, fragment],
    ] as const) {
      const shader = gl.createShader(kind);
      if (!shader) throw new Error("the graphics card gave no shader");
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS))
      throw new Error(`a shader was refused: ${gl.getProgramInfoLog(this.program)}`);
    this.#array = gl.createVertexArray();
    this.#buffer = gl.createBuffer();
    gl.bindVertexArray(this.#array);
    if (instanced) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, CORNERS, gl.STATIC_DRAW);
      const corner = gl.getAttribLocation(this.program, "a_corner");
      gl.enableVertexAttribArray(corner);
      gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    }
    this.floats = layout.reduce((sum, [, n]) => sum + n, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    let from = 0;
    for (const [name, n] of layout) {
      const at = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, n, gl.FLOAT, false, this.floats * 4, from * 4);
      if (instanced) gl.vertexAttribDivisor(at, 1);
      from += n;
    }
  }

  fill(numbers: number[]) {
    this.count = numbers.length / this.floats;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.#buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, new Float32Array(numbers), this.gl.DYNAMIC_DRAW);
  }
  #at(name: string) {
    let at = this.#uniforms.get(name);
    if (at === undefined) {
      at = this.gl.getUniformLocation(this.program, name);
      this.#uniforms.set(name, at);
    }
    return at;
  }
  draw({ width, height, ratio, camera }: View, tones: Tones) {
    const { gl } = this;
    if (!this.count) return;
    gl.useProgram(this.program);
    gl.uniform2f(this.#at("u_middle"), camera.x, camera.y);
    gl.uniform2f(this.#at("u_half"), (width * ratio) / 2, (height * ratio) / 2);
    gl.uniform1f(this.#at("u_scale"), camera.scale);
    gl.uniform1f(this.#at("u_ratio"), ratio);
    gl.uniform1f(this.#at("u_growth"), growth(camera));
    gl.uniform3fv(this.#at("u_back"), unit(tones.back));
    gl.uniform3fv(this.#at("u_accent"), unit(tones.accent));
    gl.uniform3fv(this.#at("u_rim"), unit(tones.rim));
    gl.bindVertexArray(this.#array);
    if (this.instanced) gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    else gl.drawArrays(gl.TRIANGLES, 0, this.count);
  }
}

/** What is to be seen lies over the rest: faded things below, the selection above all. */
const above = (x: { faded: boolean; selected: boolean }): number => (x.selected ? 2 : x.faded ? 0 : 1);

export class Painter {
  readonly #gl: WebGL2RenderingContext;
  readonly #text: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;
  readonly #grounds: Pass;
  readonly #strokes: Pass;
  readonly #dots: Pass;
  #scene: Scene | undefined;
  /** The nodes, those first whose names go first. */
  #ranked: Dot[] = [];

  /** Throws where there is no WebGL. */
  constructor(
    readonly shapes: Canvas,
    readonly names: Canvas,
  ) {
    const gl = shapes.getContext("webgl2", { antialias: false }) as WebGL2RenderingContext | null;
    const text = names.getContext("2d") as
      | CanvasRenderingContext2D
      | OffscreenCanvasRenderingContext2D
      | null;
    if (!gl || !text) throw new Error("there is no WebGL");
    this.#gl = gl;
    this.#text = text;
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.#grounds = new Pass(
      gl,
      GROUND_VERTEX,
      GROUND_FRAGMENT,
      [
        ["a_at", 2],
        ["a_color", 3],
      ],
      false,
    );
    this.#strokes = new Pass(
      gl,
      STROKE_VERTEX,
      STROKE_FRAGMENT,
      [
        ["a_from", 2],
        ["a_to", 2],
        ["a_width", 1],
        ["a_broken", 1],
        ["a_color", 3],
      ],
      true,
    );
    this.#dots = new Pass(
      gl,
      DOT_VERTEX,
      DOT_FRAGMENT,
      [
        ["a_at", 2],
        ["a_radius", 1],
        ["a_kind", 1],
        ["a_color", 3],
      ],
      true,
    );
  }

  /** What is to be painted from now on. */
  take(scene: Scene) {
    this.#scene = scene;
    const { tones, dots, strokes, grounds } = scene;
    const { back } = tones;
    const places = new Map(dots.map((d) => [d.id, d.at]));
    const floor: number[] = [];
    const lines: number[] = [];
    for (const { points } of grounds)
      points.forEach((p, i) => {
        const [a, b] = [points[0], points[(i + 1) % points.length]];
        if (!a || !b) return;
        const fill = unit(tones.ground);
        for (const q of [a, p, b]) floor.push(q.x, q.y, ...fill);
        lines.push(p.x, p.y, b.x, b.y, 1, 0, ...unit(mix(back, tones.line, 0.8)));
      });
    for (const s of [...strokes].sort((x, y) => above(x) - above(y))) {
      const [a, b] = [places.get(s.a), places.get(s.b)];
      if (!a || !b) continue;
      const tone = s.selected ? tones.accent : s.open ? tones.open : tones.line;
      const part = s.selected ? 1 : (s.faded ? FADED : 1) * (s.stale ? STALE : 1);
      const width = s.selected ? Math.max(3, s.width) : s.width;
      lines.push(a.x, a.y, b.x, b.y, width, s.open ? 1 : 0, ...unit(mix(back, tone, part)));
    }
    const marks: number[] = [];
    for (const d of [...dots].sort((x, y) => above(x) - above(y))) {
      const kind =
        SHAPE[d.is] + (d.selected ? SELECTED : 0) + (d.stranger ? STRANGER : 0) + (d.faded ? PALE : 0);
      const tone = tones.is[d.is];
      marks.push(d.at.x, d.at.y, d.radius, kind, ...unit(d.faded ? mix(back, tone, FADED) : tone));
    }
    this.#grounds.fill(floor);
    this.#strokes.fill(lines);
    this.#dots.fill(marks);
    const rank = (d: Dot) => (d.selected ? 100 : 0) + (d.named ? 50 : 0) + d.radius;
    this.#ranked = dots.filter((d) => d.label).sort((x, y) => rank(y) - rank(x));
  }

  paint(view: View) {
    const gl = this.#gl;
    if (!this.#scene || view.width < 1 || view.height < 1) return;
    for (const canvas of [this.shapes, this.names]) {
      const [w, h] = [Math.round(view.width * view.ratio), Math.round(view.height * view.ratio)];
      if (canvas.width !== w) canvas.width = w;
      if (canvas.height !== h) canvas.height = h;
    }
    gl.viewport(0, 0, this.shapes.width, this.shapes.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    for (const pass of [this.#grounds, this.#strokes, this.#dots]) pass.draw(view, this.#scene.tones);
    this.#write(view, this.#scene);
  }

  /** The names: of the sites, then of the nodes as far as there is room. */
  #write(view: View, { grounds, tones }: Scene) {
    const c = this.#text;
    const { width, height, ratio, camera } = view;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, width, height);
    c.lineJoin = "round";
    c.lineWidth = 3;
    c.strokeStyle = css(tones.back);
    c.fillStyle = css(tones.text);
    c.textBaseline = "middle";
    const taken: [number, number, number, number][] = [];
    const write = (text: string, x: number, y: number, wide: number) => {
      c.strokeText(text, x, y);
      c.fillText(text, x, y);
      taken.push([x, y - TEXT_PX / 2, x + wide, y + TEXT_PX / 2]);
    };
    c.font = `600 ${TEXT_PX + 1}px ${FONT}`;
    for (const { site, top } of grounds) {
      const at = toPage(camera, view, top);
      const wide = c.measureText(site).width;
      write(site, at.x - wide / 2, at.y - 10, wide);
    }
    c.font = `${TEXT_PX}px ${FONT}`;
    const grown = growth(camera);
    const apart = Math.max(3, APART_PX / grown ** 3);
    for (const d of this.#ranked) {
      const at = toPage(camera, view, d.at);
      if (at.x < -100 || at.x > width + 20 || at.y < -20 || at.y > height + 20) continue;
      const x = at.x + d.radius * grown + 5;
      const wide = c.measureText(d.label).width;
      const gap = d.named ? 1 : apart;
      const [x0, y0, x1, y1] = [
        x - gap,
        at.y - TEXT_PX / 2 - gap / 2,
        x + wide + gap,
        at.y + TEXT_PX / 2 + gap / 2,
      ];
      if (!d.selected && taken.some((r) => r[0] < x1 && r[2] > x0 && r[1] < y1 && r[3] > y0)) continue;
      write(d.label, x, at.y, wide);
    }
  }
}
