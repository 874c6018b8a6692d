// Screenshots of every page, from real nodes: node e2e/shots.mjs DIR [page…]
// Light and dark at 1280×800, and a phone in light.
// CLAWMESH_LANGUAGE=de speaks another language; ALL=1 adds a large screen and the phone in the dark.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lab, loaded, PAGES } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

const [dir = "../docs/screenshots", ...only] = process.argv.slice(2);
mkdirSync(dir, { recursive: true });
// A rule as an operator would write it; nothing gets so dry while the pictures are taken.
const rules = `[[rule]]
name = "dry soil"
metric = "moisture"
below = 15.0
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 10 }
`;
// What the centre has itself: two sensors and a lamp.
const bench = mkdtempSync(join(process.env.CLAWMESH_E2E_DIR ?? tmpdir(), "bench-"));
const devices = `
[[device]]
kind = "twin"
name = "greenhouse"
folder = ${JSON.stringify(bench)}
[[device.actuator]]
capability = "actuator:lamp:greenhouse"
operations = ["on", "off"]
safe = "off"
[[device.reading]]
metric = "air.temperature"
zone = "greenhouse"
unit = "Cel"
value = 24.5
[[device.reading]]
metric = "leaf.temperature"
zone = "greenhouse"
unit = "Cel"
value = 22.1
check = { range = [-20, 60] }
`;
const lamp = `version = 1
[[rule]]
name = "light"
capability = "actuator:lamp:*"
operations = ["on"]
level = "L2"
standing_approvals = true
safe_state = "off"
deadline_sec = 3600
`;
/** What the kit starts with, but that water may be approved ahead of time and the pump is held. */
const policy = `version = 1

[[rule]]
name = "water"
capability = "actuator:mock:valve-*"
operations = ["open"]
level = "L2"
standing_approvals = true
safe_state = "close"
deadline_sec = 600
duration_param = "durationSec"
may_cite_nothing = ["person", "llm"]

[rule.params.durationSec]
type = "integer"
min = 1
max = 600
required = true

[[rule.condition]]
metric = "tank.level"
origin = "self"
op = ">"
value = 5.0
max_age_sec = 60

[[rule]]
name = "fill the tank"
capability = "actuator:mock:pump-*"
operations = ["start"]
level = "L2"
kind = "held"
lease_sec = 60
deadline_sec = 600
safe_state = "stop"

[[rule]]
name = "make safe"
capability = "actuator:mock:*"
operations = ["close", "stop"]
level = "L2"
safe_state = "close"
deadline_sec = 1
`;
const l = await lab({
  demo: true,
  mesh: "demo farm",
  names: ["ops-main", "field-jetson"],
  rules: `${rules}${devices}`,
  centerPolicy: lamp,
  fieldPolicy: policy,
});
try {
  const { center } = l;
  // The farm of the demo, with the field node under the name it has here.
  copyFileSync("../plan.example.svg", join(center.dir, "plan.svg"));
  const site = readFileSync("../site.example.toml", "utf8");
  writeFileSync(
    join(center.dir, "site.toml"),
    site.replaceAll('device = "field"', `device = "${l.field.name}"`),
  );
  const decide = (p, decision, reason) =>
    center.api("POST", "/console/decide", {
      proposalId: p.id,
      digest: p.digest,
      decision,
      reason,
      passphrase: PASSPHRASE,
    });
  const done = await l.propose({ sec: 8, reason: "zone 1 looks dry by the fence" });
  await decide(done, "approve", "seen on site");
  await until("it has run", async () => (await l.status(done.id)) === "completed");
  const refused = await l.propose({ sec: 20, reason: "water again, to be safe" });
  await decide(refused, "reject", "it rains tonight");
  const pump = await l.propose({
    target: "actuator:mock:pump-1",
    operation: "start",
    params: {},
    reason: "the tank is below 80 %",
  });
  // One that counts, of which one use is used, and one that was revoked.
  const give = (note) =>
    center.api("POST", "/console/approvals", {
      executor: l.field.id,
      target: "actuator:mock:valve-1",
      operation: "open",
      params: { durationSec: { min: 1, max: 600 } },
      askers: ["rules", "person"],
      runMaxMs: 600_000,
      usesMax: 3,
      validUntil: Date.now() + 6 * 3_600_000,
      note,
      passphrase: PASSPHRASE,
    });
  const old = await give("until it rains");
  await center.api("POST", "/console/approvals/end", {
    executor: l.field.id,
    id: old.id,
    note: "it rains",
    passphrase: PASSPHRASE,
  });
  const standing = await give("while I am on the north field");
  const ahead = await l.field.api("POST", "/drafts", {
    target: "actuator:mock:valve-1",
    operation: "open",
    params: { durationSec: 2 },
    reason: "rows 3 to 5 are dry",
    name: "ben",
  });
  await until("it has run", async () => (await l.status(ahead.proposalId)) === "completed");
  const waiting = await l.propose({ sec: 10, reason: "moisture in zone-1 falls" });
  const fact = await l.reading();

  const shots = [
    ...PAGES.filter(([name]) => name !== "trace"),
    ["approvals", `/approvals?id=${waiting.id}`],
    ["approvals-decided", `/approvals?id=${done.id}`],
    ["approvals-ahead", `/approvals?id=${ahead.proposalId}`],
    ["standing", `/approvals?tab=standing&id=${standing.id}`],
    ["standing-ended", `/approvals?tab=standing&id=${old.id}`],
    [
      "standing-give",
      `/approvals?tab=standing&give=1&target=actuator:mock:valve-1&op=open&at=${l.field.id}&from=${waiting.id}`,
    ],
    [
      "held",
      `/approvals?id=${pump.id}`,
      async (page) => {
        if ((await l.status(pump.id)) === "awaiting_approval") await decide(pump, "approve", "seen on site");
        const hold = page.getByRole("button", { name: /^(Hold|Halten)$/ });
        const other = page.getByText(/Held by |Gehalten von/);
        await hold
          .or(other)
          .first()
          .waitFor()
          .catch(() => undefined);
        if (await hold.count()) {
          await hold.click();
          await page.getByText(/Held by this page|Von dieser Seite gehalten/).waitFor();
        }
      },
    ],
    ["twin-zone", "/twin?zone=north-bed"],
    ["topology-node", `/topology?node=${l.field.id}`],
    ["telemetry", "/telemetry?m=moisture&range=5m"],
    ["frame", `/world?tab=frames&frame=${fact.frameId}`],
    ["trace", `/world?tab=trace&id=${done.id}`],
    ["search", "/", async (page) => page.keyboard.press("Control+k")],
    [
      "command",
      "/command",
      async (page) => {
        await page.getByRole("textbox").first().fill("what is the moisture?");
        await page.keyboard.press("Enter");
        await page.getByRole("log").getByText("moisture").nth(1).waitFor();
      },
    ],
  ].reverse();
  const wanted = shots.filter(
    ([name], i) => shots.findIndex(([n]) => n === name) === i && (!only.length || only.includes(name)),
  );
  for (const [width, height, colorScheme, tail] of [
    [1280, 800, "light", "light"],
    [1280, 800, "dark", "dark"],
    [390, 844, "light", "phone"],
    ...(process.env.ALL
      ? [
          [1920, 1080, "light", "large"],
          [1920, 1080, "dark", "large-dark"],
          [390, 844, "dark", "phone-dark"],
        ]
      : []),
  ]) {
    const o = await l.open("/", {
      scope: "admin",
      language: process.env.CLAWMESH_LANGUAGE,
      colorScheme,
      viewport: { width, height },
      reducedMotion: "reduce",
    });
    for (const [name, path, act] of wanted.toReversed()) {
      if (tail.startsWith("phone") && name === "search") continue;
      await o.go(path);
      await act?.(o.page);
      await settled(o.page);
      await o.page.screenshot({ path: `${dir}/${name}-${tail}.png` });
    }
    await o.clean();
    await o.close();
  }
} finally {
  await l.close();
}

/** Charts, graphs and figures that come a moment later are there; nothing moves. */
async function settled(page) {
  await loaded(page);
  await page.waitForFunction(() => /\d\/\d/.test(document.querySelector("header")?.innerText ?? ""));
  await page.waitForLoadState("networkidle", { timeout: 1_500 }).catch(() => undefined);
  await page.evaluate(async () => {
    for (let on = document.getAnimations(); on.length; on = document.getAnimations())
      await Promise.allSettled(on.map((a) => a.finished));
  });
}
