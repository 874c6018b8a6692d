import { describe, expect, it } from "vitest";
import { isOdd, line, TEXT_SHOWN_MAX, tame } from "./words";

describe("tame", () => {
  it("leaves honest text of any script alone", () => {
    for (const text of ["Öffne Ventil 1", "العربية", "می‌خواهم", "日本語", "क्‍ष", "👩‍🌾 🏳️", "a\u0301"])
      expect(tame(text)).toBe(text);
    expect(isOdd("valve-1: 12 %")).toBe(false);
  });
  it("draws what would turn the reading order", () => {
    expect(tame("open \u202eevlav")).toBe("open ⟦RLO⟧evlav");
    expect(tame("\u2066a\u2069\u200f\u061c")).toBe("⟦LRI⟧a⟦PDI⟧⟦RLM⟧⟦ALM⟧");
    expect(isOdd("\u202e")).toBe(true);
  });
  it("draws control characters, hidden characters and joiners that join nothing", () => {
    expect(tame("a\u0000b\u001b[31mc\u007f\u0085")).toBe("a␀b␛[31mc␡⟦U+0085⟧");
    expect(tame("pay\u200bload \u200dx\ufeff\u00ad")).toBe("pay⟦ZWSP⟧load ⟦ZWJ⟧x⟦BOM⟧⟦SHY⟧");
    expect(tame("x\u{e0041}")).toBe("x⟦U+E0041⟧");
    expect(tame("\ud800")).toBe("⟦U+D800⟧");
    expect(tame("\u3164")).toBe("⟦U+3164⟧");
  });
  it("keeps lines only where lines are wanted", () => {
    expect(line("a\r\nb\tc\u2028d")).toBe("a⏎b⇥c⟦LSEP⟧d");
    expect(tame("a\r\nb\rc\n", 99, true)).toBe("a\nb\nc\n");
  });
  it("stops letters from climbing over other lines", () => {
    expect(tame(`z${"\u0301".repeat(500)}`)).toHaveLength(5);
  });
  it("clips, says so, and never cuts a letter in half", () => {
    expect(tame("abcdef", 3)).toBe("abc…");
    expect(tame("ab🌱cd", 3)).toBe("ab…");
    expect(tame("x".repeat(1_000_000))).toHaveLength(TEXT_SHOWN_MAX + 1);
  });
  it("bounds the worst that a frame may hold", () => {
    for (const c of ["\u202e", "\u0301", "\u200d", "<img src=x onerror=alert(1)>"])
      expect(tame(c.repeat(1_000_000)).length).toBeLessThanOrEqual(8 * TEXT_SHOWN_MAX);
  });
  it("leaves markup as the text it is", () => {
    const html = '<script src="//x"></script><img onerror=alert(1)>';
    expect(tame(html)).toBe(html);
  });
});
