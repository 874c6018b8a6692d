/** One message: where it stands, what was tried, what was answered, and what can be done. */
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { codeWord, t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import { type Message, post, remove } from "@/node/client";
import { useMessage } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { Age, Button, CopyButton, cx, Loaded, Pairs, Panel, StatusMark, Txt } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { chosenPlace, isOpen, lookOf } from "./model";

type Names = ReadonlyMap<string, string>;
const SHOWN_CHARS = 6_000;

export function One({ id, names }: { id: string | undefined; names: Names }) {
  const [, go] = usePlace();
  const q = useMessage(id);
  return (
    <Panel
      title={t("msOne")}
      className={cx("lg:min-h-0", !id && "max-lg:hidden")}
      aside={
        id ? (
          <>
            <CopyButton label={t("copyLink")} text={`${location.origin}/messages?m=${id}`} />
            <Button className="h-7!" onClick={() => go({ m: undefined }, true)}>
              {t("msClose")}
            </Button>
          </>
        ) : null
      }
    >
      {id ? (
        <Loaded q={q}>{(one) => <Life key={one.id} one={one} names={names} />}</Loaded>
      ) : (
        <p className="text-t2">{t("msPick")}</p>
      )}
    </Panel>
  );
}

function Life({ one, names }: { one: Message; names: Names }) {
  const where = chosenPlace(one, names);
  const meaning = codeWord("mm", one.state);
  return (
    <div className="flex flex-col gap-3">
      <div aria-live="polite">
        <p className="font-medium">
          <StatusMark status={lookOf(one.state)} word={codeWord("mt", one.state)} />
        </p>
        <p className="text-t2">{meaning}</p>
        {one.why ? (
          <p className={cx("mt-1", one.state === "failed" ? "text-danger" : "text-t1")}>
            <Txt max={600}>{one.why}</Txt>
          </p>
        ) : null}
      </div>
      <Acts one={one} />
      <section>
        <h3 className="mb-1 font-semibold">{t("msMessage")}</h3>
        <Text text={one.text} />
      </section>
      {one.answer ? (
        <section aria-label={t("msAnswer")}>
          <h3 className="mb-1 flex flex-wrap items-center gap-2 font-semibold">
            {t(one.state === "answered" ? "msAnswer" : "msAnswerSoFar")}
            <CopyButton text={one.answer} />
          </h3>
          <p className="mb-1 text-[12px] text-t2">{t("msUntrusted")}</p>
          <Text text={one.answer} className="border border-llm border-dashed" />
        </section>
      ) : null}
      <section>
        <h3 className="mb-1 font-semibold">{t("msLife")}</h3>
        <ol className="flex flex-col gap-1">
          <Step time={one.createdAt}>
            {t("msCame", { source: codeWord("so", one.source) })} <Txt max={64}>{one.sender}</Txt>
          </Step>
          {one.attempts.map((a) => (
            <Step key={`${a.at} ${a.deviceId}`} time={a.at}>
              {t("msAsked")} <Txt max={64}>{a.name}</Txt> · <Txt max={80}>{a.agent}</Txt>
              {a.why ? (
                <Txt max={400} className="block text-t2">
                  {a.why}
                </Txt>
              ) : null}
            </Step>
          ))}
          {one.endedAt ? <Step time={one.endedAt}>{codeWord("mt", one.state)}</Step> : null}
        </ol>
      </section>
      <Pairs
        rows={[
          [t("msTo"), where ? <Txt key="w">{where}</Txt> : t("msAutomatic")],
          [t("msRule"), one.rule ? <Txt key="r">{one.rule}</Txt> : t("msNoRule")],
          [t("msRetry"), codeWord("mr", one.retry)],
          [t("msPriority"), one.priority],
          ...(one.endedAt
            ? []
            : ([[t("msUntil"), <Age key="u" time={one.expiresAt} />]] as [string, ReactNode][])),
          [
            t("msId"),
            <Txt key="i" className="font-mono text-[12px]">
              {one.id}
            </Txt>,
          ],
        ]}
      />
    </div>
  );
}

const Step = ({ time, children }: { time: number; children: ReactNode }) => (
  <li className="grid grid-cols-[minmax(84px,max-content)_1fr] gap-3">
    <span className="text-t2">
      <Age time={time} />
    </span>
    <span className="min-w-0 wrap-anywhere">{children}</span>
  </li>
);

/** Text of others with its lines: never markup, never a link. */
function Text({ text, className }: { text: string; className?: string }) {
  const [all, setAll] = useState(false);
  return (
    <div className={cx("rounded-md bg-s2 p-2", className)}>
      <p className="whitespace-pre-wrap wrap-anywhere">
        <bdi>{tame(text, all ? undefined : SHOWN_CHARS, true)}</bdi>
      </p>
      {text.length > SHOWN_CHARS ? (
        <button type="button" className="text-accent underline" onClick={() => setAll(!all)}>
          {all ? t("showLess") : t("showAllOf", { n: text.length })}
        </button>
      ) : null}
    </div>
  );
}

function Acts({ one }: { one: Message }) {
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const [sure, setSure] = useState(false);
  const change = (work: Promise<unknown>) => {
    setBusy(true);
    setProblem("");
    work
      .then(
        () => setSure(false),
        (e: Error) => setProblem(e.message),
      )
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["messages"] });
      });
  };
  const again = () => change(post("/messages/{id}/again", undefined, { id: one.id }));
  const refused = problem ? (
    <p role="alert" className="text-danger">
      ▲ <Txt max={400}>{problem}</Txt>
    </p>
  ) : null;
  return (
    <>
      <div className="flex flex-wrap gap-2 empty:hidden">
        {isOpen(one.state) ? (
          <Button disabled={busy} onClick={() => change(remove("/messages/{id}", { id: one.id }))}>
            {t("msCancel")}
          </Button>
        ) : null}
        {one.mayBeSentAgain ? (
          <Button disabled={busy} onClick={one.state === "unclear" ? () => setSure(true) : again}>
            {t("msAgain")}
          </Button>
        ) : null}
      </div>
      {sure ? null : refused}
      {sure ? (
        <Dialog title={t("msAgain")} onClose={() => setSure(false)}>
          <div className="flex flex-col gap-3">
            <p className="text-t2">{t("msAgainSure")}</p>
            {refused}
            <div className="flex gap-2">
              <Button tone="danger" disabled={busy} onClick={again}>
                {t("msAgain")}
              </Button>
              <Button onClick={() => setSure(false)}>{t("cancel")}</Button>
            </div>
          </div>
        </Dialog>
      ) : null}
    </>
  );
}
