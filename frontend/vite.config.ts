import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

// The node that development and previews talk to. With CLAWMESH_DEV_TOKEN_FILE (a node's tokens.json) the
// proxy adds the token, so that the page never sees one; without it, open the node's one-time link
// with this server's address.
const node = process.env.CLAWMESH_NODE ?? "http://127.0.0.1:18789";
const tokenFile = process.env.CLAWMESH_DEV_TOKEN_FILE;
const scope = process.env.CLAWMESH_SCOPE ?? "admin";

function token(): string | undefined {
  if (!tokenFile) return undefined;
  const tokens: Record<string, string> = JSON.parse(readFileSync(tokenFile, "utf8"));
  return tokens[scope];
}

const toNode: ProxyOptions = {
  target: node,
  changeOrigin: true,
  configure: (proxy) => {
    proxy.on("proxyReq", (request) => {
      if (request.getHeader("origin")) request.setHeader("origin", node);
      const bearer = token();
      if (bearer) request.setHeader("authorization", `Bearer ${bearer}`);
    });
  },
};
const proxy = { "/api": toNode, "/console": toNode };

export default defineConfig({
  base: "/",
  plugins: [react(), tailwind()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  worker: { format: "es" },
  build: { target: "safari18", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { host: "127.0.0.1", proxy },
  preview: { host: "127.0.0.1", proxy },
});
