import type { Key } from "@/lib/i18n";
/** The rail: path, word, outline of the icon. The first two, Command and "more" make the phone's bar. */
export const PAGES = [
  ["/", "overview", "M3 11 12 4l9 7v9h-6v-6H9v6H3z"],
  ["/approvals", "approvals", "M4 5h16v11H9l-5 4zM8.5 10.5l2.5 2.5 4.5-4.5"],
  ["/topology", "topology", "M5 3.5h4v4H5zM15 9h4v4h-4zM6 17h4v4H6zM9 6l6 4M10 18.5l5.5-5"],
  ["/twin", "twin", "M3 6l6-2.5 6 2.5 6-2.5v14.5l-6 2.5-6-2.5-6 2.5zM9 3.5v14.5M15 6v14.5"],
  ["/telemetry", "telemetry", "M3 12h4l3-7 4 14 3-7h4"],
  ["/command", "command", "M4 5h16v14H4zM8 9l3 3-3 3M13 15h4"],
  [
    "/models",
    "models",
    "M9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3M6 6h12v12H6zM10 10h4v4h-4z",
  ],
  ["/gateways", "gateways", "M4 20V9l8-5 8 5v11M9 20v-7h6v7M4 20h16M12 4v5"],
  ["/messages", "messages", "M3 6h18v12H3zM3 7l9 6 9-6"],
  ["/routing", "routing", "M4 12h6M10 12c4 0 4-6 10-6M10 12c4 0 4 6 10 6M17 3l3 3-3 3M17 15l3 3-3 3"],
  ["/world", "world", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM3 12h18M12 3c-5 5-5 13 0 18 5-5 5-13 0-18"],
  ["/trust", "trust", "M12 3l8 3v6c0 5-4 8-8 9-4-1-8-4-8-9V6z"],
  ["/audit", "audit", "M5 6h14M5 12h14M5 18h9"],
  ["/settings", "settings", "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4"],
] as const satisfies readonly (readonly [string, Key, string])[];
export const PHONE: string[] = ["/", "/approvals", "/command"];
