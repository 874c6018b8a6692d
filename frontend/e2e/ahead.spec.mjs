// Standing approvals and held actions in the browser: given, used, told, ended; kept by one page and seen by another. What
// the page says is also asked of the executor.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, hold, lab, loaded } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

const POLICY = `version = 1

[[rule]]
name = "water"
capability = "actuator:mock:valve-*"
operations = ["open"]
level = "L2"
standing_approvals = true
safe_state = "close"
deadline_sec = 20
duration_param = "durationSec"
may_cite_nothing = ["person", "llm"]
min_tier = "T2"

[rule.params.durationSec]
type = "integer"
min = 1
max = 20
required = true

[[rule.condition]]
metric = "tank.level"
origin = "self"
op = ">"
value = 0.0
max_age_sec = 60

[[rule]]
name = "flush"
capability = "actuator:mock:pump-*"
operations = ["start"]
level = "L2"
kind = "held"
lease_sec = 9
deadline_sec = 600
safe_state = "stop"
may_cite_nothing = ["person", "llm"]

[[rule]]
name = "make safe"
capability = "actuator:mock:*"
operations = ["close", "stop"]
level = "L2"
safe_state = "close"
deadline_sec = 1
may_cite_nothing = ["person", "llm"]
`;
const VALVE = "actuator:mock:valve-1";
const PUMP = "actuator:mock:pump-1";
const PHRASE = "correct horse battery";

let l;
before(async () => {
  l = await lab({ pace: 0, fieldPolicy: POLICY });
});
after(() => l?.close());

const given = async () => (await l.center.api("GET", "/approvals")).list;
const main = (page) => page.locator("main#page");
const held = (page, name) => hold(page.getByRole("button", { name }));
/** A person at the executor asks for water there. */
async function asked(sec, reason) {
  const draft = await l.field.api("POST", "/drafts", {
    target: VALVE,
    operation: "open",
    params: { durationSec: sec },
    reason,
    name: "bob",
  });
  return until("the centre knows of it", async () => {
    const all = await l.center.api("GET", "/proposals?all=true");
    return all.find((p) => p.id === draft.proposalId);
  });
}
const ended = (id) =>
  until("it has ended", async () => {
    const p = await l.center.api("GET", `/proposals/${id}`);
    return /completed|failed|unknown/.test(p.status) && p;
  });

