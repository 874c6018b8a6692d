// The demo farm in a real window: page, tray, notifications, decisions, second start, quit.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { BIN, Lab, until } from "./lab.mjs";

let lab;
let window;
let dir;

before(async () => {
  lab = await Lab.open({ tray: true, notifications: true });
  dir = await lab.farm();
  window = await lab.window(dir);
});
after(() => lab?.close());

const waiting = async () =>
  (await lab.json(dir, "proposals")).filter((p) => p.status === "awaiting_approval");
const status = async (id) => (await lab.json(dir, "proposals", "--all")).find((p) => p.id === id)?.status;

/** One more proposal, and only that one waits. */
async function propose() {
  // The demo's planner asks again after a while, and this machine may be slow.
  await until("nothing waits or runs", async () => {
    for (const p of await waiting()) await lab.node(dir, "reject", p.id, "--yes");
    return (await lab.json(dir, "proposals")).length === 0;
  });
  // The tray follows a moment later; until then its Review would be that of the proposal before.
  await until("nothing in the tray", async () => !(await lab.menu()).some((l) => l.includes("> Review")));
  await lab.node(dir, "propose", "actuator:mock:valve-1", "open", "durationSec=1", "--reason", "a test");
  return until("a waiting proposal", async () => (await waiting())[0]);
}

test("the page shows the node that runs in this very process", async () => {
  await window.sees(/command-center/);
  await window.sees(/field/);
  const [code, session] = await until("a person may decide", async () => {
    const answer = await window.api("GET", "/session");
    return answer[1].decision.mode === "gesture" && answer;
  });
  assert.deepEqual([code, session.scope], [200, "admin"]);
  assert.equal((await lab.json(dir, "status")).displayName, "command-center", "the command line reaches it");
});

test("the tray shows the nodes and what waits; the notification is there", async () => {
  const proposal = await until("the demo's proposal", async () => (await waiting())[0]);
  await window.sees(/valve-1/);
  const nodes = [/command-center · this node/, /field.* · connected/];
  const choices = [/valve-1.*> Reject/, /Pause planner/, /Emergency stop/, /Open ClawMesh/, /Quit/];
  const labels = await until("the nodes, the proposal and the choices in the tray", async () => {
    const all = await lab.menu();
    const missing = [...nodes, ...choices].filter((wanted) => !all.some((l) => wanted.test(l)));
    if (missing.length) throw new Error(`${missing} not in ${all.join(" | ")}`);
    return all;
  });
  assert.ok(!labels.some((l) => /approve/i.test(l)), "the tray cannot approve");
  await until("the notification", async () => (await lab.shown()) === 1);
  await lab.shot("desktop-overview");
  assert.equal(await status(proposal.id), "awaiting_approval");
});

test("a script in the page can neither approve nor change who is trusted", async () => {
  const [proposal] = await waiting();
  // Whatever was pressed before counts no more.
  const asked = { proposalId: proposal.id, digest: proposal.digest, decision: "approve" };
  const answer = await window.command("decide", { asked });
  assert.match(answer, /^403[^]*NOT_AUTHORIZED/);
  assert.equal((await window.api("POST", "/console/decide", asked))[0], 403);
  const person = { publicKey: "x", name: "eve", level: "L3" };
  assert.equal((await window.api("POST", "/operators", person))[0], 403);
  assert.match(await window.command("request", { asked: { method: "GET", path: "/metrics" } }), /^400/);
  assert.match(await window.command("plugin:event|emit", { event: "x" }), /error/);
  assert.equal(await status(proposal.id), "awaiting_approval");
});

test("a real press that is held approves in the window, a short or a scripted one does not", async () => {
  const [proposal] = await waiting();
  await window.js("history.pushState({}, '', '/approvals'); dispatchEvent(new PopStateEvent('popstate'))");
  const hold = () => window.button("Hold to approve");
  await window.poke(hold);
  await window.sees(/needs a press/);
  await window.press(hold, 300);
  assert.equal(await status(proposal.id), "awaiting_approval");
  await window.hold(hold);
  await until("the approval", async () => /executing|completed|approved/.test(await status(proposal.id)));
  await lab.shot("desktop-approved");
  await until("the notification is withdrawn", async () => (await lab.shown()) === 0);
  await until("completed", async () => (await status(proposal.id)) === "completed");
  // From here on the tests ask, and nobody else does.
  await lab.node(dir, "planner", "pause", "--reason", "the tests ask");
});

test("Reject in the notification acts at once", async () => {
  const proposal = await propose();
  await until("the notification", async () => (await lab.shown()) === 1);
  await lab.button("Reject");
  await until("rejected", async () => (await status(proposal.id)) === "rejected");
});

test("Approve in the notification opens the sheet and approves nothing", async () => {
  const proposal = await propose();
  await until("the notification", async () => (await lab.shown()) === 1);
  await lab.button("Approve");
  await until("the sheet", async () => (await window.js("return location.href")).includes(proposal.id));
  await window.sees(/Hold to approve/);
  assert.equal(await status(proposal.id), "awaiting_approval");
  await lab.click("> Reject");
  await until("rejected in the tray", async () => (await status(proposal.id)) === "rejected");
});

test("Review in the tray opens the sheet; decided elsewhere, all follow", async () => {
  const proposal = await propose();
  await until("it is in the tray", async () => (await lab.menu()).some((l) => l.includes("> Review")));
  await lab.click("> Review");
  await until("the sheet", async () => (await window.js("return location.href")).includes(proposal.id));
  await until("the notification", async () => (await lab.shown()) === 1);
  await lab.node(dir, "reject", proposal.id, "--yes");
  await window.sees(/decided elsewhere|rejected/i);
  await until("withdrawn", async () => (await lab.shown()) === 0);
  await until("gone from the tray", async () => !(await lab.menu()).some((l) => l.includes("Review")));
});

test("the planner is paused and goes on by the tray", async () => {
  await lab.node(dir, "planner", "resume");
  await lab.click("Pause planner");
  await until("paused", async () => (await window.api("GET", "/planner"))[1].state === "paused");
  await lab.click("Let the planner go on");
  await until("goes on", async () => (await window.api("GET", "/planner"))[1].state !== "paused");
});

test("an export goes to the person's files and overwrites nothing", async () => {
  await window.js("history.pushState({}, '', '/audit'); dispatchEvent(new PopStateEvent('popstate'))");
  await window.press(() => window.button("Export"));
  const written = await until("the export", () =>
    readdirSync(lab.home).find((name) => /audit.*jsonl$/.test(name)),
  );
  await until("its lines", () => lab.read(lab.home, written)?.includes("operator"));
});

test("closed it stays in the tray, and a second start brings it forward", async () => {
  const pid = await window.pid();
  await lab.closeWindow();
  await until("hidden", async () => (await lab.visible()).length === 0);
  await lab.json(dir, "status");
  await lab.run(join(BIN, "clawmesh"), ["--state-dir", dir]);
  await until("forward again", async () => (await lab.visible()).length === 1);
  assert.equal(await window.pid(), pid, "it is the first one");
  await window.sees(/command-center|Approvals/);
});

test("the emergency stop in the tray latches the executor and the tray says so", async () => {
  await lab.click("Emergency stop");
  await until("latched at the field", async () => (await lab.menu()).some((l) => /emergency stop/.test(l)));
  await window.sees(/STOPPED|Emergency stop|stopped/i);
  await lab.shot("desktop-stopped");
});

test("Quit ends the node in order", async () => {
  const pid = await window.pid();
  await lab.click("Quit");
  await window.ended(pid);
  assert.equal(lab.read(dir, "run.json"), undefined);
});
