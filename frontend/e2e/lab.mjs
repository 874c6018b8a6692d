// A browser with real sessions on a real node: what the tests and the screenshots share.
// Everything a page asks for is written down, so that a test can say where requests went.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { chromium } from "playwright-core";
import { pair } from "./nodes.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** How long a page may take to show something, on a busy machine; nothing waits this long when all is well. */
export const PAGE_MS = 60_000;

export const PAGES = [
  ["overview", "/"],
  ["approvals", "/approvals"],
  ["standing", "/approvals?tab=standing"],
  ["topology", "/topology"],
  ["topology-list", "/topology?view=list"],
  ["twin", "/twin"],
  ["telemetry", "/telemetry"],
  ["command", "/command"],
  ["models", "/models"],
  ["gateways", "/gateways"],
  ["messages", "/messages"],
  ["routing", "/routing"],
  ["world", "/world"],
  ["frames", "/world?tab=frames"],
  ["trace", "/world?tab=trace"],
  ["trust", "/trust"],
  ["audit", "/audit"],
  ["devices", "/settings?tab=devices"],
  ["settings", "/settings"],
];

const KINDS = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html" };
/** The console of a folder (CLAWMESH_E2E_SITE) in the place of the one that the node carries, under its headers. */
async function showSite(context, base, site) {
  const policy = (await fetch(base)).headers.get("content-security-policy");
  await context.route(
    (url) => url.origin === base && !/^\/(api|console|metrics|healthz)\b/.test(url.pathname),
    async (route) => {
      const { pathname } = new URL(route.request().url());
      const own = join(site, pathname);
      // The page behind a one-time link is the node's own, which asks for its own files.
      if (pathname.startsWith("/assets/") && !existsSync(own)) return route.continue();
      const file = pathname !== "/" && existsSync(own) ? own : join(site, "index.html");
      const headers = { "content-type": KINDS[extname(file)] ?? "application/octet-stream" };
      if (policy) headers["content-security-policy"] = policy;
      await route.fulfill({ body: readFileSync(file), headers });
    },
  );
}

/** A pair of nodes, a browser, and pages with sessions that one-time links made. */
export async function lab(options = {}) {
  const nodes = await pair(options);
  const browser = await chromium
    .launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-lcd-text"],
    })
    .catch(async (error) => {
      await nodes.close();
      throw error;
    });
  const l = {
    ...nodes,
    browser,
    get base() {
      return nodes.center.base;
    },
    /** A one-time link, as a person gets it. */
    async link(scope = "operate") {
      return (await nodes.center.cli(["console", "--print", "--scope", scope])).trim();
    },
    /** Opens the console by a fresh link and goes to `path`; errors and requests are collected. */
    async open(path = "/", { scope = "operate", language, ...context } = {}) {
      const made = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...context });
      made.setDefaultTimeout(PAGE_MS);
      if (process.env.CLAWMESH_E2E_SITE) await showSite(made, l.base, process.env.CLAWMESH_E2E_SITE);
      const page = await made.newPage();
      const errors = [];
      const requests = [];
      page.on("console", (m) => m.type() === "error" && errors.push(m.text()));
      page.on("pageerror", (e) => errors.push(String(e)));
      made.on("request", (r) => requests.push(r.url()));
      // As Settings keeps it; a test that chooses there must not be overruled by every load.
      if (language)
        await page.addInitScript(
          (l) =>
            localStorage.getItem("clawmesh.language") ??
            localStorage.setItem("clawmesh.language", JSON.stringify(l)),
          language,
        );
      await page.addInitScript(() => {
        window.violations = [];
        document.addEventListener("securitypolicyviolation", (e) =>
          window.violations.push(`${e.violatedDirective} ${e.blockedURI}`),
        );
      });
      await page.goto(await l.link(scope));
      if (process.env.CLAWMESH_E2E_SITE) await page.goto(l.base);
      const opened = {
        context: made,
        page,
        errors,
        requests,
        go: async (to) => {
          await page.goto(l.base + to);
          await loaded(page);
        },
        /** Nothing in the browser's console, nothing against the policy, nothing outside this origin. */
        async clean() {
          assert.deepEqual(errors, []);
          assert.deepEqual(await page.evaluate(() => window.violations), []);
          assert.deepEqual(
            requests.filter((url) => !/^(data|blob):/.test(url) && new URL(url).origin !== l.base),
            [],
          );
        },
        close: () => made.close(),
      };
      if (path !== "/") await opened.go(path);
      else await loaded(page);
      return opened;
    },
    async close() {
      await browser.close();
      await nodes.close();
    },
  };
  return l;
}

/** The page is there and has what it first asked for. */
export async function loaded(page) {
  await page.waitForFunction(
    () =>
      document.querySelector("main#page")?.innerText.trim() &&
      !/Reading from the node|Wird vom Knoten gelesen/.test(document.body.innerText),
  );
}

/**
 * Holds a button with the mouse until the page has had enough. How long that takes is the page's to say, however busy the
 * machine is; a hold of so many milliseconds is shorter for a page that is late.
 */
export async function hold(button) {
  const page = button.page();
  // Waits until it stands still with nothing before it.
  await button.hover();
  await button.evaluate((held) => {
    let began = false;
    window.heldEnough = false;
    const look = () => {
      const holding = held.isConnected && held.dataset.holding === "true";
      began ||= holding;
      if (!began || holding) return;
      window.heldEnough = true;
      watching.disconnect();
    };
    const watching = new MutationObserver(look);
    watching.observe(document, { subtree: true, childList: true, attributes: true });
  });
  await page.mouse.down();
  await page.waitForFunction(() => window.heldEnough);
  await page.mouse.up();
}

/** What axe finds in both themes. */
export async function accessible(page, where) {
  await page.evaluate(axe);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction((x) => document.documentElement.dataset.theme === x, colorScheme);
    const found = await page.evaluate(async () => {
      // Colours on their way from one theme to the other are neither.
      for (let on = document.getAnimations(); on.length; on = document.getAnimations())
        await Promise.allSettled(on.map((a) => a.finished));
      return window.axe.run({ resultTypes: ["violations"] });
    });
    assert.deepEqual(
      found.violations.map(
        (v) =>
          `${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 160)} ${n.any[0]?.message ?? ""}`).join(" | ")}`,
      ),
      [],
      `${where} in ${colorScheme}`,
    );
  }
}
