// Every page loads from a real node without an error in the browser's console, and axe finds nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { lab, PAGES } from "./lab.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
let l;
before(async () => {
  l = await lab();
});
after(() => l?.close());

for (const colorScheme of ["light", "dark"])
  for (const [name, path] of PAGES)
    test(`${name} in ${colorScheme}`, async () => {
      const { context, page, errors } = await l.open({ colorScheme, viewport: { width: 1280, height: 800 } });
      await page.goto(l.base + path);
      await page.waitForFunction(
        () => document.querySelector("main") && !document.body.innerText.includes("Reading from the node"),
      );
      await page.evaluate(axe);
      const found = await page.evaluate(() => window.axe.run());
      assert.deepEqual(
        found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`),
        [],
      );
      assert.deepEqual(errors, []);
      await context.close();
    });
