// The Twin page over a real node: what its file says is drawn, what devices say is shown and nothing else;
// a new reading moves it, silence makes it old, a mistake is told with its line, and a plan is a picture.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { lab, loaded } from "./lab.mjs";
import { until } from "./nodes.mjs";
import { Peer } from "./peer.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const REMOTE = "http://192.0.2.1";
const PLAN = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 400 200" onload="top.hacked=1">
  <script>top.hacked = 1; document.title = "hacked"; fetch("${REMOTE}/fetched");</script>
  <style>@import url("${REMOTE}/style.css"); rect { fill: url("${REMOTE}/fill.svg#x") }</style>
  <image href="${REMOTE}/picture.png" width="10" height="10"/>
  <a xlink:href="javascript:top.hacked=1"><rect width="400" height="200" fill="#ddd"/></a>
  <foreignObject width="90" height="90"><iframe xmlns="http://www.w3.org/1999/xhtml" src="${REMOTE}/frame"/></foreignObject>
  <rect id="bed" x="20" y="20" width="160" height="150" fill="#bca"/>
</svg>`;
const SITE = `version = 1
[[site]]
id = "farm"
name = "The farm"
plan = "plan.svg"
[[site.zone]]
id = "bed"
name = "North bed"
zone = "north"
outline = "#bed"
metrics = [{ metric = "soil.test", unit = "%", low = 20, high = 60, stale_sec = 20 }]
[[site.zone]]
id = "yard"
name = "Yard"
outline = [[220, 20], [380, 20], [380, 170], [220, 170]]
metrics = [{ metric = "never.told", low = 1 }]
[[site.asset]]
id = "valve"
name = "Valve \u202e1"
kind = "valve"
x = 100
y = 185
zone = "bed"
device = "field-1"
actuator = "actuator:mock:valve-1"
[[site.asset]]
id = "ghost"
name = "Ghost"
kind = "pump"
x = 300
y = 185
device = "nobody"
actuator = "actuator:mock:pump-1"
`;

let l;
let o;
let peer;
const file = (name) => join(l.center.dir, name);
const mark = (zone, is) =>
  o.page.waitForFunction(
    ([zone, is]) => document.querySelector(`[data-zone="${zone}"]`)?.dataset.mark === is,
    [zone, is],
  );
const spot = (id) => o.page.locator(`[data-spot="${id}"]`);
const say = (value, unit = "%") =>
  peer.say({ kind: "observation", data: { zone: "north", metric: "soil.test", value, unit } });
async function accessible(page, where) {
  await page.evaluate(axe);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction((x) => document.documentElement.dataset.theme === x, colorScheme);
    const found = await page.evaluate(async () => {
      for (let on = document.getAnimations(); on.length; on = document.getAnimations())
        await Promise.allSettled(on.map((a) => a.finished));
      return window.axe.run({ resultTypes: ["violations"] });
    });
    const told = (v) => `${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 160)} ${n.any[0]?.message}`)}`;
    assert.deepEqual(found.violations.map(told), [], `${where} in ${colorScheme}`);
  }
}

before(async () => {
  l = await lab({ pace: 0 });
  peer = new Peer();
  await l.center.cli(["trust", "add", peer.id, "--as", "gen1", "--name", "probe"]);
  const { meshId } = await l.center.api("GET", "/status");
  await peer.join(l.center.port, meshId, "probe");
  o = await l.open("/", { scope: "read" });
});
after(async () => {
  peer?.leave();
  await l?.close();
});

test("without a file the page says what to write and where", async () => {
  await o.go("/twin");
  const main = o.page.locator("main#page");
  await main.getByText(file("site.toml")).waitFor();
  const { example } = await l.center.api("GET", "/twin");
  assert.ok((await main.innerText()).includes(example.site.split("\n")[0]));
  await accessible(o.page, "the first step");
  await o.clean();
});

