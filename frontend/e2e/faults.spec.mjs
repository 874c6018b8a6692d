// What goes wrong while somebody looks: the executor dies, the serving node dies, the emergency
// stop is pressed. The page says so, offers nothing that cannot be done, and comes back.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { lab, loaded } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

let l;
before(async () => {
  l = await lab({ pace: 0 });
});
after(() => l?.close());
// A test that failed half-way must not make the next one fail.
beforeEach(async () => {
  for (const node of [l.center, l.field]) if (!node.child) await node.start();
  await l.connected();
});

const hold = (page) => page.getByRole("button", { name: "Hold to approve" });
const banner = (page) => page.getByText(/Not connected to the node since/).first();
/** Whether a button is gone or disabled. */
const cannot = async (button) => (await button.count()) === 0 || button.isDisabled();
async function approve(page) {
  await page.getByLabel(/Passphrase/).fill(PASSPHRASE);
  const asked = page.waitForResponse((r) => r.url().endsWith("/console/decide"));
  await hold(page).hover();
  await page.mouse.down();
  const answer = await asked;
  await page.mouse.up();
  return answer.status();
}
async function sheet(p) {
  const o = await l.open(`/approvals?id=${p.id}`);
  await o.page.getByText(p.reason).first().waitFor();
  return o;
}
/** Lines that the browser writes by itself when a node is away; anything else would be ours. */
const foreign = (errors) => errors.filter((e) => !/Failed to load resource|ERR_|net::|status of/.test(e));

test("the executor is killed while the sheet is open, and is back: the same proposal is approved and runs", async () => {
  const p = await l.propose({ reason: "the executor dies" });
  const o = await sheet(p);
  await hold(o.page).waitFor();
  await l.field.kill("SIGKILL");
  // Whoever decides is told at once that the one who would act is away, and cannot press in vain.
  const away = o.page.getByText(/field-1, which would act, is not connected/);
  await away.waitFor();
  await until("nothing can be pressed", () => hold(o.page).isDisabled());
  await assert.rejects(
    l.center.api("POST", "/console/decide", {
      proposalId: p.id,
      digest: p.digest,
      decision: "approve",
      passphrase: PASSPHRASE,
    }),
    /EXECUTOR_UNREACHABLE/,
  );
  await l.field.start();
  await l.connected();
  assert.equal(await l.status(p.id), "awaiting_approval");
  await away.waitFor({ state: "hidden" });
  assert.equal(await approve(o.page), 200);
  await o.page.getByText(/it is now completed/).waitFor();
  assert.deepEqual(foreign(o.errors), []);
  await o.close();
});

test("the executor is killed while it acts: after its return the page says “outcome unknown”, and it is not repeated", async () => {
  const p = await l.propose({ sec: 20, reason: "dies while acting" });
  const o = await sheet(p);
  assert.equal(await approve(o.page), 200);
  await o.page.getByRole("button", { name: /Stop this action/ }).waitFor();
  await until("it runs", async () => (await l.status(p.id)) === "executing");
  await l.field.kill("SIGKILL");
  await l.field.start();
  await l.connected();
  await o.page.getByText(/it is now outcome unknown/).waitFor();
  assert.equal(await l.status(p.id), "unknown");
  assert.equal(await hold(o.page).count(), 0);
  await o.close();
});

test("the serving node is killed and comes back: the page says since when; with a new link it goes on in its place", async () => {
  const p = await l.propose({ reason: "the server dies" });
  const o = await sheet(p);
  const known = (await l.center.api("GET", "/proposals?all=true")).map((x) => x.id).sort();
  await l.center.kill("SIGKILL");
  await banner(o.page).waitFor();
  assert.match(await banner(o.page).innerText(), /since \d\d:\d\d:\d\d; .*\d+ (s|min) ago/);
  await until("nothing can be pressed", () => cannot(hold(o.page)));
  await o.page.getByText(p.reason).first().waitFor();
  await l.center.start();
  // Sessions live in the node's memory alone: a restart ends them, and the page says what to do.
  await o.page.getByText("This console is not open").waitFor();
  const other = await o.context.newPage();
  await other.goto(await l.link());
  await loaded(other);
  await o.page.getByRole("button", { name: "Try again" }).click();
  await o.page.getByText(p.reason).first().waitFor();
  assert.ok(o.page.url().includes(p.id));
  assert.deepEqual((await l.center.api("GET", "/proposals?all=true")).map((x) => x.id).sort(), known);
  await l.connected();
  assert.equal(await approve(o.page), 200);
  await o.page.getByText(/it is now completed/).waitFor();
  assert.deepEqual(foreign(o.errors), []);
  await o.close();
});

