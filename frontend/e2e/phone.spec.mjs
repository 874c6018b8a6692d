// The console on a phone: a real node, its port for other machines with a certificate of a throw-away authority, and Chromium
// at a phone's size under a name. The browser takes this one key alone; whatever else is wrong with the connection it refuses.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { accessible, hold, lab, loaded, PAGE_MS } from "./lab.mjs";
import { until } from "./nodes.mjs";
import { pushService } from "./push.mjs";

const NAME = "field.test";
const PHRASE = "correct horse battery";
const dir = mkdtempSync(join(process.env.CLAWMESH_E2E_DIR ?? tmpdir(), "clawmesh-phone-"));
const at = (name) => join(dir, name);
const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });

/** A certificate of a new authority, and what the browser knows its key by. */
function certify(host) {
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...ec,
    "-keyout",
    at("ca.key"),
    "-out",
    at("ca.pem"),
    "-subj",
    "/CN=a test",
    "-days",
    "30",
  );
  openssl("req", ...ec, "-keyout", at("phone.key"), "-out", at("phone.csr"), "-subj", `/CN=${host}`);
  writeFileSync(at("names"), `subjectAltName=DNS:${host}\n`);
  const signed = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30"];
  openssl(
    "x509",
    "-req",
    "-in",
    at("phone.csr"),
    ...signed,
    "-extfile",
    at("names"),
    "-out",
    at("phone.pem"),
  );
  chmodSync(at("phone.key"), 0o600);
  const key = openssl("x509", "-in", at("phone.pem"), "-pubkey", "-noout");
  const der = execFileSync("openssl", ["pkey", "-pubin", "-outform", "der"], { input: key });
  return execFileSync("openssl", ["dgst", "-sha256", "-binary"], { input: der }).toString("base64");
}

let l;
let browser;
let phone;
let admin;
let push;
const link = async (...more) =>
  until("the console is open for other machines", async () =>
    (await l.center.cli(["console", "--phone", "--print", ...more])).trim(),
  );

before(async () => {
  const spki = certify(NAME);
  push = await pushService(dir);
  const never = `[[rule]]\nname = "never"\nmetric = "moisture"\nbelow = -1.0\ntarget = "actuator:mock:valve-1"\noperation = "open"\nparams = { durationSec = 2 }\n`;
  const table = `[console]\nlisten = "127.0.0.1:0"\ncert = ${JSON.stringify(at("phone.pem"))}\nkey = ${JSON.stringify(at("phone.key"))}\nhosts = ["${NAME}"]\npush_services = ["localhost:${push.port}"]\npush_ca = ${JSON.stringify(at("ca.pem"))}\n`;
  l = await lab({ pace: 0, rules: never + table });
  await l.field.api("POST", `/trust/${l.center.id}/grant`, { grants: "admin" });
  await l.field.api("POST", `/operators/issuers/${l.center.id}/accept`);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      `--ignore-certificate-errors-spki-list=${spki}`,
      `--host-resolver-rules=MAP ${NAME} 127.0.0.1, MAP other.test 127.0.0.1`,
    ],
  });
  const context = await browser.newContext({
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
  });
  context.setDefaultTimeout(PAGE_MS);
  phone = { context, page: await context.newPage(), sent: [], errors: [] };
  context.on("request", (r) => phone.sent.push(`${r.method()} ${r.url()} ${r.postData() ?? ""}`));
  phone.page.on("console", (m) => m.type() === "error" && phone.errors.push(m.text()));
  phone.page.on("pageerror", (e) => phone.errors.push(String(e)));
  admin = await l.open("/trust?tab=operators", { scope: "admin" });
});
after(async () => {
  await browser?.close();
  await l?.close();
  push?.close();
  rmSync(dir, { recursive: true, force: true });
});

const shot = async (name) => {
  if (process.env.CLAWMESH_SHOTS)
    await phone.page.screenshot({ path: join(process.env.CLAWMESH_SHOTS, `${name}.png`) });
};
/** What the phone shows of what its push service brings to the page's worker. */
async function delivered(session, registrationId, said) {
  const [origin, data] = [phone.base, JSON.stringify(said)];
  await session.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data });
  return until("the phone shows it", () =>
    phone.page.evaluate(async (tag) => {
      const { getNotifications } = await navigator.serviceWorker.ready.then((r) => ({
        getNotifications: () => r.getNotifications({ tag }),
      }));
      const [one] = await getNotifications();
      return one && { title: one.title, body: one.body, lang: one.lang, data: one.data };
    }, said.tag),
  );
}
const worker = () => phone.context.serviceWorkers().find((one) => one.url().startsWith(phone.base));
/** There is no way to press a notification here: the worker is told that it was. */
const press = (tag) =>
  worker().evaluate(async (named) => {
    const [notification] = await self.registration.getNotifications({ tag: named });
    self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
  }, tag);
