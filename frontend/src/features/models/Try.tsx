/** A short text through the models as a question would go: which way it takes, how long it takes, what it costs. */
import { type FormEvent, useEffect, useRef, useState } from "react";
import { codeWord, number, t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import { post, type Route, type Tried, tryModels, type Way } from "@/node/client";
import { useSession } from "@/node/reads";
import { Button, Field, Panel, Switch, Txt } from "@/ui/kit";
import { money } from "./model";

interface Shown {
  route?: Route;
  after?: string[];
  text?: string;
  done?: Extract<Tried, { event: "done" }>;
  problem?: string;
}

function WayOf({ route, after }: { route: Route; after?: string[] }) {
  return (
    <div>
      <p>
        {route.chosen ? (
          <>
            ● {t(after ? "wouldGo" : "wentTo")} <Txt className="font-medium">{route.chosen}</Txt> (
            {t(route.local ? "onThisMachine" : "elsewhereWord")})
            {route.firstMs ? `, ${t("firstAfter", { ms: route.firstMs })}` : ""}
          </>
        ) : (
          <span className="text-warn">▲ {t("noModelFits")}</span>
        )}
      </p>
      <p className="text-t2">
        {route.private.length ? t("routePrivate", { what: route.private.join(", ") }) : t("routePublic")}
      </p>
      {route.skipped.length ? (
        <>
          <p className="mt-1 text-t2">{t("passedOver")}</p>
          <ul>
            {route.skipped.map((s) => (
              <li key={s.model} className="text-[12.5px]">
                <Txt className="font-medium" max={120}>
                  {s.model}
                </Txt>
                : {codeWord("sk", s.kind)}.{" "}
                <Txt className="text-t2 wrap-anywhere" max={400}>
                  {s.why}
                </Txt>
              </li>
            ))}
          </ul>
        </>
      ) : null}
      {after?.length ? <p className="text-t2">{t("thenAsked", { models: after.join(", ") })}</p> : null}
    </div>
  );
}

export function Try() {
  const admin = useSession().data?.scope === "admin";
  const [text, setText] = useState(t("tryDefault"));
  const [secret, setSecret] = useState(false);
  const [shown, setShown] = useState<Shown>();
  const [busy, setBusy] = useState(false);
  const control = useRef<AbortController>(null);
  useEffect(() => () => control.current?.abort(), []);
  const prompt = text.trim();

  const explain = () => {
    setShown(undefined);
    post("/models/explain", { question: prompt, private: secret })
      .then((way: Way) => setShown({ route: way.route, after: way.after }))
      .catch((e: Error) => setShown({ problem: e.message }));
  };
  const send = (e: FormEvent) => {
    e.preventDefault();
    if (!prompt || busy) return;
    if (!admin) return explain();
    const mine = new AbortController();
    control.current = mine;
    setBusy(true);
    setShown({});
    tryModels(
      { prompt, private: secret },
      (told) => {
        if (told.event === "route") setShown({ route: told.route });
        else if (told.event === "text") setShown((s) => ({ ...s, text: told.text }));
        else if (told.event === "done") setShown((s) => ({ ...s, text: told.text, done: told }));
        else setShown((s) => ({ ...s, problem: told.message }));
      },
      mine.signal,
    )
      .catch((e: Error) => {
        if (mine.signal.aborted) setShown((s) => ({ ...s, problem: t("tryStopped") }));
        else setShown((s) => ({ ...s, problem: e.message }));
      })
      .finally(() => setBusy(false));
  };

  return (
    <Panel title={t("tryIt")} className="shrink-0">
      <form onSubmit={send} className="flex flex-col gap-2">
        <Field label={t("tryText")} value={text} maxLength={500} onChange={(e) => setText(e.target.value)} />
        <Switch on={secret} label={t("tryPrivate")} onChange={setSecret}>
          {t("tryPrivate")}
        </Switch>
        <div className="flex flex-wrap gap-2">
          {admin ? (
            <Button type="submit" tone="accent" disabled={busy || !prompt}>
              {t("tryGo")}
            </Button>
          ) : null}
          <Button disabled={busy || !prompt} onClick={explain}>
            {t("tryExplain")}
          </Button>
          {busy ? <Button onClick={() => control.current?.abort()}>{t("askStop")}</Button> : null}
        </div>
        {admin ? null : <p className="text-[12px] text-t2">{t("tryNeedsAdmin")}</p>}
      </form>
      <div aria-live="polite" className="mt-2 flex flex-col gap-2 empty:mt-0">
        {shown?.route ? <WayOf route={shown.route} after={shown.after} /> : null}
        {busy && !shown?.text ? <p className="text-t2">{t("tryWaits")}</p> : null}
        {shown?.text ? (
          <p className="rounded-md border border-llm border-dashed p-2 whitespace-pre-wrap wrap-anywhere">
            <bdi>{tame(shown.text, 4000, true)}</bdi>
          </p>
        ) : null}
        {shown?.done ? (
          <p className="text-t2">
            {t("tryTook", {
              ms: shown.done.tookMs,
              read: number(shown.done.usage.inputTokens),
              written: number(shown.done.usage.outputTokens),
              cost: shown.done.micros ? money(shown.done.micros) : "0",
            })}
          </p>
        ) : null}
        {shown?.problem && (shown.text || !shown.route || shown.route.chosen) ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={600}>{shown.problem}</Txt>
          </p>
        ) : null}
      </div>
    </Panel>
  );
}
