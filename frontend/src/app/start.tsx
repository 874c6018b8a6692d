import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { queries } from "@/node/reads";
import { Around } from "@/platform/Around";
import { keepPages } from "@/platform/browser";
import { attend, inWindow, onGoto } from "@/platform/desktop";
import { router } from "./router";
import { StopReport } from "./Stop";

export function start(): void {
  const root = document.getElementById("root");
  if (!root) return;
  if (inWindow) attend();
  else keepPages();
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Around>
          <RouterProvider router={router} />
        </Around>
        <StopReport />
      </QueryClientProvider>
    </StrictMode>,
  );
  if (inWindow) onGoto((path) => router.history.push(path));
}
