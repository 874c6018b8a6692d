// Real nodes for the tests: processes with state directories, identities and trust of their own, on
// ports that the system picks. They end with this process, whatever ends it (--end-with-stdin).
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const BIN = process.env.CLAWMESH_BIN ?? "../target/debug/clawmesh-node";
export const PASSPHRASE = "water the tomatoes";
/** How long a condition may take on a busy machine before a test gives up. */
export const PATIENCE_MS = 90_000;

/** Waits until `check` gives something; errors on the way are not yet the answer. */
export async function until(what, check, { every = 60, patience = PATIENCE_MS } = {}) {
  const end = Date.now() + patience;
  for (let last; ; ) {
    try {
      const got = await check();
      if (got) return got;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited too long until ${what}${last ? `: ${last}` : ""}`);
    await new Promise((done) => setTimeout(done, every));
  }
}

/** Runs the program to its end; `input` goes to its stdin. */
export function cli(args, { input, env } = {}) {
  return new Promise((done, failed) => {
    const child = execFile(BIN, args, { env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      error ? failed(new Error(`clawmesh-node ${args.join(" ")}: ${stderr || error}`)) : done(stdout),
    );
    child.stdin.on("error", () => undefined);
    child.stdin.end(input ?? "");
  });
}

/** One node: its directory, and the process while it runs. */
export class Node {
  constructor(dir, name, args, env, mesh) {
    Object.assign(this, { dir, name, args, env, mesh, port: 0, log: [] });
  }

  cli(args, options) {
    return cli(["--state-dir", this.dir, ...args], { env: this.env, ...options });
  }

  async json(args, options) {
    return JSON.parse(await this.cli(["--json", ...args], options));
  }

  /** Starts, on the port it had where it had one, and waits until its API answers. */
  async start() {
    const args = ["start", "--end-with-stdin", "--no-discovery", "--name", this.name];
    args.push("--mesh-name", this.mesh, "--port", String(this.port), "--state-dir", this.dir, ...this.args);
    this.child = spawn(BIN, args, {
      env: { ...process.env, ...this.env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdin.on("error", () => undefined);
    this.exited = new Promise((done) => this.child.once("exit", done));
    for (const stream of [this.child.stdout, this.child.stderr])
      createInterface({ input: stream }).on("line", (line) => this.log.push(line) > 200 && this.log.shift());
    let gone = false;
    this.exited.then(() => {
      gone = true;
    });
    const pid = this.child.pid;
    await until(`${this.name} answers`, async () => {
      if (gone) return true;
      const run = JSON.parse(readFileSync(join(this.dir, "run.json"), "utf8"));
      if (run.pid !== undefined && run.pid !== pid) return false;
      this.port = run.port ?? Number(String(run.address).split(":").pop());
      return (await this.api("GET", "/status")).deviceId;
    });
    if (gone) throw new Error(`${this.name} ended at once:\n${this.log.join("\n")}`);
    return this;
  }

  get base() {
    return `http://127.0.0.1:${this.port}`;
  }

  /** A call of its API with its administrator's token. */
  async api(method, path, body) {
    const { admin } = JSON.parse(readFileSync(join(this.dir, "tokens.json"), "utf8"));
    const answer = await fetch(`${this.base}/api/operator/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const parsed = await answer.json();
    if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(parsed.error ?? parsed)}`);
    return parsed;
  }

  /** Ends it: "SIGTERM" asks, "SIGKILL" does not. */
  async kill(signal = "SIGTERM") {
    if (!this.child) return;
    this.child.kill(signal);
    await this.exited;
    this.child = undefined;
  }
}

/** A command centre and a field node that trust each other, connected; the operator's key is under a passphrase. */
export async function pair({
  env = {},
  demo = false,
  names = ["center", "field-1"],
  rules,
  fieldRules = "",
  centerPolicy,
  fieldPolicy,
  pace = 1,
  mesh = "e2e",
} = {}) {
  const root = mkdtempSync(join(process.env.CLAWMESH_E2E_DIR ?? tmpdir(), "clawmesh-e2e-"));
  const dirs = [join(root, "center"), join(root, "field")];
  for (const dir of dirs) mkdirSync(dir, { mode: 0o700 });
  const center = new Node(dirs[0], names[0], ["--role", "planner"], env, mesh);
  const field = new Node(dirs[1], names[1], ["--role", "field", "--sensor-interval", "1000"], env, mesh);
  field.args.push("--mock-sensor", "--mock-actuator", "--host-sensor");
  // Without a rule of its own the planner would have one; this one never fires.
  const never = `[[rule]]\nname = "never"\nmetric = "moisture"\nbelow = -1.0\ntarget = "actuator:mock:valve-1"\noperation = "open"\nparams = { durationSec = 2 }\n`;
  const mark = demo ? "demo = true\n" : "";
  writeFileSync(join(dirs[0], "config.toml"), `${mark}${rules ?? never}`, { mode: 0o600 });
  writeFileSync(join(dirs[1], "config.toml"), `${mark}mock_pace = ${pace.toFixed(1)}\n${fieldRules}`, {
    mode: 0o600,
  });
  if (centerPolicy) writeFileSync(join(dirs[0], "policy.toml"), centerPolicy, { mode: 0o600 });
  if (fieldPolicy) writeFileSync(join(dirs[1], "policy.toml"), fieldPolicy, { mode: 0o600 });
  const [a, b] = await Promise.all([center.json(["identity"]), field.json(["identity"])]);
  center.id = a.deviceId;
  field.id = b.deviceId;
  const person = await center.json(["operator", "init", "--name", "ada"]);
  await Promise.all([
    center
      .cli(["operator", "key", "protect"], { input: `${PASSPHRASE}\n` })
      .then(() => center.cli(["trust", "add", field.id, "--as", "field", "--name", names[1]])),
    field
      .cli(["trust", "add", center.id, "--as", "command-center", "--name", names[0]])
      .then(() => field.cli(["operator", "enroll", "--level", "L2", "--name", "ada", person.publicKey])),
  ]);
  await center.start();
  field.args.push("--peer", `${center.id}=ws://127.0.0.1:${center.port}||local`);
  await field.start();
  const both = {
    root,
    center,
    field,
    /** The public key of the person whose key lies at the centre. */
    person: person.publicKey,
    async connected() {
      await until("both are connected", async () => (await center.api("GET", "/status")).peers.length);
    },
    /** The newest reading of the field node's soil, once it is here. */
    async reading(metric = "moisture") {
      return until(`a reading of ${metric} arrives`, async () =>
        (await center.api("GET", `/world?metric=${metric}`)).find((f) => f.ageMs < 60_000),
      );
    },
    /** A fresh proposal that waits: asked for by a person who cites a reading. */
    async propose({
      sec = 2,
      reason = "a test",
      target = "actuator:mock:valve-1",
      operation = "open",
      params = operation === "close" || operation === "stop" ? {} : { durationSec: sec },
      from = center,
    } = {}) {
      const fact = await both.reading();
      const draft = await from.api("POST", "/drafts", {
        target,
        operation,
        params,
        reason,
        name: "ada",
        cites: [fact.frameId],
      });
      return until("the proposal is known here", async () => {
        const id =
          draft.proposalId ??
          (await from.api("GET", "/drafts")).find((d) => d.draftId === draft.draftId)?.proposalId;
        return id && (await center.api("GET", `/proposals/${id}`));
      });
    },
    async status(id) {
      return (await center.api("GET", `/proposals/${id}`)).status;
    },
    async close() {
      await Promise.all([center.kill(), field.kill()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
  try {
    await both.connected();
    await both.reading();
  } catch (error) {
    const said = [...center.log, "--", ...field.log].join("\n");
    await both.close();
    throw new Error(`${error.message}\n${said}`);
  }
  return both;
}