/** The page's own worker as the browser's tools name it. */
async function registration(session) {
  const ids = [];
  session.on("ServiceWorker.workerRegistrationUpdated", (e) =>
    ids.push(...e.registrations.filter((r) => r.scopeURL === `${phone.base}/`).map((r) => r.registrationId)),
  );
  await session.send("ServiceWorker.enable");
  return until("the worker is there", () => ids.at(-1));
}

test("a link opens the console over TLS, with nothing secret in the address and a cookie of this name alone", async () => {
  const url = await link();
  const base = new URL(url).origin;
  phone.base = base;
  await phone.page.goto(url);
  await loaded(phone.page);
  assert.equal(phone.page.url(), `${base}/`);
  assert.ok(await phone.page.evaluate(() => window.isSecureContext));
  const [cookie, ...others] = await phone.context.cookies();
  assert.deepEqual(others, []);
  assert.match(cookie.name, /^__Host-clawmesh_\d+$/);
  assert.deepEqual(
    [cookie.secure, cookie.httpOnly, cookie.sameSite, cookie.path, cookie.domain],
    [true, true, "Strict", "/", NAME],
  );
  const headers = (await phone.page.reload()).headers();
  assert.match(headers["content-security-policy"], /frame-ancestors 'none'/);
  assert.equal(headers["referrer-policy"], "no-referrer");
  const kept = await phone.page.evaluate(async () => {
    const answer = await fetch("/api/operator/v1/status");
    return [answer.status, answer.headers.get("cache-control")];
  });
  assert.deepEqual(kept, [200, "no-store"]);
  await phone.page.evaluate(() => navigator.serviceWorker.ready.then(() => true));
  await accessible(phone.page, "the phone");
  await shot("phone-overview");
});

test("another name of the same node, and what is for this machine alone, is not answered", async () => {
  const port = new URL(phone.base).port;
  const other = await phone.context.newPage();
  // The browser would refuse the certificate for this name if it did not take the key as it is; the node refuses the name.
  assert.equal((await other.goto(`https://other.test:${port}/`)).status(), 403);
  await other.close();
  for (const path of ["/metrics", "/healthz", "/v1/models", "/hooks/x", "/api/operator/v1/pairing"]) {
    const status = await phone.page.evaluate((asked) => fetch(asked).then((answer) => answer.status), path);
    assert.equal(status, 403, path);
  }
});

test("the phone hears by push, in its language; a notification opens the proposal and decides nothing", async () => {
  const { page, context } = phone;
  const odd = phone.errors.length;
  await context.grantPermissions(["notifications"], { origin: phone.base });
  // A browser of a test has no push service: the page's own code gets a subscription for the one of the test.
  await context.addInitScript((given) => {
    let on = false;
    const unsubscribe = async () => {
      on = false;
      return true;
    };
    const one = { toJSON: () => given, unsubscribe };
    PushManager.prototype.subscribe = async (options) => {
      if (!options.userVisibleOnly || options.applicationServerKey.length !== 65)
        throw new Error("odd options");
      on = true;
      return one;
    };
    PushManager.prototype.getSubscription = async () => (on ? one : null);
  }, push.subscription);
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  const panel = page.getByRole("region", { name: "Notify this phone" });
  await panel.getByText("Off.").waitFor();
  await panel.getByRole("button", { name: "Notify this phone" }).click();
  await panel.getByText("On for this phone.").waitFor();
  await accessible(page, "push is on");
  await shot("phone-push");
  const session = await context.newCDPSession(page);
  const worker = await registration(session);

  await panel.getByRole("button", { name: "Send a test" }).click();
  await panel.getByText("The push service has taken the test").waitFor();
  const test = await until("the test came", () => push.heard.find((said) => said.kind === "test"));
  const shown = await delivered(session, worker, test);
  assert.match(shown.title, /: test$/);
  assert.equal(shown.body, "Notifications arrive on this phone.");

  const p = await l.propose({ reason: "by push" });
  const said = await until("the proposal came", () => push.heard.find((one) => one.proposal === p.id));
  assert.ok(!JSON.stringify(said).includes("by push"), "words of a planner stay here");
  const german = await delivered(session, worker, { ...said, lang: "de" });
  assert.match(german.title, /: eine Entscheidung ist nötig$/);
  assert.equal(german.lang, "de");
  assert.deepEqual(german.data, { place: `/approvals?id=${p.id}` });
  const before = phone.sent.length;
  await press(said.tag);
  await page.waitForURL(`${phone.base}/approvals?id=${p.id}*`);
  assert.ok(
    phone.sent.slice(before).every((one) => !one.startsWith("POST")),
    "nothing was decided",
  );
  // What no node says leads nowhere else, and is shown all the same.
  const strange = { ...said, tag: "alert 1", kind: "zzz", proposal: "../../evil", node: "<b>n</b>" };
  const other = await delivered(session, worker, strange);
  assert.deepEqual(other.data, { place: "/?alert=1" });
  assert.equal(other.title, "<b>n</b>");
  await l.field.api("POST", `/proposals/${p.id}/withdraw`, { reason: "enough" });

  // A browser that has lost its subscription is off, whatever the node thinks; and off is off at the node too.
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  await panel.getByText("Off.").waitFor();
  await panel.getByRole("button", { name: "Notify this phone" }).click();
  await panel.getByRole("button", { name: "Turn off" }).click();
  await panel.getByText("Off.").waitFor();
  const state = await page.evaluate(() => fetch("/api/operator/v1/push").then((answer) => answer.json()));
  assert.equal(state.on, false);
  assert.deepEqual(phone.errors.slice(odd), []);
});

