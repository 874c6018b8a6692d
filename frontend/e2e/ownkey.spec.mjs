// A person's own key in the browser: made, enrolled by an administrator who compares pictures, used for
// one decision at a time, and worth nothing once revoked.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { hold, lab } from "./lab.mjs";
import { until } from "./nodes.mjs";

const PHRASE = "correct horse battery";
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let l;
let ada;
let admin;
/** Everything that the person's browser sent. */
const sent = [];
before(async () => {
  l = await lab({ pace: 0 });
  // The field node takes the centre's word for who may decide.
  await l.field.api("POST", `/trust/${l.center.id}/grant`, { grants: "admin" });
  await l.field.api("POST", `/operators/issuers/${l.center.id}/accept`);
  ada = await l.open("/settings");
  ada.page.on("request", (r) => sent.push(`${r.url()} ${r.postData() ?? ""}`));
  admin = await l.open("/trust?tab=operators", { scope: "admin" });
});
after(() => l?.close());

const violations = async (page) => {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const found = await window.axe.run({ resultTypes: ["violations"] });
    return found.violations.map((v) => `${v.id}: ${v.nodes[0]?.html}`);
  });
};
const pictures = (within) => within.locator("ol li").allInnerTexts();
const panel = () => ada.page.locator("section", { hasText: "Your own key in this browser" }).last();
async function sheet(p) {
  await ada.go(`/approvals?id=${p.id}`);
  await ada.page.getByText(p.reason).first().waitFor();
}
async function approve(phrase) {
  await ada.page.getByLabel("Passphrase of your key in this browser").fill(phrase);
  await hold(ada.page.getByRole("button", { name: "Hold to approve" }));
}

test("a key is made under a passphrase and waits, with the pictures that the administrator sees", async () => {
  const { page } = ada;
  await page.getByLabel("Passphrase (8 characters or more)").fill(PHRASE);
  await page.getByLabel("The same again").fill("something else");
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByText("The two are not the same.").waitFor();
  await page.getByLabel("Your name").fill("Ada");
  await page.getByLabel("Passphrase (8 characters or more)").fill(PHRASE);
  await page.getByLabel("The same again").fill(PHRASE);
  await page.getByRole("button", { name: "Make a key" }).click();
  await panel()
    .getByText(/An administrator enrols this key/)
    .waitFor();
  const waiting = admin.page.getByRole("article", { name: "Ada", exact: true });
  await waiting.getByText("Compare with the person's browser").waitFor();
  const seen = await pictures(panel());
  assert.equal(seen.length, 7);
  assert.deepEqual(await pictures(waiting), seen);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(await violations(admin.page), []);
  // What this browser sent is public; the passphrase and the secret never left it.
  assert.ok(!sent.join("\n").includes(PHRASE));
});

test("once enrolled it approves in this browser, and only with the passphrase", async () => {
  await admin.page
    .getByRole("article", { name: "Ada", exact: true })
    .getByRole("button", { name: "Add" })
    .click();
  await panel()
    .getByText(/Enrolled: you may approve up to L2/)
    .waitFor();
  // The executor hears of the operator from the node that enrolled it; what that node itself asks for, a
  // person whom it alone vouches for does not approve.
  const p = await l.propose({ reason: "by my own key", from: l.field });
  await sheet(p);
  await approve("wrong passphrase");
  await ada.page.getByRole("alert").getByText("The passphrase is wrong; nothing was signed.").waitFor();
  assert.equal(await l.status(p.id), "awaiting_approval");
  await approve(PHRASE);
  await until("it ran", async () => /executing|completed/.test(await l.status(p.id)));
  assert.ok(!sent.join("\n").includes(PHRASE));
  assert.ok(ada.requests.every((url) => !url.endsWith("/console/decide")));
});

test("it is still here after a reload, and a revoked one decides nothing", async () => {
  await until("the valve is closed", async () => (await l.center.api("GET", "/proposals")).length === 0);
  await ada.go("/settings");
  await panel()
    .getByText(/Enrolled/)
    .waitFor();
  const p = await l.propose({ reason: "too late", from: l.field });
  await sheet(p);
  await ada.page.getByLabel("Passphrase of your key in this browser").waitFor();
  const operator = (await l.center.api("GET", "/operators")).find((o) => o.name === "Ada");
  await l.center.cli(["operator", "revoke", operator.operatorId]);
  await ada.page.getByLabel("Passphrase of your key in this browser").waitFor({ state: "detached" });
  await ada.go("/settings");
  await panel()
    .getByText(/This key was revoked/)
    .waitFor();
  await panel().getByRole("button", { name: "Forget this key" }).click();
  await ada.page.getByRole("dialog").getByRole("button", { name: "Forget this key" }).click();
  await panel().getByRole("button", { name: "Make a key" }).waitFor();
  assert.equal(await l.status(p.id), "awaiting_approval");
});
