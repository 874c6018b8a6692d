// Decisions and sessions, from the browser to the executor and back. Nothing on the page is believed:
// each outcome is also asked of the node, and each opening of the valve is in the kit's own journal.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { lab, loaded } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

let l;
before(async () => {
  l = await lab({ pace: 0 });
});
after(() => l?.close());

/** How often the valve was really opened. */
const openings = () => {
  try {
    return readFileSync(join(l.field.dir, "sim/journal.jsonl"), "utf8")
      .split("\n")
      .filter((x) => x.includes('"open"')).length;
  } catch {
    return 0;
  }
};
const hold = (page) => page.getByRole("button", { name: "Hold to approve" });
const reject = (page) => page.getByRole("button", { name: "Reject", exact: true });
const passphrase = (page) => page.getByLabel(/Passphrase/);
async function sheet(p, options) {
  const o = await l.open(`/approvals?id=${p.id}`, options);
  await o.page.getByText(p.reason).first().waitFor();
  return o;
}
const waiting = (p) => p.status === "awaiting_approval";
const decisions = (page) => {
  const sent = [];
  page.on(
    "request",
    (r) => r.url().endsWith("/console/decide") && sent.push(JSON.parse(r.postData() ?? "{}")),
  );
  return sent;
};

test("a short press sends nothing; no passphrase and a wrong one are said; then reject acts", async () => {
  const p = await l.propose({ reason: "reject me" });
  const o = await sheet(p);
  const sent = decisions(o.page);
  await passphrase(o.page).fill("not the passphrase");
  await hold(o.page).click();
  await passphrase(o.page).fill("");
  await reject(o.page).click();
  await o.page
    .getByRole("alert")
    .getByText(/passphrase/i)
    .waitFor();
  assert.deepEqual(sent, []);
  await passphrase(o.page).fill("not the passphrase");
  await reject(o.page).click();
  await o.page.getByRole("alert").getByText(/wrong/i).waitFor();
  assert.equal(await l.status(p.id), "awaiting_approval");
  assert.equal(await passphrase(o.page).inputValue(), "");
  await passphrase(o.page).fill(PASSPHRASE);
  await reject(o.page).click();
  await o.page.getByText(/it is now rejected/).waitFor();
  assert.equal(await l.status(p.id), "rejected");
  assert.equal(openings(), 0);
  assert.deepEqual(
    sent.map((x) => x.decision),
    ["reject", "reject"],
  );
  // The browser itself writes a line about each refused request; there is no other.
  assert.deepEqual(
    o.errors.filter((e) => !/status of 40[013]|status of 429/.test(e)),
    [],
  );
  await o.close();
});

test("held by the mouse it is approved, runs once, and the page says what the executor said", async () => {
  const p = await l.propose({ reason: "approve me" });
  const o = await sheet(p);
  const before = openings();
  await passphrase(o.page).fill(PASSPHRASE);
  const asked = o.page.waitForRequest((r) => r.url().endsWith("/console/decide"));
  await hold(o.page).hover();
  await o.page.mouse.down();
  await asked;
  await o.page.mouse.up();
  await o.page.getByText(/it is now completed/).waitFor();
  assert.equal(await l.status(p.id), "completed");
  assert.equal(openings(), before + 1);
  assert.equal(await hold(o.page).count(), 0);
  await o.clean();
  await o.close();
});

