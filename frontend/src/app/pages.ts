import type { Key } from "@/lib/i18n";
/** The rail: path, word, glyph. The first two, Command and "more" make the phone's bar. */
export const PAGES = [
  ["/", "overview", "⌂"],
  ["/approvals", "approvals", "✎"],
  ["/topology", "topology", "⛶"],
  ["/telemetry", "telemetry", "⌁"],
  ["/command", "command", "❯"],
  ["/world", "world", "◎"],
  ["/trust", "trust", "⚿"],
  ["/audit", "audit", "☰"],
  ["/settings", "settings", "⚙"],
] as const satisfies readonly (readonly [string, Key, string])[];
export const PHONE: string[] = ["/", "/approvals", "/command"];