test("what the file places appears by itself, and what nobody has told stays without a value", async () => {
  writeFileSync(file("plan.svg"), PLAN);
  writeFileSync(file("site.toml"), SITE);
  await o.page.getByRole("heading", { name: "The farm" }).waitFor();
  await mark("bed", "none");
  await mark("yard", "none");
  const shown = await spot("zone:yard").innerText();
  assert.ok(/no data/.test(shown) && !/\d/.test(shown), shown);
  // The valve is known, of the other nobody knows anything: neither is guessed.
  assert.equal(await spot("asset:ghost").getAttribute("data-is"), "unknown");
  assert.notEqual(await spot("asset:valve").getAttribute("data-is"), "unknown");
  // A name cannot turn the reading order.
  assert.ok((await spot("asset:valve").getAttribute("aria-label")).includes("⟦RLO⟧"));
  await o.clean();
});

test("a reading is shown with all that belongs to it, and a new one moves it", async () => {
  say(40);
  await mark("bed", "within");
  const [fact] = await until("it is known", async () => {
    const found = await l.center.api("GET", "/world?metric=soil.test");
    return found.length && found;
  });
  assert.match(await spot("zone:bed").innerText(), /40\s?%/);
  assert.ok((await spot("zone:bed").innerText()).includes(fact.effectiveTier.slice(0, 2)));
  await spot("zone:bed").click();
  await o.page.waitForURL(/zone=bed/);
  const panel = o.page.getByRole("region", { name: "Details" });
  for (const text of ["soil.test", "20% to 60%", "probe", fact.frameId.slice(-8), "within limits"])
    await panel.getByText(text, { exact: false }).first().waitFor();
  await panel.getByRole("link", { name: "soil.test" }).waitFor();
  for (const [value, is] of [
    [22, "near"],
    [61, "outside"],
    [35, "within"],
  ]) {
    say(value);
    await mark("bed", is);
    assert.ok((await spot("zone:bed").innerText()).includes(String(value)));
  }
  say(35, "kPa");
  await mark("bed", "odd");
  await panel.getByText("not compared with the limits", { exact: false }).waitFor();
  say(35);
  await mark("bed", "within");
  await accessible(o.page, "the plan");
  await o.clean();
});

test("silence makes a value old, not gone and not good", async () => {
  await mark("bed", "stale");
  assert.match(await spot("zone:bed").innerText(), /35\s?%/);
  await o.page.getByRole("region", { name: "Details" }).getByText("old", { exact: true }).first().waitFor();
  say(36);
  await mark("bed", "within");
  await o.clean();
});

test("the keyboard goes over the plan, and addresses, Back and a reload keep the place", async () => {
  await o.go("/twin?site=farm&zone=bed");
  await spot("zone:bed").focus();
  const focused = () => o.page.evaluate(() => document.activeElement?.dataset?.spot);
  await o.page.keyboard.press("ArrowRight");
  assert.equal(await focused(), "zone:yard");
  await o.page.keyboard.press("Enter");
  await o.page.waitForURL(/zone=yard/);
  await o.page.getByText("No reading of never.told in yard has come.").waitFor();
  await o.page.keyboard.press("ArrowDown");
  assert.equal(await focused(), "asset:ghost");
  await o.page.keyboard.press("Space");
  await o.page.waitForURL(/asset=ghost/);
  await o.page.getByText("is called nobody here", { exact: false }).waitFor();
  await o.page.goBack();
  await o.page.waitForURL(/zone=yard/);
  await o.page.reload();
  await loaded(o.page);
  assert.match(o.page.url(), /zone=yard/);
  await o.page.getByText("No reading of never.told in yard has come.").waitFor();
  await o.clean();
});

test("the list says the same in words", async () => {
  await o.go("/twin?view=list");
  say(41);
  const row = o.page.getByRole("row", { name: /North bed/ });
  await row.getByText("within limits").waitFor();
  await row.getByText("41%").waitFor();
  await o.page.getByRole("row", { name: /Yard/ }).getByText("no data").waitFor();
  await o.page.getByRole("row", { name: /Valve/ }).waitFor();
  await accessible(o.page, "the list");
  await o.clean();
});

