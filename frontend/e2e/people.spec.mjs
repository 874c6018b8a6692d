// Whose signature counts: presets and grants with their worst, a first key that no executor knows yet,
// issuers that a person accepts, further keys of one person, and what a device makes a node keep.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, hold, lab, loaded, PAGE_MS } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

const PHRASE = "correct horse battery";
let l;
let ada;
let field;
/** A page of the field node, for its administrator. */
async function atField(path) {
  const context = await l.browser.newContext({ viewport: { width: 1280, height: 800 } });
  context.setDefaultTimeout(PAGE_MS);
  const page = await context.newPage();
  await page.goto((await l.field.cli(["console", "--print", "--scope", "admin"])).trim());
  await page.goto(l.field.base + path);
  await loaded(page);
  return page;
}
before(async () => {
  l = await lab({ pace: 0 });
  ada = await l.open("/settings", { scope: "admin" });
  field = await atField("/trust?tab=operators");
});
after(() => l?.close());

const person = (page, name) => page.getByRole("article", { name, exact: true });
const shot = async (page, name) => {
  if (process.env.CLAWMESH_SHOTS)
    await page.screenshot({ path: join(process.env.CLAWMESH_SHOTS, `${name}.png`) });
};
async function approve(page, p) {
  await page.goto(`${l.base}/approvals?id=${p.id}`);
  await page.getByText(p.reason).first().waitFor();
  await page.getByLabel("Passphrase of your key in this browser").fill(PHRASE);
  await hold(page.getByRole("button", { name: "Hold to approve" }));
}

test("a first key from the browser is told at each step what its executor still wants", async () => {
  const { page } = ada;
  await page.getByLabel("Your name").fill("Grace");
  await page.getByLabel("Passphrase (8 characters or more)").fill(PHRASE);
  await page.getByLabel("The same again").fill(PHRASE);
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByText(/An administrator enrols this key/).waitFor();
  await ada.go("/trust?tab=operators");
  await person(page, "Grace").getByText("Compare with the person's browser").waitFor();
  await person(page, "Grace").getByRole("button", { name: "Add", exact: true }).click();
  await person(page, "Grace")
    .getByText(/counts here/)
    .waitFor();

  const p = await l.propose({ reason: "first key" });
  await approve(page, p);
  await page
    .getByRole("alert")
    .getByText(/What to do: a person at field-1 opens Trust › Operators/)
    .waitFor();
  await shot(page, "unknown");
  // The field node's person does what the sentence says with the key that Settings shows.
  const grace = (await l.center.api("GET", "/operators")).find((o) => o.name === "Grace");
  await field.getByLabel("Name", { exact: true }).fill("Grace");
  await field.getByLabel("Public key").fill(grace.publicKey);
  await field.getByRole("button", { name: "Add", exact: true }).click();
  await person(field, "Grace")
    .getByText(/counts here/)
    .waitFor();
  await approve(page, p);
  await until("it ran", async () => /executing|completed/.test(await l.status(p.id)));
});

test("an issuer counts only once accepted, and never alone for what it asks itself", async () => {
  // The field node's own word on Grace goes, so that only the centre vouches for her.
  await l.field.api("POST", `/trust/${l.center.id}/grant`, { grants: "admin" });
  const key = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x;
  await l.center.api("POST", "/operators", { name: "Hedy", publicKey: key, level: "L2", days: 30 });
  const issuer = field.getByRole("listitem", { name: "center", exact: true });
  await issuer.getByText("does not count here").waitFor();
  await issuer.getByText(/It names: .*Hedy \(up to L2\)/).waitFor();
  await person(field, "Hedy").getByText("does not count here").waitFor();
  await issuer.getByRole("button", { name: "Accept…" }).click();
  const dialog = field.getByRole("dialog");
  await dialog.getByText(l.center.id.slice(0, 8), { exact: true }).waitFor();
  await dialog.getByText(/admin lets this device revoke every operator key/).waitFor();
  await shot(field, "accept");
  await dialog.getByRole("button", { name: "Accept its operators" }).click();
  await issuer.getByText(/counts here since/).waitFor();
  await person(field, "Hedy")
    .getByText(/counts here/)
    .waitFor();
  await accessible(field, "operators");
  await shot(field, "operators");
  await issuer.getByRole("button", { name: "Remove" }).click();
  await dialog.getByRole("button", { name: "Remove" }).click();
  await issuer.getByText("does not count here").waitFor();
  assert.equal((await l.field.api("GET", "/operators/issuers"))[0].acceptedAt ?? null, null);
});