test("given from a decision sheet, used without a person, told in the story, and ended", async () => {
  const p = await l.propose({ reason: "dry by the fence" });
  const o = await l.open(`/approvals?id=${p.id}`);
  const { page } = o;
  await page.getByRole("link", { name: "Approve ahead of time…" }).click();
  await page.getByRole("heading", { name: "Approve ahead of time" }).waitFor();
  assert.equal(await page.getByLabel("durationSec to").inputValue(), "2", "as long as was asked for");
  // A person asked for the one this comes from.
  assert.ok(await page.getByLabel(/What persons at the executor ask for/).isChecked());
  await page.getByLabel("durationSec to").fill("60");
  await page.getByText("durationSec: the policy allows 1 to 20.").waitFor();
  assert.ok(await page.getByRole("button", { name: "Hold to sign" }).isDisabled());
  await page.getByLabel("durationSec to").fill("5");
  await page.getByLabel("Uses").fill("2");
  await page.getByLabel(/^Note/).fill("while I am in the field");
  const signs = page.getByRole("region", { name: "What you sign" });
  await signs.getByText("at most 5 s").waitFor();
  await signs.getByText("at most 2", { exact: true }).waitFor();
  await signs.getByText("1 to 5").waitFor();
  await accessible(page, "the form of a standing approval");
  // A wrong passphrase and a short press give nothing.
  await page.getByLabel(/Passphrase/).fill("not it");
  await held(page, "Hold to sign");
  await page.getByRole("alert").getByText(/wrong/i).waitFor();
  await page.getByLabel(/Passphrase/).fill(PASSPHRASE);
  await page.getByRole("button", { name: "Hold to sign" }).click();
  assert.deepEqual(await given(), []);
  await held(page, "Hold to sign");
  await main(page).getByText("in force").first().waitFor();
  const [one] = await given();
  assert.equal(one.executor, l.field.id);
  assert.deepEqual(one.params, { durationSec: { min: 1, max: 5 } });
  assert.deepEqual([one.usesMax, one.runMaxMs, one.note], [2, 5_000, "while I am in the field"]);
  assert.deepEqual(one.askers, ["person"]);
  await main(page).getByText("while I am in the field").waitFor();
  await accessible(page, "a standing approval");
  await l.field.cli(["withdraw", p.id]);

  const used = await ended((await asked(1, "as approved ahead")).id);
  assert.equal(used.status, "completed");
  await main(page).getByText("1 of 2 used; 1 is left.").waitFor();
  await page.getByRole("link", { name: /^Use 1/ }).click();
  await main(page).getByText(`Began by the standing approval of ada: use 1 of 2.`).waitFor();
  await main(page)
    .getByText(/approved ahead of time: use 1 of 2/)
    .first()
    .waitFor();
  await accessible(page, "a proposal that began by a standing approval");
  await page.getByRole("link", { name: /Began by the standing approval/ }).click();

  await page.getByRole("button", { name: "Revoke…" }).click();
  const dialog = page.getByRole("dialog");
  await accessible(page, "the end of a standing approval");
  await dialog.getByRole("button", { name: "Sign and revoke" }).click();
  await dialog
    .getByRole("alert")
    .getByText(/passphrase/i)
    .waitFor();
  await dialog.getByLabel(/Passphrase/).fill(PASSPHRASE);
  await dialog.getByRole("button", { name: "Sign and revoke" }).click();
  await main(page).getByText("revoked by ada").waitFor();
  assert.equal(await page.getByRole("button", { name: "Revoke…" }).count(), 0);
  const waits = await asked(1, "after it was revoked");
  assert.equal(waits.status, "awaiting_approval");
  await l.field.cli(["withdraw", waits.id]);
  assert.deepEqual(
    o.errors.filter((e) => !/status of 40[013]/.test(e)),
    [],
  );
  await o.close();
});

