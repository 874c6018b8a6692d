// Every page from a real node: it shows what the API says, without an error in the browser's console,
// without a request elsewhere; axe finds nothing in light and dark; addresses, Back and keyboard work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab, loaded, PAGES } from "./lab.mjs";
import { PASSPHRASE } from "./nodes.mjs";

let l;
let o;
let waiting;
let rejected;
before(async () => {
  // A kit that stands still: what the API said a moment ago is what the page must show now.
  l = await lab({ pace: 0 });
  rejected = await l.propose({ sec: 3, reason: "too dry by the fence" });
  await l.center.api("POST", "/console/decide", {
    proposalId: rejected.id,
    digest: rejected.digest,
    decision: "reject",
    reason: "it will rain",
    passphrase: PASSPHRASE,
  });
  await l.propose({ sec: 2, reason: "zone one looks dry" }).then((p) => {
    waiting = p;
  });
  o = await l.open("/", { scope: "admin" });
});
after(() => l?.close());

/** The number as the console writes it, with its unit. */
const shown = (f) => `${f.value}${f.unit === "%" ? "%" : ""}`;
const fact = async (metric) => (await l.center.api("GET", `/world?metric=${metric}`))[0];
const main = (page) => page.locator("main#page");
/** Waits until the page shows each of these texts. */
async function shows(page, ...texts) {
  for (const text of texts) {
    assert.ok(text !== undefined && text !== null && text !== "", "nothing to look for");
    await page
      .waitForFunction((x) => document.querySelector("main#page")?.textContent.includes(x), String(text))
      .catch(async () => {
        const is = (await main(page).innerText()).replace(/\s+/g, " ").slice(0, 1200);
        throw new Error(`${page.url()} does not show “${text}”, but: ${is}`);
      });
  }
}
/** What each page must show, from the API. */
const REAL = {
  overview: async () => [l.center.name, l.field.name, waiting.reason, shown(await fact("cpu.load")) && "%"],
  approvals: async () => [
    waiting.reason,
    waiting.evidence[0].summary,
    waiting.rule,
    `${waiting.target} ${waiting.operation}`,
    l.field.name,
    waiting.safeState,
  ],
  // The policy of the kit takes none, and says so.
  standing: async () => ["standing_approvals = true"],
  devices: async () => ["[[device]]", "clawmesh-node device test"],
  gateways: async () => ["This node has no gateway.", "clawmesh-node gateway add"],
  messages: async () => ["No message yet."],
  routing: async () => [
    "There are no rules",
    l.center.name,
    (await l.center.api("GET", "/abilities")).find((one) => one.own).profile.os,
  ],
  topology: async () => [
    l.center.name,
    l.field.name,
    (await l.center.api("GET", "/topology")).links[0].posture,
  ],
  "topology-list": async () => [l.center.name, l.field.name, (await l.center.api("GET", "/status")).version],
  // No site is drawn here: what to write, and where.
  twin: async () => [(await l.center.api("GET", "/twin")).file, "site.toml"],
  telemetry: async () => {
    const world = await l.center.api("GET", "/world");
    // Grouped by its first part: "cpu", then "load".
    return [...world.flatMap((f) => f.metric.split(".")), shown(await fact("tank.level"))];
  },
  command: async () => [],
  // No model is configured: what adds one.
  models: async () => ["[[model]]", "clawmesh-node start --model"],
  world: async () => {
    const [moisture, tank] = [await fact("moisture"), await fact("tank.level")];
    return [moisture.metric, shown(moisture), tank.metric, shown(tank), moisture.zone, moisture.originName];
  },
  frames: async () => ["tank.level", shown(await fact("tank.level")), l.field.name],
  trace: async () => [waiting.id.slice(0, 8), rejected.id.slice(0, 8)],
  trust: async () => {
    const [device] = await l.center.api("GET", "/trust");
    return [device.deviceId, device.name, device.publicKey];
  },
  audit: async () => {
    const [entry] = await l.center.api("GET", "/audit?limit=1");
    return [entry.kind, String(entry.seq)];
  },
  settings: async () => {
    const s = await l.center.api("GET", "/status");
    return [s.deviceId, s.meshId, s.version, String(s.port), s.displayName];
  },
};

