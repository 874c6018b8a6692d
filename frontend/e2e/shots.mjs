// Screenshots of every page, light and dark, in three sizes: node e2e/shots.mjs DIR [page…]
import { mkdirSync } from "node:fs";
import { lab, PAGES } from "./lab.mjs";

const [dir = "/tmp/clawmesh-shots", ...only] = process.argv.slice(2);
mkdirSync(dir, { recursive: true });
const sizes = [
  [1280, 800],
  [1920, 1080],
  [390, 844],
];
const l = await lab();
for (const colorScheme of ["light", "dark"])
  for (const [width, height] of sizes) {
    const { context, page, errors } = await l.open({ colorScheme, viewport: { width, height } });
    for (const [name, path] of PAGES) {
      if (only.length && !only.includes(name)) continue;
      await page.goto(l.base + path);
      await page.waitForFunction(
        () => document.querySelector("main") && !document.body.innerText.includes("Reading from the node"),
      );
      await page.evaluate(() => new Promise((done) => setTimeout(done, 350)));
      await page.screenshot({ path: `${dir}/${name}-${width}-${colorScheme}.png` });
    }
    for (const e of errors) console.error(`${width} ${colorScheme}: ${e}`);
    await context.close();
  }
await l.close();
