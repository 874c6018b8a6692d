/** How a person signs from here, and the button that has to be held for it. */
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { t } from "@/lib/i18n";
import { useOperators, useOwnKey, useSession } from "@/node/reads";
import type { Card } from "@/platform/key";
import { Button, Field, Txt } from "@/ui/kit";

const HOLD_MS = 1500;

/**
 * With the key of this browser if its person may decide here, else with the key at the node: under a passphrase, or in
 * the desktop window by a press.
 */
export type Means =
  | { how: "browser"; card: Card }
  | { how: "passphrase"; name: string }
  | { how: "press" }
  | { how: "none"; why: string; hint?: string };

export function useMeans(now: number): Means | undefined {
  const session = useSession().data;
  const card = useOwnKey().data;
  const known = useOperators().data?.find((o) => o.operatorId === card?.operatorId);
  const counts = known && !known.revokedAt && !(known.expiresAt && known.expiresAt <= now);
  if (!session) return undefined;
  if (session.scope === "read") return { how: "none", why: t("needOperate") };
  if (session.decision.mode === "gesture") return { how: "press" };
  if (card && counts) return { how: "browser", card };
  if (session.decision.mode === "passphrase")
    return { how: "passphrase", name: session.decision.operator?.name ?? "–" };
  return { how: "none", why: t("cannotDecide"), hint: session.decision.hint ?? "" };
}

/** Why nothing can be signed from here, and what to do. */
export const NoMeans = ({ means }: { means: Means & { how: "none" } }) => (
  <p className="text-t2">
    ◇ {means.why}{" "}
    {means.hint === undefined ? null : (
      <>
        <Txt max={400}>{means.hint}</Txt>{" "}
        <Link to="/settings" className="text-accent underline">
          {t("ownKeyHint")}
        </Link>
      </>
    )}
  </p>
);

/** The passphrase that opens the key for one signature; none where a press does. */
export function Phrase({
  means,
  value,
  onChange,
}: {
  means: Means;
  value: string;
  onChange: (text: string) => void;
}) {
  if (means.how !== "browser" && means.how !== "passphrase") return null;
  return (
    <Field
      label={means.how === "browser" ? t("ownPhrase") : t("passphrase", { name: means.name })}
      type="password"
      data-step="passphrase"
      autoComplete="off"
      className="min-w-56 flex-1"
      value={value}
      onChange={(e) => onChange(e.target.value)}
    />
  );
}

/** Held for a second and a half by pointer, space or enter; let go and nothing happens. */
export function Hold({
  disabled,
  onDone,
  label = t("holdApprove"),
}: {
  disabled: boolean;
  onDone: () => void;
  label?: string;
}) {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [holding, setHolding] = useState(false);
  const end = () => {
    clearTimeout(timer.current);
    timer.current = undefined;
    setHolding(false);
  };
  const begin = () => {
    if (disabled || timer.current) return;
    setHolding(true);
    timer.current = setTimeout(() => {
      end();
      onDone();
    }, HOLD_MS);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (disabled) {
      clearTimeout(timer.current);
      timer.current = undefined;
      setHolding(false);
    }
  }, [disabled]);
  const press = (key: string) => key === " " || key === "Enter";
  return (
    <Button
      tone="accent"
      disabled={disabled}
      data-holding={holding}
      data-go="approve"
      className="hold-fill min-w-32 touch-none"
      onPointerDown={(e) => e.button === 0 && begin()}
      onPointerUp={end}
      onPointerLeave={end}
      onPointerCancel={end}
      onBlur={end}
      onKeyDown={(e) => {
        if (!press(e.key)) return;
        e.preventDefault();
        if (!e.repeat) begin();
      }}
      onKeyUp={(e) => press(e.key) && end()}
    >
      {holding ? t("holding") : label}
    </Button>
  );
}
