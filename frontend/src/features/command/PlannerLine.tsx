/** What the planner does and why, in one line. */
import { Link } from "@tanstack/react-router";
import { plannerWord, t } from "@/lib/i18n";
import { usePlanner } from "@/node/reads";
import { cx, Txt } from "@/ui/kit";

/** The shape of each state; one that this console does not know is neither well nor ill. */
const SHAPES: Record<string, string> = { idle: "●", paused: "■", suspended: "■", off: "○", error: "▲" };

export function PlannerLine() {
  const planner = usePlanner().data;
  if (!planner) return <span>{t("loading")}</span>;
  const asks = planner.question;
  const wrong = ["paused", "suspended", "error"].includes(planner.state);
  return (
    <p className="min-w-0 flex-1 basis-64">
      <span className={cx(wrong && "text-warn")}>
        <span aria-hidden="true">{asks ? "◐" : (SHAPES[planner.state] ?? "◇")}</span> {t("plannerState")}:{" "}
        <Txt max={200}>{asks ? t("plannerQuestion", { text: asks }) : plannerWord(planner)}</Txt>
      </span>
      {planner.trouble && !asks ? (
        <span className="block text-[12px] text-warn">
          ▲ {t("plannerTrouble")} <Txt max={300}>{planner.trouble}</Txt>
        </span>
      ) : null}
      {planner.pause ? <span className="text-[12px]"> · {t("howToResume")}</span> : null}
      <span className="block text-[12px]">
        {planner.model ? t("withModel", { model: planner.model }) : t("noModel")}{" "}
        <Link to="/models" className="text-accent underline">
          {t("toModels")}
        </Link>
      </span>
    </p>
  );
}
