/** How an action lasts and what ends it, in one line that people understand. */
import type { components } from "@/contract/operator.gen";
import { lasting } from "./format";
import { codeWord, listed, number, t } from "./i18n";

type Kind = components["schemas"]["Kind"];

/** `ms` is how long it lasts, or may last at most. */
export function kindLine(kind: Kind | null | undefined, ms: number, safeState: string): string {
  const said = { span: lasting(ms), safe: codeWord("op", safeState) };
  switch (kind?.name) {
    case "pulse":
      return t("kindPulse", said);
    case "held":
      return t("kindHeld", { ...said, lease: lasting(kind.leaseMs) });
    case "set": {
      const steps = Object.entries(kind.maxStep ?? {}).map(([name, by]) =>
        t("kindStep", { name, by: number(by) }),
      );
      return [
        t("kindSet", said),
        ...(steps.length ? [t("kindSteps", { steps: listed(steps) })] : []),
        ...(kind.minIntervalMs ? [t("kindPause", { span: lasting(kind.minIntervalMs) })] : []),
      ].join(" ");
    }
    case "sequence":
      return t("kindSequence", said);
    default:
      return t("afterwards", said);
  }
}

/** Its word. */
export const kindName = (kind: Kind | null | undefined): string => codeWord("kd", kind?.name ?? "timed");
