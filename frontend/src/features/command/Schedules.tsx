/** What the planner asks for at times of a schedule: when next, when last, and who asks. */
import { dateTime, t } from "@/lib/i18n";
import { usePlanner } from "@/node/reads";
import { cx, Panel, Txt } from "@/ui/kit";
import { asksWord } from "./model";

export function Schedules() {
  const planner = usePlanner().data;
  if (!planner?.schedules?.length) return null;
  return (
    <Panel title={t("schedules")} flush className="lg:max-h-64">
      <ul>
        {planner.schedules.map((s) => (
          <li key={s.rule} className="border-line/60 border-b px-3 py-1.5 last:border-b-0">
            <span className="flex flex-wrap justify-between gap-x-3">
              <Txt max={120} className="font-medium">
                {s.rule}
              </Txt>
              <Txt max={80} className={cx((planner.pause || s.leftTo) && "text-warn")}>
                {asksWord(planner, s)}
              </Txt>
            </span>
            <span className="flex flex-wrap gap-x-3 text-[12px] text-t2">
              <Txt max={80} className="font-mono">
                {s.at}
              </Txt>
              <span>{s.nextAt ? t("nextTime", { time: dateTime(s.nextAt) }) : t("noNextTime")}</span>
              <span>{s.lastAt ? t("cameLast", { time: dateTime(s.lastAt) }) : t("notYetCome")}</span>
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
