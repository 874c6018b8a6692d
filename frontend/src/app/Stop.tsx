/** Emergency stop: one press, no question asked; who answered is listed. Release is a separate act. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { device } from "@/lib/format";
import { codeWord, type Key, t } from "@/lib/i18n";
import { type EstopReport, post } from "@/node/client";
import { useEstop, useSession } from "@/node/reads";
import { inWindow, onStop, stopSeen } from "@/platform/desktop";
import { AskReason, Dialog, STOP_ASKED } from "@/ui/dialog";
import { Button, State, Txt } from "@/ui/kit";

/** What is known of an executor that did not say it is latched: no more is claimed than that. */
const KNOWN = {
  latched: "latched",
  until_restart: "stopUntilRestart",
  refused: "notLatched",
  no_answer: "stopNoAnswer",
  not_told: "stopNotTold",
} as const satisfies Record<EstopReport["executors"][number]["known"], Key>;

export function StopButton() {
  const latched = useEstop().data?.latched ?? false;
  return (
    <Button
      tone="danger"
      title={t("stopHint")}
      aria-label={`${latched ? t("stopped") : t("stop")}: ${t("stopHint")}`}
      onClick={() => window.dispatchEvent(new Event(STOP_ASKED))}
      className="h-9! min-w-20 font-bold"
    >
      <span aria-hidden="true">■ {latched ? t("stopped") : t("stop")}</span>
    </Button>
  );
}

/**
 * Asks for the stop whenever a stop button was pressed, and shows what it came to; also what the tray's
 * came to, whatever page is open and whether or not the node runs.
 */
export function StopReport() {
  const client = useQueryClient();
  const [shown, setShown] = useState(false);
  const [report, setReport] = useState<EstopReport>();
  const [problem, setProblem] = useState("");
  useEffect(() => {
    const press = () => {
      setShown(true);
      setReport(undefined);
      setProblem("");
      post("/estop", { reason: "console" })
        .then(setReport, (e: Error) => setProblem(e.message))
        .finally(() => void client.invalidateQueries());
    };
    window.addEventListener(STOP_ASKED, press);
    return () => window.removeEventListener(STOP_ASKED, press);
  }, [client]);
  useEffect(
    () =>
      onStop((told) => {
        setShown(true);
        setReport(told.report ?? undefined);
        setProblem(told.report ? "" : (told.problem ?? t("notKnown")));
        void client.invalidateQueries();
      }),
    [client],
  );
  const close = () => {
    setShown(false);
    // Refused only if no person pressed: it then is shown again.
    if (inWindow) stopSeen().catch(() => {});
  };
  if (!shown) return null;
  return (
    <Dialog title={t("stopResult")} onClose={close}>
      <div role="alert" className="flex flex-col gap-3">
        {problem ? <p className="text-danger">▲ {t("stopFailed", { text: problem })}</p> : null}
        {!problem && !report ? <p>{t("stopAsking")}</p> : null}
        {report ? (
          <>
            <p className={report.complete ? "text-ok" : "font-semibold text-danger"}>
              {report.complete ? `● ${t("stopComplete")}` : `▲ ${t("stopIncomplete")}`}
            </p>
            <ul className="flex flex-col gap-2">
              {report.executors.map((e) => (
                <li key={e.deviceId} className="rounded-md border border-line p-2">
                  <div className="flex flex-wrap justify-between gap-2">
                    <Txt className="font-medium">{e.name ?? e.deviceId.slice(0, 8)}</Txt>
                    <span className={e.latched ? "text-ok" : "text-danger"}>
                      {e.latched ? `■ ${t("latched")}` : `▲ ${t(KNOWN[e.known])}`}
                    </span>
                  </div>
                  {e.problem ? (
                    <p className="text-danger">
                      <Txt>{e.problem}</Txt>
                    </p>
                  ) : null}
                  {e.actuators.map((a) => (
                    <div key={a.target} className="flex flex-wrap justify-between gap-2 text-t2">
                      <Txt title={a.target}>{device(a.target)}</Txt>
                      <span className="flex gap-2">
                        <Txt>{codeWord("pos", a.position ?? "–")}</Txt>
                        {a.safe ? (
                          <span className="text-ok">● {t("safe")}</span>
                        ) : (
                          <span className="text-danger">
                            ▲ {t("notSafe")} {a.problem}
                          </span>
                        )}
                      </span>
                    </div>
                  ))}
                  {e.actuators.length ? null : <State is="unknown" word={false} />}
                  {e.actuators.length ? null : <span className="ml-1 text-t2">{t("noActuators")}</span>}
                </li>
              ))}
            </ul>
          </>
        ) : null}
      </div>
      <div className="mt-4 flex justify-end">
        <Button onClick={close}>{t("close")}</Button>
      </div>
    </Dialog>
  );
}

export function ReleaseButton() {
  const client = useQueryClient();
  const session = useSession().data;
  const holds = useEstop().data?.latch?.id;
  // The stop that is on screen when the release is asked for; another that comes meanwhile is not released.
  const [asked, setAsked] = useState<{ seen?: string }>();
  if (session && session.scope !== "admin") return <span className="ml-auto">{t("releaseNotHere")}</span>;
  return (
    <>
      <Button className="ml-auto" onClick={() => setAsked({ seen: holds })}>
        {t("release")}
      </Button>
      {asked ? (
        <AskReason
          title={t("releaseTitle")}
          text={t("releaseText")}
          go={t("confirm")}
          onClose={() => setAsked(undefined)}
          onGo={(reason) =>
            post("/estop/release", { reason, ...asked }).finally(() => void client.invalidateQueries())
          }
        />
      ) : null}
    </>
  );
}
