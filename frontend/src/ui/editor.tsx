/** A plain text editor with line numbers: for files that people write. */
import { type RefObject, useId, useRef } from "react";
import { cx } from "./kit";

const LINE_PX = 20;

export function Editor({
  label,
  value,
  onChange,
  readOnly,
  mark,
  area,
}: {
  label: string;
  value: string;
  onChange: (text: string) => void;
  readOnly?: boolean;
  /** The line at fault, counted from one. */
  mark?: number;
  area: RefObject<HTMLTextAreaElement | null>;
}) {
  const id = useId();
  const numbers = useRef<HTMLPreElement>(null);
  const lines = value.split("\n").length;
  return (
    <div className="flex h-[clamp(260px,52vh,640px)] shrink-0 overflow-hidden rounded-md border border-line bg-s0 focus-within:border-accent">
      <label htmlFor={id} className="sr-only">
        {label}
      </label>
      <pre
        ref={numbers}
        aria-hidden="true"
        className="shrink-0 overflow-hidden border-line border-r bg-s1 py-2 pr-2 pl-2 text-right font-mono text-[12.5px] text-t2 leading-5 select-none"
      >
        {Array.from({ length: lines }, (_, i) => (
          <span key={i} className={cx("block", mark === i + 1 && "font-semibold text-danger")}>
            {mark === i + 1 ? "▲ " : ""}
            {i + 1}
          </span>
        ))}
      </pre>
      <textarea
        ref={area}
        id={id}
        value={value}
        readOnly={readOnly}
        aria-invalid={mark !== undefined}
        wrap="off"
        dir="ltr"
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        onChange={(e) => onChange(e.target.value)}
        onScroll={(e) => {
          if (numbers.current) numbers.current.scrollTop = e.currentTarget.scrollTop;
        }}
        className="min-w-0 flex-1 resize-none bg-transparent px-2 py-2 font-mono text-[12.5px] text-t1 leading-5"
      />
    </div>
  );
}

/** Selects a part of the text and brings its line into view. */
export function pick(area: HTMLTextAreaElement | null, [from, to]: [number, number], line: number): void {
  if (!area) return;
  area.focus();
  area.setSelectionRange(from, to);
  area.scrollTop = Math.max(0, (line - 4) * LINE_PX);
}
