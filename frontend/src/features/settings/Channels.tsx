/** The ways to people that this node has: its bots, which node answers each, and the places that are told of alerts. */
import { t } from "@/lib/i18n";
import type { Status } from "@/node/client";
import { useStatus } from "@/node/reads";
import { Age, Panel, Txt } from "@/ui/kit";

export function Channels() {
  const status = useStatus().data;
  const bots = status?.bots ?? [];
  const places = status?.places ?? [];
  if (!bots.length && !places.length) return null;
  return (
    <Panel title={t("channels")}>
      <ul className="flex flex-col gap-2">
        {bots.map((bot) => (
          <Bot key={bot.kind} bot={bot} />
        ))}
        {places.map((place) => (
          <li key={place.name}>
            <span className={place.problem ? "text-warn" : "text-ok"}>{place.problem ? "◐" : "●"}</span>{" "}
            <span className="font-medium">
              <Txt>{place.name}</Txt>
            </span>{" "}
            <span className="text-t2">
              <Txt max={120}>{place.way}</Txt>
            </span>
            {place.problem ? (
              <span className="block text-warn">
                <Txt max={300}>{place.problem}</Txt>
              </span>
            ) : null}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Bot({ bot }: { bot: NonNullable<Status["bots"]>[number] }) {
  const good = Boolean(bot.answeredBy) && !bot.problem;
  return (
    <li>
      <span className={good ? "text-ok" : "text-warn"}>{good ? "●" : "◐"}</span>{" "}
      <span className="font-medium">
        <Txt>{`${bot.kind} ${bot.name ?? ""}`}</Txt>
      </span>{" "}
      <span className="text-t2">
        {bot.answeredBy ? (
          <Txt max={120}>{t("botAnswers", { node: bot.answeredBy })}</Txt>
        ) : (
          <Txt max={200}>{bot.standsBy ?? t("botNobody")}</Txt>
        )}
      </span>
      <span className="block text-t2">
        {bot.heardAt ? (
          <>
            {t("botHeard")} <Age time={bot.heardAt} />
          </>
        ) : (
          t("botNotHeard")
        )}
      </span>
      {bot.failedWhy && bot.failedAt ? (
        <span className="block text-warn">
          {t("botFailed")} <Age time={bot.failedAt} />: <Txt max={300}>{bot.failedWhy}</Txt>
        </span>
      ) : null}
    </li>
  );
}
