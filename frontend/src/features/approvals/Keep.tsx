/** Keeps a held action going while this page is open and seen, and lets it go. */
import { useCallback, useEffect, useRef, useState } from "react";
import { span } from "@/lib/format";
import { t } from "@/lib/i18n";
import { post, Refused } from "@/node/client";
import { Button, Txt } from "@/ui/kit";

export function Keep({ id, leaseMs }: { id: string; leaseMs: number }) {
  const [holder] = useState(() => `page-${Math.random().toString(36).slice(2)}`);
  const [on, setOn] = useState(false);
  const [lapses, setLapses] = useState<number>();
  const [why, setWhy] = useState("");
  const counter = useRef(0);

  const say = useCallback(
    async (release: boolean) => {
      counter.current += 1;
      try {
        const held = await post(
          "/proposals/{id}/hold",
          { holder, counter: counter.current, release },
          { id },
        );
        counter.current = Math.max(counter.current, held.counter);
        setLapses(held.lapsesInMs);
        setWhy("");
      } catch (error) {
        // One that the network kept is said again; one that was refused is not this page's to hold.
        if (error instanceof Refused && error.code !== "EXECUTOR_UNREACHABLE") setOn(false);
        setWhy(error instanceof Error ? error.message : String(error));
      }
    },
    [holder, id],
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
      ) : (
        <Button onClick={() => setOn(true)}>{t("hold")}</Button>
      )}
      <span className="text-t2">
        {on && lapses !== undefined ? t("holdHere", { span: span(lapses) }) : t("holdNow")}
        {why ? (
          <>
            {" "}
            <Txt max={300}>{why}</Txt>
          </>
        ) : null}
      </span>
    </>
  );
}
