// What the window must do on a desktop that lacks something, or that is asked by somebody else.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BIN, Lab, until } from "./lab.mjs";

async function within(has, work) {
  const lab = await Lab.open(has);
  try {
    await work(lab);
  } finally {
    await lab.close();
  }
}

const place = (window) => window.js("return location.pathname + location.search");
const goto = (window, path) =>
  window.js(`history.pushState({}, '', '${path}'); dispatchEvent(new PopStateEvent('popstate'))`);

/** A window on a directory without a keychain, past its first question. */
async function ownFiles(lab, name, ...args) {
  const dir = lab.fresh(name);
  const window = await lab.window(dir, ...args);
  await window.press(() => window.button("owner-only files"));
  await window.sees(/First steps|Needs you/);
  return { dir, window };
}

/** The dead children that a process has not taken note of. */
function zombies(parent) {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return /^State:\s+Z/m.test(status) && new RegExp(`^PPid:\\s+${parent}$`, "m").test(status);
    } catch {
      return false;
    }
  });
}

test("an emergency stop that is not complete opens the window and stays in the tray", async () => {
  // No notification daemon: nothing else would say it.
  await within({ tray: true }, async (lab) => {
    const dir = await lab.farm();
    const window = await lab.window(dir);
    await window.sees(/command-center/);
    await until("the field", async () => (await lab.menu()).some((l) => /field.* · connected/.test(l)));
    lab.field.kill("SIGKILL");
    await lab.field.over;
    await until("the field is gone", async () => (await lab.menu()).some((l) => /field.* · (offline|heard from)/.test(l)));
    const before = await lab.sign();
    await lab.closeWindow();
    await until("hidden", async () => (await lab.visible()).length === 0);
    await lab.click("Emergency stop");
    await until("the window by itself", async () => (await lab.visible()).length === 1);
    await window.sees(/Not every executor is known to be safe[^]*field/);
    await lab.shot("desktop-stop-incomplete");
    const unstopped = (labels) => labels.some((l) => /NOT everything is stopped: .*field/.test(l));
    await until("the tray's menu", async () => unstopped(await lab.menu()));
    // The icon, the text beside it and the menu are told to the panel one after the other.
    await until("the tray's sign", async () => {
      const sign = await lab.sign();
      return sign.beside === "NOT STOPPED" && sign.icon !== before.icon;
    });
    // A page that is loaded anew has not been read yet.
    await window.js("location.reload()");
    await window.sees(/Not every executor is known to be safe[^]*field/);
    assert.match(await window.command("stop_seen", {}), /press/, "no script reads it for the person");
    await window.press(() => window.button("Close"));
    await until("it is closed", async () => !/Not every executor/.test(await window.text()));
    assert.ok(unstopped(await lab.menu()), "the field is not stopped by being read about");
    await lab.click("NOT everything is stopped");
    await window.sees(/Not every executor is known to be safe[^]*field/);
    lab.fieldOf(dir);
    await until("the field again", async () => (await lab.menu()).some((l) => /field.* · (connected|emergency)/.test(l)));
    await lab.click("Emergency stop");
    await until("all is stopped", async () => !unstopped(await lab.menu()));
    await until("the sign is taken off", async () => (await lab.sign()).beside === "");
    await window.sees(/Every executor that answered is in its safe state/);
    await lab.shot("desktop-stop-complete");
  });
});

test("an address leads to a place and does nothing there", async () => {
  await within({ tray: true }, async (lab) => {
    const dir = await lab.farm();
    const window = await lab.window(dir, "clawmesh://audit");
    await until("the first start's link", async () => (await place(window)) === "/audit");
    const open = (link) => lab.run(join(BIN, "clawmesh"), ["--state-dir", dir, link]);
    const waits = async () => (await lab.json(dir, "proposals")).find((p) => p.status === "awaiting_approval");
    const proposal = await until("a proposal", waits);
    await lab.closeWindow();
    await until("hidden", async () => (await lab.visible()).length === 0);
    await open(`clawmesh://approvals?id=${proposal.id}`);
    await until("forward", async () => (await lab.visible()).length === 1);
    await until("the sheet", async () => (await place(window)) === `/approvals?id=${proposal.id}`);
    await window.sees(/Hold to approve/);
    await lab.shot("desktop-link");
    for (const bad of [
      `clawmesh://approvals?id=${proposal.id}&decision=approve`,
      "clawmesh://api/operator/v1/estop",
      "clawmesh://nodes/../estop",
      "https://example.org/",
      "javascript:alert(1)",
    ])
      await open(bad);
    await open("clawmesh://nodes/abc");
    await until("a good one after them", async () => (await place(window)) === "/topology?node=abc");
    assert.equal((await waits()).id, proposal.id);
    assert.equal((await window.api("GET", "/estop"))[1].latched, false);
    await goto(window, "/settings");
    await window.sees(/link to ClawMesh was not understood/);
  });
});

