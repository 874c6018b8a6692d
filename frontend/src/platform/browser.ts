/** What differs between a browser and the window: storage of looks, the address to share. */
export type Theme = "system" | "light" | "dark";
const KEY = "clawmesh.theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "light" || kept === "dark" ? kept : "system";
  } catch {
    return "system";
  }
}
export function applyTheme(next: Theme = theme()): void {
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
  const isDark = next === "dark" || (next === "system" && dark.matches);
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  window.dispatchEvent(new Event("clawmesh-theme"));
}
dark.addEventListener("change", () => applyTheme());

/** Has the browser keep the console's files, so that it opens where the node cannot be reached. Needs TLS or this machine. */
export function keepPages(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  const keep = async () => {
    const { serviceWorker } = navigator;
    await serviceWorker.register("/sw.js");
    const loaded = performance.getEntriesByType("resource");
    const used = loaded.map((one) => new URL(one.name).pathname);
    (await serviceWorker.ready).active?.postMessage({ used });
  };
  // A browser that refuses, such as in a private window, shows the console all the same.
  addEventListener("load", () => void keep().catch(() => undefined), { once: true });
  if (document.readyState === "complete") void keep().catch(() => undefined);
}
