/** The decision sheet. Nothing here is optimistic: the state shown is what the executor confirmed. */
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useState } from "react";
import { action, lasting, left } from "@/lib/format";
import { codeWord, dateTime, listed, statusWord, t } from "@/lib/i18n";
import { kindLine } from "@/lib/kinds";
import { tame } from "@/lib/words";
import type { Proposal } from "@/node/client";
import { isOver, isWaiting } from "@/node/patch";
import { useChecks, useOperators, usePolicy, useRecord, useTopology, useTrace, useWho } from "@/node/reads";
import {
  Age,
  CopyButton,
  cx,
  Id,
  Json,
  Loaded,
  Panel,
  StatusMark,
  Txt,
  useNow,
  Words,
  Worth,
} from "@/ui/kit";
import { LedBy } from "@/ui/proposal";
import { TraceDiagram } from "@/ui/trace";
import { AheadOfTime, useUsed, withUse } from "./AheadOfTime";
import { Decide } from "./Decide";
import { agreed, checkWord, lastTime, liveChecks } from "./model";
import { Steps } from "./Steps";

const Part = ({ name, children }: { name: string; children: ReactNode }) => (
  <section className="border-line/60 border-b py-2.5 last:border-b-0">
    <h3 className="mb-1 font-semibold text-[12px] text-t2">{name}</h3>
    {children}
  </section>
);

