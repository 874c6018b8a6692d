/** The steps of a sequence, as its record has them: what will move, in which order, and for how long. */
import { action, span } from "@/lib/format";
import { codeWord, t } from "@/lib/i18n";
import type { Proposal } from "@/node/client";
import { Txt } from "@/ui/kit";

export function Steps({ p }: { p: Proposal }) {
  if (p.kind?.name !== "sequence") return null;
  return (
    <ol aria-label={t("seqSteps")} className="mt-1 list-decimal pl-5">
      {(p.kind.steps ?? []).map((step, n) => (
        <li key={n}>
          {step.waitMs ? `${t("seqAfter", { span: span(step.waitMs) })} ` : null}
          <strong>
            <Txt>{action(step.action.operation, step.action.target, step.stays ? 0 : step.runMs)}</Txt>
          </strong>{" "}
          <span className="text-t2">
            {t(step.stays ? "seqStays" : "seqDone", {
              safe: codeWord("op", step.safeState),
              span: span(step.runMs),
            })}
          </span>{" "}
          <code className="font-mono text-[12.5px]">
            <Txt>{`${step.action.target} ${step.action.operation} ${JSON.stringify(step.action.params)}`}</Txt>
          </code>
        </li>
      ))}
    </ol>
  );
}
