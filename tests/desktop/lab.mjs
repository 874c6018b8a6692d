// A desktop of its own for each test: display, session bus, home; on request a tray, notifications, a
// keychain. The window is driven by WebKitWebDriver over plain W3C HTTP. Nothing has a fixed port, and
// everything waits for a condition. Programs come from CLAWMESH_BIN (a directory).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
export const BIN = process.env.CLAWMESH_BIN ?? join(HERE, "../../target/debug");
const SHOTS = process.env.CLAWMESH_SHOTS;
/** Generous: the machine may be busy; nothing waits this long when all is well. */
const PATIENCE_MS = Number(process.env.CLAWMESH_PATIENCE_MS ?? 120_000);
/** How often a driver is started on another port, if somebody else took the one that was free. */
const PORT_TRIES = 5;

/** Waits until `look` gives something true, and gives that. */
export async function until(what, look, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last;
  for (;;) {
    try {
      const seen = await look();
      if (seen) return seen;
      last = seen;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}; last: ${last?.stack ?? last}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

const BUS = `<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>`;

export class Lab {
  #ends = [];

  /** What a desktop has: `tray`, `notifications`, `keychain` ("open", "locked" or nothing). */
  static async open(has = {}) {
    if (!existsSync(join(BIN, "clawmesh"))) throw new Error(`${BIN}/clawmesh is not there; run make desktop`);
    const lab = new Lab();
    try {
      await lab.#build(has);
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  async #build({ tray, notifications, keychain }) {
    this.home = mkdtempSync(join(tmpdir(), "clawmesh-desktop-"));
    this.#ends.push(async () => {
      await this.#sweep();
      rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
    });
    const run = join(this.home, "run");
    mkdirSync(run, { mode: 0o700 });
    this.env = {
      PATH: process.env.PATH,
      HOME: this.home,
      USER: "ada",
      LANG: "C.UTF-8",
      XDG_RUNTIME_DIR: run,
      XDG_DATA_HOME: join(this.home, "share"),
      NO_AT_BRIDGE: "1",
      GDK_BACKEND: "x11",
      WEBKIT_DISABLE_DMABUF_RENDERER: "1",
      TAURI_WEBVIEW_AUTOMATION: "true",
    };
    const x = this.start("Xvfb", ["-displayfd", "3", "-screen", "0", "1280x840x24", "-nolisten", "tcp"], {
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
    const [display] = await once(createInterface({ input: x.stdio[3] }), "line");
    this.env.DISPLAY = `:${display.trim()}`;
    const config = join(this.home, "bus.conf");
    writeFileSync(config, BUS);
    const bus = this.start("dbus-daemon", [`--config-file=${config}`, "--nofork", "--print-address"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [address] = await once(createInterface({ input: bus.stdout }), "line");
    this.env.DBUS_SESSION_BUS_ADDRESS = address;
    if (tray) await this.#tray();
    if (notifications) await this.#dunst();
    if (keychain) await this.keychain(keychain);
  }

  /** Starts a program that lives no longer than the lab. */
  start(program, args, { env = {}, ...rest } = {}) {
    const child = spawn(program, args, { env: { ...this.env, ...env }, stdio: "ignore", ...rest });
    child.over = new Promise((done) => child.once("exit", (code, signal) => done(code ?? signal)));
    child.once("error", (error) => console.error(`${program}: ${error.message}`));
    this.#ends.push(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 8_000);
      await child.over;
      clearTimeout(late);
    });
    return child;
  }

  /** Runs a program to its end; what it printed. */
  async run(program, args, { input, fails = false } = {}) {
    const child = spawn(program, args, { env: this.env, stdio: ["pipe", "pipe", "pipe"] });
    let [out, err] = ["", ""];
    child.stdout.on("data", (d) => (out += d));
    child.stderr.on("data", (d) => (err += d));
    child.stdin.on("error", () => {}); // It may have ended without reading.
    child.stdin.end(input ?? "");
    const [code] = await once(child, "close");
    if ((code !== 0) !== fails) throw new Error(`${program} ${args.join(" ")} ended with ${code}: ${out}${err}`);
    return fails ? err : out;
  }

  node(dir, ...args) {
    return this.run(join(BIN, "clawmesh-node"), ["--state-dir", dir, ...args]);
  }

  async json(dir, ...args) {
    return JSON.parse(await this.node(dir, "--json", ...args));
  }

  async #tray() {
    const child = this.start("/usr/bin/python3", [join(HERE, "tray.py")], { stdio: ["pipe", "pipe", "inherit"] });
    this.tray = child;
    const lines = createInterface({ input: child.stdout });
    const answers = [];
    const waiting = [];
    lines.on("line", (line) => (waiting.length ? waiting.shift()(JSON.parse(line)) : answers.push(JSON.parse(line))));
    const next = () => (answers.length ? answers.shift() : new Promise((done) => waiting.push(done)));
    await next();
    this.ask = async (question) => {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      return next();
    };
  }

  /** An answer of the tray; a menu that is just being replaced gives none, and is asked again. */
  #answer(question) {
    return until(`the tray's ${question.ask}`, async () => {
      const answer = await this.ask(question);
      if (answer.why) throw new Error(answer.why);
      return answer;
    });
  }

  /** The labels of the tray's menu, submenus as `parent > child`. */
  async menu() {
    return (await this.#answer({ ask: "menu" })).labels;
  }

  /** Clicks the first item whose label has `text`. */
  async click(text) {
    await until(`the tray's item ${text}`, async () => (await this.ask({ ask: "click", text })).clicked);
  }

  async #dunst() {
    const pick = join(this.home, "pick.sh");
    this.wish = join(this.home, "wish");
    writeFileSync(pick, `#!/bin/sh\ngrep -m1 "#$(cat ${this.wish})"\n`, { mode: 0o755 });
    const config = join(this.home, "dunstrc");
    writeFileSync(config, `[global]\ndmenu = ${pick}\nnotification_limit = 20\nidle_threshold = 0\n`);
    this.start("dunst", ["-conf", config]);
    await until("dunst", () => this.run("dunstctl", ["count", "displayed"]));
  }

  async shown() {
    return Number(await this.run("dunstctl", ["count", "displayed"]));
  }

  /** Uses a button of the notification that is shown. */
  async button(name) {
    writeFileSync(this.wish, name);
    // A notification is on the screen a moment before its owner listens; no person is that quick.
    await until("somebody listens", async () =>
      (await this.dbus("Debug.Stats.GetAllMatchRules")).includes("ActionInvoked"),
    );
    await this.run("dunstctl", ["context"]);
  }

  /** Starts the keychain, open or locked. */
  async keychain(how) {
    const unlock = how === "open" ? ["--unlock"] : [];
    const name = "string:org.freedesktop.secrets";
    const owned = async () => (await this.dbus("NameHasOwner", name)).includes("boolean true");
    // The bus may not yet have seen that the one before has gone.
    await until("no keychain", async () => !(await owned()));
    const child = this.start("gnome-keyring-daemon", ["--foreground", "--components=secrets", ...unlock], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.stdin.end(how === "open" ? "pw" : "");
    await until("the keychain", owned);
    return child;
  }

  dbus(method, ...args) {
    const to = ["--session", "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"];
    return this.run("dbus-send", [...to, `org.freedesktop.DBus.${method}`, ...args]);
  }

  /** A prepared demo farm with its field node running: the command centre's state directory. */
  async farm() {
    const dir = join(this.home, "farm");
    const demo = this.start(join(BIN, "clawmesh-node"), ["demo", "--state-dir", dir], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    for await (const line of createInterface({ input: demo.stdout })) if (/nodes run and are/.test(line)) break;
    demo.kill("SIGINT");
    await demo.over;
    this.field = this.fieldOf(dir);
    return dir;
  }

  /** The field node of a farm. */
  fieldOf(dir) {
    return this.start(join(BIN, "clawmesh-node"), ["start", "--state-dir", join(dir, "demo-field")]);
  }

  /** What the tray shows beside its menu: the icon's name and the text beside it. */
  sign() {
    return this.#answer({ ask: "icon" });
  }

  /** Closes the window as its frame does. */
  async closeWindow() {
    const [id] = await until("the window", async () => {
      const all = await this.visible();
      return all.length && all;
    });
    await this.run("/usr/bin/python3", [join(HERE, "close.py"), id]);
  }

  /** A state directory with nothing in it but a configuration that stays on this machine. */
  fresh(name) {
    const dir = join(this.home, name);
    mkdirSync(dir, { mode: 0o700 });
    const text = 'name = "desk"\nhost = "127.0.0.1"\nport = 0\ndiscovery = false\n';
    writeFileSync(join(dir, "config.toml"), text);
    return dir;
  }

  /** Opens the window on a state directory, under the driver's hand; `lab.program` is another program than the built one. */
  async window(dir, ...args) {
    for (let tries = 1; ; tries++) {
      const port = await freePort();
      const driver = this.start("WebKitWebDriver", [`--port=${port}`, "--host=127.0.0.1"], {
        stdio: process.env.CLAWMESH_LOUD ? ["ignore", 2, 2] : "ignore",
      });
      const window = new Window(this, `http://127.0.0.1:${port}`, driver, dir);
      // The driver cannot take a port of the system's choice; it ends if this one is in use by now.
      const gone = () => driver.exitCode !== null || driver.signalCode !== null;
      await until("the driver", () => gone() || window.ask("GET", "/status"));
      if (gone() && tries < PORT_TRIES) continue;
      await window.begin(this.program ?? join(BIN, "clawmesh"), ["--state-dir", dir, ...args]);
      return window;
    }
  }

  /** The windows of ours that can be seen. */
  async visible() {
    const args = ["search", "--onlyvisible", "--name", "^ClawMesh$"];
    const out = await this.run("sh", ["-c", `xdotool ${args.map((a) => `'${a}'`).join(" ")} || true`]);
    return out.split("\n").filter(Boolean);
  }

  async shot(name) {
    if (SHOTS) await this.run("import", ["-window", "root", join(SHOTS, `${name}.png`)]);
  }

  read(dir, file) {
    try {
      return readFileSync(join(dir, file), "utf8");
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
      return undefined;
    }
  }

  /** Ends what processes of this lab have left behind: they would write into the folder that is removed. */
  async #sweep() {
    const ours = (pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`HOME=${this.home}`);
      } catch {
        return false; // It has ended, or is somebody else's.
      }
    };
    await until("nothing of the lab runs", () => {
      const left = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && ours(pid));
      for (const pid of left)
        try {
          process.kill(Number(pid), "SIGKILL");
        } catch {
          // It has ended meanwhile.
        }
      return left.length === 0;
    });
  }

  async close() {
    for (const end of this.#ends.reverse()) await end();
  }
}

