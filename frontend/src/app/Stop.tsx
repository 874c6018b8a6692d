/** Emergency stop: one press, no question asked; who answered is listed. Release is a separate act. */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { device } from "@/lib/format";
import { codeWord, t } from "@/lib/i18n";
import { call, type EstopReport } from "@/node/client";
import { useEstop, useSession } from "@/node/reads";
import { AskReason, Button, Dialog, STOP_ASKED, State, Txt } from "@/ui/kit";

export function StopButton() {
  const client = useQueryClient();
  const latched = useEstop().data?.latched ?? false;
  const [shown, setShown] = useState(false);
  const [report, setReport] = useState<EstopReport>();
  const [problem, setProblem] = useState("");
  const press = () => {
    setShown(true);
    setReport(undefined);
    setProblem("");
    call<EstopReport>("POST", "/estop", { reason: "console" })
      .then(setReport, (e: Error) => setProblem(e.message))
      .finally(() => void client.invalidateQueries());
  };
  // An open dialog has a button of its own, for this one cannot be reached behind it.
  useEffect(() => {
    window.addEventListener(STOP_ASKED, press);
    return () => window.removeEventListener(STOP_ASKED, press);
  });
  return (
    <>
      <Button
        tone="danger"
        title={t("stopHint")}
        aria-label={`${latched ? t("stopped") : t("stop")}: ${t("stopHint")}`}
        onClick={press}
        className="h-9! min-w-20 font-bold"
      >
        <span aria-hidden="true">■ {latched ? t("stopped") : t("stop")}</span>
      </Button>
      {shown ? (
        <Dialog title={t("stopResult")} onClose={() => setShown(false)}>
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
                          {e.latched ? `■ ${t("latched")}` : `▲ ${t("notLatched")}`}
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
            <Button onClick={() => setShown(false)}>{t("close")}</Button>
          </div>
        </Dialog>
      ) : null}
    </>
  );
}

export function ReleaseButton() {
  const client = useQueryClient();
  const session = useSession().data;
  const [asking, setAsking] = useState(false);
  if (session && session.scope !== "admin") return <span className="ml-auto">{t("releaseNotHere")}</span>;
  return (
    <>
      <Button className="ml-auto" onClick={() => setAsking(true)}>
        {t("release")}
      </Button>
      {asking ? (
        <AskReason
          title={t("releaseTitle")}
          text={t("releaseText")}
          go={t("confirm")}
          onClose={() => setAsking(false)}
          onGo={(reason) =>
            call("POST", "/estop/release", { reason }).finally(() => void client.invalidateQueries())
          }
        />
      ) : null}
    </>
  );
}
