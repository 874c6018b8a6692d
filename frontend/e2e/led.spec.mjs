// A wish that another node's model led to: its card and its sheet say whose, in both languages. And the schedules of the
// planner: when they come, and why not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab } from "./lab.mjs";
import { modelServer } from "./model.mjs";
import { until } from "./nodes.mjs";

let server;
let l;
before(async () => {
  const wish = {
    step: "propose",
    target: "actuator:mock:valve-1",
    operation: "open",
    params: ["durationSec=2"],
    reason: "the soil is dry",
    cites: ["r1"],
  };
  const end = { step: "answer", text: "I have asked for it.", cites: [] };
  server = await modelServer((body) =>
    JSON.stringify(body.messages.some((m) => m.role === "assistant") ? end : wish),
  );
  l = await lab({
    rules: `[[model]]
name = "mesh/*/fake/small"

[[rule]]
name = "morning"
at = "0 6 * * *"
target = "actuator:mock:valve-1"
operation = "open"
params = { durationSec = 2 }
`,
    fieldRules: `[[model]]\nname = "fake/small"\nurl = "${server.url}"\nshare = true\n`,
  });
});
after(async () => {
  await l?.close();
  await server?.close();
});

test("a proposal says whose model led to it, where it is asked for and where it is decided", async () => {
  await until("the model of the other node is known", async () =>
    (await l.center.api("GET", "/topology")).nodes.some((n) => n.capabilities.includes("llm:fake/small")),
  );
  const o = await l.open("/command", { scope: "operate" });
  await o.page.getByRole("textbox", { name: "Ask about the mesh" }).fill("Water zone 1.");
  await o.page.keyboard.press("Enter");
  const log = o.page.getByRole("log");
  await log.getByText("I have asked for it.").waitFor();
  const card = log.getByRole("link", { name: /led by field-1/ });
  await card.waitFor();
  await accessible(o.page, "a card that names who led to it");
  await card.click();
  const sheet = o.page.getByText("led by field-1");
  await sheet.waitFor();
  assert.equal(await sheet.getAttribute("title"), l.field.id);
  await accessible(o.page, "a sheet that names who led to it");
  await o.clean();
  await o.close();

  const de = await l.open("/approvals", {
    scope: "operate",
    language: "de",
    viewport: { width: 390, height: 844 },
  });
  await de.page.getByText("veranlasst von field-1").waitFor();
  await de.close();
});

test("a schedule says when it comes next, and by whom it is held", async () => {
  const o = await l.open("/command", { scope: "operate" });
  const panel = o.page.getByRole("region", { name: "Schedules" });
  await panel.getByText("morning").waitFor();
  await panel.getByText(/^next .*06:00|^next .*6:00/).waitFor();
  await panel.getByText("not yet since the node started").waitFor();
  await panel.getByText("this node asks").waitFor();
  await l.center.api("POST", "/planner/pause", { reason: "pump service", name: "ana" });
  await panel.getByText(/pump service/).waitFor();
  await accessible(o.page, "the schedules");
  await l.center.api("POST", "/planner/resume", {});
  await panel.getByText("this node asks").waitFor();
  await o.clean();
  await o.close();
});
