// How fast the console is, against a real pair of nodes in a real browser; scripts/measure-console runs it.
// One line per measurement: name, value, unit, target. Nothing is asserted: the numbers are of this machine
// at this moment, and the load beside each line says how much they are worth.
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { lab, loaded } from "./lab.mjs";
import { showMesh } from "./mesh.mjs";
import { Node, until } from "./nodes.mjs";

const MINUTES = Number(process.env.MINUTES ?? 3);
const NODES = Number(process.env.NODES ?? 500);
const only = process.argv.slice(2);
const wanted = (name) => !only.length || only.includes(name);
/** A task shorter than this is none that the browser reports. */
const LONG_MS = 50;
const ROUNDS = 3;
const RAIL = [
  ["/", "Overview"],
  ["/approvals", "Approvals"],
  ["/topology", "Topology"],
  ["/twin", "Twin"],
  ["/telemetry", "Telemetry"],
  ["/command", "Command"],
  ["/world", "World"],
  ["/trust", "Trust"],
  ["/audit", "Audit"],
  ["/settings", "Settings"],
];

function say(name, value, unit, target = "") {
  const load = `load ${loadavg()[0].toFixed(1)}`;
  console.log(
    [name.padEnd(44), String(value).padStart(8), unit.padEnd(6), target.padEnd(10), load].join(" "),
  );
}
const note = (text) => console.error(`    ${text}`);
const rest = (ms) => new Promise((done) => setTimeout(done, ms));
const part = (list, of) =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * of))];

/** Every long task from the page's first moment on. */
const watch = () => {
  window.longTasks = [];
  new PerformanceObserver((list) => {
    for (const e of list.getEntries())
      window.longTasks.push([Math.round(e.startTime), Math.round(e.duration)]);
  }).observe({ type: "longtask", buffered: true });
};
/** The long tasks since the last look. */
const tasks = (page) => page.evaluate(() => window.longTasks.splice(0));
async function longest(page, name) {
  const seen = await tasks(page);
  const most = Math.max(0, ...seen.map(([, ms]) => ms));
  say(name, most || `<${LONG_MS}`, "ms", "≤ 50");
  if (seen.length) note(`${seen.length} long tasks (start, ms): ${seen.slice(0, 12).join(" · ")}`);
}

/** What the browser loads before the first page can be used, as it travels. */
async function firstPage(l) {
  const o = await l.open("/", { scope: "admin" });
  const cdp = await o.context.newCDPSession(o.page);
  await cdp.send("Network.enable");
  await cdp.send("Network.setCacheDisabled", { cacheDisabled: true });
  const kinds = new Map();
  const parts = [];
  let bytes = 0;
  cdp.on("Network.responseReceived", (e) => kinds.set(e.requestId, e.response.url));
  cdp.on("Network.loadingFinished", (e) => {
    const url = kinds.get(e.requestId) ?? "";
    if (url.includes("/api/")) return;
    bytes += e.encodedDataLength;
    parts.push(`${url.split("/").pop() || "/"} ${Math.round(e.encodedDataLength / 1000)}`);
  });
  await o.page.reload();
  await loaded(o.page);
  await o.page.waitForLoadState("networkidle", { timeout: 3_000 }).catch(() => undefined);
  say("first page, as it travels", Math.round(bytes / 1000), "kB", "≤ 350");
  note(parts.join(", "));
  const painted = await o.page.evaluate(
    () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
  );
  say("first page, first contentful paint", Math.round(painted), "ms");
  await o.close();
}

/** From the click to the frame that has the other page's heading and content. */
const turn = ([href, name]) =>
  new Promise((done, failed) => {
    const main = document.querySelector("main#page");
    setTimeout(() => failed(new Error(`${name} did not come: ${main.innerHTML.slice(0, 300)}`)), 20_000);
    const was = new Set(main.querySelectorAll("*"));
    const began = performance.now();
    document.querySelector(`nav a[href="${href}"]`).click();
    const look = () => {
      const here =
        main.querySelector("h1").textContent === name &&
        [...main.querySelectorAll("section, fieldset, form, h2")].some((e) => !was.has(e));
      if (!here) return void requestAnimationFrame(look);
      const painted = new MessageChannel();
      painted.port1.onmessage = () => done(performance.now() - began);
      requestAnimationFrame(() => painted.port2.postMessage(0));
    };
    look();
  });

