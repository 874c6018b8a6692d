// The console in German: chosen in Settings, kept over a reload, whole on every page, and back again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab, PAGES } from "./lab.mjs";

let l;
let waiting;
before(async () => {
  l = await lab();
  waiting = await l.propose({ sec: 2, reason: "zone one looks dry" });
});
after(() => l?.close());

const heading = (page, name) =>
  page.getByRole("heading", { level: 1, name, exact: true }).waitFor({ state: "attached" });
const lang = (page) => page.evaluate(() => document.documentElement.lang);
const choose = (page, name) =>
  page.getByRole("group", { name: /Language|Sprache/ }).getByRole("button", { name, exact: true });

test("German is chosen in Settings, spoken everywhere at once, kept, and taken back", async () => {
  const o = await l.open("/settings?tab=node", { scope: "admin" });
  await heading(o.page, "Settings");
  assert.equal(await lang(o.page), "en");
  const at = o.page.url();
  await choose(o.page, "Deutsch").focus();
  await o.page.keyboard.press("Enter");
  await heading(o.page, "Einstellungen");
  // The place is kept: the same address, and the focus still on what was pressed.
  assert.equal(o.page.url(), at);
  await o.page.waitForFunction(() => document.activeElement?.textContent === "Deutsch");
  assert.equal(await lang(o.page), "de");
  assert.equal(await o.page.title(), "Einstellungen · ClawMesh");
  const nav = o.page.getByRole("navigation", { name: "Seiten" });
  assert.deepEqual(await nav.getByRole("link").evaluateAll((all) => all.map((a) => a.title)), [
    "Übersicht",
    "Freigaben",
    "Topologie",
    "Abbild",
    "Telemetrie",
    "Befehle",
    "Modelle",
    "Gateways",
    "Nachrichten",
    "Wegwahl",
    "Lage",
    "Vertrauen",
    "Prüfprotokoll",
    "Einstellungen",
  ]);

  await nav.getByRole("link", { name: /Freigaben/ }).click();
  await o.page.getByRole("heading", { name: "valve-1 für 2 s öffnen" }).waitFor();
  for (const text of ["Was sich bewegen wird", "Wer zustimmen muss", "Zum Freigeben halten", "Ablehnen"])
    await o.page.getByText(text, { exact: true }).waitFor();
  // What people and devices said is data and stays as it is.
  await o.page.getByText(waiting.reason).first().waitFor();
  await accessible(o.page, "approvals in German");

  await o.page.reload();
  await o.page.getByRole("button", { name: "Zum Freigeben halten" }).waitFor();
  assert.equal(await lang(o.page), "de");

  await o.page.getByRole("button", { name: /Not-Halt/ }).click();
  const dialog = o.page.getByRole("dialog", { name: "Not-Halt" });
  await dialog.getByText("Jeder Ausführer, der geantwortet hat").waitFor();
  await dialog.getByText("angehalten", { exact: false }).first().waitFor();
  await dialog.getByText("geschlossen").waitFor();
  await accessible(o.page, "the emergency stop in German");
  await dialog.getByRole("button", { name: "Schließen" }).click();
  await o.page.getByText(/Not-Halt an diesem Knoten ausgelöst von/).waitFor();
  await o.page.goto(`${l.base}/trust`);
  const card = o.page.getByRole("article", { name: l.field.name });
  await card.getByText("angehalten", { exact: true }).waitFor();

  for (const [name, path] of PAGES) {
    await o.go(path);
    const wide = await o.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px wider than the window`);
  }
  await accessible(o.page, "settings in German");

  await choose(o.page, "English").click();
  await heading(o.page, "Settings");
  assert.equal(await lang(o.page), "en");
  await o.page.reload();
  await heading(o.page, "Settings");
  for (const node of [l.center, l.field]) await node.cli(["estop", "release", "--reason", "a test"]);
  await o.clean();
  await o.close();
});

test("a browser that speaks German gets German, with the numbers of its country, and nothing else from afar", async () => {
  const o = await l.open("/world", { locale: "de-AT" });
  await heading(o.page, "Lage");
  const { value } = (await l.center.api("GET", "/world?metric=tank.level"))[0];
  assert.equal(typeof value, "number");
  await o.page
    .getByRole("cell", { name: /^\d+(,\d)?\s%$/ })
    .first()
    .waitFor();
  assert.equal(o.requests.filter((url) => /\/de-[\w-]+\.js/.test(url)).length > 0, true);
  await o.clean();
  await o.close();
  const english = await l.open("/world", { locale: "en-GB" });
  assert.deepEqual(
    english.requests.filter((url) => /\/de-[\w-]+\.js/.test(url)),
    [],
  );
  await english.close();
});
