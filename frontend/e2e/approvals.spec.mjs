// The approval path on a real pair: reject, approve, decided elsewhere, no connection while open.
// CLAWMESH_PASSPHRASE is the passphrase of the operator key at the node.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { api, lab } from "./lab.mjs";

const passphrase = process.env.CLAWMESH_PASSPHRASE ?? "";
let l;
before(async () => {
  l = await lab("operate");
});
after(() => l?.close());

/** A waiting proposal, fresh if there is none: asked for by a person who cites a reading. */
async function waiting() {
  for (let i = 0; i < 120; i++) {
    const one = (await api("GET", "/proposals")).find((p) => p.status === "awaiting_approval");
    if (one) return one;
    if (i % 20 === 0) {
      const [fact] = await api("GET", "/world?metric=moisture");
      await api("POST", "/drafts", {
        target: "actuator:mock:valve-1",
        operation: "open",
        params: { durationSec: 2 },
        reason: "a test",
        name: "console test",
        cites: [fact.frameId],
      });
    }
    await new Promise((done) => setTimeout(done, 500));
  }
  throw new Error("no proposal came");
}

async function sheet(id) {
  const opened = await l.open({ viewport: { width: 1280, height: 800 } });
  await opened.page.goto(`${l.base}/approvals?id=${id}`);
  await opened.page.getByRole("button", { name: "Hold to approve" }).waitFor();
  return opened;
}
const status = async (id) => (await api("GET", `/proposals/${id}`)).status;

test("a short press approves nothing; a wrong passphrase is said; reject acts", async () => {
  const { id } = await waiting();
  const { page, context } = await sheet(id);
  const hold = page.getByRole("button", { name: "Hold to approve" });
  await page.getByLabel(/Passphrase/).fill("wrong");
  await hold.click();
  assert.equal(await status(id), "awaiting_approval");
  await page.getByRole("button", { name: "Reject" }).click();
  await page.getByRole("alert").waitFor();
  assert.equal(await status(id), "awaiting_approval");
  await page.getByLabel(/Passphrase/).fill(passphrase);
  await page.getByRole("button", { name: "Reject" }).click();
  await page.getByText(/it is now rejected/).waitFor();
  assert.equal(await status(id), "rejected");
  await context.close();
});

test("held for a second and a half it is approved, runs and is shown as completed", async () => {
  const { id } = await waiting();
  const { page, context } = await sheet(id);
  await page.getByLabel(/Passphrase/).fill(passphrase);
  await page.getByRole("button", { name: "Hold to approve" }).click({ delay: 1800 });
  await page.getByText(/it is now completed/).waitFor({ timeout: 60_000 });
  assert.equal(await status(id), "completed");
  await context.close();
});

test("what is decided elsewhere while the sheet is open is said, and nothing is left to press", async () => {
  const { id, digest } = await waiting();
  const { page, context } = await sheet(id);
  await api("POST", "/console/decide", { proposalId: id, digest, decision: "reject", passphrase });
  await page.getByText(/Decided while you looked: it is now rejected/).waitFor();
  assert.equal(await page.getByRole("button", { name: "Hold to approve" }).count(), 0);
  await context.close();
});

test("without a connection the sheet says so and cannot be pressed; it comes back by itself", async () => {
  const { id } = await waiting();
  const { page, context } = await sheet(id);
  await page.route("**/api/**", (route) => route.abort());
  await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await page.reload({ waitUntil: "commit" }).catch(() => undefined);
  await page
    .getByText(/Not connected to the node/)
    .first()
    .waitFor({ timeout: 30_000 });
  assert.equal(await page.getByRole("button", { name: "Hold to approve" }).count(), 0);
  await page.unroute("**/api/**");
  await page.getByRole("button", { name: "Hold to approve" }).waitFor({ timeout: 30_000 });
  await context.close();
});
