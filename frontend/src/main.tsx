import "@/ui/styles.css";
import { applyTheme } from "@/platform/browser";
import { setLanguage } from "@/lib/i18n";

// Looks and language come first: charts read the language when they are imported.
applyTheme();
document.documentElement.lang = setLanguage("en");
void import("./app/start").then(({ start }) => start());
