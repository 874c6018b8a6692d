/** What never scrolls away: where you are, whether it is live, what waits, and the stop. */

import { useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState, useSyncExternalStore } from "react";
import { clockAhead } from "@/lib/clock";
import { type Health, overall, type Seen, troubles, type Trouble as Wrong } from "@/lib/condition";
import { span } from "@/lib/format";
import { alarmWords, clockTime, language, onLanguage, t } from "@/lib/i18n";
import { recall } from "@/lib/keep";
import { isAway, pathOfLink } from "@/lib/link";
import { isFirstRun, welcomeKey } from "@/lib/welcome";
import { tame } from "@/lib/words";
import { Refused } from "@/node/client";
import { follow, useLink } from "@/node/live";
import { isWaiting } from "@/node/patch";
import { useEstop, usePeers, useProposals, useSession, useStatus, useTopology, useTrust } from "@/node/reads";
import { applyTheme, type Theme, theme } from "@/platform/browser";
import { Button, cx, Field, State, Txt, useNow } from "@/ui/kit";
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
  const away = isAway(location);
  return (
    <main className="mx-auto flex h-full max-w-xl flex-col justify-center gap-4 p-6">
      <h1 className="font-semibold text-xl">{t("notOpen")}</h1>
      <p className="text-t2">{t("notOpenText")}</p>
      <pre className="rounded-md border border-line bg-s2 p-3 font-mono">
        clawmesh-node console{away ? " --phone" : ""}
      </pre>
      {away ? <Paste /> : null}
      <div>
        <Button onClick={onRetry}>{t("retry")}</Button>
      </div>
    </main>
  );
}

/** An app on the home screen has no place for an address, and shares no session with the browser that opens a link. */
function Paste() {
  const [pasted, setPasted] = useState("");
  const [odd, setOdd] = useState(false);
  const go = (e: FormEvent) => {
    e.preventDefault();
    const path = pathOfLink(pasted);
    if (path) location.assign(path);
    else setOdd(true);
  };
  return (
    <form onSubmit={go} className="flex flex-col gap-2">
      <Field
        label={t("pasteLink")}
        value={pasted}
        autoComplete="off"
        autoCapitalize="off"
        spellCheck={false}
        onChange={(e) => {
          setPasted(e.target.value);
          setOdd(false);
        }}
      />
      {odd ? (
        <p role="alert" className="text-danger">
          ▲ {t("pasteOdd")}
        </p>
      ) : null}
      <div>
        <Button type="submit" tone="accent">
          {t("pasteOpen")}
        </Button>
      </div>
    </form>
  );
}

function Open() {
  const client = useQueryClient();
  const [palette, setPalette] = useState(false);
  const tongue = useSyncExternalStore(onLanguage, language);
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
  const here = path === "/welcome" ? "welcome" : PAGES.find(([to]) => to === path)?.[1];
  useEffect(() => {
    document.title = here ? `${t(here)} · ClawMesh` : "ClawMesh";
  }, [here, tongue]);

  return (
    <div className="flex h-full flex-col">
      <a href="#page" className="sr-only focus:not-sr-only focus:absolute focus:z-50 focus:bg-s1 focus:p-2">
        {t("skip")}
      </a>
      <TopBar onSearch={() => setPalette(true)} />
      <FirstSteps path={path} />
      <Trouble />
      <div className="flex min-h-0 flex-1 flex-col-reverse sm:flex-row">
        <Rail />
        <main
          id="page"
          tabIndex={-1}
          className="flex min-h-0 min-w-0 flex-1 flex-col overflow-auto p-3 outline-none"
        >
          <h1 className="sr-only">{here ? t(here) : "ClawMesh"}</h1>
          {/* Another language draws the page anew at the same address; what is around it only speaks differently. */}
          <Outlet key={tongue} />
        </main>
      </div>
      {palette ? <Palette onClose={() => setPalette(false)} /> : null}
    </div>
  );
}

/** A new node shows the first steps instead of an empty overview; any other address is left alone. */
function FirstSteps({ path }: { path: string }) {
  const go = useNavigate();
  const status = useStatus().data;
  const trusted = useTrust().data?.length;
  const first =
    path === "/" &&
    status !== undefined &&
    isFirstRun({
      demo: status.demo,
      trusted,
      peers: status.peers.length,
      dismissed: recall<string>(welcomeKey(status.deviceId), "") === "done",
    });
  useEffect(() => {
    if (first) void go({ to: "/welcome", replace: true });
  }, [first, go]);
  return null;
}

