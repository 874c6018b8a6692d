/** What stands and what people have said about it, with the history; below it what else happened lately. */
import { type ReactNode, useState } from "react";
import { span } from "@/lib/format";
import { alarmWords, clockTime, codeWord, t } from "@/lib/i18n";
import { type Alert, post, Refused } from "@/node/client";
import { queries, useAlert, useAlertHistory, useAlerts, useSession } from "@/node/reads";
import { Button, cx, Empty, Panel, Since, Txt, Words } from "@/ui/kit";
import { usePlace } from "@/ui/place";

const HOUR_MS = 3_600_000;
/** What may move or is an emergency is muted for minutes only. */
const GRAVE = new Set(["actuator.unsafe", "actuator.astray", "actuator.left", "estop.latched"]);
const GRAVE_MS = 900_000;
const SHAPES: Record<string, string> = { critical: "■", warning: "◐", info: "◇" };

export function Alerts({ children }: { children: ReactNode }) {
  const [place] = usePlace();
  const [picked, setPast] = useState<boolean>();
  const alerts = useAlerts().data;
  const standing = alerts ?? [];
  // A link to one that is over leads to the history.
  const gone = Boolean(place.alert && alerts && !alerts.some((a) => String(a.id) === place.alert));
  const past = picked ?? gone;
  const history = useAlertHistory(past).data;
  const before = history ?? [];
  // The list ends somewhere; a notification may be older than that.
  const isListed = before.some((a) => String(a.id) === place.alert);
  const old = useAlert(past && gone && history && !isListed ? place.alert : undefined);
  return (
    <Panel
      title={t("alerts")}
      aside={
        <span className="flex items-center gap-2">
          {standing.length || null}
          <Button tone="quiet" className="h-6! px-2" aria-pressed={past} onClick={() => setPast(!past)}>
            {past ? t("alertNow") : t("alertHistory")}
          </Button>
        </span>
      }
      flush
    >
      {past && old.data ? (
        <ul aria-label={t("alertAsked")}>
          <One a={old.data} on />
        </ul>
      ) : null}
      {past && old.error ? (
        <p role="status" className="px-3 py-1.5 text-warn">
          ▲ {t("alertUnknown")}
        </p>
      ) : null}
      {past ? (
        before.length ? (
          <ul>
            {before.map((a) => (
              <One key={a.id} a={a} on={String(a.id) === place.alert} />
            ))}
          </ul>
        ) : (
          <Empty>{t("noAlertHistory")}</Empty>
        )
      ) : (
        <>
          {standing.length ? (
            <ul aria-label={t("alertNow")}>
              {standing.map((a) => (
                <One key={`${a.kind} ${a.subject}`} a={a} on={String(a.id) === place.alert} />
              ))}
            </ul>
          ) : null}
          {standing.length ? <h3 className="px-3 pt-2 text-[12px] text-t2">{t("alertRecent")}</h3> : null}
          {children}
        </>
      )}
    </Panel>
  );
}

/** Shows an item, and again where panels that load later push it out of sight, until the person does something. */
function keepInSight(item: HTMLLIElement) {
  const show = () => item.scrollIntoView({ block: "center" });
  const watch = new IntersectionObserver(
    ([seen]) => {
      if (seen && seen.intersectionRatio < 1) show();
    },
    { threshold: 1 },
  );
  const over = new AbortController();
  over.signal.addEventListener("abort", () => watch.disconnect());
  show();
  watch.observe(item);
  for (const kind of ["pointerdown", "touchstart", "wheel", "keydown"])
    addEventListener(kind, () => over.abort(), { signal: over.signal, passive: true });
  return () => over.abort();
}

/** An alert, with what a person can say about it. */
function One({ a, on }: { a: Alert; on: boolean }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const may = useSession().data?.scope !== "read";
  const words = alarmWords(a);
  const over = a.endedAt !== null && a.endedAt !== undefined;
  const say = (what: () => Promise<unknown>) => {
    setBusy(true);
    setProblem("");
    what()
      .catch((e: unknown) => setProblem(e instanceof Refused ? e.message : String(e)))
      .then(() => queries.invalidateQueries({ queryKey: ["alerts"] }))
      .finally(() => setBusy(false));
  };
  const id = String(a.id);
  const forMs = GRAVE.has(a.kind) ? GRAVE_MS : HOUR_MS;
  return (
    <li
      ref={on ? keepInSight : undefined}
      aria-current={on || undefined}
      className={cx(
        "border-line/60 border-b px-3 py-1.5",
        on && "bg-s3 shadow-[inset_3px_0_0_var(--accent)]",
      )}
    >
      <div className="flex gap-3">
        <span className={cx(over ? "text-t2" : a.severity === "critical" ? "text-danger" : "text-warn")}>
          <span aria-hidden="true">{over ? "●" : (SHAPES[a.severity] ?? "◇")}</span>{" "}
          <span className="sr-only">{codeWord("sv", a.severity)}</span>
        </span>
        <span className="min-w-0 flex-1">
          <Words text={words.title} />
          {words.advice ? (
            <span className="block text-t2">
              <Txt max={300}>{words.advice}</Txt>
            </span>
          ) : null}
          {a.acknowledged ? (
            <span className="block text-[12px] text-t2">
              <Txt max={120}>{t("alertSeenBy", { who: a.acknowledged.by })}</Txt>
              {a.acknowledged.note ? <Txt max={300}>{`: ${a.acknowledged.note}`}</Txt> : null}
            </span>
          ) : null}
          {a.muted ? (
            <span className="block text-[12px] text-t2">
              {t("alertMutedUntil", { time: clockTime(a.muted.until) })}
            </span>
          ) : null}
          {over ? (
            <span className="block text-[12px] text-t2">
              {t("alertOver", { span: span((a.endedAt ?? a.since) - a.since) })}
            </span>
          ) : null}
          {problem ? (
            <span role="alert" className="block text-danger">
              <Txt max={300}>{problem}</Txt>
            </span>
          ) : null}
        </span>
        <Since time={a.since} stale={Number.POSITIVE_INFINITY} />
      </div>
      {may && !over && a.id !== 0 ? (
        <div className="flex flex-wrap justify-end gap-2 pt-1">
          {a.acknowledged ? null : (
            <Button
              className="h-6! px-2"
              disabled={busy}
              title={t("alertAckWhy")}
              onClick={() => say(() => post("/alerts/{id}/acknowledge", {}, { id }))}
            >
              {t("alertAck")}
            </Button>
          )}
          {a.muted ? (
            <Button
              tone="quiet"
              className="h-6! px-2"
              disabled={busy}
              onClick={() => say(() => post("/alerts/{id}/unmute", {}, { id }))}
            >
              {t("alertUnmute")}
            </Button>
          ) : (
            <Button
              tone="quiet"
              className="h-6! px-2"
              disabled={busy}
              onClick={() => say(() => post("/alerts/{id}/mute", { forMs }, { id }))}
            >
              {t("alertMute", { span: span(forMs) })}
            </Button>
          )}
        </div>
      ) : null}
    </li>
  );
}
