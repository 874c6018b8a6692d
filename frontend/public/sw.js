// The pages of the console for when its node cannot be reached: an installed web app then opens and says so, instead of the
// browser's own error. Only the console's files are kept; what the node says of itself is never kept and never answered from here.
// And what the node has a phone told by push, as notifications. They open a page and decide nothing.
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

const API = "/api/operator/v1";
const WORDS = {
  en: {
    proposal: "{node}: a decision is needed",
    critical: "{node}: critical",
    warning: "{node}: warning",
    info: "{node}: note",
    alerts: "{node}: {n} alerts",
    over: "{node}: over",
    ends: "{node}: notifications end soon",
    endsText: "Open the console on this phone within a day to go on being told.",
    test: "{node}: test",
    testText: "Notifications arrive on this phone.",
    unread: "Open the console to see what it is.",
  },
  de: {
    proposal: "{node}: eine Entscheidung ist nötig",
    critical: "{node}: kritisch",
    warning: "{node}: Warnung",
    info: "{node}: Hinweis",
    alerts: "{node}: {n} Meldungen",
    over: "{node}: vorbei",
    ends: "{node}: Benachrichtigungen enden bald",
    endsText: "Öffnen Sie innerhalb eines Tages die Konsole auf diesem Telefon, um weiter benachrichtigt zu werden.",
    test: "{node}: Probe",
    testText: "Benachrichtigungen kommen auf diesem Telefon an.",
    unread: "Öffnen Sie die Konsole, um zu sehen, was es ist.",
  },
};

const line = (text, most) => (typeof text === "string" ? text.slice(0, most) : "");

/** Where a notification leads: pages of this console alone, by ids that are none of anything else. */
function place(said) {
  if (typeof said.proposal === "string" && /^[\w-]{1,64}$/.test(said.proposal)) return `/approvals?id=${said.proposal}`;
  const alert = /^alert (\d{1,15})$/.exec(line(said.tag, 40));
  return alert ? `/?alert=${alert[1]}` : "/";
}

/** A message of the node as a notification. One that does not read is shown all the same: a browser takes push away otherwise. */
function told(data) {
  let said = {};
  try {
    said = data?.json() ?? {};
  } catch {
    said = {};
  }
  const words = WORDS[said.lang] ?? WORDS[(self.navigator.language ?? "en").slice(0, 2)] ?? WORDS.en;
  const kind = said.kind === "alert" ? said.severity : said.kind;
  const known = Object.hasOwn(words, kind ?? "");
  const node = line(said.node, 60) || "ClawMesh";
  const title = (known ? words[kind] : "{node}").replace("{node}", () => node).replace("{n}", String(said.n ?? ""));
  const text = words[`${kind}Text`] ?? line(said.text, 400);
  const over = said.kind === "over";
  return {
    title,
    options: {
      body: known ? text : words.unread,
      tag: line(said.tag, 80) || "clawmesh",
      // What is over takes the place of what it ends, without a sound.
      renotify: !over,
      silent: over,
      requireInteraction: said.severity === "critical" && !over,
      icon: "/icon-256.png",
      badge: "/icon-256.png",
      lang: words === WORDS.de ? "de" : "en",
      timestamp: Number.isFinite(said.at) ? said.at : Date.now(),
      data: { place: place(said) },
    },
  };
}

self.addEventListener("push", (event) => {
  const { title, options } = told(event.data);
  event.waitUntil(self.registration.showNotification(title, options));
});

async function go(path) {
  const url = new URL(path, self.location.origin).href;
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const open = all.find((client) => new URL(client.url).origin === self.location.origin);
  if (!open) return self.clients.openWindow(url);
  // Focus first: it is allowed right after the press alone.
  const shown = await open.focus().catch(() => open);
  return shown.navigate(url).catch(() => self.clients.openWindow(url));
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(go(event.notification.data?.place ?? "/"));
});

/** The browser has another subscription now, or wants one: the node is told, as long as the session lives and has it turned on. */
async function anew(event) {
  const asked = { headers: { accept: "application/json" }, credentials: "same-origin" };
  const session = await fetch(`${API}/session`, asked);
  const state = await fetch(`${API}/push`, asked);
  if (!session.ok || !state.ok) return;
  const [{ csrf }, { key, on }] = [await session.json(), await state.json()];
  if (!on || !key) return;
  const raw = atob(key.replaceAll("-", "+").replaceAll("_", "/"));
  const applicationServerKey = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  const subscription =
    event.newSubscription ??
    (await self.registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey }));
  const { endpoint, keys } = subscription.toJSON();
  const language = (self.navigator.language ?? "en").startsWith("de") ? "de" : "en";
  await fetch(`${API}/push`, {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json", "x-clawmesh-csrf": csrf ?? "" },
    body: JSON.stringify({ endpoint, p256dh: keys.p256dh, auth: keys.auth, language }),
  });
}

self.addEventListener("pushsubscriptionchange", (event) => {
  event.waitUntil(anew(event).catch(() => undefined));
});
