/** Keys of the lists of this page. */
import { useEffect } from "react";

/** j and k go up and down, a and r go to the buttons. Never while something is typed or a dialog is open. */
export function useKeys(move: (by: number) => void) {
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      const on = e.target as HTMLElement | null;
      if (e.ctrlKey || e.metaKey || e.altKey || e.repeat) return;
      if (on?.closest("input, textarea, select, dialog, [contenteditable]")) return;
      if (e.key === "j") move(1);
      else if (e.key === "k") move(-1);
      else if (e.key === "a" || e.key === "r") {
        // What is still to be typed comes first; the decision itself is never one key.
        const open = [...document.querySelectorAll<HTMLInputElement>("[data-step]")].find((f) => !f.value);
        (
          open ??
          document.querySelector<HTMLElement>(e.key === "a" ? "[data-go=approve]" : "[data-go=reject]")
        )?.focus();
      } else return;
      e.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [move]);
}
