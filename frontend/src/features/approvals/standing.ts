/** Standing approvals as they are listed, and what a person says in the form that gives one; pure. */
import { action, device, lasting } from "@/lib/format";
import { codeWord, listed, number, t } from "@/lib/i18n";
import type { Given, Offer, Proposal } from "@/node/client";

export type Allowed = { is: unknown } | { min: number; max: number };
export type Asker = "rules" | "person";

/** Where one stands, as people tell it apart. */
export type Stands = "counts" | "later" | "held" | "usedUp" | "ranOut" | "revoked" | "ended";

export function stands(a: Given, now: number): Stands {
  if (a.state !== "ended") return a.state;
  if (a.why?.startsWith("revoked by ")) return "revoked";
  if (a.used >= a.usesMax) return "usedUp";
  return a.validUntil <= now ? "ranOut" : "ended";
}

const RANK: Stands[] = ["counts", "held", "later"];
/** What counts first, then the newest. */
export const ordered = (list: Given[], now: number): Given[] => {
  const rank = (a: Given) => {
    const at = RANK.indexOf(stands(a, now));
    return at < 0 ? RANK.length : at;
  };
  return [...list].sort((a, b) => rank(a) - rank(b) || b.givenAt - a.givenAt);
};

export function found(list: Given[], words: string): Given[] {
  const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (!parts.length) return list;
  return list.filter((a) => {
    const text =
      `${a.id} ${a.target} ${what(a)} ${a.name} ${a.executorName} ${a.note} ${a.state}`.toLowerCase();
    return parts.every((w) => text.includes(w));
  });
}

/** "Open valve-1" */
export const what = (a: { operation: string; target: string }): string => action(a.operation, a.target, 0);

const plain = (v: unknown): string =>
  typeof v === "number" ? number(v) : typeof v === "string" ? v : JSON.stringify(v);
const isRange = (a: unknown): a is { min: number; max: number } =>
  typeof a === "object" && a !== null && "min" in a && "max" in a;

/** Its parameters: name and what each may be. */
export const bounds = (params: unknown): [string, string][] =>
  Object.entries((params ?? {}) as Record<string, unknown>).map(([name, a]) => [
    name,
    isRange(a)
      ? t("fromTo", { from: plain(a.min), to: plain(a.max) })
      : plain((a as { is?: unknown } | null)?.is),
  ]);

export const askersWords = (askers: readonly string[]): string =>
  listed(askers.map((a) => (a === "person" ? t("askPersons") : a === "rules" ? t("askRules") : a)));

/** The use by which a proposal began, if it began by one. */
export function useOf(list: readonly Given[], id: string): { of: Given; number: number } | undefined {
  for (const of of list) {
    const at = of.uses.findIndex((u) => u.proposalId === id);
    if (at >= 0) return { of, number: at + 1 };
  }
  return undefined;
}

/** What an executor lets standing approvals count for, for this very action. */
export const offerFor = (
  offers: readonly Offer[],
  a: { executor: string; target: string; operation: string },
): Offer | undefined =>
  offers.find((o) => o.executor === a.executor && o.target === a.target && o.operation === a.operation);

/** What a person has put in for one parameter. */
export interface Put {
  /** Whether the action has it at all. */
  on: boolean;
  least: string;
  most: string;
  is: string;
}
export type Bound = Offer["params"][string];

/** A parameter to begin with: as in the proposal, else as far as the policy goes. */
export function begin(name: string, b: Bound, offer: Offer, from: Proposal | undefined): Put {
  const had = (from?.params as Record<string, unknown> | undefined)?.[name];
  const text = (v: unknown) => (v === undefined || v === null ? "" : String(v));
  const number = typeof had === "number" ? had : undefined;
  // Of how long it runs less is always fine; of everything else exactly what was asked for.
  const least = number === undefined || name === offer.durationParam ? b.min : number;
  return {
    on: b.required || had !== undefined,
    least: text(least),
    most: text(number ?? b.max),
    is: text(had ?? (b.is === "boolean" ? "true" : b.values?.[0])),
  };
}

