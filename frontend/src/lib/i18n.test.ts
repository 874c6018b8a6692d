import { afterEach, expect, it, vi } from "vitest";
import { healthKey, setLanguage, statusWord, t } from "./i18n";

afterEach(() => {
  vi.unstubAllGlobals();
  setLanguage("en");
});

it("takes a bare system's language that is none for English, also for the charts' number formats", () => {
  vi.stubGlobal("navigator", { language: "C" });
  expect(setLanguage("C")).toBe("en");
  expect(navigator.language).toBe("en");
  expect(() => new Intl.NumberFormat(navigator.language)).not.toThrow();
  expect(setLanguage("not a tag!")).toBe("en");
});
it("fills in what a sentence names, and leaves alone what it does not know", () => {
  expect(t("expiresIn")).toBe("expires in");
  expect(t("shownOf", { n: 2, all: 9 })).toBe("2 of 9");
  expect(t("shownOf", { n: 2 })).toBe("2 of {all}");
  expect(statusWord("awaiting_approval")).toBe("waiting");
  expect(statusWord("something_new")).toBe("something_new");
  expect([healthKey("stopped"), healthKey("offline"), healthKey("odd")]).toEqual([
    "stoppedState",
    "offline",
    "unknown",
  ]);
});
