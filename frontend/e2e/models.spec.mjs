// Models: how each is, keys that go in and never come out, the way a question takes; and conversations on the Command
// page, which outlive a reload.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab } from "./lab.mjs";
import { modelServer } from "./model.mjs";
import { until } from "./nodes.mjs";

const KEY = "sk-very-secret-4711";
const KEY_REFUSED = "its key was refused";
let server;
let l;
let says = () => "";
before(async () => {
  server = await modelServer((body) => says(body));
  l = await lab({
    rules: `[privacy]
zones = ["bedroom"]

[[model]]
name = "away/none"
url = "http://127.0.0.1:1/v1"
private = false

[[model]]
name = "fake/small"
url = "${server.url}"
tokens_per_day = 10000
input_price = 2.0
output_price = 8.0
`,
  });
});
after(async () => {
  await l?.close();
  await server?.close();
});

/** The page does not scroll to the side. */
const fits = (page) => page.evaluate(() => document.scrollingElement.scrollWidth <= window.innerWidth);
const card = (page, name) => page.locator("li", { has: page.getByRole("heading", { name }) });
const panel = (page, name) => page.getByRole("region", { name });

test("the chain in its order, the way of a try, and what it took today", async () => {
  says = () => "I am ready.";
  const o = await l.open("/models", { scope: "admin" });
  await card(o.page, "fake/small").waitFor();
  const names = await o.page.locator("ol > li h3").allInnerTexts();
  assert.deepEqual(names, ["away/none", "fake/small"]);
  await card(o.page, "fake/small").getByText("not asked since this node started").waitFor();
  await panel(o.page, "What may go where").getByText("bedroom").waitFor();
  await panel(o.page, "Models of other nodes").getByText("No other node says").waitFor();

  const box = panel(o.page, "Try it");
  await box.getByRole("button", { name: "Try it" }).click();
  await box.getByText("I am ready.").waitFor();
  await box.getByText("It went to fake/small").waitFor();
  await box.getByText("Passed over:").waitFor();
  await box.getByText(/120 tokens read, 8 written; cost 0\.000304/).waitFor();
  await card(o.page, "fake/small").getByText("128 of 10,000").waitFor();
  await card(o.page, "fake/small").getByText("healthy").waitFor();
  await card(o.page, "away/none").getByText("Last failure").waitFor();

  // Private: the one that may not see it is passed over, and nobody is asked.
  const asked = server.asked.length;
  await box.getByLabel("Text").fill("Who is in the bedroom?");
  await box.getByRole("button", { name: "Show the route only" }).click();
  await box.getByText("Private in it: zone bedroom.").waitFor();
  await box.getByText("it may not see private data").first().waitFor();
  assert.equal(server.asked.length, asked);
  await accessible(o.page, "models");
  // What is not there is no error of the page.
  await o.clean();
  await o.close();
});

test("a key goes in, is used, and never comes back", async () => {
  says = () => "Yes.";
  const o = await l.open("/models", { scope: "admin" });
  const bodies = [];
  o.page.on(
    "response",
    (r) =>
      void r.text().then(
        (text) => bodies.push(text),
        () => undefined,
      ),
  );
  const keys = panel(o.page, "Keys of providers");
  await keys.getByText("clawmesh-node credential set").waitFor();
  await keys.getByRole("combobox", { name: "Name" }).fill("fake");
  await keys.getByRole("textbox", { name: "Key", exact: true }).fill(KEY);
  await o.page.keyboard.press("Enter");
  await keys.getByText("The key of provider/fake is set").waitFor();
  assert.equal(await keys.getByRole("textbox", { name: "Key", exact: true }).inputValue(), "");
  await keys.getByText(/● set/).waitFor();
  const box = panel(o.page, "Try it");
  await box.getByRole("button", { name: "Try it" }).click();
  await box.getByText("Yes.").waitFor();
  assert.equal(server.asked.at(-1).key, `Bearer ${KEY}`);
  assert.ok(!(await o.page.content()).includes(KEY));
  const audit = JSON.stringify(await l.center.api("GET", "/audit"));
  const events = JSON.stringify(await l.center.api("GET", "/events"));
  assert.match(audit, /credential\.set/);
  for (const text of [...bodies, audit, events, l.center.log.join("\n")]) assert.ok(!text.includes(KEY));

  await keys.getByRole("button", { name: "Remove the key of provider/fake" }).click();
  await keys.getByRole("button", { name: "Really remove" }).click();
  await keys.getByText("The key of provider/fake is removed").waitFor();
  assert.deepEqual(await l.center.api("GET", "/credentials"), []);
  await o.close();

  const looks = await l.open("/models", { scope: "operate" });
  await panel(looks.page, "Keys of providers").getByText("--scope admin").waitFor();
  assert.equal(await looks.page.getByRole("textbox", { name: "Key", exact: true }).count(), 0);
  assert.equal(await panel(looks.page, "Try it").getByRole("button", { name: "Try it" }).count(), 0);
  await looks.close();
});