test("by keyboard alone: palette, passphrase, held Enter, until it has run", async () => {
  const p = await l.propose({ reason: "by keyboard" });
  const o = await l.open("/");
  const sent = decisions(o.page);
  const keys = o.page.keyboard;
  await keys.press("Control+k");
  await o.page.getByRole("combobox", { name: "Search" }).waitFor();
  await keys.type(p.id.slice(0, 13));
  await o.page
    .getByRole("option")
    .filter({ hasText: p.id.slice(0, 8) })
    .waitFor();
  await keys.press("Enter");
  await hold(o.page).waitFor();
  const focused = () =>
    o.page.evaluate(() => document.activeElement?.innerText || document.activeElement?.getAttribute("type"));
  // Tab goes round; each stop is one key.
  for (let i = 0; (await focused()) !== "password"; i++) {
    assert.ok(i < 80, "Tab does not reach the passphrase");
    await keys.press("Tab");
  }
  await keys.type(PASSPHRASE);
  for (let i = 0; !/Hold to approve/.test(await focused()); i++) {
    assert.ok(i < 10, "Tab does not reach the approval");
    await keys.press("Tab");
  }
  // Let go too early: nothing. Enter pressed in a field before: nothing either.
  await keys.press("Enter");
  assert.deepEqual(sent, []);
  await keys.down("Enter");
  await until("the held key has sent the decision", () => sent.length === 1);
  await keys.up("Enter");
  await o.page.getByText(/it is now completed/).waitFor();
  assert.equal(await l.status(p.id), "completed");
  assert.equal(sent.length, 1);
  await o.clean();
  await o.close();
});

test("approved on the command line while the sheet is open: the sheet says so and has no button left", async () => {
  const p = await l.propose({ reason: "decided elsewhere" });
  const o = await sheet(p);
  await hold(o.page).waitFor();
  await l.center.cli(["approve", p.id, "--yes", "--passphrase-stdin"], { input: `${PASSPHRASE}\n` });
  await o.page.getByText(/it is now completed/).waitFor();
  assert.equal(await hold(o.page).count(), 0);
  assert.equal(await reject(o.page).count(), 0);
  await o.clean();
  await o.close();
});

test("a new proposal appears by itself, and the count of what waits goes with it", async () => {
  const o = await l.open("/approvals");
  const count = async () =>
    Number((await o.page.getByRole("banner").innerText()).match(/(\d+)\s+waiting/)?.[1]);
  // What was decided before is told to this page as it comes.
  const waits = async () => (await l.center.api("GET", "/proposals")).filter(waiting).length;
  const had = await until("the page counts as the node does", async () => {
    const [here, there] = [await count(), await waits()];
    return here === there && { is: here };
  });
  const p = await l.propose({ reason: "came by itself" });
  await o.page.getByText("came by itself").first().waitFor();
  await until("the count has grown", async () => (await count()) === had.is + 1);
  await l.field.cli(["withdraw", p.id]);
  await until("the count is back", async () => (await count()) === had.is);
  await o.clean();
  await o.close();
});

test("what runs can be stopped from its sheet", async () => {
  const p = await l.propose({ sec: 20, reason: "stop me" });
  const o = await sheet(p);
  await l.center.cli(["approve", p.id, "--yes", "--passphrase-stdin"], { input: `${PASSPHRASE}\n` });
  await o.page.getByRole("button", { name: /Stop this action/ }).click();
  await o.page.getByRole("dialog").getByRole("button", { name: "Confirm" }).click();
  await until("it has ended", async () => !["approved", "executing"].includes(await l.status(p.id)));
  const { status, outcome } = await l.center.api("GET", `/proposals/${p.id}`);
  assert.notEqual(status, "executing");
  await o.page.locator("main").getByText(outcome.detail).first().waitFor();
  await o.clean();
  await o.close();
});

test("a session that may only read sees everything and decides nothing", async () => {
  const p = await l.propose({ reason: "look, do not touch" });
  const o = await sheet(p, { scope: "read" });
  await o.page.getByText(p.evidence[0].summary).first().waitFor();
  await o.page.getByText(/This session may only read/).waitFor();
  assert.equal(await hold(o.page).count(), 0);
  assert.equal(await reject(o.page).count(), 0);
  // Nor can a script in the page: the node refuses, whatever the page shows.
  const refused = await o.page.evaluate(
    async ([proposalId, digest, passphrase]) => {
      const { csrf } = await (await fetch("/api/operator/v1/session")).json();
      const post = (path, body) =>
        fetch(`/api/operator/v1${path}`, {
          method: "POST",
          headers: { "content-type": "application/json", ...(csrf ? { "x-clawmesh-csrf": csrf } : {}) },
          body: JSON.stringify(body),
        }).then((r) => r.status);
      return [
        await post("/console/decide", { proposalId, digest, decision: "approve", passphrase }),
        await post(`/proposals/${proposalId}/withdraw`, {}),
        await post("/estop", { reason: "x" }),
      ];
    },
    [p.id, p.digest, PASSPHRASE],
  );
  assert.deepEqual(refused, [403, 403, 403]);
  assert.equal(await l.status(p.id), "awaiting_approval");
  await l.field.cli(["withdraw", p.id]);
  await o.close();
});

