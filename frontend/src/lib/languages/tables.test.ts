import { describe, expect, it } from "vitest";
import { de } from "./de";
import { en } from "./en";
import { type Table, table, type Word } from "./table";

type Key = keyof typeof en;
const keys = Object.keys(en) as Key[];
const forms = (word: Word): string[] => (typeof word === "string" ? [word] : Object.values(word));
const holes = (word: Word): string[] =>
  [...new Set(forms(word).flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1] ?? "")))].sort();

/** The same in both languages, and rightly so: names, codes and words that German took over. */
const SAME: Partial<Record<"de", ReadonlySet<Key>>> = {
  de: new Set<Key>([
    "kindStep",
    ...(["system", "filter", "name", "version", "port", "mesh", "zone", "frame", "frames", "graph"] as const),
    ...(["exportCsv", "exportJson"] as const),
    "gateways",
    ...(["keyName", "serverWord", "tryText"] as const),
    ...(["plan", "ki_tank", "ki_sensor", "ki_motor", "ki_station"] as const),
  ]),
};

describe.each([["de", de as Table]] as const)("the table %s", (code, words) => {
  it("has every key and none besides", () => {
    expect(Object.keys(words).sort()).toEqual([...keys].sort());
  });
  it("says something everywhere, and not by oversight the same as English", () => {
    const same = keys.filter((k) => JSON.stringify(words[k]) === JSON.stringify(en[k]));
    expect(keys.filter((k) => forms(words[k]).some((text) => !text.trim() || text !== text.trim()))).toEqual(
      [],
    );
    expect(same.sort()).toEqual([...(SAME[code] ?? [])].sort());
  });
  it("names the same variables in each sentence, and in no other way", () => {
    expect(keys.filter((k) => holes(words[k]).join() !== holes(en[k]).join())).toEqual([]);
    expect(
      keys.filter((k) => forms(words[k]).some((text) => /[{}]/.test(text.replace(/\{\w+\}/g, "")))),
    ).toEqual([]);
  });
  it("has for each number the form that the language asks for", () => {
    const asked = new Intl.PluralRules(code).resolvedOptions().pluralCategories;
    for (const k of keys) {
      const word = words[k];
      if (typeof word !== "string") expect(Object.keys(word).sort(), k).toEqual([...asked].sort());
    }
  });
  it("ends a sentence as the English one ends", () => {
    const end = (word: Word) => /[.?!]$|:$|…$/.exec(forms(word).at(-1) ?? "")?.[0];
    expect(keys.filter((k) => end(words[k]) !== end(en[k]))).toEqual([]);
  });
});

it("is refused by the compiler when a key or a variable is missing", () => {
  // Never called: only the compiler reads it.
  const compiled = () => {
    // @ts-expect-error A key is missing.
    table({ overview: "x" });
    // @ts-expect-error A variable has another name.
    table({ ...en, expiresIn: "x", shownOf: "{n} von {total}" });
    // @ts-expect-error A key that is none.
    table({ ...en, nonsense: "x" });
    return table({ ...en, shownOf: "{all}: {n}" });
  };
  expect(typeof compiled).toBe("function");
});