test("where the policy takes none the page says so, and no button is there", async () => {
  const p = await l.propose({ target: PUMP, operation: "start", sec: 0, params: {}, reason: "flush it" });
  const o = await l.open(`/approvals?id=${p.id}`);
  await main(o.page)
    .getByText(/rule flush of its executor's policy does not say standing_approvals/)
    .waitFor();
  assert.equal(await o.page.getByRole("link", { name: "Approve ahead of time…" }).count(), 0);
  await o.go(`/approvals?tab=standing&give=1&target=${PUMP}&op=start&at=${l.field.id}`);
  await main(o.page)
    .getByText(/does not let standing approvals count for this action/)
    .waitFor();
  assert.equal(await o.page.getByRole("button", { name: "Hold to sign" }).count(), 0);
  // A session that may only read sees them, and neither gives nor ends any.
  const reader = await l.open("/approvals?tab=standing", { scope: "read" });
  await main(reader.page).getByText("revoked by ada").waitFor();
  assert.equal(await reader.page.getByRole("button", { name: "Give…" }).count(), 0);
  await reader.close();
  await l.field.cli(["withdraw", p.id]);
  await o.clean();
  await o.close();
});

test("signed by the person's own key in this browser, for give and revoke", async () => {
  const o = await l.open("/settings");
  const { page } = o;
  await page.getByLabel("Your name").fill("Grace");
  await page.getByLabel("Passphrase (8 characters or more)").fill(PHRASE);
  await page.getByLabel("The same again").fill(PHRASE);
  await page.getByRole("button", { name: "Make a key" }).click();
  const asks = await until("the key waits", async () =>
    (await l.center.api("GET", "/operators/requests")).find((k) => k.name === "Grace"),
  );
  for (const node of [l.center, l.field])
    await node.cli(["operator", "enroll", "--level", "L2", "--name", "Grace", asks.publicKey]);
  const sent = [];
  page.on("request", (r) => r.method() === "POST" && sent.push(`${r.url()} ${r.postData() ?? ""}`));
  await o.go(`/approvals?tab=standing&give=1&target=${VALVE}&op=open&at=${l.field.id}`);
  await page.getByLabel("Passphrase of your key in this browser").fill(PHRASE);
  await held(page, "Hold to sign");
  await main(page).getByText("in force").first().waitFor();
  const mine = (await given()).find((a) => a.state === "counts");
  assert.equal(mine.name, "Grace");
  assert.deepEqual(mine.askers, ["rules"]);
  await page.getByRole("button", { name: "Revoke…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Passphrase of your key in this browser").fill(PHRASE);
  await dialog.getByRole("button", { name: "Sign and revoke" }).click();
  await main(page).getByText("revoked by Grace").waitFor();
  const all = sent.join("\n");
  assert.ok(!all.includes(PHRASE), "the passphrase stays here");
  assert.ok(!all.includes("/console/approvals"), "the node signs nothing");
  await o.clean();
  await o.close();
});

test("a held run is kept by one page; another sees by whom, and stops or outlives it", async () => {
  const begin = async (reason) => {
    const p = await l.propose({ target: PUMP, operation: "start", params: {}, reason });
    const holder = await l.open(`/approvals?id=${p.id}`);
    await main(holder.page)
      .getByText(/Held: it runs while somebody keeps it, ends with “stop” 9 s/)
      .waitFor();
    await holder.page.getByLabel(/Passphrase/).fill(PASSPHRASE);
    await held(holder.page, "Hold to approve");
    const button = holder.page.getByRole("button", { name: "Hold", exact: true });
    await button.waitFor();
    await main(holder.page).getByText("Nobody holds it yet").waitFor();
    await button.click();
    await main(holder.page).getByText("Held by this page").waitFor();
    await main(holder.page)
      .getByText(/on a device that sleeps/)
      .waitFor();
    return { p, holder };
  };
  const first = await begin("flush until I say so");
  const viewer = await l.open(`/approvals?id=${first.p.id}`);
  await main(viewer.page)
    .getByText(/Held by .*at center/)
    .waitFor();
  await main(viewer.page)
    .getByText(/It ends in \d s unless it is kept, and in \d:\d\d in any case/)
    .waitFor();
  assert.equal(await viewer.page.getByRole("button", { name: "Hold", exact: true }).count(), 0);
  await accessible(viewer.page, "a run that somebody else holds");
  await accessible(first.holder.page, "a run that this page holds");
  // A session that may only read is told too, and has nothing to press.
  const reader = await l.open(`/approvals?id=${first.p.id}`, { scope: "read" });
  await main(reader.page)
    .getByText(/Held by .*at center/)
    .waitFor();
  assert.equal(await reader.page.getByRole("button", { name: /Stop this action|^Hold$/ }).count(), 0);
  await reader.close();
  await first.holder.page.getByRole("button", { name: "Let go" }).click();
  const over = await ended(first.p.id);
  assert.equal(over.status, "completed");
  await main(viewer.page)
    .getByText(/released by/)
    .first()
    .waitFor();

  const second = await begin("flush and go away");
  await viewer.go(`/approvals?id=${second.p.id}`);
  await main(viewer.page)
    .getByText(/Held by .*at center/)
    .waitFor();
  await second.holder.close();
  const lapsed = await ended(second.p.id);
  assert.equal(lapsed.status, "failed");
  assert.match(lapsed.outcome.detail, /its lease lapsed/);
  await main(viewer.page)
    .getByText(/its lease lapsed/)
    .first()
    .waitFor();

  const third = await begin("flush and be stopped");
  await viewer.go(`/approvals?id=${third.p.id}`);
  await main(viewer.page)
    .getByText(/Held by .*at center/)
    .waitFor();
  await viewer.page.getByRole("button", { name: /Stop this action/ }).click();
  await viewer.page.getByRole("dialog").getByRole("button", { name: "Confirm" }).click();
  await ended(third.p.id);
  await loaded(viewer.page);
  await third.holder.close();
  await first.holder.close();
  await viewer.close();
});