for (const [name, path] of PAGES)
  test(`${name} shows what the node says, and axe finds nothing`, async () => {
    await o.go(path);
    await shows(o.page, ...(await REAL[name]()));
    await accessible(o.page, name);
    await o.clean();
  });

test("a gateway is added by its address, named, turned off and removed, and its token is on no page", async () => {
  const TOKEN = "gw-planted-71c0";
  await o.go("/gateways");
  await o.page.getByRole("button", { name: "Add a gateway" }).click();
  const add = o.page.getByRole("dialog", { name: "Add a gateway" });
  await add.getByLabel("Address").fill("ws://127.0.0.1:1");
  await add.getByLabel("Name (optional)").fill("Bench");
  await add.getByLabel("Token of the gateway").fill(TOKEN);
  await accessible(o.page, "adding a gateway");
  await add.getByRole("button", { name: "Add a gateway" }).click();
  await add.waitFor({ state: "detached" });
  const bench = o.page.getByRole("listitem", { name: "Bench" });
  await bench.getByText("ws://127.0.0.1:1").waitFor();
  await bench.getByText("cannot be reached").waitFor();
  await accessible(o.page, "a gateway that is not there");
  await bench.getByRole("button", { name: "Disable Bench" }).click();
  await bench.getByText("disabled").waitFor();
  await bench.getByRole("button", { name: "Rename Bench" }).click();
  const rename = o.page.getByRole("dialog", { name: "Rename Bench" });
  await rename.getByRole("textbox").fill("Shed");
  await rename.getByRole("button", { name: "Rename", exact: true }).click();
  await o.page.getByRole("listitem", { name: "Shed" }).waitFor();
  assert.ok(!(await o.page.content()).includes(TOKEN));
  const kept = await l.center.api("GET", "/gateways");
  assert.deepEqual(
    kept.map((one) => [one.name, one.state]),
    [["Shed", "disabled"]],
  );
  await o.page.getByRole("button", { name: "Remove Shed" }).click();
  const gone = o.page.getByRole("dialog", { name: "Remove Shed" });
  await gone.getByRole("button", { name: "Remove", exact: true }).click();
  await o.page.getByText("This node has no gateway.").waitFor();
  await o.clean();
});

test("what never scrolls away says how many nodes and what waits", async () => {
  await o.go("/");
  const { nodes } = await l.center.api("GET", "/topology");
  const bar = o.page.getByRole("banner");
  await bar.getByText(`${nodes.length}/${nodes.length}`).waitFor();
  assert.match(await bar.innerText(), /1\s+waiting/);
  await o.page.getByRole("button", { name: /Emergency stop/ }).waitFor();
});

test("the command page answers from the node and opens what it cites", async () => {
  await o.go("/command");
  const moisture = await fact("moisture");
  await o.page.getByRole("textbox").first().fill("what is the moisture?");
  await o.page.keyboard.press("Enter");
  await o.page
    .getByRole("log")
    .getByText(`moisture (${moisture.zone}): ${shown(moisture)}`)
    .waitFor();
  await o.page.getByRole("link", { name: `moisture = ${shown(moisture)}` }).click();
  await o.page.waitForURL(/tab=frames.*frame=|frame=.*tab=frames/);
  await shows(o.page, shown(moisture));
  await o.clean();
});

test("the switches of a device are its grants, and a turned one is what the node then says", async () => {
  const grants = async () => (await l.center.api("GET", `/trust/${l.field.id}`)).grants;
  const card = o.page.getByRole("article", { name: l.field.name });
  const is = (name, on) => card.getByRole("switch", { name, checked: on }).waitFor();
  await o.go("/trust");
  assert.ok((await grants()).includes("relay") && !(await grants()).includes("plan"));
  await is(/Relay/, true);
  await is(/Plan/, false);
  await card.getByRole("switch", { name: /Relay/ }).click();
  await is(/Relay/, false);
  assert.ok(!(await grants()).includes("relay"));
  await card.getByRole("switch", { name: /Relay/ }).click();
  await is(/Relay/, true);
  assert.ok((await grants()).includes("relay"));
  await o.clean();
});