async function pages(l) {
  const o = await l.open("/", { scope: "admin" });
  const first = [];
  const again = [];
  const slow = [];
  for (const to of RAIL.slice(1)) first.push(await o.page.evaluate(turn, to));
  for (let round = 0; round < ROUNDS; round++)
    for (const from of RAIL)
      for (const to of RAIL)
        if (from !== to) {
          if (new URL(o.page.url()).pathname !== from[0]) await o.page.evaluate(turn, from);
          const ms = await o.page.evaluate(turn, to);
          again.push(ms);
          if (ms > 100) slow.push(`${from[1]}→${to[1]} ${Math.round(ms)}`);
          await rest(30);
        }
  say("page switch, p50", part(again, 0.5).toFixed(0), "ms", "≤ 100");
  say("page switch, p95", part(again, 0.95).toFixed(0), "ms", "≤ 100");
  say("page switch, longest", Math.max(...again).toFixed(0), "ms");
  say("page switch, first visits, longest", Math.max(...first).toFixed(0), "ms");
  if (slow.length) note(`slower than 100 ms: ${slow.slice(0, 12).join(", ")}`);
  await o.close();
}

async function heap(o) {
  o.cdp ??= await o.context.newCDPSession(o.page);
  await o.cdp.send("HeapProfiler.enable");
  for (let i = 0; i < 2; i++) await o.cdp.send("HeapProfiler.collectGarbage");
  const { usedSize } = await o.cdp.send("Runtime.getHeapUsage");
  return usedSize / 1e6;
}
/** Growth a minute, by the least squares of samples (minute, value). */
function slope(samples) {
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const [mx, my] = [mean(samples.map((s) => s[0])), mean(samples.map((s) => s[1]))];
  const over = samples.reduce((a, [x, y]) => a + (x - mx) * (y - my), 0);
  return over / (samples.reduce((a, [x]) => a + (x - mx) ** 2, 0) || 1);
}

/** Field nodes that read as fast as a node may, until 200 frames a second arrive. */
async function busy(l) {
  const quick = [];
  const status = async () => (await l.center.api("GET", "/status")).frames;
  const add = async (dir, name) => {
    const n = new Node(`${l.root}/${dir}`, name, ["--role", "field", "--sensor-interval", "50"], {}, "e2e");
    n.args.push("--mock-sensor", "--host-sensor");
    const { deviceId } = await n.json(["identity"]);
    n.id = deviceId;
    await l.center.cli(["trust", "add", n.id, "--as", "field", "--name", name]);
    await n.cli(["trust", "add", l.center.id, "--as", "command-center", "--name", "center"]);
    n.args.push("--peer", `${l.center.id}=ws://127.0.0.1:${l.center.port}||local`);
    await n.start();
    quick.push(n);
  };
  const rate = async () => {
    const [began, from] = [Date.now(), await status()];
    await rest(3_000);
    return ((await status()) - from) / ((Date.now() - began) / 1000);
  };
  let now = 0;
  for (let i = 0; i < 6 && now < 200; i++) {
    await add(`quick-${i}`, `quick-${i}`);
    await until("it is connected", async () => (await l.center.api("GET", "/status")).peers.length > i + 1);
    now = await rate();
  }
  return { rate, close: () => Promise.all(quick.map((n) => n.kill())) };
}

