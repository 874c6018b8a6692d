/** Long lists: only the rows in sight are in the page. Rows of one height; the place is kept by two spacers. */
import { type ReactNode, useLayoutEffect, useRef, useState } from "react";
import { visible } from "@/lib/rows";

/** The part of `count` rows that is in sight of the nearest scrolling ancestor marked `data-scroll`. */
function useVisible(count: number, height: number, at: number | undefined, pick: string | undefined) {
  const anchor = useRef<HTMLElement>(null);
  const [sight, setSight] = useState({ top: 0, size: 800 });
  useLayoutEffect(() => {
    const box = anchor.current?.closest<HTMLElement>("[data-scroll]");
    if (!box) return;
    let frame = 0;
    const look = () => {
      frame = 0;
      const start = anchor.current ? anchor.current.getBoundingClientRect().top : 0;
      const top = Math.max(0, box.getBoundingClientRect().top - start);
      const size = Math.min(box.clientHeight, window.innerHeight);
      // Whole steps, so that a scroll of a few pixels draws nothing anew.
      setSight((was) => {
        const next = { top: Math.floor(top / height) * height, size };
        return was.top === next.top && was.size === next.size ? was : next;
      });
    };
    const soon = () => {
      frame ||= requestAnimationFrame(look);
    };
    look();
    // A box that does not scroll by itself (a phone) moves with the page.
    window.addEventListener("scroll", soon, { passive: true, capture: true });
    const resized = new ResizeObserver(soon);
    resized.observe(box);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", soon, { capture: true });
      resized.disconnect();
    };
  }, [height]);
  // The row that the keyboard or the address chose comes into sight, once: rows that come later do not pull.
  const shown = useRef<string>(undefined);
  useLayoutEffect(() => {
    const box = anchor.current?.closest<HTMLElement>("[data-scroll]");
    if (pick === shown.current || at === undefined || at < 0 || !box || !anchor.current) return;
    shown.current = pick;
    const top = anchor.current.getBoundingClientRect().top - box.getBoundingClientRect().top + at * height;
    if (top < height) box.scrollTop += top - height;
    else if (top + height > box.clientHeight) box.scrollTop += top + height - box.clientHeight;
  });
  return { anchor, ...visible(count, height, sight.top, sight.size) };
}

export function VirtualList<T>({
  items,
  height,
  at,
  pick,
  label,
  children,
}: {
  items: T[];
  height: number;
  /** Where the chosen row is, and its name. */
  at?: number;
  pick?: string;
  label: string;
  children: (item: T, index: number) => ReactNode;
}) {
  const { anchor, from, to, before, after } = useVisible(items.length, height, at, pick);
  return (
    <ul aria-label={label} ref={anchor as React.RefObject<HTMLUListElement>} className="relative">
      <li aria-hidden="true" style={{ height: before }} />
      {items.slice(from, to).map((item, i) => children(item, from + i))}
      <li aria-hidden="true" style={{ height: after }} />
    </ul>
  );
}

/** The body of a table; goes where `Table` takes its rows. `columns` is for the spacers. */
export function VirtualRows<T>({
  items,
  height = 32,
  at,
  pick,
  columns,
  children,
}: {
  items: T[];
  height?: number;
  /** Where the chosen row is, and its name. */
  at?: number;
  pick?: string;
  columns: number;
  children: (item: T, index: number) => ReactNode;
}) {
  const { anchor, from, to, before, after } = useVisible(items.length, height, at, pick);
  return (
    <>
      <tr ref={anchor as React.RefObject<HTMLTableRowElement>}>
        <td colSpan={columns} style={{ height: before, padding: 0 }} />
      </tr>
      {items.slice(from, to).map((item, i) => children(item, from + i))}
      {after ? (
        <tr>
          <td colSpan={columns} style={{ height: after, padding: 0 }} />
        </tr>
      ) : null}
    </>
  );
}
