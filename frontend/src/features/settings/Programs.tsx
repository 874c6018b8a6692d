/** Programs that speak MCP with this node, what each called last, and the end of a token. */
import { useState } from "react";
import { t } from "@/lib/i18n";
import { type Program, remove } from "@/node/client";
import { usePrograms, useSession } from "@/node/reads";
import { Age, Button, Loaded, Panel, Txt } from "@/ui/kit";
import { Ending } from "./Ending";

export function Programs() {
  const me = useSession().data;
  const programs = usePrograms();
  const [ending, setEnding] = useState<Program>();
  const ends = me?.scope === "admin";
  return (
    <Panel title={t("programs")}>
      <p className="mb-2 text-t2">{t("programsText")}</p>
      <Loaded q={programs}>
        {(list) =>
          list.length ? (
            <ul className="flex flex-col gap-2">
              {list.map((one) => (
                <li
                  key={one.name}
                  aria-label={one.name}
                  className="flex flex-wrap items-center gap-x-4 gap-y-1 border-line border-t pt-2 first:border-t-0 first:pt-0"
                >
                  <span className="min-w-0 flex-1">
                    <span className="font-medium">
                      <Txt>{one.name}</Txt>
                    </span>
                    {one.says ? (
                      <span className="text-t2">
                        {" "}
                        · <Txt max={60}>{one.says}</Txt>
                      </span>
                    ) : null}
                    <span className="block text-t2">
                      {one.addedAt ? t("programToken") : t("sessionHere")} ·{" "}
                      {one.heardAt ? (
                        <>
                          {t("programHeard")} <Age time={one.heardAt} /> ·{" "}
                          {t("programCalls", { n: one.calls })}
                        </>
                      ) : (
                        t("programNever")
                      )}
                      {one.refused ? ` · ${t("programRefused", { n: one.refused })}` : null}
                    </span>
                    {one.recent[0] ? <Last call={one.recent[0]} /> : null}
                  </span>
                  {ends && one.addedAt ? (
                    <Button onClick={() => setEnding(one)}>{t("programEnd")}</Button>
                  ) : null}
                </li>
              ))}
            </ul>
          ) : (
            <p className="text-t2">{t("noPrograms")}</p>
          )
        }
      </Loaded>
      {ending ? (
        <Ending
          title={t("programEnd")}
          text={t("programEndText", { name: ending.name })}
          end={() => remove("/mcp/clients/{id}", { id: ending.name })}
          onClose={() => setEnding(undefined)}
        />
      ) : null}
    </Panel>
  );
}

function Last({ call }: { call: Program["recent"][number] }) {
  return (
    <span className="block text-t2">
      <code>{call.tool}</code> <Age time={call.at} />
      {call.refused ? (
        <>
          {" "}
          ◐ <Txt max={200}>{call.refused}</Txt>
        </>
      ) : null}
    </span>
  );
}