class Window {
  constructor(lab, base, driver, dir) {
    Object.assign(this, { lab, base, driver, dir });
  }

  async ask(method, path, body) {
    const answer = await fetch(this.base + path, {
      method,
      headers: { "content-type": "application/json" },
      body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
    });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }

  async begin(binary, args) {
    const options = { binary, args };
    const wanted = { capabilities: { alwaysMatch: { "webkitgtk:browserOptions": options } } };
    const { sessionId } = await this.ask("POST", "/session", wanted);
    this.session = `/session/${sessionId}`;
    await this.ask("POST", `${this.session}/timeouts`, { script: PATIENCE_MS });
  }

  js(script, ...args) {
    return this.ask("POST", `${this.session}/execute/sync`, { script, args });
  }

  later(script, ...args) {
    return this.ask("POST", `${this.session}/execute/async`, { script, args });
  }

  text() {
    return this.js("return document.body.innerText");
  }

  sees(pattern) {
    return until(`${pattern} in the window`, async () => {
      const text = await this.text();
      if (!pattern.test(text)) throw new Error(text.slice(0, 600));
      return true;
    });
  }

  /** The element that a script finds, once it is there. */
  find(what, script, ...args) {
    return until(what, () => this.js(script, ...args));
  }

  button(name) {
    const script = `return [...document.querySelectorAll("button")].find((b) => !b.disabled &&
      b.textContent.includes(arguments[0]) && b.getClientRects().length) ?? null`;
    return this.find(`the button ${name}`, script, name);
  }

