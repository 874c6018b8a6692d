/** What the desktop window shows around the node's life: starting, a choice, a failure. Never nothing. */
import { type ReactNode, useSyncExternalStore } from "react";
import { t } from "@/lib/i18n";
import { Button, Panel } from "@/ui/kit";
import { choose, type Desk, deskNow, inWindow, onDesk, quit } from "./desktop";

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

/** What does not work on this desktop; nothing in a browser, or where all works. */
export function ThisDesktop() {
  const desk = useDesk();
  if (!desk) return null;
  return (
    <Panel title={t("thisDesktop")}>
      <p>{desk.tray ? t("closesToTray") : t("closesForGood")}</p>
      <ul>
        {desk.notes.map((note) => (
          <li key={note} className="text-warn">
            <span aria-hidden="true">◐ </span>
            <bdi>{note}</bdi>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