async function topology(l) {
  const o = await l.open("/", { scope: "admin" });
  await o.page.addInitScript(watch);
  const many = await showMesh(o.page, NODES);
  const load = await busy(l);
  try {
    await o.go("/topology");
    await o.page.locator("[data-settled]").waitFor({ timeout: 120_000 });
    await rest(3_000);
    await longest(o.page, `topology of ${NODES}: opened and laid out, longest task`);
    const act = async (name, what) => {
      await what();
      await rest(1_500);
      await longest(o.page, `topology of ${NODES}: ${name}, longest task`);
    };
    const box = await o.page.locator("[data-graph]").boundingBox();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await act("pointer over it, pan and zoom", async () => {
      for (let i = 0; i < 40; i++) await o.page.mouse.move(x - 200 + i * 10, y - 100 + i * 5);
      await o.page.mouse.move(x, y + 30);
      await o.page.mouse.down();
      for (let i = 0; i < 20; i++) await o.page.mouse.move(x + i * 8, y + 30 + i * 4);
      await o.page.mouse.up();
      for (let i = 0; i < 12; i++) await o.page.mouse.wheel(0, i < 6 ? -240 : 240);
    });
    await act("typing in the filter", async () => {
      await o.page.getByRole("searchbox").first().pressSequentially("node-04", { delay: 40 });
      await rest(500);
      await o.page.getByRole("searchbox").first().fill("");
    });
    await act("list and back", async () => {
      await o.page.getByRole("button", { name: "List" }).click();
      await o.page.getByRole("table").first().waitFor();
      await o.page.getByRole("button", { name: "Graph" }).click();
      await o.page.locator("[data-settled]").waitFor();
    });
    await o.page.goto(`${l.base}/topology?node=${many.ids[7]}`);
    await o.page.locator("[data-settled]").waitFor();
    await rest(5_000);
    await tasks(o.page);
    const samples = [];
    const began = Date.now();
    const frames = await load.rate();
    const every = Math.max(10_000, (MINUTES * 60_000) / 12);
    // What a collection of garbage costs the page is not the page's doing.
    const worst = [];
    while (Date.now() - began < MINUTES * 60_000) {
      await rest(every);
      worst.push(...(await tasks(o.page)));
      samples.push([(Date.now() - began) / 60_000, await heap(o)]);
      await rest(300);
      await tasks(o.page);
    }
    say(`topology of ${NODES}: frames a second meanwhile`, Math.round(frames), "1/s", "≥ 200");
    const most = Math.max(0, ...worst.map(([, ms]) => ms));
    say(`topology of ${NODES}: ${MINUTES} min, longest task`, most || `<${LONG_MS}`, "ms", "≤ 50");
    if (worst.length) note(`${worst.length} long tasks (start, ms): ${worst.slice(0, 12).join(" · ")}`);
    const ms = samples.map((s) => s[1]);
    say(`topology of ${NODES}: heap at the end`, ms.at(-1).toFixed(1), "MB");
    say(`topology of ${NODES}: heap growth`, slope(samples.slice(1)).toFixed(2), "MB/min", "flat");
    note(`heap: ${ms.map((m) => m.toFixed(1)).join(" ")} MB`);
    for (const [path, name] of RAIL) {
      await o.page.evaluate(turn, [path, name]);
      await rest(4_000);
      await longest(o.page, `${name} with ${NODES} nodes, ${Math.round(frames)} frames/s, longest task`);
    }
    await o.page.goto(`${l.base}/world?tab=frames`);
    await loaded(o.page);
    await rest(6_000);
    await longest(o.page, "frame log, longest task");
  } finally {
    await load.close();
    await o.close();
  }
}

async function proposals(l) {
  const real = await l.propose({ reason: "the real one" });
  const o = await l.open("/", { scope: "admin" });
  await o.page.addInitScript(watch);
  const many = JSON.stringify(
    Array.from({ length: 10_000 }, (_, i) => ({
      ...real,
      id: `${String(i).padStart(8, "0")}-0000-4000-8000-000000000000`,
      status: i < 1_000 ? "awaiting_approval" : ["completed", "rejected", "expired", "failed"][i % 4],
      reason: `number ${i} of many`,
      createdAt: real.createdAt - i * 1000,
      updatedAt: real.updatedAt - i * 1000,
      expiresAt: real.expiresAt + i * 1000,
    })),
  );
  await o.page.route(/\/proposals\?all=true/, (route) =>
    route.fulfill({ body: many, contentType: "application/json" }),
  );
  await o.go("/approvals");
  await o.page.getByText("number 0 of many").first().waitFor();
  await rest(3_000);
  await longest(o.page, "10,000 proposals: read and shown, longest task");
  for (let i = 0; i < 8; i++) await o.page.keyboard.press("j");
  await o.page.getByRole("list", { name: "Approvals" }).hover();
  for (let i = 0; i < 20; i++) await o.page.mouse.wheel(0, 2_000);
  await rest(1_500);
  await longest(o.page, "10,000 proposals: keys and scrolling, longest task");
  await rest(32_000);
  await longest(o.page, "10,000 proposals: half a minute, longest task");
  await o.close();
}

const version = readFileSync("/proc/loadavg", "utf8").trim();
note(`load at the start: ${version}`);
const l = await lab({ pace: 0 });
try {
  if (wanted("first")) await firstPage(l);
  if (wanted("pages")) await pages(l);
  if (wanted("proposals")) await proposals(l);
  if (wanted("topology")) await topology(l);
} finally {
  await l.close();
}