  /** Holds an element as the driver does, inside the page and past the toolkit, until the page has had enough. */
  async poke(look) {
    const element = await look();
    await this.#watch(element);
    const act = (...actions) => {
      const mouse = { type: "pointer", id: "mouse", parameters: { pointerType: "mouse" }, actions };
      return this.ask("POST", `${this.session}/actions`, { actions: [mouse] });
    };
    const there = { type: "pointerMove", duration: 0, x: 0, y: 0, origin: element };
    await act(there, { type: "pointerDown", button: 0 });
    await this.#enough();
    await act({ type: "pointerUp", button: 0 });
  }

  /** Writes into an element. */
  async write(element, text) {
    const [id] = Object.values(element);
    await this.ask("POST", `${this.session}/element/${id}/value`, { text });
  }

  /** Presses what `look` finds as a person does, with the display's own pointer, for so long. */
  async press(look, ms = 60) {
    await this.#point(look);
    // One program does all of it: two that are started one after the other hold as long as the machine likes.
    await this.lab.run("xdotool", ["mousedown", "1", "sleep", String(ms / 1000), "mouseup", "1"]);
  }

  /** Holds what `look` finds as a person does, until the page has had enough. */
  async hold(look) {
    await this.#watch(await this.#point(look));
    await this.lab.run("xdotool", ["mousedown", "1"]);
    await this.#enough();
    await this.lab.run("xdotool", ["mouseup", "1"]);
  }

