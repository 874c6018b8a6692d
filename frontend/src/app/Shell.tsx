/** What never scrolls away: where you are, whether it is live, what waits, and the stop. */

import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { span } from "@/lib/format";
import { t } from "@/lib/i18n";
import { Refused } from "@/node/client";
import { follow, useLink } from "@/node/live";
import { isWaiting } from "@/node/patch";
import { useEstop, useProposals, useSession, useStatus, useTopology } from "@/node/reads";
import { applyTheme, type Theme, theme } from "@/platform/browser";
import { Button, cx, State, Txt, useNow } from "@/ui/kit";
import { Palette } from "./Palette";
import { PAGES, PHONE } from "./pages";
import { ReleaseButton, StopButton } from "./Stop";

export function Shell() {
  const session = useSession();
  const refused =
    session.error instanceof Refused && (session.error.status === 401 || session.error.status === 403);
  if (refused) return <NotOpen onRetry={() => session.refetch()} />;
  return <Open />;
}

function NotOpen({ onRetry }: { onRetry: () => void }) {
  return (
    <main className="mx-auto flex h-full max-w-xl flex-col justify-center gap-4 p-6">
      <h1 className="font-semibold text-xl">{t("notOpen")}</h1>
      <p className="text-t2">{t("notOpenText")}</p>
      <pre className="rounded-md border border-line bg-s2 p-3 font-mono">clawmesh-node console</pre>
      <div>
        <Button onClick={onRetry}>{t("retry")}</Button>
      </div>
    </main>
  );
}

function Open() {
  const client = useQueryClient();
  const [palette, setPalette] = useState(false);
  useEffect(() => follow(client), [client]);
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") {
        e.preventDefault();
        setPalette(true);
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  const path = useRouterState({ select: (s) => s.location.pathname });
  const here = PAGES.find(([to]) => to === path)?.[1];
  useEffect(() => {
    document.title = here ? `${t(here)} · ClawMesh` : "ClawMesh";
  }, [here]);

  return (
    <div className="flex h-full flex-col">
      <a href="#page" className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:bg-s1 focus:p-2">
        {t("skip")}
      </a>
      <TopBar onSearch={() => setPalette(true)} />
      <Trouble />
      <div className="flex min-h-0 flex-1 flex-col-reverse sm:flex-row">
        <Rail />
        <main
          id="page"
          tabIndex={-1}
          className="flex min-h-0 min-w-0 flex-1 flex-col overflow-auto p-3 outline-none"
        >
          <h1 className="sr-only">{here ? t(here) : "ClawMesh"}</h1>
          <Outlet />
        </main>
      </div>
      {palette ? <Palette onClose={() => setPalette(false)} /> : null}
    </div>
  );
}

function useWaiting(): number {
  return useProposals().data?.filter(isWaiting).length ?? 0;
}