test("a notification of an alert opens the console at that alert, while it stands, when it is over and when it is gone", async () => {
  const { page, context } = phone;
  await context.grantPermissions(["notifications"], { origin: phone.base });
  const session = await context.newCDPSession(page);
  const id = await registration(session);
  await l.center.api("POST", "/estop", { reason: "a rehearsal" });
  const alert = await until("the alert stands", async () =>
    (await l.center.api("GET", "/alerts")).find((one) => one.kind === "estop.latched"),
  );
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  const said = {
    v: 1,
    kind: "alert",
    severity: "critical",
    node: "centre",
    tag: `alert ${alert.id}`,
    text: "x",
  };
  await delivered(session, id, said);
  await press(said.tag);
  await page.waitForURL(`${phone.base}/?alert=${alert.id}`);
  await loaded(page);
  const marked = page.locator('li[aria-current="true"]');
  await marked
    .getByText(/emergency stop/i)
    .first()
    .waitFor();
  assert.equal(await marked.count(), 1);
  // Panels above it load when they like, and the router puts the page back to where it was.
  await marked.evaluate((item) => {
    const late = document.createElement("div");
    late.style.height = "3000px";
    document.querySelector("section").prepend(late);
    for (let at = item.parentElement; at; at = at.parentElement) at.scrollTop = 0;
  });
  await until("it is in sight", () =>
    marked.evaluate((item) => {
      const { top, bottom } = item.getBoundingClientRect();
      return top >= 0 && bottom <= innerHeight;
    }),
  );
  await accessible(page, "at an alert");
  await shot("phone-alert");
  for (const node of [l.center, l.field]) await node.api("POST", "/estop/release", { reason: "enough" });
  await until("it is over", async () => (await l.center.api("GET", `/alerts/${alert.id}`)).endedAt);
  await page.goto(`${phone.base}/?alert=${alert.id}`);
  await marked.getByText(/over after/).waitFor();
  await page.goto(`${phone.base}/?alert=987654321`);
  await page.getByText("The alert of this link is not kept here any more").waitFor();
  assert.equal(await marked.count(), 0);
  // The browser tells of the answer itself.
  phone.errors = phone.errors.filter((text) => !text.includes("404"));
});

test("a subscription that the browser replaces is the node's too, and none where push is off", async () => {
  const { page } = phone;
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  const panel = page.getByRole("region", { name: "Notify this phone" });
  await panel.getByText("Off.").waitFor();
  const at = (path) => ({ ...push.subscription, endpoint: `https://localhost:${push.port}/wpush/${path}` });
  const change = (given, made) =>
    worker().evaluate(
      ([given, made]) => {
        const own = self.registration.pushManager;
        // A browser without a push service of its own: what it would make is given.
        own.subscribe = async (options) => {
          if (!options.userVisibleOnly || options.applicationServerKey.length !== 65)
            throw new Error("odd options");
          return { toJSON: () => made };
        };
        const event = new ExtendableEvent("pushsubscriptionchange");
        if (given) Object.defineProperty(event, "newSubscription", { value: { toJSON: () => given } });
        self.dispatchEvent(event);
      },
      [given, made],
    );
  const kept = () => readFileSync(join(l.center.dir, "away-sessions.json"), "utf8");
  // Off is off, whatever the browser says.
  const asked = page.context().waitForEvent("response", (r) => r.url().endsWith("/api/operator/v1/push"));
  await change(at("unasked"), null);
  await asked;
  await panel.getByRole("button", { name: "Notify this phone" }).click();
  await panel.getByText("On for this phone.").waitFor();
  assert.ok(!kept().includes("/wpush/unasked"));
  await change(at("given"), null);
  await until("the node has the one that was given", () => kept().includes("/wpush/given"));
  await change(null, at("made"));
  await until("the node has the one that was made", () => kept().includes("/wpush/made"));
  assert.ok(!kept().includes("/wpush/given"));
  await panel.getByRole("button", { name: "Turn off" }).click();
  await panel.getByText("Off.").waitFor();
});