test("a known name asks whose key it is, and keys of one person count once", async () => {
  const key = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x;
  await field.getByLabel("Name", { exact: true }).fill("ADA");
  await field.getByLabel("Public key").fill(key);
  await field.getByText("Somebody called ada is known here already. Whose key is this?").waitFor();
  assert.equal(await field.getByRole("button", { name: "Add", exact: true }).isDisabled(), true);
  await field.getByLabel(/The same person/).check();
  await field.getByRole("button", { name: "Add", exact: true }).click();
  const dialog = field.getByRole("dialog");
  await dialog.getByText(key).waitFor();
  await shot(field, "further");
  await dialog.getByRole("button", { name: "It is ada's key" }).click();
  await person(field, "ada").getByText("2 keys of one person: together they count once.").waitFor();
  await shot(field, "persons");
});

test("a quorum is shown by person", async () => {
  const file = join(l.field.dir, "policy.toml");
  const policy = readFileSync(file, "utf8");
  writeFileSync(file, policy.replaceAll(/^level = "L2"/gm, 'level = "L2"\nquorum = 2'));
  await l.field.cli(["policy", "reload"]);
  const p = await l.propose({ reason: "two people" });
  await l.center.cli(["approve", p.id, "--yes", "--passphrase-stdin"], {
    input: `${PASSPHRASE}\n`,
  });
  await ada.go(`/approvals?id=${p.id}`);
  await ada.page.getByText("1 of 2 people has agreed.").waitFor();
  await shot(ada.page, "quorum");
});

test("a device's card tells what it may do at worst, what it keeps here, and warns before admin", async () => {
  const page = await atField("/trust");
  const card = page.getByRole("article", { name: "center", exact: true });
  await card.getByText(/admin lets this device revoke every operator key/).waitFor();
  await card.getByText("What it can do at worst").click();
  await card.getByText(/Asks for any action, up to its share/).waitFor();
  await card.getByText("What it makes this node keep").click();
  await card.getByText("Waiting wishes").waitFor();
  assert.equal(await card.getByRole("meter").count(), 12);
  await accessible(page, "device card");
  await shot(page, "card");
  await card.getByRole("switch", { name: /^Administer/ }).click();
  await until("admin is gone", async () =>
    (await l.field.api("GET", "/trust")).every((d) => !d.grants.includes("admin")),
  );
  // The page may hear of it later than the test.
  await card.getByRole("switch", { name: /^Administer/, checked: false }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.ok((await l.field.api("GET", "/trust")).every((d) => !d.grants.includes("admin")));
  await page.close();
});

test("programs that speak MCP are listed with what they called, and a token is ended", async () => {
  await l.center.cli(["mcp", "add", "desk"]);
  const call = { name: "list_proposals", arguments: {} };
  const input = [
    { jsonrpc: "2.0", id: 1, method: "tools/call", params: call },
    { jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "propose", arguments: {} } },
  ].map((message) => `${JSON.stringify(message)}\n`);
  await l.center.cli(["mcp", "--client", "helper"], { input: input[0] });
  await l.center.cli(["mcp", "--client", "helper"], { input: input[1] });
  await ada.go("/settings");
  const { page } = ada;
  const program = (name) => page.getByRole("listitem", { name, exact: true });
  await program("helper").getByText("2 calls · 1 refused").waitFor();
  await program("helper")
    .getByText(/INVALID_PARAMS.*target/)
    .waitFor();
  assert.equal(await program("helper").getByRole("button").count(), 0);
  await accessible(page, "programs");
  await shot(page, "programs");
  await program("desk").getByRole("button", { name: "End its token" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End its token" }).click();
  await program("desk").waitFor({ state: "detached" });
  assert.deepEqual(
    (await l.center.api("GET", "/mcp/clients")).map((one) => one.name),
    ["helper"],
  );
});
