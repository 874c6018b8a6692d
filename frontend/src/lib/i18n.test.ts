import { afterEach, expect, it, vi } from "vitest";
import { healthKey, language, setLanguage, statusWord, t } from "./i18n";

afterEach(async () => {
  vi.unstubAllGlobals();
  await setLanguage("en");
});

it("takes a bare system's language that is none for English, also for the charts' number formats", async () => {
  for (const odd of ["C", "not a tag!", ""]) {
    vi.stubGlobal("navigator", { language: odd, languages: [odd] });
    await setLanguage("system");
    expect([language(), navigator.language]).toEqual(["en", "en"]);
    expect(() => new Intl.NumberFormat(navigator.language)).not.toThrow();
  }
});
it("fills in what a sentence names, and leaves alone what it does not know", () => {
  expect(t("expiresIn")).toBe("expires in");
  expect(t("shownOf", { n: 2, all: 9_000 })).toBe("2 of 9,000");
  expect(t("shownOf", { n: 2 } as never)).toBe("2 of {all}");
  expect([t("checksBad", { n: 1 }), t("checksBad", { n: 0 })]).toEqual([
    "1 check would refuse it now.",
    "0 checks would refuse it now.",
  ]);
  expect(statusWord("awaiting_approval")).toBe("waiting");
  expect(statusWord("something_new")).toBe("something_new");
  expect([healthKey("stopped"), healthKey("offline"), healthKey("odd")]).toEqual([
    "stoppedState",
    "offline",
    "unknown",
  ]);
});
