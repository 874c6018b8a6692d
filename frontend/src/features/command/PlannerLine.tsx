/** What the planner does and why, in one line. */
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { clockTime, codeWord, plannerWord, t } from "@/lib/i18n";
import { type Planner, post } from "@/node/client";
import { queries, usePlanner } from "@/node/reads";
import { Button, cx, Txt } from "@/ui/kit";

/** The shape of each state; one that this console does not know is neither well nor ill. */
const SHAPES: Record<string, string> = { idle: "●", paused: "■", off: "○", error: "▲" };

/** Why no model can be asked, until when, and what a person does about it. */
function Mode({ mode }: { mode: NonNullable<Planner["mode"]> }) {
  const [busy, setBusy] = useState(false);
  if (mode.mode === "active") return null;
  const reasons = [...new Set(mode.out.map((o) => o.reason))];
  const time = mode.until ? clockTime(mode.until) : "–";
  const resume = () => {
    setBusy(true);
    post("/planner/resume", {})
      .catch(() => undefined)
      .then(() => queries.invalidateQueries({ queryKey: ["planner"] }))
      .finally(() => setBusy(false));
  };
  return (
    <span className="block text-warn" title={mode.why}>
      <span aria-hidden="true">{mode.mode === "suspended" ? "■" : "◐"}</span> {codeWord("mode", mode.mode)}{" "}
      {mode.out.map((o) => (
        <span key={o.model}>
          <Txt max={120}>{o.model}</Txt>: {codeWord("out", o.reason)}.{" "}
        </span>
      ))}
      {reasons.map((reason) => (
        <span key={reason}>{t(`fix_${reason}`, { time })} </span>
      ))}
      <Button tone="quiet" className="h-6! px-2" disabled={busy} onClick={resume}>
        {t("tryNow")}
      </Button>
    </span>
  );
}

export function PlannerLine() {
  const planner = usePlanner().data;
  if (!planner) return <span>{t("loading")}</span>;
  const asks = planner.question;
  const wrong = ["paused", "error"].includes(planner.state);
  const out = planner.mode && planner.mode.mode !== "active";
  return (
    <div className="min-w-0 flex-1 basis-64">
      <span className={cx(wrong && "text-warn")}>
        <span aria-hidden="true">{asks ? "◐" : (SHAPES[planner.state] ?? "◇")}</span> {t("plannerState")}:{" "}
        <Txt max={200}>{asks ? t("plannerQuestion", { text: asks }) : plannerWord(planner)}</Txt>
      </span>
      {planner.mode ? <Mode mode={planner.mode} /> : null}
      {planner.trouble && !asks && !out ? (
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
    </div>
  );
}
