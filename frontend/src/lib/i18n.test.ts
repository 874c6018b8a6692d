import { afterEach, expect, it, vi } from "vitest";
import { action, bytes, span, value, when } from "./format";
import {
  alarmWords,
  chooseLanguage,
  clockTime,
  healthKey,
  language,
  languageChoice,
  listed,
  onLanguage,
  refusal,
  setLanguage,
  statusWord,
  t,
} from "./i18n";

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
it("speaks German when it is chosen: sentences, numbers, lists, times", async () => {
  const told = vi.fn();
  const end = onLanguage(told);
  await setLanguage("de");
  expect([told.mock.calls.length, language()]).toEqual([1, "de"]);
  expect(t("approvals")).toBe("Freigaben");
  expect(t("checksBad", { n: 1 })).toBe("1 Prüfung würde es jetzt verweigern.");
  expect(action("open", "actuator:mock:valve-1", 10_000)).toBe("valve-1 für 10 s öffnen");
  expect(action("rinse", "actuator:mock:valve-1", 0)).toBe("valve-1 rinse");
  expect(value(31.84, "%")).toBe("31,8\u00a0%");
  expect(value(1234567, "l")).toBe("1.234.567 l");
  expect(bytes(1_600_000)).toBe("1,5 MiB");
  expect(listed(["a", "b", "c"])).toBe("a, b und c");
  const now = new Date(2026, 4, 5, 12).getTime();
  expect([when(now - 180_000, now), span(180_000)]).toEqual(["vor 3 min", "3 min"]);
  expect(when(now - 48 * 3_600_000, now)).toBe("3. Mai 2026, 12:00:00");
  expect(clockTime(now + 7 * 3_600_000)).toBe("19:00:00");
  expect(refusal("PASSPHRASE_WRONG", "wrong")).toBe("Die Passphrase ist falsch (wrong)");
  expect(refusal("SOMETHING_NEW", "why")).toBe("why");
  await setLanguage("en");
  expect([told.mock.calls.length, refusal("PASSPHRASE_WRONG", "wrong")]).toEqual([2, "wrong"]);
  end();
});
it("follows the system where nothing is chosen, with the country's way of writing", async () => {
  vi.stubGlobal("navigator", { language: "fr-FR", languages: ["fr-FR", "de-CH", "en-US"] });
  await setLanguage("system");
  expect([language(), value(0.5)]).toEqual(["de", "0.5"]);
  vi.stubGlobal("navigator", { language: "fr-FR", languages: ["fr-FR"] });
  await setLanguage("system");
  expect(language()).toBe("en");
});
it("keeps what is chosen, takes the last of two quick choices, and takes nothing odd for a choice", async () => {
  const kept = new Map<string, string>();
  vi.stubGlobal("localStorage", {
    getItem: (k: string) => kept.get(k) ?? null,
    setItem: (k: string, v: string) => kept.set(k, v),
  });
  expect(languageChoice()).toBe("system");
  await Promise.all([chooseLanguage("de"), chooseLanguage("en")]);
  expect([language(), languageChoice()]).toEqual(["en", "en"]);
  await chooseLanguage("de");
  expect([language(), languageChoice()]).toEqual(["de", "de"]);
  for (const odd of ['"xx"', '"toString"', "7", "{", "null"]) {
    kept.set("clawmesh.language", odd);
    expect(languageChoice()).toBe("system");
  }
});

it("shows an alert of a rule in the operator's own words, whatever the language", async () => {
  const alert = { kind: "alert.critical", subject: "s", message: "store is 9 °C", advice: "close the door" };
  await setLanguage("de");
  expect(alarmWords(alert)).toEqual({ title: "store is 9 °C", advice: "close the door" });
  expect(alarmWords({ ...alert, kind: "peer.lost" }).title).toContain("Gerät");
});
