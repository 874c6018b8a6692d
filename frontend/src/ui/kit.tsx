/** The small kit: buttons, panels, tables, dialogs, badges. It knows no feature and no node. */

import {
  type ButtonHTMLAttributes,
  type InputHTMLAttributes,
  type ReactNode,
  type SelectHTMLAttributes,
  useId,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import { nodeNow } from "@/lib/clock";
import type { Health } from "@/lib/condition";
import { absolute, span, tier as tierOf, when } from "@/lib/format";
import { healthKey, t } from "@/lib/i18n";
import { line, TEXT_SHOWN_MAX, tame } from "@/lib/words";

export const cx = (...parts: (string | false | null | undefined)[]): string =>
  parts.filter(Boolean).join(" ");

/** The time, once a second, shared by everything that shows an age. */
let nowMs = nodeNow();
const tickers = new Set<() => void>();
setInterval(() => {
  nowMs = nodeNow();
  for (const f of tickers) f();
}, 1000);
export const useNow = (): number =>
  useSyncExternalStore(
    (f) => {
      tickers.add(f);
      return () => tickers.delete(f);
    },
    () => nowMs,
  );

const TONES = {
  plain: "border-line bg-s1 text-t1 hover:bg-s2",
  accent: "border-transparent bg-accent text-on-accent hover:opacity-90",
  danger: "border-transparent bg-danger text-on-danger hover:opacity-90",
  quiet: "border-transparent bg-transparent text-t2 hover:bg-s2 hover:text-t1",
};
export function Button({
  tone = "plain",
  className,
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { tone?: keyof typeof TONES }) {
  return (
    <button
      type="button"
      {...rest}
      className={cx(
        "inline-flex h-8 shrink-0 items-center justify-center gap-1.5 rounded-md border px-3 font-medium whitespace-nowrap transition-colors duration-150 select-none disabled:cursor-not-allowed disabled:border-line disabled:bg-s2 disabled:text-t3",
        TONES[tone],
        className,
      )}
    />
  );
}

const FIELD = "h-8 min-w-0 rounded-md border border-line bg-s1 px-2 text-t1";
export function Field({
  label,
  hideLabel,
  className,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { label: string; hideLabel?: boolean }) {
  const id = useId();
  return (
    <div className={cx("flex min-w-0 flex-col gap-1", className)}>
      <label htmlFor={id} className={hideLabel ? "sr-only" : "text-t2"}>
        {label}
      </label>
      <input id={id} dir="auto" {...rest} className={FIELD} />
    </div>
  );
}
export function Select({
  label,
  children,
  ...rest
}: SelectHTMLAttributes<HTMLSelectElement> & { label: string }) {
  return (
    <select aria-label={label} {...rest} className={cx(FIELD, rest.className)}>
      {children}
    </select>
  );
}

export function Panel({
  title,
  aside,
  children,
  className,
  flush,
  foot,
}: {
  title?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
  flush?: boolean;
  foot?: ReactNode;
}) {
  const id = useId();
  return (
    <section
      aria-labelledby={title ? id : undefined}
      className={cx("flex min-h-0 min-w-0 flex-col rounded-md border border-line bg-s1", className)}
    >
      {title ? (
        <header className="flex min-h-9 shrink-0 flex-wrap items-center gap-x-2 gap-y-1 border-line border-b px-3 py-0.5">
          <h2 id={id} className="min-w-0 truncate font-semibold">
            {title}
          </h2>
          {aside ? (
            <span className="ml-auto flex min-w-0 flex-wrap items-center gap-x-2 gap-y-1 text-t2">
              {aside}
            </span>
          ) : null}
        </header>
      ) : null}
      {/* A scrolling region must be reachable by keyboard. */}
      <div
        tabIndex={0}
        role="group"
        aria-labelledby={title ? id : undefined}
        data-scroll=""
        className={cx("relative min-h-0 flex-1 overflow-auto", !flush && "p-3")}
      >
        {children}
      </div>
      {foot ? <footer className="shrink-0 border-line border-t px-3 py-1.5">{foot}</footer> : null}
    </section>
  );
}

/** A filter of what is on the page; its words live in the address. */
export function Search({
  value,
  onChange,
  className,
}: {
  value: string;
  onChange: (words: string) => void;
  className?: string;
}) {
  return (
    <input
      type="search"
      dir="auto"
      aria-label={t("filter")}
      placeholder={t("filter")}
      value={value}
      maxLength={200}
      onChange={(e) => onChange(e.target.value)}
      className={cx("h-7 min-w-0 rounded-md border border-line bg-s0 px-2 text-t1", className ?? "w-32")}
    />
  );
}

export const Empty = ({ children }: { children: ReactNode }) => <p className="p-3 text-t2">{children}</p>;

export function Loaded<T>({
  q,
  children,
}: {
  q: { data: T | undefined; error: Error | null; refetch: () => unknown };
  children: (data: T) => ReactNode;
}) {
  if (q.data !== undefined) return children(q.data);
  if (q.error)
    return (
      <div role="alert" className="flex items-center gap-3 p-3 text-danger">
        <span>▲ {t("failedRead", { text: q.error.message })}</span>
        <Button onClick={() => q.refetch()}>{t("retry")}</Button>
      </div>
    );
  return <Empty>{t("loading")}</Empty>;
}

/** One line of others' text: isolated from our writing direction, odd characters drawn, clipped. */
export function Txt({
  children,
  className,
  title,
  max,
}: {
  children?: string | number | boolean | null;
  className?: string;
  title?: string;
  max?: number;
}) {
  if (children === null || children === undefined) return null;
  return (
    <bdi className={className} title={title}>
      {line(String(children), max)}
    </bdi>
  );
}

/** Longer text of others: the same, with its lines, whole on demand. Never markup. */
export function Words({ text, max = 200, mono }: { text: string; max?: number; mono?: boolean }) {
  const [all, setAll] = useState(false);
  const long = text.length > max;
  const shown = useMemo(() => tame(text, all ? TEXT_SHOWN_MAX : max, mono || all), [text, all, max, mono]);
  return (
    <span className={cx("wrap-anywhere", mono && "whitespace-pre-wrap font-mono text-[12.5px]")}>
      <bdi>{shown}</bdi>
      {long ? (
        <button type="button" className="ml-1 text-accent underline" onClick={() => setAll(!all)}>
          {all ? t("showLess") : t("showAllOf", { n: text.length })}
        </button>
      ) : null}
    </span>
  );
}

export const Json = ({ data }: { data: unknown }) => (
  <pre className="max-w-full text-t2 leading-[18px]">
    <Words text={JSON.stringify(data, null, 2) ?? ""} max={4000} mono />
  </pre>
);

export function Id({ id, label }: { id: string; label?: string | null }) {
  return (
    <bdi title={id} className={label ? undefined : "font-mono text-[12.5px]"}>
      {label ? line(label, 64) : id.slice(0, 8)}
    </bdi>
  );
}

/** A long hexadecimal number: whole where there is room, else halved or quartered, never torn anywhere. */
export function Hex({ children }: { children: string }) {
  const parts = children.match(/.{1,32}/g) ?? [];
  return (
    <code className="font-mono text-[12px]">
      {parts.map((p) => (
        <span key={p} className="inline-block">
          {p.slice(0, 16)}
          <wbr />
          {p.slice(16)}
        </span>
      ))}
    </code>
  );
}

export function Age({ time }: { time: number }) {
  const now = useNow();
  return (
    <time dateTime={new Date(time).toISOString()} title={absolute(time)} className="whitespace-nowrap">
      {when(time, now)}
    </time>
  );
}

/** How long ago, as a bare span that fades when it is old. */
export function Since({ time, stale = 60_000 }: { time: number; stale?: number }) {
  const age = Math.max(0, useNow() - time);
  return (
    <time
      dateTime={new Date(time).toISOString()}
      title={absolute(time)}
      className={cx("whitespace-nowrap", age > stale && "text-warn")}
    >
      {span(age)}
      {age > stale ? " ◐" : ""}
    </time>
  );
}

const SHAPES: Record<Health, [string, string]> = {
  healthy: ["●", "text-ok"],
  degraded: ["◐", "text-warn"],
  needs: ["▲", "text-warn"],
  stopped: ["■", "text-danger"],
  offline: ["○", "text-t3"],
  unknown: ["◇", "text-t3"],
};
export const healthWord = (h: Health): string => t(healthKey(h));
export function State({ is, word = true }: { is: Health; word?: boolean | "wide" }) {
  const [shape, color] = SHAPES[is];
  return (
    <span className={cx("inline-flex items-center gap-1.5 whitespace-nowrap", color)} title={healthWord(is)}>
      <span aria-hidden="true">{shape}</span>
      <span className={word === "wide" ? "max-md:sr-only" : word ? "" : "sr-only"}>{healthWord(is)}</span>
    </span>
  );
}

const STATUS: Record<string, [string, string]> = {
  awaiting_approval: ["▲", "text-warn"],
  approved: ["◐", "text-info"],
  executing: ["◐", "text-info"],
  completed: ["●", "text-ok"],
  failed: ["■", "text-danger"],
  unknown: ["◇", "text-danger"],
  rejected: ["■", "text-t2"],
  expired: ["○", "text-t2"],
  superseded: ["○", "text-t2"],
  withdrawn: ["○", "text-t2"],
};
export function StatusMark({ status, word }: { status: string; word: string }) {
  const [shape, color] = STATUS[status] ?? ["◇", "text-t2"];
  return (
    <span className={cx("inline-flex items-center gap-1.5 whitespace-nowrap", color)}>
      <span aria-hidden="true">{shape}</span>
      {word}
    </span>
  );
}

/** Tier, verification mark, taint and whether it is private: what a value is worth. */
export function Worth({
  claimed,
  effective,
  signature,
  tainted,
  secret,
}: {
  claimed: string;
  effective: string;
  signature: string;
  tainted?: boolean;
  /** Whether it is private. */
  secret?: boolean;
}) {
  const e = tierOf(effective);
  const c = tierOf(claimed);
  const mark = signature === "verified" ? "✓" : signature === "first-hand" ? "~" : "!";
  const word = t(
    signature === "verified" ? "verified" : signature === "first-hand" ? "firsthand" : "unverifiable",
  );
  const demoted = c !== e ? `, ${t("demoted", { tier: c })}` : "";
  const looks: Record<string, string> = {
    T0: "border-dashed border-llm text-llm",
    T1: "border-t3 text-t2",
    T2: "border-t2 bg-s2 text-t1",
    T3: "border-transparent bg-t1 text-s1",
  };
  return (
    <span className="inline-flex items-center gap-1 whitespace-nowrap" title={`${e}: ${word}${demoted}`}>
      <span
        className={cx("rounded-[4px] border px-1 font-medium text-[11px] leading-4", looks[e] ?? looks.T1)}
      >
        {e}
      </span>
      <span aria-hidden="true" className={mark === "✓" ? "text-ok" : "text-warn"}>
        {mark}
      </span>
      <span className="sr-only">{word + demoted}</span>
      {demoted ? <span className="text-[11px] text-warn">({c})</span> : null}
      {tainted ? (
        <span
          className="rounded-[4px] border border-llm border-dashed px-1 text-[11px] text-llm leading-4"
          title={t("tainted")}
        >
          llm
        </span>
      ) : null}
      {secret ? (
        <span
          className="inline-flex items-center gap-0.5 rounded-[4px] border border-t2 px-1 text-[11px] text-t1 leading-4"
          title={t("secretWhy")}
        >
          <span aria-hidden="true">⚿</span>
          {t("secret")}
        </span>
      ) : null}
    </span>
  );
}

export function Pairs({ rows }: { rows: [string, ReactNode][] }) {
  return (
    <dl className="grid grid-cols-[minmax(96px,max-content)_1fr] gap-x-4 gap-y-1">
      {rows.map(([name, content]) => (
        <div key={name} className="contents">
          <dt className="text-t2">{name}</dt>
          <dd className="min-w-0 wrap-anywhere">{content}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Table({
  label,
  head,
  children,
  className,
}: {
  label: string;
  head: ReactNode[];
  children: ReactNode;
  /** Hides columns on a phone, as `max-sm:[&_tr>:nth-child(5)]:hidden`. */
  className?: string;
}) {
  return (
    <table aria-label={label} className={cx("w-full border-collapse", className)}>
      <thead className="sticky top-0 z-10 bg-s1">
        <tr>
          {head.map((h, i) => (
            <th
              key={i}
              scope="col"
              className="h-8 border-line border-b px-2 text-t2 whitespace-nowrap sm:px-3"
            >
              {h}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}
export const Row = ({ children, on }: { children: ReactNode; on?: boolean }) => (
  <tr className={cx("h-8 border-line/60 border-b hover:bg-s2", on && "bg-s2")}>{children}</tr>
);
export const Cell = ({ children, className }: { children?: ReactNode; className?: string }) => (
  <td className={cx("px-2 py-1 align-middle sm:px-3", className)}>{children}</td>
);

/** A switch with its explanation; it shows what is, never what was wished. */
export function Switch({
  on,
  label,
  onChange,
  children,
}: {
  on: boolean;
  label: string;
  onChange: (on: boolean) => void;
  children: ReactNode;
}) {
  return (
    <label className="flex min-w-0 flex-1 cursor-pointer items-start gap-2.5 py-0.5">
      <span className="relative mt-0.5 inline-flex shrink-0">
        <input
          type="checkbox"
          role="switch"
          aria-checked={on}
          aria-label={label}
          checked={on}
          onChange={(e) => onChange(e.target.checked)}
          className="peer absolute inset-0 m-0 cursor-pointer opacity-0 disabled:cursor-not-allowed"
        />
        <span
          aria-hidden="true"
          className="h-4 w-7 rounded-full border border-t3 bg-s2 transition-colors duration-150 peer-checked:border-accent peer-checked:bg-accent peer-focus-visible:outline-2 peer-focus-visible:outline-accent"
        />
        <span
          aria-hidden="true"
          className="pointer-events-none absolute top-[3px] left-[3px] size-2.5 rounded-full bg-t3 transition-transform duration-150 peer-checked:translate-x-3 peer-checked:bg-on-accent"
        />
      </span>
      <span className="min-w-0">{children}</span>
    </label>
  );
}

/** Looks like a link, acts like a button. */
export const Link = ({ onClick, children }: { onClick: () => void; children: ReactNode }) => (
  <button type="button" className="text-accent underline" onClick={onClick}>
    {children}
  </button>
);

export function CopyButton({ text, label = t("copy") }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <Button
      tone="quiet"
      className="h-7! px-2"
      onClick={() =>
        navigator.clipboard?.writeText(text).then(
          () => {
            setDone(true);
            setTimeout(() => setDone(false), 1500);
          },
          () => undefined,
        )
      }
    >
      {done ? t("copied") : label}
    </Button>
  );
}

export function download(name: string, type: string, text: string) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
