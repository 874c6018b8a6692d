// Updates of the window: offered, refused where anything is wrong, installed by a person's press, and started after the node has
// ended in order. The AppImages are a few lines of shell behind the mark by which one is known; the server is on this machine.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { appendFileSync, copyFileSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { BIN, Lab, until } from "./lab.mjs";

const ARM = process.arch === "arm64";
const NAME = (version) => `clawmesh_${version}_${ARM ? "aarch64" : "amd64"}.AppImage`;

/** A key as minisign has them, of 32 bytes. */
function keyOf(seed) {
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, seed)]);
  const secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const raw = createPublicKey(secret).export({ format: "der", type: "spki" }).subarray(-32);
  return { secret, text: Buffer.concat([Buffer.from("Edkey-id-8"), raw]).toString("base64") };
}
const KEY = keyOf(7);
const mount = (...args) => spawnSync("mount", args).status === 0;
const umount = (place) => spawnSync("umount", [place]).status === 0;

/** The files of a release, signed with a key. */
function release(version, program, { key = KEY, cut = program.length } = {}) {
  const list = Buffer.from(`${createHash("sha256").update(program).digest("hex")}  ${NAME(version)}\n`);
  const one = sign(null, list, key.secret);
  const all = sign(null, Buffer.concat([one, Buffer.from("a test")]), key.secret);
  const head = Buffer.concat([Buffer.from("Edkey-id-8"), one]).toString("base64");
  const signature = `untrusted comment: a test\n${head}\ntrusted comment: a test\n${all.toString("base64")}\n`;
  return new Map([
    ["/SHA256SUMS", list],
    ["/SHA256SUMS.minisig", Buffer.from(signature)],
    [`/${NAME(version)}`, program.subarray(0, cut)],
  ]);
}

test("a newer version is offered, and installed by a press alone", async () => {
  const lab = await Lab.open({ tray: true });
  let served = new Map();
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    const bytes = served.get(request.url);
    response.writeHead(bytes ? 200 : 404).end(bytes);
  });
  try {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const dir = lab.fresh("state");
    const from = `http://127.0.0.1:${server.address().port}`;
    // What the node last found is asked for here by hand: its own look is off while the place says nothing.
    appendFileSync(join(dir, "config.toml"), `\n[updates]\nfrom = "${from}"\nkey = "${KEY.text}"\n`);
    // The program as its runtime mounts it, and the file that it came from.
    const mounted = join(lab.home, "mounted/usr/bin");
    mkdirSync(mounted, { recursive: true });
    const program = join(mounted, "clawmesh");
    try {
      linkSync(join(BIN, "clawmesh"), program);
    } catch {
      copyFileSync(join(BIN, "clawmesh"), program);
    }
    const home = join(lab.home, "Größe und Raum");
    mkdirSync(home);
    const file = join(home, "ClawMesh.AppImage");
    const old = Buffer.concat([Buffer.from("\x7fELF\x02\x01\x01\0AI\x02\0\0\0\0\0", "latin1"), Buffer.from("old")]);
    writeFileSync(file, old, { mode: 0o755 });
    lab.program = program;
    Object.assign(lab.env, { APPIMAGE: file, APPDIR: join(lab.home, "mounted") });
    const window = await lab.window(dir);
    await window.press(() => window.button("owner-only files"));
    await window.sees(/First steps|Needs you/);
    await window.js("history.pushState({}, '', '/settings'); dispatchEvent(new PopStateEvent('popstate'))");
    await window.sees(/This is version .* was not asked yet/s);
    const pid = await window.pid();

    // A script can neither ask nor install. The press that chose files counted, once.
    for (const step of [{ step: "look" }, { step: "install", version: "9.0.0" }, { step: "restart" }])
      assert.match(await window.command("update", { step }), /press/, step.step);
    // Until it has asked: what is served may change from then on, and what is on the screen may be of the look before.
    const look = async () => {
      const before = asked.length;
      const files = served.size ? ["/SHA256SUMS", "/SHA256SUMS.minisig"] : [];
      await window.press(() => window.button("Look for a newer version"));
      await until("it has asked", () => {
        const now = asked.slice(before);
        return now.length > 0 && files.every((name) => now.includes(name));
      });
    };
    const untouched = () => {
      assert.deepEqual(readFileSync(file), old);
      assert.deepEqual(readdirSync(home), ["ClawMesh.AppImage"]);
    };
    const started = join(lab.home, "started");
    const next = Buffer.from(`#!/bin/sh\necho "$@" > '${started}'\n${"# filling\n".repeat(200_000)}`);

    await look();
    await window.sees(/No update[^]*is there a release\?/);
    served = release("0.0.1", next);
    await look();
    await window.sees(/No newer version is offered/);
    served = release("9.0.0", next, { key: keyOf(8) });
    await look();
    await window.sees(/signature of SHA256SUMS is wrong/);
    served = release("9.0.0", next, { cut: 1_000_000 });
    await look();
    await window.sees(/Version 9\.0\.0 is offered/);
    untouched();
    assert.ok(!asked.includes(`/${NAME("9.0.0")}`), "nothing is fetched before a press");
    await lab.shot("desktop-update-offered");
    await window.press(() => window.button("Install 9.0.0"));
    await window.sees(/not what the signed list says/);
    untouched();
    await lab.shot("desktop-update-refused");

    served = release("9.0.0", next);
    await look();
    await window.sees(/Version 9\.0\.0 is offered/);
    // A disk that fills, where one can be mounted.
    if (mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", home)) {
      writeFileSync(file, old, { mode: 0o755 });
      await window.press(() => window.button("Install 9.0.0"));
      await window.sees(/could not be kept on this disk[^]*No space|cannot be written[^]*No space/);
      untouched();
      assert.ok(umount(home));
      await look();
      await window.sees(/Version 9\.0\.0 is offered/);
    }
    // What is offered by then is another one: the person was not shown that.
    served = release("9.0.1", next);
    await window.press(() => window.button("Install 9.0.0"));
    await window.sees(/does not offer 9\.0\.0 any more/);
    untouched();
    await look();
    await window.press(() => window.button("Install 9.0.1"));
    await window.sees(/9\.0\.1 is installed and runs from the next start/);
    assert.deepEqual(readFileSync(file), next);
    assert.deepEqual(readdirSync(home), ["ClawMesh.AppImage"]);
    assert.equal(statSync(file).mode & 0o777, 0o755);
    assert.equal(await window.pid(), pid, "nothing was restarted");
    await lab.shot("desktop-update-installed");
    await window.press(() => window.button("Start it now"));
    const said = await until("the new program", () => lab.read(lab.home, "started"));
    assert.equal(said.trim(), `--state-dir ${dir}`);
    assert.equal(lab.read(dir, "run.json"), undefined, "the node had ended in order");
  } finally {
    umount(join(lab.home, "Größe und Raum"));
    server.close();
    server.closeAllConnections();
    await lab.close();
  }
});
