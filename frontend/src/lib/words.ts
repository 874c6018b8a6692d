/**
 * Text of others made harmless to look at. Nothing here is about markup: text never becomes markup, it is
 * always a text node. What it could still do is lie about its order (bidi controls), hide (zero width,
 * tags), break lines or grow without end. Those characters are drawn as what they are.
 */

/** The most characters of one text that are ever put on the screen. */
export const TEXT_SHOWN_MAX = 100_000;
/** Marks stacked on one letter beyond this many climb over the lines around it. */
const MARKS_MAX = 4;

const NAMES: Record<number, string> = {
  173: "SHY",
  847: "CGJ",
  1564: "ALM",
  6158: "MVS",
  8203: "ZWSP",
  8204: "ZWNJ",
  8205: "ZWJ",
  8206: "LRM",
  8207: "RLM",
  8232: "LSEP",
  8233: "PSEP",
  8234: "LRE",
  8235: "RLE",
  8236: "PDF",
  8237: "LRO",
  8238: "RLO",
  8288: "WJ",
  8294: "LRI",
  8295: "RLI",
  8296: "FSI",
  8297: "PDI",
  65279: "BOM",
};

const named = (code: number): string =>
  `⟦${NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`}⟧`;

/** Everything that shows nothing or moves what is around it, apart from line feed and tab. */
const ODD = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u115f\u1160\u3164\uffa0]|\u034f/gu;
const MARKS = new RegExp(`(\\p{M}{${MARKS_MAX}})\\p{M}+`, "gu");
const JOINS_EMOJI = /\p{Extended_Pictographic}[\u{1f3fb}-\u{1f3ff}\ufe0f]?$/u;
const NEEDS_JOINER = /[\p{Script=Arab}\p{Script=Deva}\p{Script=Beng}\p{Script=Sinh}\p{Script=Mlym}\p{M}]$/u;

/**
 * `text` cut to `max` characters with odd characters drawn as symbols. In one line, line ends become `⏎`.
 * What is cut away is said by an ellipsis; a letter outside the basic plane is never cut in half.
 */
export function tame(text: string, max = TEXT_SHOWN_MAX, lines = false): string {
  // Cut first: a text of megabytes must not be searched as a whole.
  let cut = text.length > max ? text.slice(0, max) : text;
  if (cut.length < text.length && /[\ud800-\udbff]$/.test(cut)) cut = cut.slice(0, -1);
  const flat = cut.replace(MARKS, "$1");
  const drawn = flat.replace(ODD, (c, at: number) => {
    const code = c.codePointAt(0) ?? 0;
    if (code === 10) return lines ? "\n" : "⏎";
    if (code === 13) return flat[at + 1] === "\n" ? "" : lines ? "\n" : "⏎";
    if (code === 9) return lines ? "\t" : "⇥";
    if (code < 32) return String.fromCodePoint(0x2400 + code);
    if (code === 127) return "␡";
    // Two joiners are letters' business where they stand behind a letter that joins.
    if (code === 8205 && JOINS_EMOJI.test(flat.slice(Math.max(0, at - 4), at))) return c;
    if ((code === 8204 || code === 8205) && NEEDS_JOINER.test(flat.slice(Math.max(0, at - 2), at))) return c;
    return named(code);
  });
  return cut.length < text.length ? `${drawn}…` : drawn;
}

/** One line for lists, titles and names. */
export const line = (text: string, max = 120): string => tame(text, max);

/** Whether something in it had to be drawn as a symbol: then it is worth a second look. */
export const isOdd = (text: string): boolean => {
  const part = text.slice(0, 10_000);
  return tame(part, TEXT_SHOWN_MAX, true) !== part;
};
