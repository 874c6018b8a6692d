// Text from outside is text: a trusted device that lies sends markup, scripts, remote pictures, 100 kB in
// one word and characters that turn the reading order; a person's reason and a node's name do the same.
// None of it becomes part of the page, nothing is fetched, and the page stays usable.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { lab, PAGES } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";
import { Peer } from "./peer.mjs";

const REMOTE = "http://192.0.2.1/x.png";
const HTML = `<img src="${REMOTE}" onerror="window.hacked=1"><script>window.hacked=1</script><style>*{display:none}</style><svg/onload=window.hacked=1>`;
const LINK = `[click](javascript:window.hacked=1) ![x](${REMOTE}) https://192.0.2.1/`;
const RTL = "safe \u202e3.etucexe ton\u202c \u2066hidden\u2069 \u200b\u200fend";
const LONG = "A".repeat(100_000);

let l;
let peer;
const frames = {};
before(async () => {
  l = await lab({ pace: 0 });
  peer = new Peer();
  await l.center.cli(["trust", "add", peer.id, "--as", "gen1", "--name", `<b>${HTML.slice(0, 60)}`]);
  const { meshId } = await l.center.api("GET", "/status");
  await peer.join(l.center.port, meshId, `<i>liar</i>\u202e`);
  const say = (name, data, kind = "observation") => {
    frames[name] = peer.say({ kind, data });
  };
  say("html", { zone: HTML, metric: "<b>metric</b>", value: HTML, unit: "<i>u</i>" });
  say("link", { zone: "z", metric: "link.metric", value: LINK, unit: "" });
  say("rtl", { zone: RTL, metric: "rtl.metric", value: RTL, unit: "\u202e" });
  say("long", { zone: "z", metric: "long.metric", value: LONG, unit: "u" });
  say("longname", { zone: "z".repeat(400), metric: `m${"m".repeat(400)}`, value: 1, unit: "u".repeat(400) });
  say("nested", { zone: "z", metric: "nested.metric", value: { a: { b: [HTML, RTL] } }, unit: "u" });
  say("number", { zone: "z", metric: "number.metric", value: 1e308, unit: "u" });
  await until("the last one is known", async () =>
    (await l.center.api("GET", "/world")).some((f) => f.metric === "number.metric"),
  );
});
after(async () => {
  peer?.leave();
  await l?.close();
});

/** Nothing of the text has become an element, a script or a request. */
async function harmless(o) {
  const found = await o.page.evaluate(
    (remote) => ({
      hacked: window.hacked,
      elements: [...document.querySelectorAll("img, iframe, object, embed, main script, main style")].map(
        (e) => e.outerHTML,
      ),
      remote: [...document.querySelectorAll("[src], [href]")]
        .map((e) => e.getAttribute("src") ?? e.getAttribute("href"))
        .filter((u) => u?.startsWith(remote) || /^\s*javascript:/i.test(u ?? "")),
      wide: document.documentElement.scrollWidth - window.innerWidth,
    }),
    "http://192.0.2.1",
  );
  assert.deepEqual(found, { hacked: undefined, elements: [], remote: [], wide: 0 }, o.page.url());
  await o.clean();
}

test("the lies did arrive", async () => {
  const world = await l.center.api("GET", "/world");
  const metrics = world.map((f) => f.metric);
  for (const m of ["<b>metric</b>", "link.metric", "rtl.metric", "number.metric"])
    assert.ok(metrics.includes(m), `${m} in ${metrics}`);
  assert.equal(world.find((f) => f.metric === "<b>metric</b>").value, HTML);
  const { frame } = await l.center.api("GET", `/frames/${frames.long}`);
  assert.ok(JSON.stringify(frame).length > 100_000, "the long one is there as it came");
});

for (const size of [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
])
  test(`every page at ${size.width} px shows them as text, and nothing leaves this origin`, async () => {
    const o = await l.open("/", { scope: "admin", viewport: size });
    await harmless(o);
    for (const [, path] of PAGES) {
      await o.go(path);
      await harmless(o);
    }
    await o.close();
  });

test("markup is shown letter by letter in the world, and each frame opens", async () => {
  const o = await l.open("/world");
  await o.page.getByText("<b>metric</b>").first().waitFor();
  assert.ok((await o.page.innerText("main")).includes("window.hacked=1"));
  for (const id of Object.values(frames)) {
    await o.go(`/world?tab=frames&frame=${id}`);
    await o.page.getByText(id).first().waitFor();
    await harmless(o);
  }
  await o.close();
});