/** What one parameter may be; else what is wrong with what was put in. */
export function allowedOf(b: Bound, put: Put): Allowed | "notNumber" | "notWhole" | "outside" | "reversed" {
  if (b.is === "text") return { is: put.is };
  if (b.is === "boolean") return { is: put.is === "true" };
  const [min, max] = [put.least, put.most].map((text) => (text.trim() === "" ? Number.NaN : Number(text)));
  if (min === undefined || max === undefined || !Number.isFinite(min) || !Number.isFinite(max))
    return "notNumber";
  if (b.is === "integer" && !(Number.isSafeInteger(min) && Number.isSafeInteger(max))) return "notWhole";
  if (min > max) return "reversed";
  if (min < (b.min ?? min) || max > (b.max ?? max)) return "outside";
  return min === max ? { is: min } : { min, max };
}

/** The longest that one use may run, in milliseconds. */
export function runMax(offer: Offer, params: Record<string, Allowed>): number {
  const lasts = offer.durationParam ? params[offer.durationParam] : undefined;
  const most = lasts === undefined ? undefined : isRange(lasts) ? lasts.max : (lasts as { is: unknown }).is;
  return typeof most === "number" ? Math.round(most * 1000) : offer.deadlineMs;
}

/** What a person gives: everything that is signed but who signs, when, and a random number. */
export interface Wish {
  executor: string;
  target: string;
  operation: string;
  params: Record<string, Allowed>;
  askers: Asker[];
  runMaxMs: number;
  usesMax: number;
  validUntil: number;
  note?: string;
}

export interface Form {
  params: Record<string, Put>;
  uses: string;
  until: string;
  persons: boolean;
  rules: boolean;
  note: string;
}

const BAD = {
  notNumber: "standingNotNumber",
  notWhole: "standingNotWhole",
  outside: "standingOutside",
  reversed: "standingReversed",
} as const;

/** What is about to be signed, or why it is not yet. */
export function compose(
  offer: Offer,
  form: Form,
  now: number,
  most: { uses: number; ms: number },
): { wish: Wish } | { problem: string } {
  const params: Record<string, Allowed> = {};
  for (const [name, b] of Object.entries(offer.params)) {
    const put = form.params[name];
    if (!put || (!put.on && !b.required)) continue;
    const a = allowedOf(b, put);
    if (typeof a === "string")
      return { problem: t(BAD[a], { name, min: number(b.min ?? 0), max: number(b.max ?? 0) }) };
    params[name] = a;
  }
  const usesMax = Number(form.uses);
  if (!Number.isSafeInteger(usesMax) || usesMax < 1 || usesMax > most.uses)
    return { problem: t("standingUsesBad", { most: most.uses }) };
  const validUntil = moment(form.until);
  if (validUntil === undefined || validUntil <= now || validUntil - now > most.ms)
    return { problem: t("standingUntilBad", { days: Math.floor(most.ms / 86_400_000) }) };
  const askers: Asker[] = [
    ...(form.rules ? ["rules" as const] : []),
    ...(form.persons ? ["person" as const] : []),
  ];
  if (!askers.length) return { problem: t("standingAskersBad") };
  const note = form.note.trim();
  const { executor, target, operation } = offer;
  const runMaxMs = runMax(offer, params);
  return {
    wish: {
      executor,
      target,
      operation,
      params,
      askers,
      runMaxMs,
      usesMax,
      validUntil,
      ...(note ? { note } : {}),
    },
  };
}

/** "2026-05-05T18:00", by the clock on the wall here, as a field for a moment has it. */
export function wall(ms: number): string {
  const d = new Date(ms);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}`;
}
export function moment(text: string): number | undefined {
  const ms = new Date(text).getTime();
  return text && Number.isFinite(ms) ? ms : undefined;
}

/** "valve-1: open" in a list of what can be approved ahead of time. */
export const offerName = (o: Offer): string => `${device(o.target)}: ${codeWord("op", o.operation)}`;
export const eachUse = (ms: number): string => lasting(ms);
