/**
 * The language of the console: which one is spoken, its sentences, and numbers, times and lists as it
 * writes them. English is always there; another language is a table in `languages/`, loaded when chosen.
 */
import { keep, recall } from "./keep";
import { en } from "./languages/en";
import type { Holes, Table, Word } from "./languages/table";
import { line } from "./words";

type En = typeof en;
export type Key = keyof En;
/** A word with forms always wants the number that picks one. */
type Names<W> = Holes<W> | (W extends string ? never : "n");
type Vars<K extends Key> = Record<Names<En[K]>, string | number>;

const LOADED = {
  en: () => Promise.resolve<Table>(en),
  de: () => import("./languages/de").then((m) => m.de),
};
export type Language = keyof typeof LOADED;
export type LanguageChoice = "system" | Language;
/** Each language by its own name. */
export const LANGUAGES: Record<Language, string> = { en: "English", de: "Deutsch" };
/** Where the system names a language without a country, or another language. English with 24 hours. */
const LOCALES: Record<Language, string> = { en: "en-GB", de: "de-DE" };

let table: Table = en;
let spoken: Language = "en";
let locale: string = LOCALES.en;
let wish = 0;
const watchers = new Set<() => void>();

const isLanguage = (tag: string): tag is Language => Object.hasOwn(LOADED, tag);
/** "C" and other odd values of a bare system are no language. */
function canonical(tag: string): string {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? "";
  } catch {
    return "";
  }
}
const base = (tag: string): string => tag.split("-")[0] ?? "";
const system = (): string[] => {
  if (typeof navigator === "undefined") return [];
  return (navigator.languages ?? [navigator.language]).map(canonical).filter(Boolean);
};

/** What was chosen here; what the system speaks if nothing was. */
export function languageChoice(): LanguageChoice {
  const kept = recall<unknown>("language", "system");
  return typeof kept === "string" && isLanguage(kept) ? kept : "system";
}
export const language = (): Language => spoken;

/** Keeps the choice and speaks it; a table that cannot be loaded leaves the language as it was. */
export function chooseLanguage(choice: LanguageChoice): Promise<void> {
  keep("language", choice);
  return setLanguage(choice);
}

/** Speaks the choice from now on: what is drawn after the promise is in that language. */
export async function setLanguage(choice: LanguageChoice = languageChoice()): Promise<void> {
  mendNavigator();
  wish += 1;
  const asked = wish;
  const next = choice === "system" ? (system().map(base).find(isLanguage) ?? "en") : choice;
  const loaded = await LOADED[next]().catch(() => undefined);
  // A later choice overtook this one.
  if (!loaded || asked !== wish) return;
  table = loaded;
  spoken = next;
  locale = system().find((tag) => base(tag) === next) ?? LOCALES[next];
  made.clear();
  if (typeof document !== "undefined") document.documentElement.lang = next;
  for (const told of watchers) told();
}

/** Told after each change of the language. */
export function onLanguage(told: () => void): () => void {
  watchers.add(told);
  return () => {
    watchers.delete(told);
  };
}

/** The charts' library makes number formats of the browser's language when it is imported, whatever that is. */
function mendNavigator(): void {
  if (typeof navigator === "undefined" || canonical(navigator.language)) return;
  Object.defineProperty(navigator, "language", { value: "en", configurable: true });
}

/** The form of a word that belongs to the number `n` of its variables. */
function form(word: Word, n: unknown): string {
  if (typeof word === "string") return word;
  const rules = format("plural", () => new Intl.PluralRules(locale));
  return word[rules.select(Number(n))] ?? word.other;
}

/** A sentence. Numbers in it are written as the language writes them; text stays as it is. */
export function t<K extends Key>(
  key: K,
  ...[vars]: [Names<En[K]>] extends [never]
    ? []
    : Key extends K
      ? [Record<string, string | number>?]
      : [Vars<K>]
): string {
  const given = vars as Record<string, string | number> | undefined;
  const text = form(table[key], given?.n);
  if (!given) return text;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const is = given[name];
    return is === undefined ? whole : typeof is === "number" ? number(is) : is;
  });
}