test("the charts and the palette take such names too", async () => {
  const o = await l.open(`/telemetry?m=${encodeURIComponent("<b>metric</b>")}`);
  await harmless(o);
  await o.go("/telemetry?m=number.metric");
  await harmless(o);
  await o.page.keyboard.press("Control+k");
  await o.page.getByRole("combobox", { name: "Search" }).fill("<b>");
  await o.page.getByRole("listbox").getByRole("option").first().waitFor();
  await harmless(o);
  await o.close();
});

test("a character that turns the order of reading is drawn, not obeyed", async () => {
  const o = await l.open("/world");
  await o.page.getByText("rtl.metric").first().waitFor();
  const text = await o.page.evaluate(() => document.body.textContent);
  for (const odd of ["\u202e", "\u2066", "\u200f", "\u200b"])
    assert.ok(!text.includes(odd), `U+${odd.codePointAt(0).toString(16)} is in the page`);
  assert.match(text, /RLO/);
  await o.close();
});

test("a reason full of markup is text in the list, the sheet and the trace", async () => {
  const p = await l.propose({ reason: `${HTML} ${RTL} ${LINK}`.slice(0, 900) });
  const o = await l.open("/");
  await o.page.getByText("window.hacked=1").first().waitFor();
  await harmless(o);
  for (const path of [`/approvals?id=${p.id}`, `/world?tab=trace&id=${p.id}`]) {
    await o.go(path);
    await o.page.getByText("window.hacked=1").first().waitFor();
    await harmless(o);
  }
  await o.close();
});

test("ten thousand proposals: the list scrolls, searches and opens; the page draws only what is seen", async () => {
  const real = await l.propose({
    target: "actuator:mock:pump-1",
    operation: "start",
    reason: "the real one",
  });
  // Decided, so that it does not stand among those that wait when the stream tells of it.
  await l.center.cli(["reject", real.id, "--yes", "--passphrase-stdin"], { input: `${PASSPHRASE}\n` });
  const o = await l.open("/");
  // The list alone is made up, from a real proposal; a node never has so many that wait.
  const many = Array.from({ length: 10_000 }, (_, i) => ({
    ...real,
    id: `${String(i).padStart(8, "0")}-0000-4000-8000-000000000000`,
    status: i < 1_000 ? "awaiting_approval" : ["completed", "rejected", "expired", "failed"][i % 4],
    reason: `number ${i} of many`,
    createdAt: real.createdAt - i * 1000,
    updatedAt: real.updatedAt - i * 1000,
    expiresAt: real.expiresAt + i * 1000,
  }));
  await o.page.route(/\/proposals\?all=true/, (route) => route.fulfill({ json: many }));
  await o.go("/approvals");
  await o.page.getByText("number 0 of many").first().waitFor();
  // What other tests left waiting comes by the stream, before these: it ends sooner.
  await o.page.getByText(/Waiting 1,?00\d/).waitFor();
  const elements = await o.page.evaluate(() => document.querySelectorAll("*").length);
  assert.ok(elements < 4_000, `${elements} elements`);
  await o.page.getByText("number 0 of many", { exact: true }).first().click();
  await o.page.waitForURL(/id=00000000/);
  await o.page.keyboard.press("j");
  await o.page.waitForURL(/id=00000001/);
  const list = o.page.getByRole("list", { name: "Approvals" });
  await list.hover();
  await o.page.mouse.wheel(0, 40_000);
  const far = o.page.getByText(/^number [67]\d\d of many$/).first();
  await far.waitFor();
  const text = await far.innerText();
  await far.click();
  await o.page.waitForURL(new RegExp(`id=00000${text.match(/\d+/)[0]}`));
  await o.page.getByRole("button", { name: /Decided 9,?00\d/ }).click();
  await o.page.getByText("rejected").first().waitFor();
  await o.page.getByRole("searchbox").first().fill("number 9999");
  await o.page
    .getByRole("button")
    .filter({ hasText: /failed|rejected|completed|expired/ })
    .first()
    .click();
  await o.page.waitForURL(/id=00009999/);
  // The made-up ones have no trace; the browser writes a line about each that is asked for.
  assert.deepEqual(
    o.errors.filter((e) => !/status of 404/.test(e)),
    [],
  );
  await o.close();
});
