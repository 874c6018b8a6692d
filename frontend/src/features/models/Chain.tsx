/** The models in the order in which they are asked: how each is, and what it has used today. */
import type { ReactNode } from "react";
import { codeWord, number, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Model } from "@/node/client";
import { Age, cx, State, Txt } from "@/ui/kit";
import { condition, healthOf, money, used } from "./model";

function Fact({ name, children, wide }: { name: string; children: ReactNode; wide?: boolean }) {
  return (
    <div className={cx("min-w-0", wide && "col-span-full")}>
      <dt className="text-[12px] text-t2">{name}</dt>
      <dd className="min-w-0 wrap-anywhere">{children}</dd>
    </div>
  );
}

/** What is used of a limit; the bar only where there is one. */
function Used({ label, text, share }: { label: string; text: string; share: number | undefined }) {
  return (
    <>
      <span className={share === 1 ? "text-danger" : share && share > 0.8 ? "text-warn" : undefined}>
        {text}
      </span>
      {share === undefined ? null : (
        <span
          role="meter"
          aria-label={label}
          aria-valuenow={Math.round(share * 100)}
          aria-valuemin={0}
          aria-valuemax={100}
          className="mt-1 block h-1.5 w-full max-w-40 overflow-hidden rounded-full bg-s3"
        >
          <span
            className={cx("block h-full", share === 1 ? "bg-danger" : share > 0.8 ? "bg-warn" : "bg-accent")}
            style={{ width: `${share * 100}%` }}
          />
        </span>
      )}
    </>
  );
}

/** What is said of a model that is not simply well. */
function why(m: Model): string | undefined {
  const is = condition(m);
  if (is === "fit") return undefined;
  if (is === "failed") return t("modelFailedLast");
  if (is === "unasked") return t("modelUnasked");
  return codeWord("sk", is);
}

function keyOf(m: Model, set: ReadonlySet<string>): ReactNode {
  if (set.has(m.key)) return m.key;
  if (m.variable) return `$${m.variable}`;
  return m.local ? t("keyNotNeeded") : <span className="text-warn">▲ {t("keyMissing")}</span>;
}

export function Chain({ models, set }: { models: Model[]; set: ReadonlySet<string> }) {
  return (
    <ol className="flex flex-col gap-2">
      {models.map((m, i) => {
        const { spent, seen } = m;
        const reason = why(m);
        return (
          <li key={m.model} className="rounded-md border border-line p-3">
            <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
              <span className="tabular-nums text-t2">{i + 1}</span>
              <h3 className="min-w-0 font-semibold wrap-anywhere">
                <Txt max={160}>{m.model}</Txt>
              </h3>
              <State is={healthOf(m)} />
              <span className="text-t2">{t(m.local ? "onThisMachine" : "elsewhereWord")}</span>
              {reason ? <span className="text-t2">· {reason}</span> : null}
            </div>
            {m.unfit ? (
              <p className="mt-1 text-warn">
                <Txt max={400}>{m.unfit.why}</Txt>
              </p>
            ) : null}
            <dl className="mt-2 grid grid-cols-2 gap-x-4 gap-y-2 sm:grid-cols-3 2xl:grid-cols-6">
              <Fact name={t("tokensToday")}>
                <Used
                  label={t("tokensToday")}
                  share={used(spent.tokens, m.tokensPerDay)}
                  text={
                    m.tokensPerDay === null || m.tokensPerDay === undefined
                      ? t("noLimitOf", { used: number(spent.tokens) })
                      : t("ofLimit", { used: number(spent.tokens), limit: number(m.tokensPerDay) })
                  }
                />
              </Fact>
              <Fact name={t("moneyToday")}>
                {m.priced ? (
                  <Used
                    label={t("moneyToday")}
                    share={used(spent.micros, m.microsPerDay)}
                    text={
                      m.microsPerDay === null || m.microsPerDay === undefined
                        ? t("noLimitOf", { used: money(spent.micros) })
                        : t("ofLimit", { used: money(spent.micros), limit: money(m.microsPerDay) })
                    }
                  />
                ) : (
                  <span className="text-t2">{t("noPrice")}</span>
                )}
              </Fact>
              <Fact name={t("requestsToday")}>{number(spent.requests)}</Fact>
              <Fact name={t("lastLatency")}>
                {seen.answeredAt && seen.firstMs !== null && seen.firstMs !== undefined ? (
                  <span title={t("firstAndWhole")}>
                    {number(seen.firstMs)} / {number(seen.tookMs ?? 0)} ms, <Age time={seen.answeredAt} />
                  </span>
                ) : (
                  "–"
                )}
              </Fact>
              <Fact name={t("seesPrivate")}>{t(m.seesPrivate ? "yes" : "no")}</Fact>
              <Fact name={t("keyWord")}>{keyOf(m, set)}</Fact>
              <Fact name={t("serverWord")} wide>
                <Txt className="font-mono text-[12px]" max={200}>
                  {m.url}
                </Txt>
              </Fact>
              {seen.error && seen.failedAt ? (
                <Fact name={t("lastError")} wide>
                  <span
                    className={
                      condition(m) === "failed" || condition(m) === "resting" ? "text-warn" : "text-t2"
                    }
                  >
                    <bdi>{line(seen.error, 400)}</bdi> (<Age time={seen.failedAt} />)
                  </span>
                </Fact>
              ) : null}
            </dl>
          </li>
        );
      })}
    </ol>
  );
}