function TopBar({ onSearch }: { onSearch: () => void }) {
  const status = useStatus().data;
  const topology = useTopology().data;
  const waiting = useWaiting();
  const link = useLink();
  const live = link.state === "live";
  return (
    <header className="flex h-12 shrink-0 items-center gap-2 border-line border-b bg-s1 px-3 sm:gap-4">
      <Link to="/" aria-label={t("overview")} className="text-accent text-lg">
        <span aria-hidden="true">◆</span>
      </Link>
      <Txt className="max-w-32 truncate font-semibold">
        {status?.meshName ?? status?.displayName ?? "ClawMesh"}
      </Txt>
      {status?.demo ? (
        <span
          title={t("demoHint")}
          className="rounded-[4px] border border-info px-1 text-[11px] text-info leading-4"
        >
          {t("demo")}
        </span>
      ) : null}
      <Link to="/topology" className="hidden items-center gap-1.5 sm:flex">
        <State is={live ? "healthy" : link.state === "connecting" ? "unknown" : "offline"} word={!live} />
        {topology
          ? `${topology.nodes.filter((n) => n.connected).length}/${topology.nodes.length} ${t("nodes")}`
          : null}
      </Link>
      <Link
        to="/approvals"
        className={cx(
          "flex items-center gap-1.5 whitespace-nowrap",
          waiting ? "font-semibold text-warn" : "text-t2",
        )}
      >
        <span aria-hidden="true">{waiting ? "▲" : "●"}</span>
        {waiting} <span className={cx(!waiting && "hidden sm:inline")}>{t("waiting")}</span>
      </Link>
      <span className="flex-1" />
      <Button tone="quiet" onClick={onSearch} aria-keyshortcuts="Control+K Meta+K" className="px-2">
        <span aria-hidden="true">⌕</span> <span className="sr-only lg:not-sr-only">{t("search")}</span>
        <kbd className="hidden rounded-[4px] border border-line px-1 text-[11px] text-t2 lg:inline">
          Ctrl K
        </kbd>
      </Button>
      <ThemeButton />
      <StopButton />
    </header>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
function ThemeButton() {
  const [now, setNow] = useState<Theme>(theme());
  return (
    <Button
      tone="quiet"
      className="hidden px-2 sm:inline-flex"
      title={`${t("theme")}: ${t(now)}`}
      aria-label={`${t("theme")}: ${t(now)}`}
      onClick={() => {
        applyTheme(NEXT[now]);
        setNow(NEXT[now]);
      }}
    >
      <span aria-hidden="true">◐</span>
    </Button>
  );
}

/** The second line; there only when something is wrong. */
function Trouble() {
  const link = useLink();
  const now = useNow();
  const status = useStatus();
  const estop = useEstop().data;
  const topology = useTopology().data;
  const lines: [string, string, React.ReactNode?][] = [];
  const lost = link.state === "lost";
  if (lost) {
    const heard = link.heard;
    lines.push([
      "○",
      heard
        ? t("lost", { time: new Date(heard).toLocaleTimeString("en-GB"), age: span(now - heard) })
        : t("lostNever"),
    ]);
  }
  if (estop?.latched && estop.latch)
    lines.push([
      "■",
      t("latchedBy", {
        by: estop.latch.by,
        when: new Date(estop.latch.since).toLocaleTimeString("en-GB"),
        reason: estop.latch.reason || "–",
      }),
      <ReleaseButton key="release" />,
    ]);
  const others = topology?.nodes.filter((n) => n.estop && !n.own) ?? [];
  if (others.length)
    lines.push([
      "■",
      t("latchedAt", { names: others.map((n) => n.name ?? n.deviceId.slice(0, 8)).join(", ") }),
    ]);
  for (const problem of status.data?.problems ?? []) lines.push(["◐", t("problemLine", { text: problem })]);
  if (!lines.length) return null;
  return (
    <div role="status" className="shrink-0 border-line border-b bg-s2">
      {lines.slice(0, 4).map(([shape, text, extra]) => (
        <div
          key={text}
          className={cx("flex min-h-8 items-center gap-2 px-3", shape === "■" ? "text-danger" : "text-warn")}
        >
          <span aria-hidden="true">{shape}</span>
          <Txt className="min-w-0">{text}</Txt>
          {extra}
        </div>
      ))}
    </div>
  );
}

function Rail() {
  const waiting = useWaiting();
  const [more, setMore] = useState(false);
  const path = useRouterState({ select: (s) => s.location.pathname });
  useEffect(() => setMore(false), [path]);
  return (
    <nav
      aria-label={t("nav")}
      className="flex shrink-0 border-line border-t bg-s1 sm:w-14 sm:flex-col sm:gap-1 sm:border-t-0 sm:border-r sm:py-2 min-[1440px]:w-40"
    >
      <div
        className={cx(
          "contents",
          more &&
            "max-sm:fixed max-sm:inset-x-0 max-sm:bottom-12 max-sm:z-30 max-sm:grid max-sm:grid-cols-3 max-sm:border-line max-sm:border-t max-sm:bg-s1",
        )}
      >
        {PAGES.map(([to, name, glyph]) => {
          const onPhone = PHONE.includes(to);
          return (
            <Link
              key={to}
              to={to}
              activeOptions={{ exact: true, includeSearch: false }}
              title={t(name)}
              className={cx(
                "relative h-12 flex-1 flex-col items-center justify-center rounded-md text-t2 hover:bg-s2 sm:mx-2 sm:flex sm:h-10 sm:flex-none min-[1440px]:flex-row min-[1440px]:justify-start min-[1440px]:gap-3 min-[1440px]:px-2.5",
                onPhone || more ? "flex" : "hidden",
              )}
              activeProps={{ className: "bg-s3 text-t1 font-semibold", "aria-current": "page" }}
            >
              <svg
                aria-hidden="true"
                viewBox="0 0 24 24"
                className="size-5 shrink-0 fill-none stroke-current stroke-[1.7]"
              >
                <path d={glyph} strokeLinecap="round" strokeLinejoin="round" />
              </svg>
              <span className="text-[11px] sm:sr-only min-[1440px]:not-sr-only min-[1440px]:text-[13.5px]">
                {t(name)}
              </span>
              {to === "/approvals" && waiting ? (
                <span className="absolute top-0.5 right-1 text-[11px] text-warn leading-4 font-semibold">
                  ▲{waiting}
                </span>
              ) : null}
            </Link>
          );
        })}
      </div>
      <button
        type="button"
        aria-expanded={more}
        onClick={() => setMore(!more)}
        className="flex h-12 flex-1 flex-col items-center justify-center text-t2 sm:hidden"
      >
        <span aria-hidden="true" className="text-lg leading-5">
          ⋯
        </span>
        <span className="text-[11px]">{t("more")}</span>
      </button>
    </nav>
  );
}
