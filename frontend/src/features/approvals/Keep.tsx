/** A held action that runs: who keeps it and how long still, and the button that keeps it from this page. */
import { useCallback, useEffect, useRef, useState } from "react";
import { lasting, left } from "@/lib/format";
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { post, Refused } from "@/node/client";
import { useHeld, useSession } from "@/node/reads";
import { Button, Txt } from "@/ui/kit";

export function Keep({ id, leaseMs }: { id: string; leaseMs: number }) {
  const [holder] = useState(() => `page-${Math.random().toString(36).slice(2)}`);
  const [on, setOn] = useState(false);
  const [why, setWhy] = useState("");
  const counter = useRef(0);
  const session = useSession().data;
  const by = session?.name ?? "";
  const asked = useHeld(id);
  const held = asked.data;
  const again = asked.refetch;

  const say = useCallback(
    async (release: boolean) => {
      counter.current += 1;
      try {
        const said = { holder, by, counter: counter.current, release };
        const kept = await post("/proposals/{id}/hold", said, { id });
        counter.current = Math.max(counter.current, kept.counter);
        setWhy("");
      } catch (error) {
        // One that the network kept is said again; one that was refused is not this page's to hold.
        if (error instanceof Refused && error.code !== "EXECUTOR_UNREACHABLE") setOn(false);
        setWhy(error instanceof Error ? error.message : String(error));
      }
      void again();
    },
    [holder, by, id, again],
  );

  useEffect(() => {
    if (!on) return;
    const renew = () => {
      if (document.visibilityState === "visible") void say(false);
    };
    renew();
    const timer = setInterval(renew, leaseMs / 3);
    return () => clearInterval(timer);
  }, [on, leaseMs, say]);

  const may = session !== undefined && session.scope !== "read";
  const other = !on && held?.holder ? line(held.holder, 80) : undefined;
  return (
    <>
      {on ? (
        <Button
          onClick={() => {
            setOn(false);
            void say(true);
          }}
        >
          {t("holdRelease")}
        </Button>
      ) : may && !other ? (
        <Button onClick={() => setOn(true)}>{t("hold")}</Button>
      ) : null}
      <p role="status" aria-live="off" className="min-w-0 flex-1 basis-64 text-t2">
        <strong className={on ? "text-ok" : other ? "text-info" : "text-warn"}>
          {on ? `● ${t("holdHere")}` : other ? `◐ ${t("heldBy", { name: other })}` : `▲ ${t("holdNow")}`}
        </strong>{" "}
        {held
          ? t("heldLeft", { lapses: lasting(held.lapsesInMs), ends: left(held.endsInMs) })
          : asked.error
            ? t("heldUnknown")
            : ""}{" "}
        {on ? t("holdSleep", { lease: lasting(leaseMs) }) : other ? t("heldOther") : ""}
        {why ? (
          <span role="alert" className="text-danger">
            {" "}
            ▲ <Txt max={300}>{why}</Txt>
          </span>
        ) : null}
      </p>
    </>
  );
}
