/**
 * What a table of sentences is. Two tables agree when they have the same keys and each sentence names the
 * same variables: the compiler asks for both, in `table`.
 */
import type { en } from "./en";

/** A sentence, or its forms by number: the variable `n` picks the one that the language asks for. */
export type Word = string | ({ other: string } & Partial<Record<Intl.LDMLPluralRule, string>>);
type Key = keyof typeof en;
export type Table = Record<Key, Word>;

type InText<S> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | InText<Rest> : never;
/** The names of the variables in a sentence or in all its forms. */
export type Holes<W> = W extends string ? InText<W> : InText<W[keyof W]>;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Fits<T> = {
  [K in Key]: K extends keyof T
    ? Same<Holes<T[K]>, Holes<(typeof en)[K]>> extends true
      ? unknown
      : { "the variables differ from those of the English sentence": Holes<(typeof en)[K]> }
    : Word;
};

/** A language: every key of the English table and none besides, with the same variables. */
export const table = <const T extends Record<string, Word>>(
  words: T & Fits<T> & Record<Exclude<keyof T, Key>, never>,
): Table => words as unknown as Table;