test("a session without the passphrase, or without the page's token, decides nothing", async () => {
  const p = await l.propose({ reason: "stolen session" });
  const o = await sheet(p);
  const answers = await o.page.evaluate(
    async ([proposalId, digest, right]) => {
      const { csrf } = await (await fetch("/api/operator/v1/session")).json();
      const post = (headers, body) =>
        fetch("/api/operator/v1/console/decide", {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body: JSON.stringify({ proposalId, digest, decision: "approve", ...body }),
        }).then((r) => r.status);
      const token = { "x-clawmesh-csrf": csrf };
      return [await post(token, {}), await post({}, { passphrase: right })];
    },
    [p.id, p.digest, PASSPHRASE],
  );
  for (const status of answers) assert.ok(status >= 400 && status < 500, `answered ${status}`);
  assert.equal(await l.status(p.id), "awaiting_approval");
  await l.field.cli(["withdraw", p.id]);
  await o.close();
});

test("a one-time link opens once", async () => {
  const link = await l.link();
  const first = await l.browser.newContext();
  const page = await first.newPage();
  await page.goto(link);
  await loaded(page);
  const second = await l.browser.newContext();
  const late = await second.newPage();
  const answer = await late.goto(link);
  assert.ok(answer.status() >= 400, `answered ${answer.status()}`);
  await late.getByRole("heading", { name: "This link does not open the console" }).waitFor();
  assert.deepEqual(await second.cookies(), []);
  await late.goto(l.base);
  await late.getByText("This console is not open").waitFor();
  await late.getByText("clawmesh-node console").waitFor();
  // The first one goes on.
  await page.reload();
  await loaded(page);
  await first.close();
  await second.close();
});

test("an ended session ends every page that used it", async () => {
  const p = await l.propose({ reason: "revoked meanwhile" });
  const o = await sheet(p);
  const other = await o.context.newPage();
  await other.goto(`${l.base}/settings`);
  await other.getByRole("button", { name: "End this session" }).click();
  await o.page.getByText("This console is not open").waitFor();
  assert.equal(await hold(o.page).count(), 0);
  assert.ok(!(await o.page.innerText("body")).includes(p.reason), "what was on the screen is gone");
  // A new link in the same browser, and the page that lay there goes on where it was.
  await other.goto(await l.link());
  await loaded(other);
  await o.page.getByRole("button", { name: "Try again" }).click();
  await o.page.getByText(p.reason).first().waitFor();
  assert.ok(o.page.url().includes(p.id));
  await o.close();
});

test("a read that was overtaken by the stream does not bring an older state back", async () => {
  const p = await l.propose({ reason: "overtaken" });
  const o = await sheet(p);
  await hold(o.page).waitFor();
  const before = JSON.stringify(await l.center.api("GET", "/proposals?all=true"));
  // From now on a read of the list is answered late, with what it was before the decision.
  let late;
  const released = new Promise((done) => {
    late = done;
  });
  let answered;
  const last = new Promise((done) => {
    answered = done;
  });
  await o.page.route("**/proposals?all=true", async (route) => {
    await released;
    await route.fulfill({ contentType: "application/json", body: before });
    answered();
  });
  await passphrase(o.page).fill(PASSPHRASE);
  await reject(o.page).click();
  // The stream alone tells the page, while the read is under way.
  await hold(o.page).waitFor({ state: "detached" });
  late();
  await last;
  await o.page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100)));
  assert.equal(await hold(o.page).count(), 0, "what was decided is not offered again");
  assert.equal(await l.status(p.id), "rejected");
  await o.close();
});
