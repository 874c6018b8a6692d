// The pages of the console for when its node cannot be reached: an installed web app then opens and says so, instead of the
// browser's own error. Only the console's files are kept; what the node says of itself is never kept and never answered from here.
const KEPT = "clawmesh-pages";
// The list of the build's files, written by the build.
const LIST = "/shell.json";
const PAGE = "/";
const OF_PROGRAMS = /^\/(api|metrics|healthz|v1|console|mcp|hooks)(\/|$)/;
const PATIENCE_MS = 4000;

/** Takes the files of the build that are not here yet, of the languages those that are used, and lets go of those of earlier builds. */
async function take(used) {
  const listed = await fetch(LIST, { cache: "no-cache" });
  if (!listed.ok) return;
  const { files, languages } = await listed.json();
  const kept = await caches.open(KEPT);
  for (const file of [...files, ...languages.filter((language) => used.includes(language))]) {
    if (file.startsWith("/assets/") && (await kept.match(file))) continue;
    const got = await fetch(file);
    if (got.ok) await kept.put(file, got);
  }
  for (const request of await kept.keys()) {
    const { pathname } = new URL(request.url);
    if (!files.includes(pathname) && !languages.includes(pathname)) await kept.delete(request);
  }
}

self.addEventListener("install", () => {
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

/** A page says that it was loaded, and which files it uses: those of its build are taken in the background. */
self.addEventListener("message", (event) => {
  const used = Array.isArray(event.data?.used) ? event.data.used : [];
  // A node that goes away meanwhile leaves the worker without some files, which it takes later.
  event.waitUntil(take(used).catch(() => undefined));
});

async function page(request) {
  try {
    return await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch (error) {
    const kept = await (await caches.open(KEPT)).match(PAGE);
    if (kept) return kept;
    throw error;
  }
}

async function file(request) {
  const kept = await (await caches.open(KEPT)).match(request);
  return kept ?? fetch(request);
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin || OF_PROGRAMS.test(url.pathname)) return;
  if (request.mode === "navigate") event.respondWith(page(request));
  // Names under /assets carry a hash of their content.
  else if (url.pathname.startsWith("/assets/")) event.respondWith(file(request));
});