test("a browser that cannot hear says why and what to do", async () => {
  const other = async (options, script) => {
    const context = await browser.newContext({ viewport: { width: 390, height: 844 }, ...options });
    context.setDefaultTimeout(PAGE_MS);
    if (script) await context.addInitScript(script);
    const page = await context.newPage();
    await context.grantPermissions([], { origin: phone.base });
    await page.goto(await link());
    await page.goto(`${phone.base}/settings`);
    await loaded(page);
    const end = async () => {
      await page.evaluate(async () => {
        const { csrf } = await (await fetch("/api/operator/v1/session")).json();
        const headers = { "x-clawmesh-csrf": csrf };
        await fetch("/api/operator/v1/session/end", { method: "POST", headers });
      });
      await context.close();
    };
    return { end, panel: page.getByRole("region", { name: "Notify this phone" }), page };
  };
  const iphone =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";
  // Safari has no push outside of the app on the home screen.
  const safari = await other({ userAgent: `${iphone} Version/18.0 Mobile/15E148 Safari/604.1` }, () => {
    delete window.PushManager;
  });
  await safari.panel.getByText(/Share › Add to Home Screen/).waitFor();
  assert.ok(await safari.panel.getByRole("button", { name: "Notify this phone" }).isDisabled());
  await accessible(safari.page, "an iPhone without the app");
  await safari.end();
  const denied = await other({});
  assert.equal(await denied.page.evaluate(() => Notification.permission), "denied");
  await denied.panel.getByText(/Notifications of this page are blocked/).waitFor();
  assert.ok(await denied.panel.getByRole("button", { name: "Notify this phone" }).isDisabled());
  await denied.end();
});

test("a key made on the phone is enrolled by an administrator, and approves there with its passphrase", async () => {
  const { page } = phone;
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  await page.getByText("In a browser of another machine you decide with your own key").waitFor();
  await page.getByLabel("Your name").fill("Ada");
  await page.getByLabel("Passphrase (8 characters or more)").fill(PHRASE);
  await page.getByLabel("The same again").fill(PHRASE);
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByText(/An administrator enrols this key/).waitFor();
  await admin.page
    .getByRole("article", { name: "Ada", exact: true })
    .getByRole("button", { name: "Add" })
    .click();
  await page.getByText(/Enrolled: you may approve up to L2/).waitFor();
  const p = await l.propose({ reason: "from the field", from: l.field });
  await page.goto(`${phone.base}/approvals?id=${p.id}`);
  await page.getByText(p.reason).first().waitFor();
  await page.getByLabel("Passphrase of your key in this browser").fill(PHRASE);
  await shot("phone-approve");
  await hold(page.getByRole("button", { name: "Hold to approve" }));
  await until("it ran", async () => /executing|completed/.test(await l.status(p.id)));
  assert.ok(!phone.sent.join("\n").includes(PHRASE));
  assert.ok(phone.sent.every((one) => !one.includes("/console/decide")));
});

test("its session is listed, outlasts a restart, is ended from elsewhere, and a pasted link opens a new one", async () => {
  const { page } = phone;
  // The system chose the port; the next run takes the same one.
  const file = join(l.center.dir, "config.toml");
  writeFileSync(
    file,
    readFileSync(file, "utf8").replace("127.0.0.1:0", `127.0.0.1:${new URL(phone.base).port}`),
  );
  await l.center.kill();
  await l.center.start();
  assert.equal(new URL(await link()).origin, phone.base);
  await page.goto(`${phone.base}/settings`);
  await loaded(page);
  await page.getByText("another machine, 127.0.0.1").first().waitFor();
  await page.getByRole("heading", { name: "Open sessions" }).scrollIntoViewIfNeeded();
  await shot("phone-sessions");
  await accessible(page, "settings on the phone");
  const desk = await l.open("/settings", { scope: "admin" });
  const row = desk.page.locator("li", { hasText: "another machine" });
  await row.getByRole("button", { name: "End" }).click();
  await desk.page.getByRole("dialog").getByRole("button", { name: "End" }).click();
  await row.waitFor({ state: "detached" });
  await page.reload();
  await page.getByText("This console is not open").waitFor();
  await page.getByLabel("Paste the link here").fill("not a link");
  await page.getByRole("button", { name: "Open" }).click();
  await page.getByText("This is no link of that command.").waitFor();
  await shot("phone-paste");
  await accessible(page, "without a session");
  await page.getByLabel("Paste the link here").fill(await link());
  await page.getByRole("button", { name: "Open" }).click();
  await loaded(page);
  assert.equal(page.url(), `${phone.base}/`);
  assert.deepEqual(
    phone.errors.filter((text) => !/40[13]|Failed to fetch|net::ERR_/.test(text)),
    [],
  );
});
