/** The text of the rules: looked at, checked, put in force; never over what somebody else has put in force meanwhile. */
import { useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { codeWord, t } from "@/lib/i18n";
import { EXAMPLE, lineOf, spanOfLine } from "@/lib/rules";
import { tame } from "@/lib/words";
import { post, Refused, type Rules } from "@/node/client";
import { Editor, pick } from "@/ui/editor";
import { Button, Link, Txt } from "@/ui/kit";

/** What is written here, and the rules in force that it began from. */
interface Draft {
  text: string;
  from: string;
}
/** Another page of the console must not cost what was written; a reload does. */
let kept: Draft | undefined;

export function RulesPanel({ is, admin }: { is: Rules; admin: boolean }) {
  const client = useQueryClient();
  const [draft, setDraft] = useState(kept);
  const [problem, setProblem] = useState("");
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const text = draft?.text ?? is.text;
  const line = problem ? lineOf(problem, text) : undefined;
  const moved = draft !== undefined && draft.from !== is.text;

  const write = (next: Draft | undefined) => {
    kept = next && next.text !== next.from ? next : undefined;
    setDraft(kept);
    setProblem("");
    setSaid("");
  };
  const send = (tryOnly: boolean, insteadOf: string) => {
    setBusy(true);
    setProblem("");
    setSaid("");
    post("/routing", { text, tryOnly, insteadOf: tryOnly ? null : insteadOf })
      .then(
        (now) => {
          if (!tryOnly) {
            client.setQueriesData<Rules>({ queryKey: ["routing"] }, now);
            write(undefined);
          }
          setSaid(t(tryOnly ? "rtGood" : "rtInForce", { n: now.rules.length, tests: now.tests }));
        },
        (e: Error) => {
          setProblem(e.message);
          if (e instanceof Refused && e.code === "CONFLICT")
            void client.invalidateQueries({ queryKey: ["routing"] });
        },
      )
      .finally(() => setBusy(false));
  };

  return (
    <div className="flex flex-col gap-2">
      {is.text || draft ? null : (
        <p>
          ◇ {t("rtNone")}{" "}
          {admin ? (
            <Link onClick={() => write({ text: EXAMPLE, from: is.text })}>{t("rtExample")}</Link>
          ) : null}
        </p>
      )}
      <Editor
        label={t("rtEditor")}
        value={text}
        readOnly={!admin}
        mark={line}
        area={area}
        onChange={(now) => write({ text: now, from: draft?.from ?? is.text })}
      />
      {moved ? (
        <div role="alert" className="flex flex-wrap items-center gap-2 text-warn">
          <span>▲ {t("rtMoved")}</span>
          <Button className="h-7!" onClick={() => write(undefined)}>
            {t("rtTheirs")}
          </Button>
          <Button className="h-7!" onClick={() => write({ text, from: is.text })}>
            {t("rtMine")}
          </Button>
        </div>
      ) : null}
      {problem ? (
        <div role="alert" className="text-danger">
          <p className="whitespace-pre-wrap font-mono text-[12.5px] wrap-anywhere">
            ▲ {tame(problem, 1200, true)}
          </p>
          {line ? (
            <Link onClick={() => pick(area.current, spanOfLine(text, line), line)}>
              {t("rtToLine", { line: String(line) })}
            </Link>
          ) : null}
        </div>
      ) : null}
      <p role="status" className="text-ok empty:hidden">
        {said ? `● ${said}` : null}
      </p>
      {admin ? (
        <div className="flex flex-wrap items-center gap-2">
          <Button
            tone="accent"
            disabled={busy || !draft || moved}
            onClick={() => draft && send(false, draft.from)}
          >
            {t("rtSet")}
          </Button>
          <Button disabled={busy || !text} onClick={() => send(true, "")}>
            {t("rtCheck")}
          </Button>
          <Button tone="quiet" disabled={busy || !draft} onClick={() => write(undefined)}>
            {t("rtDiscard")}
          </Button>
          {draft ? <span className="text-warn">◐ {t("rtUnsaved")}</span> : null}
        </div>
      ) : (
        <p className="text-t2">{t("rtNeedsAdmin")}</p>
      )}
      {is.rules.length ? (
        <div>
          <h3 className="mb-1 font-semibold">{t("rtOrder", { n: is.rules.length, tests: is.tests })}</h3>
          <ol className="flex list-inside list-decimal flex-col">
            {is.rules.map((rule) => (
              <li key={rule.name} className={rule.disabled ? "text-t3" : undefined}>
                <Txt max={80} className="font-medium">
                  {rule.name}
                </Txt>
                <span className="text-t2">
                  {" · "}
                  {codeWord("sy", rule.strategy)} · {codeWord("mr", rule.retry)}
                  {rule.disabled ? ` · ${t("rtLeftOut")}` : ""}
                </span>
              </li>
            ))}
          </ol>
        </div>
      ) : null}
    </div>
  );
}