function useWaiting(): number {
  return useProposals().data?.filter(isWaiting).length ?? 0;
}

function useSeen(): Seen {
  return {
    status: useStatus().data,
    topology: useTopology().data,
    peers: usePeers().data,
    estop: useEstop().data,
    clockMs: clockAhead(),
  };
}

function TopBar({ onSearch }: { onSearch: () => void }) {
  const seen = useSeen();
  const { status, topology } = seen;
  const waiting = useWaiting();
  const link = useLink();
  const is = overall(link.state, seen);
  const planner = topology?.nodes.find((n) => n.role === "planner" && (n.connected || n.own));
  return (
    <header className="flex h-12 shrink-0 items-center gap-2 border-line border-b bg-s1 px-3 sm:gap-4">
      <Link to="/" aria-label={t("overview")} className="text-accent text-lg">
        <span aria-hidden="true">◆</span>
      </Link>
      <Txt className="min-w-8 max-w-40 shrink truncate font-semibold" title={status?.meshId}>
        {status ? status.meshName || status.displayName : "ClawMesh"}
      </Txt>
      {status?.demo ? (
        <span
          title={t("demoHint")}
          className="shrink-0 rounded-[4px] border border-info px-1 text-[11px] text-info leading-4"
        >
          {t("demo")}
        </span>
      ) : null}
      <Link to="/topology" className="flex shrink-0 items-center gap-1.5">
        <State is={is} word="wide" />
        {topology ? (
          <span className="max-sm:text-[12px]">
            {topology.nodes.filter((n) => n.connected || n.own).length}/{topology.nodes.length}
            <span className="max-sm:sr-only"> {t("nodes")}</span>
          </span>
        ) : null}
      </Link>
      {planner ? (
        <span className="hidden min-w-0 items-center gap-1 text-t2 lg:flex" title={t("plannerOfMesh")}>
          <span aria-hidden="true">♛</span>
          <span className="sr-only">{t("plannerOfMesh")}: </span>
          <Txt className="max-w-40 truncate">{planner.name || planner.deviceId.slice(0, 8)}</Txt>
        </span>
      ) : null}
      <Link
        to="/approvals"
        className={cx(
          "flex shrink-0 items-center gap-1.5 whitespace-nowrap",
          waiting ? "font-semibold text-warn" : "text-t2",
        )}
      >
        <span aria-hidden="true">{waiting ? "▲" : "△"}</span>
        {waiting} <span className="max-sm:sr-only">{t("waiting")}</span>
      </Link>
      <span className="flex-1" />
      <Button tone="quiet" onClick={onSearch} aria-keyshortcuts="Control+K Meta+K" className="px-2">
        <svg aria-hidden="true" viewBox="0 0 24 24" className="size-4 fill-none stroke-2 stroke-current">
          <path d="M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 20 20" strokeLinecap="round" />
        </svg>
        <span className="max-lg:sr-only">{t("search")}</span>
        <span aria-hidden="true" className="max-lg:hidden">
          <kbd>Ctrl K</kbd>
        </span>
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
      className="px-2 max-sm:hidden"
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

const BADGE_MAX = 99;
const SHAPE: Partial<Record<Health, string>> = { stopped: "■", needs: "▲", degraded: "◐", offline: "○" };
const MOST_LINES = 3;

/** Where an alarm is looked into; of the others the machine itself has to be seen to. */
const ALARM_PAGE: Record<string, string> = {
  "actuator.astray": "/topology",
  "actuator.unsafe": "/topology",
  "peer.clock": "/topology",
  "device.over-budget": "/trust",
  "address.over-budget": "/topology",
  "policy.warns": "/settings",
  "planner.suspended": "/models",
  "gateway.lost": "/gateways",
};

interface Told {
  text: string;
  /** The node's own sentence behind it. */
  detail?: string;
  to?: string;
  extra?: React.ReactNode;
}

/** What a trouble is called, and where it is mended. */
function told(x: Wrong, estop: Seen["estop"]): Told {
  const text = tame(x.text, 300);
  switch (x.what) {
    case "estopOwn": {
      const latch = estop?.latch;
      return {
        text: t("latchedBy", {
          by: tame(latch?.by || t("notKnown"), 80),
          when: latch ? clockTime(latch.since) : "–",
          reason: tame(latch?.reason || "–", 200),
        }),
        extra: <ReleaseButton key="release" />,
      };
    }
    case "alarm": {
      const alarm = x.alarm;
      if (!alarm) return { text };
      const { title, advice } = alarmWords(alarm);
      return {
        text: `${title}. ${advice}`,
        to: ALARM_PAGE[alarm.kind],
        detail: alarm.message,
      };
    }
    case "estopOther":
      return { text: t("latchedAt", { names: text }), to: "/topology" };
    case "policy":
      return { text: t("policyLine", { text }), to: "/settings" };
    case "clock":
      return { text: t("clockLine"), to: "/settings" };
    case "away":
      return { text: t("awayLine", { names: text }), to: "/topology" };
    case "refused":
      return { text: t("refusedLine", { text }), to: "/trust" };
    case "drafts":
      return { text: t("draftsLine", { n: Number(text) }), to: "/approvals" };
    case "browserClock":
      return {
        text: t((x.ms ?? 0) > 0 ? "browserBehind" : "browserAhead", { span: span(Math.abs(x.ms ?? 0)) }),
      };
    default:
      return { text: t("problemLine", { text }) };
  }
}

/** The second line; there only when something is wrong. */
function Trouble() {
  const link = useLink();
  const now = useNow();
  const seen = useSeen();
  const [all, setAll] = useState(false);
  const list = troubles(seen);
  const lost = link.state === "lost";
  if (!list.length && !lost) return null;
  const shown = all ? list : list.slice(0, MOST_LINES);
  return (
    <div role="status" className="max-h-[40vh] shrink-0 overflow-auto border-line border-b bg-s2">
      {lost ? (
        <div className="flex min-h-8 items-center gap-2 px-3 text-warn">
          <span aria-hidden="true">○</span>
          <span className="min-w-0">
            {link.heard
              ? t("lost", {
                  time: clockTime(link.heard),
                  age: span(now - link.heard),
                })
              : t("lostNever")}
          </span>
        </div>
      ) : null}
      {shown.map((x) => {
        const { text, detail, to, extra } = told(x, seen.estop);
        return (
          <div
            key={x.what + x.text}
            className={cx(
              "flex min-h-8 items-center gap-2 px-3",
              x.is === "stopped" || x.is === "needs" ? "font-medium text-danger" : "text-warn",
            )}
          >
            <span aria-hidden="true">{SHAPE[x.is] ?? "◇"}</span>
            <span className="min-w-0 wrap-anywhere">
              <bdi>{text}</bdi>{" "}
              {detail ? (
                <span className="font-normal text-t2">
                  <Txt max={300}>{detail}</Txt>
                </span>
              ) : null}
            </span>
            {to ? (
              <Link to={to} className="ml-auto shrink-0 text-accent underline">
                {t("look")}
              </Link>
            ) : null}
            {extra}
          </div>
        );
      })}
      {list.length > MOST_LINES ? (
        <button type="button" className="px-3 pb-1 text-accent underline" onClick={() => setAll(!all)}>
          {all ? t("showLess") : t("moreTroubles", { n: list.length - MOST_LINES })}
        </button>
      ) : null}
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
      className="flex shrink-0 border-line border-t bg-s1 sm:w-14 sm:flex-col sm:gap-1 sm:border-t-0 sm:border-r sm:py-2 min-[90rem]:w-44"
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
                "relative h-12 flex-1 flex-col items-center justify-center rounded-md text-t2 hover:bg-s2 sm:mx-2 sm:flex sm:h-10 sm:flex-none min-[90rem]:flex-row min-[90rem]:justify-start min-[90rem]:gap-3 min-[90rem]:px-2.5",
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
              <span className="text-[11px] sm:sr-only min-[90rem]:not-sr-only min-[90rem]:text-[13.5px]">
                {t(name)}
              </span>
              {to === "/approvals" && waiting ? (
                <span className="absolute top-0.5 right-1 text-[11px] text-warn leading-4 font-semibold">
                  ▲{waiting > BADGE_MAX ? `${BADGE_MAX}+` : waiting}
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