/** Kinds of codes: the tables' keys begin with them (`st_approved`, `er_TIMEOUT`). */
type Codes = Key extends infer K ? (K extends `${infer Of}_${string}` ? Of : never) : never;
/** The word of something that the node says by a code; the code itself if it is not known here. */
export function codeWord(of: Codes, code: string): string {
  const key = `${of}_${code}`;
  return Object.hasOwn(en, key) ? form(table[key as Key], undefined) : code;
}

/** The key of a condition's word; "stopped" alone is the sign on the stop button. */
export const healthKey = (h: string): Key =>
  h === "stopped" ? "stoppedState" : Object.hasOwn(en, h) ? (h as Key) : "unknown";

export const markWord = (mark: string): string => codeWord("mk", mark);
export const assetWord = (why: string): string => codeWord("aw", why);
export const kindWord = (kind: string): string => codeWord("ki", kind);
export const statusWord = (status: string): string => codeWord("st", status);

/** What the planner does; the node's own sentence where this console has none. */
export function plannerWord(p: {
  state: string;
  why: string;
  pause?: { by: string; reason: string } | null;
}): string {
  if (p.state === "idle") return t("plannerIdle");
  if (p.state !== "paused" || !p.pause) return p.why;
  const { by, reason } = p.pause;
  return reason ? t("plannerPausedWhy", { by, reason }) : t("plannerPaused", { by });
}

/** A refusal: the node's own sentence; before it what its code means, where that sentence is in another language. */
export function refusal(code: string, message: string): string {
  return spoken === "en" || !Object.hasOwn(en, `er_${code}`)
    ? message
    : `${codeWord("er", code)} (${message})`;
}

/** What an alarm is and what to do, in the language of the console; in English the node's own advice. */
export function alarmWords(a: { kind: string; subject: string; message: string; advice: string }): {
  title: string;
  advice: string;
} {
  // A rule of the operator's speaks in the operator's own words.
  if (a.kind.startsWith("alert.")) return { title: line(a.message, 300), advice: line(a.advice, 300) };
  const about = /^[0-9a-f]{64}$/.test(a.subject) ? a.subject.slice(0, 8) : line(a.subject, 120);
  const known = Object.hasOwn(en, `al_${a.kind}`);
  const title = known ? codeWord("al", a.kind) : line(a.kind, 60);
  const advice = known && (spoken !== "en" || !a.advice) ? codeWord("ad", a.kind) : line(a.advice, 300);
  return { title: about ? `${title}: ${about}` : title, advice };
}

/** Formatters are dear to make: each is made once for a language. */
const made = new Map<string, unknown>();
function format<T>(name: string, make: () => T): T {
  let one = made.get(name) as T | undefined;
  if (one === undefined) {
    one = make();
    made.set(name, one);
  }
  return one;
}

/** A number; `unit` is one that Intl knows. */
export function number(n: number, digits = 3, unit?: "percent"): string {
  return format(
    `n${digits}${unit}`,
    () =>
      new Intl.NumberFormat(locale, {
        maximumFractionDigits: digits,
        ...(unit ? { style: "unit", unit } : {}),
      }),
  ).format(n);
}
/** The same, with exactly so many digits behind the point. */
export const fixed = (n: number, digits: number): string =>
  format(
    `f${digits}`,
    () => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits }),
  ).format(n);

const stamp =
  (name: string, options: Intl.DateTimeFormatOptions) =>
  (time: number): string =>
    format(name, () => new Intl.DateTimeFormat(locale, { hourCycle: "h23", ...options })).format(time);
/** "14:02:11", in 24 hours everywhere. */
export const clockTime = stamp("clock", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
/** A day, with its year, that no reader can take for another. */
export const dayOf = stamp("day", { day: "numeric", month: "short", year: "numeric" });
/** Day, time and zone. */
export const dateTime = stamp("all", { dateStyle: "medium", timeStyle: "long" });
/** For the axis of a chart over days. */
export const dayAndTime = stamp("axis", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** "a, b and c". */
export const listed = (items: string[]): string =>
  format("list", () => new Intl.ListFormat(locale, { type: "conjunction" })).format(items);
