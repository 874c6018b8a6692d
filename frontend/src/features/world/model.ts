/** One line of what a frame says; pure. The frame came from elsewhere: nothing in it has a known shape. */
import { value } from "@/lib/format";
import { line } from "@/lib/words";
import type { Frame } from "@/node/client";

const GIST_CHARS = 120;
const object = (v: unknown): Record<string, unknown> =>
  v && typeof v === "object" && !Array.isArray(v) ? (v as Record<string, unknown>) : {};
const text = (v: unknown): string | undefined => (typeof v === "string" ? v : undefined);

export function gist(f: Pick<Frame, "frame">): string {
  const frame = object(f.frame);
  const d = object(frame.data);
  const metric = text(d.metric);
  if (metric !== undefined) {
    const zone = text(d.zone);
    return line(`${metric}${zone ? ` ${zone}` : ""} = ${value(d.value, text(d.unit))}`, GIST_CHARS);
  }
  const said = text(d.message) ?? text(d.text) ?? text(d.summary) ?? text(d.detail);
  const type = text(d.type);
  if (said !== undefined) return line(type ? `${type}: ${said}` : said, GIST_CHARS);
  // Only so much of it is written out: a frame may be large, and a list shows hundreds.
  return line(JSON.stringify(frame.data ?? f.frame) ?? "", GIST_CHARS);
}
