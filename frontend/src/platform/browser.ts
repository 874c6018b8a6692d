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
