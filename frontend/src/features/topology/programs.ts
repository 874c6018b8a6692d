/**
 * The two shaders. A node's state is a shape, drawn by its distance function; a link is a ribbon, whole or
 * broken. Both work in pixels of the drawing, so that zooming makes nothing thin or fat. What is under the
 * pointer is found by `under`, without reading pixels back: their picking pass draws nothing.
 */

import { EdgeProgram, NodeProgram, type ProgramInfo } from "sigma/rendering";
import type { NodeDisplayData, RenderParams } from "sigma/types";
import { floatColor } from "sigma/utils";
import type { Health } from "@/lib/condition";

const FLOAT = 0x1406;
const BYTE = 0x1401;
const TRIANGLES = 0x0004;

export const SHAPE: Record<Health, number> = {
  healthy: 0,
  degraded: 1,
  needs: 2,
  stopped: 3,
  offline: 4,
  unknown: 5,
};
export const SELECTED = 8;
export const STRANGER = 16;

/** What every node shares, as red, green, blue from 0 to 1: the page behind it, its two kinds of rim. */
export const look = { back: [1, 1, 1], accent: [0, 0, 0], rim: [0, 0, 0] };

export interface DotData {
  kind: number;
}
export interface StrokeData {
  broken: boolean;
}

const color = { size: 4, type: BYTE, normalized: true };
type Uniforms = "u_matrix" | "u_half" | "u_pixelRatio" | "u_sizeRatio" | "u_back" | "u_accent" | "u_rim";
const UNIFORMS = [
  "u_matrix",
  "u_half",
  "u_pixelRatio",
  "u_sizeRatio",
  "u_back",
  "u_accent",
  "u_rim",
] as const;

function give(p: RenderParams, { gl, uniformLocations: u }: ProgramInfo<Uniforms>): void {
  gl.uniformMatrix3fv(u.u_matrix, false, p.matrix);
  gl.uniform2f(u.u_half, (p.width * p.pixelRatio) / 2, (p.height * p.pixelRatio) / 2);
  gl.uniform1f(u.u_pixelRatio, p.pixelRatio);
  gl.uniform1f(u.u_sizeRatio, p.sizeRatio);
  gl.uniform3fv(u.u_back, look.back);
  gl.uniform3fv(u.u_accent, look.accent);
  gl.uniform3fv(u.u_rim, look.rim);
}

const DOT_VERTEX = `
attribute vec2 a_position;
attribute float a_size;
attribute float a_kind;
attribute vec4 a_color;
attribute vec2 a_corner;
uniform mat3 u_matrix;
uniform vec2 u_half;
uniform float u_pixelRatio;
uniform float u_sizeRatio;
varying vec2 v_at;
varying float v_radius;
varying float v_kind;
varying vec3 v_color;
void main() {
  v_radius = a_size / u_sizeRatio * u_pixelRatio;
  v_at = a_corner * (v_radius * 1.3 + 5.0 * u_pixelRatio);
  v_kind = a_kind;
  v_color = a_color.rgb;
  vec2 middle = (u_matrix * vec3(a_position, 1)).xy;
  gl_Position = vec4(middle + v_at / u_half, 0, 1);
}`;

const DOT_FRAGMENT = `
precision highp float;
varying vec2 v_at;
varying float v_radius;
varying float v_kind;
varying vec3 v_color;
uniform float u_pixelRatio;
uniform vec3 u_back;
uniform vec3 u_accent;
uniform vec3 u_rim;
#ifdef PICKING_MODE
void main() { discard; }
#else
float cover(float d) { return clamp(0.5 - d, 0.0, 1.0); }
void main() {
  float r = v_radius;
  vec2 p = v_at;
  float line = max(r * 0.26, 1.4 * u_pixelRatio);
  float kind = mod(v_kind, 8.0);
  bool selected = mod(floor(v_kind / 8.0), 2.0) > 0.5;
  bool stranger = mod(floor(v_kind / 16.0), 2.0) > 0.5;
  float disc = length(p) - r;
  float all = disc;
  float ink = disc;
  if (kind < 0.5) {
  } else if (kind < 1.5) {
    ink = min(abs(length(p) - r + line * 0.5) - line * 0.5, max(disc, p.x));
  } else if (kind < 2.5) {
    vec2 q = vec2(abs(p.x), p.y + r * 0.28);
    ink = max(q.x * 0.866 + q.y * 0.5 - r * 0.62, -q.y - r * 0.62);
    all = ink;
  } else if (kind < 3.5) {
    vec2 q = abs(p);
    ink = max(q.x, q.y) - r * 0.9;
    all = ink;
  } else if (kind < 4.5) {
    ink = abs(length(p) - r + line * 0.5) - line * 0.5;
  } else {
    all = (abs(p.x) + abs(p.y)) * 0.707 - r * 0.78;
    ink = abs(all + line * 0.5) - line * 0.5;
  }
  vec3 rgb = mix(u_back, v_color, cover(ink));
  float a = cover(all);
  if (stranger) {
    float turn = fract(atan(p.y, p.x) * 1.2732);
    float rim = abs(length(p) - r * 1.12 - 3.0 * u_pixelRatio) - 0.7 * u_pixelRatio;
    float on = cover(rim) * step(turn, 0.55);
    rgb = mix(rgb, u_rim, on * (1.0 - a));
    a = max(a, on);
  }
  if (selected) {
    float on = cover(abs(length(p) - r * 1.2 - 3.0 * u_pixelRatio) - 1.4 * u_pixelRatio);
    rgb = mix(rgb, u_accent, on);
    a = max(a, on);
  }
  gl_FragColor = vec4(rgb * a, a);
}
#endif`;

