/** Pure formatting: ages, times, numbers, short ids, action sentences. No value is ever invented. */

import { clockTime, codeWord, dateTime, dayOf, fixed, number, t } from "./i18n";
import { shown } from "./quantity";

/** A short id for people; the full one stays in the title. */
export const short = (id: string | null | undefined): string => (id ? id.slice(0, 8) : "");

/** "4 s", "3 min", "2 h", "5 d". */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 48) return `${h} h`;
  return `${Math.floor(h / 24)} d`;
}

/** As `span`, for what may last less than a second: "500 ms". */
export const lasting = (ms: number): string => (ms < 1_000 ? `${Math.round(ms)} ms` : span(ms));

/** Relative under an hour, the clock on the same day, the date otherwise. */
export function when(time: number, now: number): string {
  const age = now - time;
  if (age >= 0 && age < 3_600_000) return t("ago", { span: span(age) });
  const clock = clockTime(time);
  return new Date(now).toDateString() === new Date(time).toDateString() ? clock : `${dayOf(time)}, ${clock}`;
}

/** Absolute with zone. */
export const absolute = dateTime;

/** Minutes and seconds left, never negative. */
export function left(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const h = Math.floor(s / 3600);
  const m = Math.floor((s % 3600) / 60);
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** A number with its unit, in the units chosen here; bytes in binary steps; anything else as text. */
export function value(told: unknown, code?: string | null): string {
  if (told === null || told === undefined) return "–";
  if (typeof told !== "number") return typeof told === "string" ? told : JSON.stringify(told);
  const { v, unit } = shown(told, code);
  if (unit === "bytes" || unit === "B") return bytes(v);
  if (unit === "bytes/s" || unit === "B/s") return `${bytes(v)}/s`;
  const digits = Math.abs(v) >= 1000 || Number.isInteger(v) ? 0 : Math.abs(v) >= 10 ? 1 : 2;
  if (unit === "%") return number(v, digits, "percent");
  return unit ? `${number(v, digits)} ${unit}` : number(v, digits);
}

/** "12.3 ms". */
export const millis = (ms: number, digits = 1): string => `${fixed(ms, digits)} ms`;

export function bytes(n: number): string {
  if (n < 0) return `-${bytes(-n)}`;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  let v = n;
  while (v >= 1024 && i < units.length - 1) {
    v /= 1024;
    i += 1;
  }
  return `${fixed(v, v < 10 && i > 0 ? 1 : 0)} ${units[i]}`;
}

/** The last part of a capability: "actuator:mock:valve-1" is "valve-1". */
export const device = (target: string): string => target.split(":").at(-1) ?? target;

/** "Open valve-1 for 10 s". */
export function action(operation: string, target: string, runMs: number): string {
  // What a device calls it and no table knows is told in its own word.
  const verb = codeWord("op", operation);
  const said = { verb, device: device(target) };
  // Pulses last less than a second.
  const text = runMs > 0 ? t("actFor", { ...said, span: lasting(runMs) }) : t("act", said);
  return text.startsWith(verb) ? verb.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** "T2_operational_observation" is "T2". */
export const tier = (t: string | null | undefined): string => (t ? t.slice(0, 2) : "");

/** A CSV cell; formulas are defused, because the file will be opened in a spreadsheet. */
export function cell(v: unknown): string {
  const raw = v === null || v === undefined ? "" : String(v);
  const safe = typeof v === "string" && /^[=+\-@\t\r]/.test(raw) ? `'${raw}` : raw;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export const csv = (rows: unknown[][]): string =>
  `${rows.map((r) => r.map(cell).join(",")).join("\r\n")}\r\n`;