  /** Moves the pointer onto what `look` finds, once that stands still with nothing before it. */
  async #point(look) {
    const script = `const e = arguments[0];
      e.scrollIntoView({ block: "nearest" });
      const r = e.getBoundingClientRect();
      const [x, y] = [r.x + r.width / 2, r.y + r.height / 2];
      const top = document.elementFromPoint(x, y);
      const clear = top && (e.contains(top) || top.contains(e) || top.closest("label")?.contains(e));
      return clear ? [x, y] : null`;
    let last;
    return until("what is to be pressed stands still", async () => {
      const element = await look();
      const [id] = await this.lab.visible();
      const at = id && (await this.js(script, element));
      if (!at) throw new Error("it is not in sight");
      const place = await this.lab.run("xdotool", ["getwindowgeometry", "--shell", id]);
      const [left, top] = ["X", "Y"].map((n) => Number(new RegExp(`^${n}=(-?\\d+)$`, "m").exec(place)[1]));
      const spot = [String(Math.round(left + at[0])), String(Math.round(top + at[1]))];
      // It was there a moment ago as well.
      if (String(spot) === last) return element;
      last = String(spot);
      // With --sync it would wait for fifteen seconds where the pointer is there already.
      const is = (await this.lab.run("xdotool", ["getmouselocation", "--shell"])).match(/\d+/g).slice(0, 2);
      if (String(is) !== last) await this.lab.run("xdotool", ["mousemove", "--sync", ...spot]);
      return false;
    });
  }

  /** From now on the page notes when a button that is held has had enough, or is let go. */
  #watch(element) {
    const script = `const button = arguments[0];
      let began = false;
      window.heldEnough = false;
      const look = () => {
        began ||= button.dataset.holding === "true";
        if (!began || (button.isConnected && button.dataset.holding === "true")) return;
        window.heldEnough = true;
        watching.disconnect();
      };
      const watching = new MutationObserver(look);
      watching.observe(document, { subtree: true, childList: true, attributes: true })`;
    return this.js(script, element);
  }

  /** Waits for it: a hold is as long as the page says, however busy the machine is. */
  #enough() {
    return until("it was held for long enough", () => this.js("return window.heldEnough === true"));
  }

  /** Calls a command of the application from the page, as any script in it could. */
  async command(name, args) {
    const bytes = await this.later(
      `const [name, args, done] = arguments;
       window.__TAURI_INTERNALS__.invoke(name, args).then(
         (a) => done(a instanceof ArrayBuffer ? new TextDecoder().decode(a) : JSON.stringify(a ?? null)),
         (e) => done("error: " + e));`,
      name,
      args,
    );
    return bytes;
  }

  /** A request to the node as the page makes it: [status, body]. */
  async api(method, path, body) {
    const asked = { method, path: `/api/operator/v1${path}`, headers: [["content-type", "application/json"]] };
    const text = await this.command("request", { asked: { ...asked, body: body ? JSON.stringify(body) : null } });
    return [Number(text.slice(0, 3)), text.slice(4) ? JSON.parse(text.slice(4)) : undefined];
  }

  /** The process of the window, as the node in it writes it down. */
  async pid() {
    const run = await until("run.json", () => this.lab.read(this.dir, "run.json"));
    return JSON.parse(run).pid;
  }

  /** Waits until the process has ended and lets go of the driver. */
  async ended(pid) {
    await until("the end of the window's process", () => {
      try {
        return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
      } catch {
        return true;
      }
    });
    this.driver.kill("SIGKILL");
    await this.driver.over;
  }
}