export class DotProgram extends NodeProgram<Uniforms> {
  getDefinition() {
    return {
      VERTICES: 6,
      VERTEX_SHADER_SOURCE: DOT_VERTEX,
      FRAGMENT_SHADER_SOURCE: DOT_FRAGMENT,
      METHOD: TRIANGLES,
      UNIFORMS,
      ATTRIBUTES: [
        { name: "a_position", size: 2, type: FLOAT },
        { name: "a_size", size: 1, type: FLOAT },
        { name: "a_kind", size: 1, type: FLOAT },
        { name: "a_color", ...color },
      ],
      CONSTANT_ATTRIBUTES: [{ name: "a_corner", size: 2, type: FLOAT }],
      CONSTANT_DATA: [
        [-1, -1],
        [1, -1],
        [1, 1],
        [-1, -1],
        [1, 1],
        [-1, 1],
      ],
    };
  }
  processVisibleItem(_index: number, from: number, data: NodeDisplayData) {
    let i = from;
    this.array[i++] = data.x;
    this.array[i++] = data.y;
    this.array[i++] = data.size;
    this.array[i++] = (data as NodeDisplayData & DotData).kind;
    this.array[i++] = floatColor(data.color);
  }
  setUniforms(params: RenderParams, program: ProgramInfo<Uniforms>) {
    give(params, program);
  }
}

const STROKE_VERTEX = `
attribute vec2 a_from;
attribute vec2 a_to;
attribute float a_width;
attribute float a_broken;
attribute vec4 a_color;
attribute vec2 a_corner;
uniform mat3 u_matrix;
uniform vec2 u_half;
uniform float u_pixelRatio;
varying float v_along;
varying float v_off;
varying float v_width;
varying float v_broken;
varying vec3 v_color;
void main() {
  vec2 a = (u_matrix * vec3(a_from, 1)).xy * u_half;
  vec2 b = (u_matrix * vec3(a_to, 1)).xy * u_half;
  vec2 way = b - a;
  float far = max(length(way), 0.001);
  vec2 side = vec2(-way.y, way.x) / far;
  v_width = a_width * 0.5 * u_pixelRatio;
  v_off = a_corner.y * (v_width + u_pixelRatio);
  v_along = a_corner.x * far / u_pixelRatio;
  v_broken = a_broken;
  v_color = a_color.rgb;
  gl_Position = vec4((mix(a, b, a_corner.x) + side * v_off) / u_half, 0, 1);
}`;

const STROKE_FRAGMENT = `
precision highp float;
varying float v_along;
varying float v_off;
varying float v_width;
varying float v_broken;
varying vec3 v_color;
#ifdef PICKING_MODE
void main() { discard; }
#else
void main() {
  float a = clamp(0.5 - (abs(v_off) - v_width), 0.0, 1.0);
  if (v_broken > 0.5 && fract(v_along / 9.0) > 0.6) a = 0.0;
  gl_FragColor = vec4(v_color * a, a);
}
#endif`;

export class StrokeProgram extends EdgeProgram<Uniforms> {
  getDefinition() {
    return {
      VERTICES: 6,
      VERTEX_SHADER_SOURCE: STROKE_VERTEX,
      FRAGMENT_SHADER_SOURCE: STROKE_FRAGMENT,
      METHOD: TRIANGLES,
      UNIFORMS,
      ATTRIBUTES: [
        { name: "a_from", size: 2, type: FLOAT },
        { name: "a_to", size: 2, type: FLOAT },
        { name: "a_width", size: 1, type: FLOAT },
        { name: "a_broken", size: 1, type: FLOAT },
        { name: "a_color", ...color },
      ],
      CONSTANT_ATTRIBUTES: [{ name: "a_corner", size: 2, type: FLOAT }],
      CONSTANT_DATA: [
        [0, -1],
        [1, -1],
        [1, 1],
        [0, -1],
        [1, 1],
        [0, 1],
      ],
    };
  }
  processVisibleItem(
    _index: number,
    from: number,
    a: NodeDisplayData,
    b: NodeDisplayData,
    data: Parameters<EdgeProgram["processVisibleItem"]>[4],
  ) {
    let i = from;
    this.array[i++] = a.x;
    this.array[i++] = a.y;
    this.array[i++] = b.x;
    this.array[i++] = b.y;
    this.array[i++] = data.size;
    this.array[i++] = (data as unknown as StrokeData).broken ? 1 : 0;
    this.array[i++] = floatColor(data.color);
  }
  setUniforms(params: RenderParams, program: ProgramInfo<Uniforms>) {
    give(params, program);
  }
}
