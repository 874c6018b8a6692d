/** What the desktop window shows around the node's life: starting, a choice, a failure. Never nothing. */
import { type ReactNode, useState, useSyncExternalStore } from "react";
import { t } from "@/lib/i18n";
import { Button, Field, Panel } from "@/ui/kit";
import { choose, configure, type Desk, type DeskSettings, deskNow, inWindow, onDesk, quit } from "./desktop";
import { Updates } from "./Updates";

export const useDesk = (): Desk | undefined => useSyncExternalStore(onDesk, deskNow);

/** The console once the node in this window runs; in a browser the console. */
export function Around({ children }: { children: ReactNode }) {
  const desk = useDesk();
  if (!inWindow || desk?.stage === "running") return children;
  return <Waiting desk={desk} />;
}

function Waiting({ desk }: { desk: Desk | undefined }) {
  const stage = desk?.stage ?? "starting";
  const title = { starting: t("nodeStarts"), ending: t("nodeEnds"), failed: t("nodeFailed") };
  return (
    <main className="mx-auto flex h-full max-w-xl flex-col justify-center gap-4 p-6">
      <h1 className="font-semibold text-xl" role="status">
        {stage === "keychain" ? t("keychainShut") : stage === "running" ? "" : title[stage]}
      </h1>
      {desk?.stage === "failed" || desk?.stage === "keychain" ? (
        <p role="alert" className="wrap-anywhere rounded-md border border-warn p-3">
          <span aria-hidden="true">▲ </span>
          <bdi>{desk.why}</bdi>
        </p>
      ) : null}
      {desk?.stage === "keychain" ? (
        <p className="text-t2">{desk.filePossible ? t("keychainChoice") : t("keychainOnly")}</p>
      ) : null}
      {desk?.stage === "failed" || desk?.stage === "keychain" ? (
        <div className="flex flex-wrap gap-2">
          <Button tone="accent" onClick={() => void choose("retry")}>
            {desk.stage === "keychain" ? t("keychainRetry") : t("retry")}
          </Button>
          {desk.stage === "keychain" && desk.filePossible ? (
            <Button onClick={() => void choose("file")}>{t("keychainFile")}</Button>
          ) : null}
          <Button tone="quiet" onClick={() => void quit()}>
            {t("quit")}
          </Button>
        </div>
      ) : null}
      {desk ? (
        <p className="text-t2">
          <bdi className="wrap-anywhere font-mono text-[12.5px]">{desk.stateDir}</bdi>
        </p>
      ) : null}
    </main>
  );
}

/** This desktop: what is chosen for it and what does not work on it; nothing in a browser. */
export function ThisDesktop() {
  const desk = useDesk();
  const [problem, setProblem] = useState("");
  if (!desk) return null;
  const change = (what: Parameters<typeof configure>[0]) =>
    configure(what).then(
      () => setProblem(""),
      (e: unknown) => setProblem(e instanceof Error ? e.message : String(e)),
    );
  const { settings } = desk;
  return (
    <Panel title={t("thisDesktop")}>
      <div className="flex flex-col gap-2">
        <p>{desk.tray ? t("closesToTray") : t("closesForGood")}</p>
        {desk.autostart === null ? null : (
          <Check on={desk.autostart} label={t("autostart")} onPick={(on) => change({ autostart: on })} />
        )}
        <Check
          on={settings.notifications !== false}
          label={t("notifications")}
          onPick={(on) => change({ settings: { ...settings, notifications: on } })}
        />
        {settings.notifications === false ? null : <Silent settings={settings} onPick={change} />}
        {desk.update ? <Updates update={desk.update} /> : null}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <bdi className="wrap-anywhere">{problem}</bdi>
          </p>
        ) : null}
        <ul>
          {desk.notes.map((note) => (
            <li key={note} className="text-warn">
              <span aria-hidden="true">◐ </span>
              <bdi>{note}</bdi>
            </li>
          ))}
        </ul>
      </div>
    </Panel>
  );
}

function Check({ on, label, onPick }: { on: boolean; label: string; onPick: (on: boolean) => void }) {
  return (
    <label className="flex min-h-8 items-center gap-2">
      <input type="checkbox" checked={on} onChange={(e) => onPick(e.target.checked)} />
      {label}
    </label>
  );
}

/** A night, to begin with. */
const NIGHT = { from: "22:00", to: "07:00" };

function Silent({
  settings,
  onPick,
}: {
  settings: DeskSettings;
  onPick: (change: { settings: DeskSettings }) => void;
}) {
  const hours = settings.silentHours;
  const [from, setFrom] = useState(hours?.from ?? NIGHT.from);
  const [to, setTo] = useState(hours?.to ?? NIGHT.to);
  const keep = (silentHours: DeskSettings["silentHours"]) =>
    onPick({ settings: { ...settings, silentHours } });
  return (
    <>
      <Check
        on={Boolean(hours)}
        label={t("silentHours")}
        onPick={(on) => keep(on ? { from, to } : undefined)}
      />
      {hours ? (
        <form
          className="flex flex-wrap items-end gap-2"
          onSubmit={(e) => {
            e.preventDefault();
            keep({ from, to });
          }}
        >
          <Field label={t("silentFrom")} value={from} onChange={(e) => setFrom(e.target.value)} {...TIME} />
          <Field label={t("silentTo")} value={to} onChange={(e) => setTo(e.target.value)} {...TIME} />
          <Button type="submit" disabled={from === hours.from && to === hours.to}>
            {t("nameGo")}
          </Button>
        </form>
      ) : null}
    </>
  );
}

const TIME = { className: "w-24", inputMode: "numeric", maxLength: 5, placeholder: "22:00" } as const;