test("the audit trail verifies from its page", async () => {
  await o.go("/audit");
  await o.page.getByRole("button", { name: "Verify chain" }).click();
  await shows(o.page, "Every entry is in place");
});

test("deep links and a reload keep the place", async () => {
  // A frame that has long been overtaken by newer ones, and on which a decision rests.
  const [cited] = waiting.evidence;
  const places = [
    [`/approvals?id=${waiting.id}`, [waiting.reason, waiting.evidence[0].summary]],
    [`/approvals?id=${rejected.id}`, [rejected.reason, "rejected"]],
    [`/topology?node=${l.field.id}`, [l.field.name, l.field.id.slice(0, 12)]],
    ["/telemetry?m=tank.level", ["tank.level", shown(await fact("tank.level"))]],
    [`/world?tab=frames&frame=${cited.frameId}`, [cited.frameId, shown(await fact("moisture"))]],
    [`/world?tab=trace&id=${rejected.id}`, ["too dry by the fence", "rejected"]],
  ];
  for (const [path, texts] of places) {
    await o.go(path);
    await shows(o.page, ...texts);
    const at = o.page.url();
    assert.ok(at.startsWith(l.base + path.split("?")[0]), at);
    await o.page.reload();
    await loaded(o.page);
    assert.equal(o.page.url(), at);
    await shows(o.page, ...texts);
  }
  await o.clean();
});

test("Back goes where one came from", async () => {
  await o.go("/");
  await o.page.getByRole("link", { name: waiting.reason }).click();
  await o.page.waitForURL(new RegExp(`id=${waiting.id}`));
  await shows(o.page, waiting.evidence[0].summary);
  await o.page.goBack();
  await o.page.waitForURL(`${l.base}/`);
  await shows(o.page, waiting.reason);
  await o.page.goForward();
  await o.page.waitForURL(new RegExp(`id=${waiting.id}`));
});

test("the palette opens every page, a node, a proposal and a metric without a mouse", async () => {
  await o.go("/");
  const names = [
    "Approvals",
    "Topology",
    "Twin",
    "Telemetry",
    "Command",
    "World",
    "Trust",
    "Audit",
    "Settings",
    "Overview",
  ];
  const pick = async (typed) => {
    await o.page.keyboard.press("Control+k");
    const field = o.page.getByRole("combobox", { name: "Search" });
    await field.waitFor();
    await o.page.keyboard.type(typed);
    await o.page.keyboard.press("Enter");
    await field.waitFor({ state: "detached" });
  };
  for (const name of names) {
    await pick(name);
    await o.page.getByRole("heading", { level: 1, name, exact: true }).waitFor({ state: "attached" });
    assert.equal(new URL(o.page.url()).pathname, name === "Overview" ? "/" : `/${name.toLowerCase()}`);
  }
  await pick(l.field.name);
  await o.page.waitForURL(new RegExp(l.field.id));
  await pick(rejected.id.slice(0, 8));
  await o.page.waitForURL(new RegExp(`id=${rejected.id}`));
  await shows(o.page, rejected.reason);
  await pick("tank.level");
  await o.page.waitForURL(/telemetry\?.*tank\.level/);
  await o.page.keyboard.press("Control+k");
  await o.page.getByRole("combobox", { name: "Search" }).waitFor();
  await accessible(o.page, "the palette");
  await o.page.keyboard.press("Escape");
  await o.page.getByRole("combobox", { name: "Search" }).waitFor({ state: "detached" });
  await o.clean();
});

test("an address that is none says so and leads back", async () => {
  await o.go("/nowhere");
  await shows(o.page, "There is no such page.");
  await o.page.getByRole("link", { name: /Back to the overview/ }).click();
  await o.page.waitForURL(`${l.base}/`);
});

test("on a phone every page is there, nothing is wider than the screen and axe finds nothing", async () => {
  const phone = await l.open("/", { viewport: { width: 390, height: 844 } });
  for (const [name, path] of PAGES) {
    await phone.go(path);
    const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px wider than the phone`);
  }
  await phone.go("/approvals");
  await accessible(phone.page, "approvals on a phone");
  await phone.clean();
  await phone.close();
});
