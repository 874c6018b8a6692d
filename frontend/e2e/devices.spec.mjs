// The devices of a node in the browser, as its configuration has them: readings with age, tier and doubt, faults in words,
// actuators with what the policy says of them; and the units of readings, chosen in this browser.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, lab } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

const folder = mkdtempSync(join(process.env.CLAWMESH_E2E_DIR ?? tmpdir(), "twins-"));
/** What the sensors find from now on; null for a silent one. */
const behave = (readings, refuse = []) =>
  writeFileSync(join(folder, "behaviour.json"), JSON.stringify({ readings, refuse }));
const CONFIG = `sensor_interval_ms = 500
[[rule]]
name = "never"
metric = "moisture"
below = -1.0
target = "actuator:lamp:bench"
operation = "on"

[[device]]
kind = "twin"
name = "bench"
folder = ${JSON.stringify(folder)}
[[device.actuator]]
capability = "actuator:lamp:bench"
operations = ["on", "off", "blink"]
safe = "off"
[[device.reading]]
metric = "boiler.temperature"
zone = "bench"
unit = "Cel"
value = 40
check = { range = [0, 90] }
[[device.reading]]
metric = "boiler.volume"
zone = "bench"
unit = "L"
value = 10
`;
const POLICY = `version = 1
[[rule]]
name = "light"
capability = "actuator:lamp:*"
operations = ["on"]
level = "L2"
kind = "pulse"
pulse_ms = 500
safe_state = "off"
may_cite_nothing = ["person"]

[[rule]]
name = "dark"
capability = "actuator:lamp:*"
operations = ["off"]
level = "L2"
safe_state = "off"
deadline_sec = 1
may_cite_nothing = ["person"]
`;

let l;
let o;
before(async () => {
  mkdirSync(folder, { recursive: true });
  behave({});
  l = await lab({ pace: 0, rules: CONFIG, centerPolicy: POLICY });
  o = await l.open("/settings?tab=devices");
});
after(() => l?.close());

const card = (page) => page.getByRole("article", { name: "bench" });

test("a device shows its readings, what it moves and what the policy says of that", async () => {
  const bench = card(o.page);
  await bench.getByText("40 °C").waitFor();
  await bench.getByText("10 L").waitFor();
  await bench.getByText("healthy", { exact: true }).waitFor();
  await bench.getByText("in its safe state").waitFor();
  await bench.getByText(/L2 · pulse · at most 500 ms, then “off”/).waitFor();
  await bench.getByText(/no rule of the policy allows it/).waitFor();
  await bench.getByText("Nothing was asked of it yet.").waitFor();
  const [view] = (await l.center.api("GET", "/devices")).filter((d) => d.name === "bench");
  assert.equal(view.sensors.flatMap((s) => s.values).length, 2);
  await accessible(o.page, "devices");
  await o.clean();
});

test("a look now is a reading, and a reading that is not believed says why and what to do", async () => {
  behave({ "boiler.temperature": 120 });
  const bench = card(o.page);
  const looks = bench.getByRole("button", { name: /^Look now/ });
  for (let i = 0; i < (await looks.count()); i++) {
    await looks.nth(i).click();
    // While it looks it says so, and is none of these.
    await bench.getByRole("button", { name: /^Looking/ }).waitFor({ state: "detached" });
  }
  await bench.getByText("120 °C").waitFor();
  await bench.getByText(/Not believed: outside its range of 0 to 90/).waitFor();
  await bench.getByText(/Look at the sensor, its wiring and its bounds/).waitFor();
  await bench.getByText("degraded", { exact: true }).waitFor();
  await accessible(o.page, "devices with a doubted reading");
});

test("a sensor that falls silent says since when, why and what to do", async () => {
  behave({ "boiler.temperature": null, "boiler.volume": null });
  const bench = card(o.page);
  await bench
    .getByText(/Gives no readings for \d+ s:/)
    .first()
    .waitFor();
  await bench
    .getByText(/Look at the sensor and its wiring/)
    .first()
    .waitFor();
  await accessible(o.page, "devices that give no readings");
  behave({});
  await bench.getByText("40 °C").waitFor();
});

test("what moved last is told, with the way to its story", async () => {
  const draft = await l.center.api("POST", "/drafts", {
    target: "actuator:lamp:bench",
    operation: "on",
    params: {},
    reason: "is the lamp alive",
    name: "ada",
    executor: "self",
  });
  await l.center
    .cli(["operator", "enroll", "--level", "L2", "--name", "ada", l.person])
    .catch(() => undefined);
  await l.center.cli(["approve", draft.proposalId, "--yes", "--passphrase-stdin"], {
    input: `${PASSPHRASE}\n`,
  });
  await until("it has run", async () => (await l.status(draft.proposalId)) === "completed");
  const bench = card(o.page);
  await bench.getByText(/pulsed \d+ ms/).waitFor();
  await bench.getByRole("link", { name: /Last:/ }).click();
  await o.page.getByText("is the lamp alive").first().waitFor();
  await o.page.getByText(/A pulse of 500 ms, as the policy has it; then “off”/).waitFor();
  await o.page.goBack();
});

test("units are chosen once and shown everywhere in this browser; the API keeps its own", async () => {
  await o.go("/settings?tab=node");
  const choose = (group, name) =>
    o.page.getByRole("group", { name: group }).getByRole("button", { name, exact: true }).click();
  await choose("Temperature", "°F");
  await choose("Volume", "gal");
  await accessible(o.page, "settings with units");
  await o.go("/world");
  await o.page.getByRole("cell", { name: "104 °F" }).waitFor();
  await o.page.getByRole("cell", { name: "2.64 gal" }).waitFor();
  await o.go("/settings?tab=devices");
  await card(o.page).getByText("104 °F").waitFor();
  const [fact] = await l.center.api("GET", "/world?metric=boiler.temperature");
  assert.deepEqual([fact.value, fact.unit], [40, "Cel"]);
  await o.page.reload();
  await card(o.page).getByText("104 °F").waitFor();
  await o.go("/settings?tab=node");
  await choose("Temperature", "as reported");
  await o.go("/settings?tab=devices");
  await card(o.page).getByText("40 °C").waitFor();
  await o.clean();
});

test("no devices, no answer and no connection are each told", async () => {
  const empty = await l.open("/");
  await empty.page.route("**/api/operator/v1/devices", (route) => route.fulfill({ json: [] }));
  await empty.go("/settings?tab=devices");
  await empty.page.getByText("This node has no devices").waitFor();
  await empty.page.getByText("clawmesh-node device test").waitFor();
  await accessible(empty.page, "no devices");
  await empty.page.unroute("**/api/operator/v1/devices");
  await empty.page.route("**/api/operator/v1/devices", (route) =>
    route.fulfill({ status: 500, json: { error: { code: "INTERNAL_ERROR", message: "the disk is gone" } } }),
  );
  await empty.page.reload();
  await empty.page.getByText(/This could not be read: the disk is gone/).waitFor();
  await empty.close();
  const phone = await l.open("/settings?tab=devices", { viewport: { width: 390, height: 844 } });
  await card(phone.page).getByText("40 °C").waitFor();
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${wide} px wider than the phone`);
  await phone.close();
  await l.center.kill();
  await o.page.getByText(/Not connected to the node/).waitFor();
  await card(o.page).getByText("40 °C").waitFor();
  await card(o.page)
    .getByRole("button", { name: /^Look now/ })
    .first()
    .click();
  await card(o.page).getByRole("alert").waitFor();
});
