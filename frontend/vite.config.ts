import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin, type ProxyOptions } from "vite";

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

/** A packed copy beside each file: the node embeds it and sends it to browsers that take it. */
const packed: Plugin = {
  name: "packed",
  apply: "build",
  writeBundle({ dir = "dist" }, bundle) {
    for (const name of Object.keys(bundle)) {
      const file = join(dir, name);
      writeFileSync(`${file}.gz`, gzipSync(readFileSync(file), { level: 9 }));
    }
  },
};

/** The icons of the installed web app, from the application's own, and the list of files that its worker keeps. */
const installable: Plugin = {
  name: "installable",
  apply: "build",
  writeBundle({ dir = "dist" }, bundle) {
    const icons = fileURLToPath(new URL("../icons", import.meta.url));
    copyFileSync(join(icons, "128x128@2x.png"), join(dir, "icon-256.png"));
    copyFileSync(join(icons, "icon.png"), join(dir, "icon-512.png"));
    const built = Object.keys(bundle).filter((name) => name.startsWith("assets/"));
    const isLanguage = (name: string) => {
      const chunk = bundle[name];
      return chunk?.type === "chunk" && chunk.moduleIds.some((id) => /\/lib\/languages\/(?!en\.)/.test(id));
    };
    const paths = (names: string[]) => names.map((name) => `/${name}`);
    const files = ["/", "/icon.svg", "/app.webmanifest", ...paths(built.filter((name) => !isLanguage(name)))];
    const shell = { files, languages: paths(built.filter(isLanguage)) };
    writeFileSync(join(dir, "shell.json"), JSON.stringify(shell));
  },
};

export default defineConfig({
  base: "/",
  plugins: [react(), tailwind(), packed, installable],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  worker: { format: "es" },
  build: { target: "safari18", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
  server: { host: "127.0.0.1", proxy },
  preview: { host: "127.0.0.1", proxy },
});