test("emergency stop: one press latches every executor; release asks for a reason and is local", async () => {
  const o = await l.open("/telemetry", { scope: "admin" });
  const p = await l.propose({ sec: 20, reason: "runs when stopped" });
  await l.center.cli(["approve", p.id, "--yes", "--passphrase-stdin"], { input: `${PASSPHRASE}\n` });
  await until("it runs", async () => (await l.status(p.id)) === "executing");
  await o.page.getByRole("button", { name: /Emergency stop/ }).click();
  const report = o.page.getByRole("dialog");
  await report.getByText("Every executor that answered is in its safe state.").waitFor();
  for (const node of [l.field])
    await report
      .getByRole("listitem")
      .filter({ hasText: node.name })
      .getByText(/latched/)
      .waitFor();
  await report.getByText("valve-1").waitFor();
  const latch = async (node) => (await node.api("GET", "/estop")).latched;
  assert.deepEqual([await latch(l.center), await latch(l.field)], [true, true]);
  await until("the run has ended", async () => !["approved", "executing"].includes(await l.status(p.id)));
  await report.getByRole("button", { name: "Close" }).click();
  // The latch outlives a crash, and the shell says on every page where it holds.
  await l.field.kill("SIGKILL");
  await l.field.start();
  await l.connected();
  assert.equal(await latch(l.field), true);
  await o.page.getByText(/Emergency stop latched at this node by/).waitFor();
  await o.page.getByText(/Emergency stop latched at: .*field-1/).waitFor();
  await o.page.getByRole("button", { name: /Release/ }).click();
  const ask = o.page.getByRole("dialog");
  await ask.getByRole("button", { name: "Confirm" }).click();
  await ask.getByRole("alert").getByText("A reason is needed.").waitFor();
  assert.equal(await latch(l.center), true);
  await ask.getByLabel("Reason").fill("looked at the valve");
  await ask.getByRole("button", { name: "Confirm" }).click();
  await o.page.getByText(/latched at this node/).waitFor({ state: "hidden" });
  assert.deepEqual([await latch(l.center), await latch(l.field)], [false, true]);
  await l.field.cli(["estop", "release", "--reason", "looked at it on site"]);
  assert.equal(await latch(l.field), false);
  assert.deepEqual(foreign(o.errors), []);
  await o.close();
});

test("emergency stop from within a dialog: it is never out of reach, and who may not release is told who may", async () => {
  const o = await l.open("/");
  await o.page.keyboard.press("Control+k");
  const palette = o.page.getByRole("dialog");
  await palette
    .getByRole("combobox")
    .or(palette.getByRole("searchbox"))
    .or(palette.getByRole("textbox"))
    .first()
    .waitFor();
  await palette.getByRole("button", { name: /Emergency stop/ }).click();
  await o.page.getByText("Every executor that answered is in its safe state.").waitFor();
  const latch = async (node) => (await node.api("GET", "/estop")).latched;
  assert.deepEqual([await latch(l.center), await latch(l.field)], [true, true]);
  await o.page.reload();
  await o.page.getByText(/This session may not release it/).waitFor();
  assert.equal(await o.page.getByRole("button", { name: /Release/ }).count(), 0);
  for (const node of [l.center, l.field]) await node.cli(["estop", "release", "--reason", "a test"]);
  await o.close();
});

test("emergency stop without the executor: the page says that it is not known to be safe", async () => {
  const o = await l.open("/");
  await l.field.kill("SIGKILL");
  await o.page.getByRole("button", { name: /Emergency stop/ }).click();
  const report = o.page.getByRole("dialog");
  await report.getByText(/Not every executor is known to be safe/).waitFor();
  await report
    .getByRole("listitem")
    .filter({ hasText: l.field.name })
    .getByText(/^▲ (not told|told, no answer)/)
    .waitFor();
  await o.close();
});
