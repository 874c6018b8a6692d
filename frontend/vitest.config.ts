import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  // A machine that builds beside is slow; nothing here measures time.
  test: { include: ["src/**/*.test.{ts,tsx}"], testTimeout: 60_000 },
});
