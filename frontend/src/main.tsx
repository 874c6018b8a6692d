import "@/ui/styles.css";
import { setLanguage } from "@/lib/i18n";
import { applyTheme } from "@/platform/browser";

// Looks and language come first: charts read the language when they are imported.
applyTheme();
void setLanguage()
  .then(() => import("./app/start"))
  .then(({ start }) => start());