test("an asset leads to its proposals, its device and its trust", async () => {
  const p = await l.propose({ sec: 2, reason: "the twin asks" });
  await o.go("/twin?site=farm&asset=valve");
  const panel = o.page.getByRole("region", { name: "Details" });
  await panel.getByRole("link", { name: /the twin asks/ }).click();
  await o.page.waitForURL(new RegExp(`approvals.*${p.id}`));
  await o.page.goBack();
  await panel.getByRole("link", { name: "Trust" }).click();
  await o.page.waitForURL(new RegExp(`trust.*${l.field.id}`));
  await o.page.getByRole("article", { name: l.field.name }).waitFor();
  await o.clean();
});

test("a device's place is known to the topology", async () => {
  const { nodes } = await l.center.api("GET", "/topology");
  assert.equal(nodes.find((n) => n.deviceId === l.field.id).site, "The farm");
  assert.equal(nodes.find((n) => n.own).site ?? null, null);
});

test("no script of a plan runs and nothing it names is loaded, in the page or opened by itself", async () => {
  await o.go("/twin");
  await o.page.waitForFunction(() => document.querySelector("main img")?.naturalWidth > 0);
  assert.equal(await o.page.evaluate(() => window.hacked), undefined);
  assert.equal(await o.page.locator("main svg script, main iframe, main foreignObject").count(), 0);
  await o.clean();
  const { sites } = await l.center.api("GET", "/twin");
  const alone = await o.context.newPage();
  const answer = await alone.goto(`${l.base}/api/operator/v1${sites[0].plan}`);
  assert.equal(answer.headers()["content-type"], "image/svg+xml");
  assert.match(answer.headers()["content-security-policy"], /^sandbox; default-src 'none'/);
  await alone.waitForLoadState();
  assert.deepEqual(await alone.evaluate(() => [window.hacked, document.title]).catch(() => [undefined, ""]), [
    undefined,
    "",
  ]);
  await alone.close();
  // What the browser asks for at all is written down when it asks; the policy stops it before an answer.
  const went = o.requests.filter((url) => url.startsWith(REMOTE));
  assert.deepEqual(
    went.filter((url) => !/(style\.css|picture\.png|fill\.svg|frame)/.test(url)),
    [],
  );
});

test("mistakes are told with line and key, stop nothing, and go when they are mended", async () => {
  const page = await l.open("/twin", { scope: "read" });
  writeFileSync(file("site.toml"), SITE.replace('outline = "#bed"', 'outline = "#gone"\ncolour = "red"'));
  const list = page.page.getByRole("listitem");
  await list.filter({ hasText: "line 10" }).filter({ hasText: "site.zone.outline" }).waitFor();
  await list.filter({ hasText: "line 11" }).filter({ hasText: "site.zone.colour" }).waitFor();
  await accessible(page.page, "a broken file");
  assert.ok((await l.center.api("GET", "/status")).deviceId);
  writeFileSync(file("site.toml"), SITE);
  await page.page.getByRole("heading", { name: "The farm" }).waitFor();
  rmSync(file("plan.svg"));
  await list.filter({ hasText: "no such file" }).filter({ hasText: "line 5" }).waitFor();
  writeFileSync(file("plan.svg"), PLAN);
  await page.page.getByRole("heading", { name: "The farm" }).waitFor();
  // The browser writes a line if it asks for the plan while there is none.
  page.errors.splice(0, page.errors.length, ...page.errors.filter((e) => !/status of 404/.test(e)));
  await page.clean();
  await page.close();
});

test("on a phone it is all there, and no wider than the screen", async () => {
  const phone = await l.open("/", { viewport: { width: 390, height: 844 }, scope: "read" });
  for (const path of ["/twin?zone=bed", "/twin?asset=valve", "/twin?zoom=4&zone=yard", "/twin?view=list"]) {
    await phone.go(path);
    const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `${path} is ${wide} px wider than the phone`);
  }
  await phone.go("/twin?zone=bed");
  await accessible(phone.page, "the plan on a phone");
  await phone.clean();
  await phone.close();
});
