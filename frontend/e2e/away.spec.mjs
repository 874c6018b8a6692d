// The network between browser and node goes and comes back. Apart from the other faults because it
// takes long: a stream that has silently died is noticed by what it no longer answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { lab } from "./lab.mjs";
import { PASSPHRASE, until } from "./nodes.mjs";

let l;
before(async () => {
  l = await lab({ pace: 0 });
});
after(() => l?.close());

test("the network goes while the sheet is open: said with its age, nothing to press, and back by itself", async () => {
  const p = await l.propose({ reason: "the network goes" });
  const o = await l.open(`/approvals?id=${p.id}`);
  const hold = o.page.getByRole("button", { name: "Hold to approve" });
  const banner = o.page.getByText(/Not connected to the node since/).first();
  await hold.waitFor();
  await o.context.setOffline(true);
  await banner.waitFor();
  assert.match(await banner.innerText(), /since \d\d:\d\d:\d\d; .*\d+ (s|min) ago/);
  await until("nothing can be pressed", async () => (await hold.count()) === 0 || hold.isDisabled());
  // What was known stays on the screen.
  await o.page.getByText(p.evidence[0].summary).first().waitFor();
  await l.propose({ target: "actuator:mock:pump-1", operation: "start", reason: "came while away" });
  await o.context.setOffline(false);
  await banner.waitFor({ state: "hidden" });
  await o.page.getByText("came while away").first().waitFor();
  // What was open can be decided as if nothing had been.
  await o.page.getByLabel(/Passphrase/).fill(PASSPHRASE);
  const asked = o.page.waitForRequest((r) => r.url().endsWith("/console/decide"));
  await hold.hover();
  await o.page.mouse.down();
  await asked;
  await o.page.mouse.up();
  await o.page.getByText(/it is now completed/).waitFor();
  // The browser itself writes a line about each request that found no network.
  assert.deepEqual(
    o.errors.filter((e) => !/ERR_INTERNET_DISCONNECTED/.test(e)),
    [],
  );
  await o.close();
});
