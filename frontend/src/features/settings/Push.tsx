/** Notifications by push on this phone: why they are not to be had, on, off, a test. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { language, refusal, t } from "@/lib/i18n";
import { post, Refused } from "@/node/client";
import { usePush, useSession, useSubscribed } from "@/node/reads";
import { PushFailed, subscribe, trouble, unsubscribe } from "@/platform/push";
import { Age, Button, Loaded, Panel, Txt } from "@/ui/kit";

const saying = (e: unknown): string =>
  e instanceof PushFailed ? t(e.why) : e instanceof Refused ? e.message : t("pushFailed");

export function Push() {
  const push = usePush();
  const session = useSession().data;
  const here = useSubscribed();
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [sent, setSent] = useState(false);
  if (!push.isEnabled) return null;
  const run = (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblem("");
    setSent(false);
    return work()
      .catch((e: unknown) => setProblem(saying(e)))
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["push"] });
        void client.invalidateQueries({ queryKey: ["subscribed"] });
        void client.invalidateQueries({ queryKey: ["sessions"] });
      });
  };
  const on = (key: string) =>
    run(() => subscribe(key, language()).then((subscription) => post("/push", subscription)));
  const off = () => run(() => post("/push/off").then(unsubscribe));
  const test = () => run(() => post("/push/test").then(() => setSent(true)));
  return (
    <Panel title={t("push")}>
      <Loaded q={push}>
        {(p) => {
          const why = trouble();
          const is = p.on && here.data !== false;
          if (!p.key)
            return (
              <p className="text-t2">
                ◇ {session?.away && p.why ? refusal("INTERNAL_ERROR", p.why) : t("pushHere")}
              </p>
            );
          return (
            <div className="flex flex-col gap-2">
              <p className="text-t2">{t("pushText")}</p>
              {why ? (
                <p className="text-warn">▲ {t(why)}</p>
              ) : is ? (
                <p role="status" className="text-ok">
                  ● {t("pushOn")}{" "}
                  {p.toldAt ? (
                    <span className="text-t2">
                      {t("pushTold")} <Age time={p.toldAt} />
                    </span>
                  ) : null}
                </p>
              ) : (
                <p className="text-t2">○ {t("pushOff")}</p>
              )}
              {p.problem ? (
                <p className="text-warn">
                  ◐ {is ? `${t("pushProblem")} ` : ""}
                  <Txt max={300}>{p.problem}</Txt>
                </p>
              ) : null}
              <div className="flex flex-wrap gap-2">
                {is ? (
                  <>
                    <Button disabled={busy || Boolean(why)} onClick={() => void test()}>
                      {t("pushTest")}
                    </Button>
                    <Button disabled={busy} onClick={() => void off()}>
                      {t("pushTurnOff")}
                    </Button>
                  </>
                ) : (
                  <Button tone="accent" disabled={busy || Boolean(why)} onClick={() => void on(p.key ?? "")}>
                    {t("pushTurnOn")}
                  </Button>
                )}
              </div>
              {sent ? (
                <p role="status" className="text-t2">
                  {t("pushSent")}
                </p>
              ) : null}
              {problem ? (
                <p role="alert" className="text-danger">
                  ▲ <Txt max={300}>{problem}</Txt>
                </p>
              ) : null}
            </div>
          );
        }}
      </Loaded>
    </Panel>
  );
}
