/** Where a message would go by the rules in force, and why not elsewhere. Nothing is sent. */
import { type FormEvent, useState } from "react";
import { codeWord, t } from "@/lib/i18n";
import { post, type Routed } from "@/node/client";
import { useSession } from "@/node/reads";
import { Button, Field, Panel, Select, Txt } from "@/ui/kit";

const SOURCES = ["console", "cli", "http"];

export function Explain() {
  const sender = useSession().data?.name ?? "";
  const [text, setText] = useState("");
  const [source, setSource] = useState("console");
  const [shown, setShown] = useState<Routed | string>();
  const [busy, setBusy] = useState(false);
  const ask = (e: FormEvent) => {
    e.preventDefault();
    if (!text.trim() || busy) return;
    setBusy(true);
    post("/routing/explain", { text, source, sender })
      .then(setShown, (error: Error) => setShown(error.message))
      .finally(() => setBusy(false));
  };
  return (
    <Panel title={t("rtExplain")} className="shrink-0">
      <form onSubmit={ask} className="flex flex-col gap-2">
        <Field
          label={t("rtExplainText")}
          value={text}
          maxLength={4_000}
          onChange={(e) => setText(e.target.value)}
        />
        <div className="flex flex-wrap gap-2">
          <Select label={t("rtSource")} value={source} onChange={(e) => setSource(e.target.value)}>
            {SOURCES.map((one) => (
              <option key={one} value={one}>
                {t("rtFrom", { source: codeWord("so", one) })}
              </option>
            ))}
          </Select>
          <Button type="submit" tone="accent" disabled={busy || !text.trim()}>
            {t("rtExplainGo")}
          </Button>
        </div>
      </form>
      <div aria-live="polite" className="mt-2 empty:hidden">
        {typeof shown === "string" ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={400}>{shown}</Txt>
          </p>
        ) : shown ? (
          <Way way={shown} />
        ) : null}
      </div>
    </Panel>
  );
}

function Way({ way }: { way: Routed }) {
  const [first, ...rest] = way.order;
  return (
    <div className="flex flex-col gap-2">
      {first ? (
        <p>
          <span className="text-ok">●</span> {t("rtGoes")} <Txt className="font-medium">{first.name}</Txt> ·{" "}
          <Txt>{first.agent}</Txt>
        </p>
      ) : (
        <p className="text-warn">▲ {t("rtNowhere")}</p>
      )}
      <p className="text-t2">
        {way.rule ? (
          <>
            {t("rtByRule")} <Txt max={80}>{way.rule}</Txt>
          </>
        ) : (
          t("msNoRule")
        )}
        {rest.length ? (
          <>
            {" · "}
            {t("rtThen")}{" "}
            {rest.map((one, i) => (
              <span key={one.deviceId}>
                {i ? ", " : ""}
                <Txt max={64}>{one.name}</Txt>
              </span>
            ))}
          </>
        ) : null}
      </p>
      <h3 className="font-semibold">{t("rtLooked")}</h3>
      <ol className="flex flex-col gap-2">
        {way.looks.map((look, i) => (
          <li key={look.rule ?? `-${i}`}>
            <Txt className="font-medium" max={80}>
              {look.rule ?? t("rtWithout")}
            </Txt>
            {look.whyNot ? (
              <span className="text-t2">
                : <Txt max={300}>{look.whyNot}</Txt>
              </span>
            ) : null}
            <ul className="pl-4">
              {look.nodes.map((node) => (
                <li key={node.deviceId}>
                  <span aria-hidden="true" className={node.whyNot ? "text-t3" : "text-ok"}>
                    {node.whyNot ? "○" : "●"}
                  </span>{" "}
                  <Txt max={64}>{node.name}</Txt>
                  <span className="text-t2">
                    : <Txt max={300}>{node.whyNot ?? node.agent ?? t("rtFits")}</Txt>
                  </span>
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ol>
    </div>
  );
}
