// What the screenshots and the tests share: a browser with a real session on a real node.
// CLAWMESH_NODE names the node, CLAWMESH_TOKEN_FILE its tokens.json (it makes the one-time link).
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { preview } from "vite";

export const PAGES = [
  ["overview", "/"],
  ["approvals", "/approvals"],
  ["topology", "/topology"],
  ["topology-list", "/topology?view=list"],
  ["telemetry", "/telemetry"],
  ["command", "/command"],
  ["world", "/world"],
  ["frames", "/world?tab=frames"],
  ["trace", "/world?tab=trace"],
  ["trust", "/trust"],
  ["audit", "/audit"],
  ["settings", "/settings"],
];
export const NODE = process.env.CLAWMESH_NODE ?? "http://127.0.0.1:18789";
export const token = () => JSON.parse(readFileSync(process.env.CLAWMESH_TOKEN_FILE ?? "", "utf8")).admin;

export async function api(method, path, body) {
  const answer = await fetch(`${NODE}/api/operator/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token()}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return answer.json();
}

/** Serves dist, opens a browser; `open` gives a page with a session that a one-time link made. */
export async function lab(scope = "admin") {
  const server = await preview({ preview: { port: 0, strictPort: false }, logLevel: "warn" });
  const base = server.resolvedUrls.local[0].replace(/\/$/, "");
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  const { url } = await api("POST", "/console/link", { scope, name: "console test" });
  const code = new URL(url).searchParams.get("code");
  const first = await browser.newContext();
  const page = await first.newPage();
  await page.goto(`${base}/console/open?code=${code}`);
  const storageState = await first.storageState();
  await first.close();
  return {
    base,
    browser,
    async open(options = {}) {
      const context = await browser.newContext({ storageState, ...options });
      const opened = await context.newPage();
      const errors = [];
      opened.on("console", (m) => m.type() === "error" && errors.push(m.text()));
      opened.on("pageerror", (e) => errors.push(String(e)));
      return { context, page: opened, errors };
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
