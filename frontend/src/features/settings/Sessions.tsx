/** The browsers that have a session with this node, on its machine and on others, and the end of one of them. */
import { useState } from "react";
import { dateTime, t } from "@/lib/i18n";
import { type OpenSession, post } from "@/node/client";
import { useSession, useSessions } from "@/node/reads";
import { Age, Button, Loaded, Panel, Txt } from "@/ui/kit";
import { Ending } from "./Ending";

const scopeWord = (scope: OpenSession["scope"]) =>
  t(scope === "admin" ? "sc_admin" : scope === "operate" ? "sc_operate" : "sc_read");

export function Sessions() {
  const me = useSession().data;
  const mine = me?.scope;
  // A phone with less than admin ends its own session alone.
  const ends = (one: OpenSession) => one.own || !me?.away || mine === "admin";
  const sessions = useSessions(mine === "operate" || mine === "admin");
  const [ending, setEnding] = useState<OpenSession>();
  if (!sessions.isEnabled) return null;
  return (
    <Panel title={t("sessions")}>
      <Loaded q={sessions}>
        {(list) =>
          list.length ? (
            <ul className="flex flex-col gap-2">
              {list.map((one) => (
                <li
                  key={one.id}
                  aria-label={`${one.name} ${one.id}`}
                  className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-t pt-2 first:border-t-0 first:pt-0"
                >
                  <span className="min-w-0 flex-1">
                    <span className="font-medium">
                      <Txt>{one.name}</Txt>
                    </span>
                    {one.own ? <span className="text-t2"> · {t("thisSession")}</span> : null}
                    <span className="block text-t2">
                      {one.away ? t("sessionAway", { from: one.from ?? "–" }) : t("sessionHere")} ·{" "}
                      {scopeWord(one.scope)}
                      {one.push ? ` · ${t("pushOnShort")}` : null}
                    </span>
                    {one.pushProblem ? (
                      <span className="block text-warn">
                        ◐ {t("pushProblem")} <Txt max={200}>{one.pushProblem}</Txt>
                      </span>
                    ) : null}
                    <span className="block text-t2">
                      {t("sessionUsed")} <Age time={one.seenAt} /> · {t("untilWhen")}{" "}
                      {dateTime(one.expiresAt)}
                    </span>
                  </span>
                  {ends(one) ? <Button onClick={() => setEnding(one)}>{t("sessionEnd")}</Button> : null}
                </li>
              ))}
            </ul>
          ) : (
            <p className="text-t2">{t("noSessions")}</p>
          )
        }
      </Loaded>
      {ending ? (
        <Ending
          title={t("sessionEnd")}
          text={t("sessionEndText", { name: ending.name })}
          end={() => post("/sessions/{id}/end", undefined, { id: ending.id })}
          onClose={() => setEnding(undefined)}
        />
      ) : null}
    </Panel>
  );
}