test("a server that refuses the key: the page says so and what to do", async () => {
  says = () => ({ status: 401, error: "bad key" });
  const o = await l.open("/models", { scope: "admin" });
  const box = panel(o.page, "Try it");
  await box.getByRole("button", { name: "Try it" }).click();
  await box.getByText("credential set provider/fake").waitFor();
  await card(o.page, "fake/small").getByText(KEY_REFUSED).waitFor();
  await accessible(o.page, "models with a failure");
  // It is asked no more until somebody sees to it; *Try it* asks again.
  says = () => "Yes.";
  await box.getByRole("button", { name: "Try it" }).click();
  await box.getByText("Yes.").waitFor();
  await card(o.page, "fake/small").getByText(KEY_REFUSED).waitFor({ state: "detached" });
  await o.close();
});

test("on a phone, in German, nothing runs over the edge", async () => {
  const o = await l.open("/models", {
    scope: "admin",
    language: "de",
    viewport: { width: 390, height: 844 },
  });
  await o.page
    .getByRole("heading", { name: "Modelle in der Reihenfolge, in der sie gefragt werden" })
    .waitFor();
  assert.ok(await fits(o.page));
  await accessible(o.page, "models on a phone");
  await o.go("/command");
  await o.page.getByText("Frühere Fragen").waitFor();
  assert.ok(await fits(o.page));
  await o.close();
});

const reply = (text) => JSON.stringify({ step: "answer", text, cites: ["r1"] });
const ask = async (page, text) => {
  await page.getByRole("textbox", { name: "Ask about the mesh" }).fill(text);
  await page.keyboard.press("Enter");
};

test("a conversation outlives a reload, is gone on with, and another begins empty", async () => {
  says = () => reply("The soil of zone one is dry.");
  const o = await l.open("/command", { scope: "operate" });
  await ask(o.page, "How is zone 1?");
  const log = o.page.getByRole("log");
  await log.getByText("The soil of zone one is dry.").waitFor();
  await o.page.waitForFunction(() => location.search.includes("c="));
  await o.page.reload();
  await log.getByText("The soil of zone one is dry.").waitFor();
  await log.getByRole("link").first().waitFor();

  says = () => reply("Zone two is wet.");
  await ask(o.page, "and zone 2?");
  await log.getByText("Zone two is wet.").waitFor();
  const told = server.asked.at(-1).body.messages.at(-1).content;
  assert.match(told, /Asked: How is zone 1\?\nAnswered: The soil of zone one is dry\./);

  await o.page.getByRole("button", { name: "New conversation" }).click();
  await log.getByText("Zone two is wet.").waitFor({ state: "detached" });
  says = () => reply("All is well.");
  await o.page.getByRole("switch", { name: "Private conversation" }).check();
  await ask(o.page, "Is all well?");
  await log.getByText("All is well.").waitFor();
  await log.getByText("Private: this conversation").waitFor();
  assert.doesNotMatch(JSON.stringify(server.asked.at(-1).body), /zone one is dry/);

  const earlier = panel(o.page, "Earlier questions");
  await earlier.getByRole("button", { name: /How is zone 1/ }).click();
  await log.getByText("Zone two is wet.").waitFor();
  await log.getByText("All is well.").waitFor({ state: "detached" });
  await accessible(o.page, "a conversation");
  await o.clean();
  await o.close();
});

test("what the planner does stands in one line, and stopping lets the model go", async () => {
  let go;
  const waits = new Promise((done) => {
    go = done;
  });
  says = () => waits.then(() => reply("Late."));
  const o = await l.open("/command", { scope: "operate" });
  await o.page.getByText("Planner: idle").waitFor();
  await ask(o.page, "How long?");
  await o.page.getByText(/Planner: answers: How long\?/).waitFor();
  await until("the model is asked", () => server.open.size);
  await o.page.getByRole("button", { name: "Stop", exact: true }).click();
  await o.page.getByText("Stopped; the question was taken back.").waitFor();
  await until("the model is let go", () => !server.open.size);
  go();
  await o.page.getByText("Planner: idle").waitFor();

  says = () => ({ status: 401, error: "bad key" });
  await ask(o.page, "Which key?");
  await o.page.getByText("the rules answer.").waitFor();
  await o.page.getByText("fake/small: key refused.").waitFor();
  await o.page.getByText("Answered by the planner of rules").first().waitFor();

  await l.center.api("POST", "/planner/pause", { reason: "pump service", name: "ana" });
  await o.page.getByText(/Planner: paused by .*pump service/).waitFor();
  await o.page.getByText("clawmesh-node planner resume").waitFor();
  await l.center.api("POST", "/planner/resume", {});
  await o.close();
});