test("the start with the session and the silent hours are chosen by a person", async () => {
  await within({ tray: true }, async (lab) => {
    const { dir, window } = await ownFiles(lab, "state");
    await goto(window, "/settings");
    await window.sees(/This desktop[^]*Start with my session/i);
    const box = (label) =>
      window.find(label, `return [...document.querySelectorAll("label")].find((l) =>
        l.textContent.includes(arguments[0]))?.querySelector("input") ?? null`, label);
    const entry = () => {
      const folder = join(lab.home, ".config/autostart");
      const [name] = existsSync(folder) ? readdirSync(folder) : [];
      return name && readFileSync(join(folder, name), "utf8");
    };
    assert.equal(entry(), undefined, "off until chosen");
    const script = { change: { autostart: true } };
    // The press that chose files counted, once.
    assert.match(await window.command("configure", script), /press/);
    assert.equal(entry(), undefined);
    await window.press(() => box("session"));
    const text = await until("the entry", entry);
    assert.match(text, /^Exec=".*clawmesh" --hidden --state-dir ".*state"$/m);
    await until("shown as on", async () => window.js("return arguments[0].checked", await box("session")));
    await window.press(() => box("Silent hours"));
    const settings = () => JSON.parse(lab.read(dir, "desktop.json") ?? "{}");
    await until("the hours", () => settings().silentHours?.from === "22:00");
    await lab.shot("desktop-settings");
    await window.press(() => box("session"));
    await until("off again", () => !entry());
    await window.press(() => box("notifications"));
    await until("silent", () => settings().notifications === false);
    assert.deepEqual(settings().silentHours, { from: "22:00", to: "07:00" });
  });
});

test("a script can neither end the window nor start the demo; a person can, and it leaves nothing dead", async () => {
  await within({ tray: true }, async (lab) => {
    const { dir, window } = await ownFiles(lab, "state");
    const pid = await window.pid();
    await goto(window, "/welcome");
    // The press that chose files counted, once.
    for (const name of ["try_demo", "quit", "stop_seen"])
      assert.match(await window.command(name, {}), /press/, name);
    await window.press(() => window.button("Open the demo farm"));
    const demo = `${dir}-demo`;
    const center = await until("the demo's window", () => JSON.parse(lab.read(demo, "run.json")).pid);
    await until("two windows", async () => (await lab.visible()).length === 2);
    await lab.shot("desktop-demo");
    assert.notEqual(center, pid);
    const field = () => lab.read(join(demo, "demo-field"), "run.json");
    await until("the demo's field", field);
    process.kill(center, "SIGKILL");
    await until("the other ends too", () => !field());
    await goto(window, "/settings");
    await window.sees(/demo farm ended with an error[^]*SIGKILL/);
    await until("nothing dead is left", () => zombies(pid).length === 0);
    await lab.shot("desktop-demo-ended");
    assert.ok(await window.pid());
  });
});

test("a window in a tray that goes away comes back", async () => {
  await within({ tray: true }, async (lab) => {
    await ownFiles(lab, "state");
    await lab.closeWindow();
    await until("hidden", async () => (await lab.visible()).length === 0);
    lab.tray.kill("SIGKILL");
    await lab.tray.over;
    await until("it can be reached", async () => (await lab.visible()).length === 1);
  });
});

test("started into a tray that is not there, the window opens after a while", async () => {
  await within({}, async (lab) => {
    const window = await lab.window(lab.fresh("state"), "--hidden");
    await until("it can be reached", async () => (await lab.visible()).length === 1);
    await window.sees(/keychain does not open/i);
  });
});

test("what a killed run left on the screen is taken off, and told again once", async () => {
  await within({ tray: true, notifications: true }, async (lab) => {
    const dir = await lab.farm();
    const first = await lab.window(dir);
    await until("the notification", async () => (await lab.shown()) === 1);
    const pid = await first.pid();
    const written = () => JSON.parse(lab.read(dir, "desktop-notifications.json") ?? "null")?.numbers[0];
    const old = await until("it is written down", written);
    process.kill(pid, "SIGKILL");
    await first.ended(pid);
    assert.equal(await lab.shown(), 1, "it is still there, with nobody behind it");
    const window = await lab.window(dir);
    await window.sees(/command-center/);
    const rejected = await until("the one that waits", async () =>
      (await lab.json(dir, "proposals")).find((p) => p.status === "awaiting_approval"),
    );
    await until("its own", () => written() && written() !== old);
    await until("and no other", async () => (await lab.shown()) === 1);
    // A rejection needs the executor, which the killed run has lost.
    await until("the field", async () => (await lab.menu()).some((l) => /field.* · connected/.test(l)));
    await lab.button("Reject");
    const status = async () => (await lab.json(dir, "proposals", "--all")).find((p) => p.id === rejected.id)?.status;
    await until("it is alive", async () => (await status()) === "rejected");
  });
});
