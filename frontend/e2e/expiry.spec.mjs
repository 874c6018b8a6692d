// A proposal runs out while its sheet is open. The nodes' clock is moved on (libfaketime), not the
// browser's: the executor is the one who says that it has expired, and the page must believe the node.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { lab } from "./lab.mjs";
import { until } from "./nodes.mjs";

const library = process.env.FAKETIME_LIB;

test("expired while open: the countdown ends, the executor says so, and no button is left", {
  skip: !library && "no libfaketime",
}, async () => {
  const dir = mkdtempSync(join(process.env.CLAWMESH_E2E_DIR ?? tmpdir(), "clawmesh-time-"));
  const clock = join(dir, "offset");
  const ahead = (seconds) => writeFileSync(clock, `+${seconds}s\n`);
  ahead(0);
  const env = {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  };
  let l;
  try {
    l = await lab({ pace: 0, env });
    const p = await l.propose({ reason: "runs out" });
    const o = await l.open(`/approvals?id=${p.id}`);
    const button = o.page.getByRole("button", { name: "Hold to approve" });
    await button.waitFor();
    // The reading that it rests on is worth something for a quarter of an hour.
    await o.page.getByText(/expires in 1[34]:\d\d/).waitFor();
    ahead(10 * 60);
    // The page counts by the node's clock.
    await o.page.getByText(/expires in [34]:\d\d/).waitFor();
    assert.equal(await button.isEnabled(), true);
    ahead(16 * 60);
    await until("the executor has let it expire", async () => (await l.status(p.id)) === "expired");
    await o.page.getByText(/it is now expired/).waitFor();
    assert.equal(await button.count(), 0);
    await o.clean();
  } finally {
    await l?.close();
    rmSync(dir, { recursive: true, force: true });
  }
});