export function Sheet({ p, others }: { p: Proposal; others: Proposal[] }) {
  const now = useNow();
  const waiting = isWaiting(p);
  const [first] = useState(p.status);
  const [mine, setMine] = useState(false);
  const who = useWho();
  const nodes = useTopology().data?.nodes;
  const policy = usePolicy().data;
  const rule = p.own ? policy?.list.find((r) => r.name === p.rule) : undefined;
  const asked = useChecks(waiting ? p : undefined);
  const checks = asked.data ? liveChecks(asked.data) : undefined;
  const failed = checks?.filter((c) => !c.passed).length ?? 0;
  const trace = useTrace(waiting ? undefined : p.id, isOver(p) ? undefined : 2_000);
  const executor = nodes?.find((n) => n.deviceId === p.executor)?.name;
  const before = lastTime(p, others);
  const used = useUsed(p);
  return (
    <Panel
      title={<Txt>{action(p.operation, p.target, p.runMs)}</Txt>}
      aside={
        <>
          <StatusMark status={p.status} word={statusWord(p.status)} />
          {waiting ? (
            <span
              title={dateTime(p.expiresAt)}
              className={cx("whitespace-nowrap", p.expiresAt - now < 60_000 && "font-semibold text-warn")}
            >
              {t("expiresIn")} {left(p.expiresAt - now)}
            </span>
          ) : null}
          <CopyButton label={t("copyLink")} text={`${location.origin}/approvals?id=${p.id}`} />
        </>
      }
      flush
      className="md:min-h-0"
    >
      <div className="flex min-h-full flex-col">
        <div className="flex-1 px-4">
          {first === "awaiting_approval" && !waiting ? (
            <p role="status" className="mt-3 rounded-md border border-info p-2 text-info">
              {t(mine ? "decidedHere" : "decidedElsewhere", { status: statusWord(p.status) })}
            </p>
          ) : null}
          <Part name={t(waiting ? "whatMoves" : "whatMoved")}>
            <p className="text-[17px] leading-6">
              <strong>
                <Txt>{action(p.operation, p.target, p.runMs)}</Txt>
              </strong>{" "}
              {t("on")}{" "}
              <strong>
                <Id id={p.executor} label={executor} />
              </strong>
            </p>
            <p className="text-t2">
              {p.gen1
                ? t("afterwardsGen1", { safe: codeWord("op", p.safeState), span: lasting(p.runMs) })
                : kindLine(p.kind, p.runMs, p.safeState)}{" "}
              <code className="font-mono text-[12.5px]">
                <Txt>{`${p.target} ${p.operation} ${JSON.stringify(p.params)}`}</Txt>
              </code>
            </p>
            <Steps p={p} />
            {p.gen1 ? (
              <p role="note" className="mt-1 rounded-md border border-warn p-2">
                {t("byGen1")} <Id id={p.gen1.deviceId} />{" "}
                <code className="font-mono text-[12.5px]">
                  <Txt>{`${p.gen1.action.target} ${p.gen1.action.operation} ${JSON.stringify(p.gen1.action.params)}`}</Txt>
                </code>
              </p>
            ) : null}
          </Part>
          {p.outcome ? (
            <Part name={t("outcome")}>
              <StatusMark status={p.outcome.status} word={statusWord(p.outcome.status)} />{" "}
              <Words text={p.outcome.detail} />{" "}
              {p.outcome.actuatorState ? (
                <span className="text-t2">
                  (<Txt max={60}>{codeWord("pos", p.outcome.actuatorState)}</Txt>)
                </span>
              ) : null}
            </Part>
          ) : null}
          {waiting ? null : (
            <Part name={t("trace")}>
              <Loaded q={trace}>
                {({ steps }) => <TraceDiagram steps={withUse(steps, used)} who={who} />}
              </Loaded>
            </Part>
          )}
          <Part name={t("why")}>
            <p>
              <Words text={p.reason} max={300} />
            </p>
            <p className="text-t2">
              <Txt max={200}>
                {t("askedBy", { name: p.requestedBy.name, kind: codeWord("rq", p.requestedBy.kind) })}
              </Txt>
              , <Age time={p.createdAt} />
              {p.tainted ? <span className="text-llm"> · {t("tainted")}</span> : null}
              {p.ledBy ? (
                <>
                  {" · "}
                  <LedBy p={p} />
                </>
              ) : null}
            </p>
            {p.evidence.length ? (
              <ul aria-label={t("evidence")} className="mt-1">
                {p.evidence.map((e) => (
                  <li key={e.frameId} className="flex flex-wrap items-center gap-x-3 gap-y-0.5 py-0.5">
                    <Link
                      to="/world"
                      search={{ tab: "frames", frame: e.frameId } as never}
                      className="min-w-0 text-accent hover:underline"
                    >
                      <Txt className="wrap-anywhere" max={300}>
                        {e.summary}
                      </Txt>
                    </Link>
                    <Worth
                      claimed={e.claimedTier}
                      effective={e.effectiveTier}
                      signature={e.signature}
                      tainted={e.taint.length > 0}
                    />
                    <span className="text-t2">
                      <Age time={e.sensedAt} />,{" "}
                      <Id id={e.origin} label={nodes?.find((n) => n.deviceId === e.origin)?.name} />
                    </span>
                  </li>
                ))}
              </ul>
            ) : (
              <p className="text-warn">◐ {t("noEvidence")}</p>
            )}
          </Part>
          <Part name={t("ruleAsks")}>
            <Txt>{t("rule", { rule: p.rule, level: p.level })}</Txt>
            {rule?.interlocks.length ? <span className="text-t2"> · {listed(rule.interlocks)}</span> : null}
          </Part>
          {waiting ? (
            <Part name={t("interlocks")}>
              {checks ? (
                <>
                  {failed ? (
                    <p className="font-medium text-danger">▲ {t("checksBad", { n: failed })}</p>
                  ) : null}
                  <ul>
                    {checks.map((c) => (
                      <li key={c.name + c.detail} className={c.passed ? "text-t1" : "text-danger"}>
                        <span aria-hidden="true" className={c.passed ? "text-ok" : undefined}>
                          {c.passed ? "●" : "▲"}
                        </span>{" "}
                        <Txt max={300}>{`${checkWord(c.name)}: ${c.detail}`}</Txt>
                      </li>
                    ))}
                  </ul>
                </>
              ) : asked.error ? (
                <span className="text-danger">
                  ▲ {t("failedRead", { text: tame(asked.error.message, 200) })}
                </span>
              ) : (
                <span className="text-t2">{t("loading")}</span>
              )}
            </Part>
          ) : null}
          <Part name={t("whoAgrees")}>
            {p.quorum > 1 ? t("agreeN", { n: p.quorum, level: p.level }) : t("agree1", { level: p.level })}
            {p.atNode ? ` ${t("orAtNode")}` : null}
            {p.quorum > 1 ? <WhoAgreed p={p} /> : null}
            {p.detail ? (
              <span className="text-t2">
                {" "}
                · <Words text={p.detail} />
              </span>
            ) : null}
          </Part>
          <Part name={t("standingTitle")}>
            <AheadOfTime p={p} used={used} />
          </Part>
          <Part name={t("lastTime")}>
            {before ? (
              <Link to="/approvals" search={{ id: before.id } as never} className="hover:underline">
                <StatusMark status={before.status} word={statusWord(before.status)} />{" "}
                <span className="text-t2">
                  <Age time={before.updatedAt} /> <Txt>{before.outcome?.detail ?? before.detail}</Txt>
                </span>
              </Link>
            ) : (
              <span className="text-t2">{t("neverBefore")}</span>
            )}
          </Part>
          <Part name={t("record")}>
            <details>
              <summary className="text-t2">{t("details")}</summary>
              <p className="text-t2">
                {t("digest")} <code className="wrap-anywhere font-mono text-[12px]">{p.digest}</code>
              </p>
              <Json data={p} />
            </details>
          </Part>
        </div>
        {isOver(p) ? null : (
          <div className="sticky bottom-0 border-line border-t bg-s1 px-4 py-3">
            <Decide p={p} onTaken={() => setMine(true)} />
          </div>
        )}
      </div>
    </Panel>
  );
}

/** Approvals by person: two keys of one person are one yes. */
function WhoAgreed({ p }: { p: Proposal }) {
  const decisions = useRecord(p.id).data?.decisions;
  const operators = useOperators().data;
  if (!decisions || !operators) return null;
  const yes = agreed(decisions, operators);
  return (
    <div className="mt-1">
      <p className={yes.length < p.quorum ? "text-warn" : "text-ok"}>
        {yes.length < p.quorum ? "◐" : "●"} {t("agreedOf", { n: yes.length, of: p.quorum })}
      </p>
      <ul>
        {yes.map((one) => (
          <li key={one.person}>
            <span aria-hidden="true" className="text-human">
              ✎
            </span>{" "}
            <Txt max={48}>{one.name}</Txt>{" "}
            <span className="text-t2">
              {t("person")} {one.person.slice(0, 8)}
              {one.keys.length > 1 ? ` · ${t("agreedKeys", { n: one.keys.length })}` : ""}
            </span>
          </li>
        ))}
      </ul>
    </div>
  );
}
