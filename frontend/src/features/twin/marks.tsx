/** How a mark and an asset look: shape and word, and only then colour. */
import { markWord } from "@/lib/i18n";
import { cx } from "@/ui/kit";
import type { Mark } from "./model";

export const MARK: Record<Mark, { shape: string; text: string; line: string; fill: string; dash?: string }> =
  {
    outside: { shape: "▲", text: "text-danger", line: "stroke-danger", fill: "fill-danger" },
    near: { shape: "◐", text: "text-warn", line: "stroke-warn", fill: "fill-warn" },
    odd: { shape: "◇", text: "text-warn", line: "stroke-warn", fill: "fill-warn", dash: "2 4" },
    stale: { shape: "○", text: "text-t2", line: "stroke-t3", fill: "fill-t3", dash: "8 5" },
    none: { shape: "◇", text: "text-t2", line: "stroke-t3", fill: "fill-t3", dash: "2 5" },
    within: { shape: "●", text: "text-ok", line: "stroke-ok", fill: "fill-ok" },
    plain: { shape: "□", text: "text-info", line: "stroke-info", fill: "fill-info" },
  };

export function MarkWord({ mark, word = true }: { mark: Mark; word?: boolean }) {
  return (
    <span
      className={cx("inline-flex items-center gap-1.5 whitespace-nowrap", MARK[mark].text)}
      title={markWord(mark)}
    >
      <span aria-hidden="true">{MARK[mark].shape}</span>
      <span className={word ? undefined : "sr-only"}>{markWord(mark)}</span>
    </span>
  );
}

/** Outlines in a box of 24 by 24. */
const GLYPHS: Record<string, string> = {
  valve: "M4 7v10l8-5zM20 7v10l-8-5zM12 12V5M9 5h6",
  pump: "M12 5a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM9 8.5v7l6-3.5z",
  tank: "M6 6c0-3 12-3 12 0v12c0 3-12 3-12 0zM6 6c0 3 12 3 12 0",
  sensor: "M12 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM7.5 7.5a6.4 6.4 0 0 0 0 9M16.5 7.5a6.4 6.4 0 0 1 0 9",
  motor: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM8.5 16V8.5l3.5 4 3.5-4V16",
  fan: "M12 12c0-9 7-7 5-3-1 2-3 3-5 3zM12 12c9 0 7 7 3 5-2-1-3-3-3-5zM12 12c0 9-7 7-5 3 1-2 3-3 5-3zM12 12c-9 0-7-7-3-5 2 1 3 3 3 5z",
  light: "M9 16c-5-5-2-12 3-12s8 7 3 12zM9.5 19h5",
  heater: "M8 4c-3 4 3 5 0 9-1.500 2-1 4 0 6M15 4c-3 4 3 5 0 9-1.500 2-1 4 0 6",
  gate: "M4 20V6M20 20V6M4 9h16M4 16h16M9 9v7M15 9v7",
  camera: "M4 8h4l1.500-2h5L16 8h4v10H4zM12 10.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z",
  station: "M5 5h14v9H5zM9 19h6M12 14v5",
  other: "M12 5l7 7-7 7-7-7z",
};
export const Glyph = ({ kind, active }: { kind: string; active?: boolean }) => (
  <svg
    aria-hidden="true"
    viewBox="0 0 24 24"
    className={cx("size-4.5 shrink-0 stroke-[1.7] stroke-current", active ? "fill-current" : "fill-none")}
  >
    <path d={GLYPHS[kind] ?? GLYPHS.other} strokeLinecap="round" strokeLinejoin="round" />
  </svg>
);
