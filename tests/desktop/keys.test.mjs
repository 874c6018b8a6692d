// Where the keys lie, and what the window says where the node cannot start.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
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

async function quit(window) {
  const pid = await window.pid();
  process.kill(pid, "SIGTERM");
  await window.ended(pid);
}

test("identity and operator key lie in the keychain and come out again", async () => {
  await within({ tray: true, keychain: "open" }, async (lab) => {
    const dir = lab.fresh("state");
    let window = await lab.window(dir);
    await window.sees(/First steps|Needs you/);
    const identity = JSON.parse(lab.read(dir, "identity.json"));
    assert.equal(identity.storage, "keychain");
    const person = await until("the operator key", () => lab.read(dir, "operator-key.json"));
    for (const text of [JSON.stringify(identity), person]) assert.doesNotMatch(text, /secretKey|sealed/);
    const session = async () => (await window.api("GET", "/session"))[1].decision;
    const { operator } = await until("the person may decide", async () => {
      const decision = await session();
      return decision.mode === "gesture" && decision;
    });
    assert.equal(operator.name, "ada");
    const people = await until("enrolled at this node", async () => {
      const [, all] = await window.api("GET", "/operators");
      return all.length > 0 && all;
    });
    assert.equal(people.length, 1);
    await quit(window);
    const refused = await lab.run(join(BIN, "clawmesh-node"), ["--state-dir", dir, "start"], { fails: true });
    assert.match(refused, /keychain/);
    window = await lab.window(dir);
    await window.sees(/First steps|Needs you/);
    assert.equal((await lab.json(dir, "status")).deviceId, identity.deviceId);
    const again = await until("the person may decide again", async () => (await session()).operator);
    assert.equal(again.operatorId, operator.operatorId);
    await quit(window);
  });
});

test("a keychain that is gone is a choice that is shown, and never a second identity", async () => {
  await within({ tray: true }, async (lab) => {
    const dir = lab.fresh("state");
    const keychain = await lab.keychain("open");
    let window = await lab.window(dir);
    await window.sees(/First steps|Needs you/);
    const { deviceId } = JSON.parse(lab.read(dir, "identity.json"));
    await quit(window);
    keychain.kill("SIGKILL");
    await keychain.over;
    const locked = await lab.keychain("locked");
    window = await lab.window(dir);
    await window.sees(/keychain does not open/i);
    await lab.shot("desktop-keychain-locked");
    assert.doesNotMatch(await window.text(), /owner-only files\n|Keep keys/);
    assert.equal(JSON.parse(lab.read(dir, "identity.json")).deviceId, deviceId);
    locked.kill("SIGKILL");
    await locked.over;
    await lab.keychain("open");
    await window.press(() => window.button("Quit"));
  });
});

test("without a keychain a person may choose owner-only files", async () => {
  await within({ tray: true }, async (lab) => {
    const dir = lab.fresh("state");
    const window = await lab.window(dir);
    await window.sees(/keychain does not open/i);
    await lab.shot("desktop-keychain-absent");
    assert.equal(lab.read(dir, "identity.json"), undefined, "nothing is decided for the person");
    await window.press(() => window.button("owner-only files"));
    await window.sees(/First steps|Needs you/);
    assert.equal(JSON.parse(lab.read(dir, "identity.json")).storage, "file");
    const key = await until("the operator key", () => JSON.parse(lab.read(dir, "operator-key.json")));
    assert.equal(key.storage, "file");
    await quit(window);
  });
});

test("a directory that another node holds is named, and tried again when asked", async () => {
  await within({}, async (lab) => {
    const dir = lab.fresh("state");
    const other = lab.start(join(BIN, "clawmesh-node"), ["--state-dir", dir, "start"]);
    await until("the other node", () => lab.read(dir, "run.json"));
    const window = await lab.window(dir);
    await window.sees(/does not run[^]*in use by another/);
    await lab.shot("desktop-held");
    other.kill("SIGTERM");
    await other.over;
    await window.press(() => window.button("Try again"));
    await window.sees(/First steps|Needs you/);
    // No tray and no notifications here: both are said, and closing ends the process.
    const pid = await window.pid();
    await lab.closeWindow();
    await window.ended(pid);
  });
});

test("the usual port in other hands is stepped over, unless a person chose it", async () => {
  // If this machine has it in use already, so much the better.
  const holder = createServer().listen(18_789, "127.0.0.1");
  await new Promise((done) => holder.once("listening", done).once("error", done));
  try {
    await within({ tray: true, keychain: "open" }, async (lab) => {
      const dir = lab.fresh("state");
      const config = join(dir, "config.toml");
      const without = readFileSync(config, "utf8").replace(/^port = 0\n/m, "");
      writeFileSync(config, without);
      let window = await lab.window(dir);
      await window.sees(/First steps|Needs you/);
      const { port } = await lab.json(dir, "status");
      assert.ok(port > 18_789, `it listens on ${port}`);
      await quit(window);
      writeFileSync(config, `${without}port = 18789\n`);
      window = await lab.window(dir);
      await window.sees(/does not run[^]*port 18789[^]*in use/);
      await window.press(() => window.button("Quit"));
    });
  } finally {
    holder.close();
  }
});
