import { createRootRoute, createRoute, createRouter, Link, lazyRouteComponent } from "@tanstack/react-router";
import { t } from "@/lib/i18n";
import { Empty } from "@/ui/kit";
import { Shell } from "./Shell";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => (
    <Empty>
      {t("notFound")}{" "}
      <Link to="/" className="text-accent underline">
        {t("home")}
      </Link>
    </Empty>
  ),
});
const page = <P extends string>(path: P, load: () => Promise<Record<string, unknown>>) =>
  createRoute({
    getParentRoute: () => root,
    path,
    component: lazyRouteComponent(load as () => Promise<{ View: () => React.JSX.Element }>, "View"),
  });

const routes = root.addChildren([
  page("/", () => import("@/features/overview/View")),
  page("/topology", () => import("@/features/topology/View")),
  page("/twin", () => import("@/features/twin/View")),
  page("/telemetry", () => import("@/features/telemetry/View")),
  page("/command", () => import("@/features/command/View")),
  page("/models", () => import("@/features/models/View")),
  page("/gateways", () => import("@/features/gateways/View")),
  page("/messages", () => import("@/features/messages/View")),
  page("/routing", () => import("@/features/routing/View")),
  page("/approvals", () => import("@/features/approvals/View")),
  page("/world", () => import("@/features/world/View")),
  page("/trust", () => import("@/features/trust/View")),
  page("/audit", () => import("@/features/audit/View")),
  page("/welcome", () => import("@/features/welcome/View")),
  page("/settings", () => import("@/features/settings/View")),
]);

export const router = createRouter({
  routeTree: routes,
  defaultPreload: "intent",
  scrollRestoration: true,
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (search) => {
    const text = new URLSearchParams(
      Object.entries(search as Record<string, unknown>).flatMap(([k, v]) =>
        v === undefined || v === "" ? [] : [[k, String(v)]],
      ),
    ).toString();
    return text ? `?${text}` : "";
  },
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
