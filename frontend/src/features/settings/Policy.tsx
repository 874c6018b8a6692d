/** The policy in force at this node's executor, and how its own tests come out. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { span } from "@/lib/format";
import { codeWord, listed, t } from "@/lib/i18n";
import { post } from "@/node/client";
import { usePolicy, usePolicyTests, useSession } from "@/node/reads";
import { Button, Empty, Loaded, Pairs, Panel, Txt } from "@/ui/kit";

export function Policy() {
  const policy = usePolicy();
  const tests = usePolicyTests();
  const client = useQueryClient();
  const admin = useSession().data?.scope === "admin";
  const [problem, setProblem] = useState("");
  const reload = () => {
    setProblem("");
    post("/policy/reload")
      .catch((e: Error) => setProblem(e.message))
      .finally(() => void client.invalidateQueries());
  };
  const failed = tests.data?.filter((x) => !x.passed).length ?? 0;
  return (
    <div className="grid gap-3 md:min-h-0 md:flex-1 lg:grid-cols-[1fr_minmax(300px,400px)]">
      <Panel
        title={t("policy")}
        aside={
          <>
            {policy.data ? (
              <code className="font-mono text-[12px]" title={policy.data.digest}>
                {policy.data.digest.slice(0, 12)}
              </code>
            ) : null}
            {admin ? (
              <Button className="h-7!" onClick={reload}>
                {t("reload")}
              </Button>
            ) : null}
          </>
        }
      >
        {problem ? (
          <p role="alert" className="mb-2 text-danger">
            ▲ <Txt max={400}>{problem}</Txt>
          </p>
        ) : null}
        <Loaded q={policy}>
          {(p) => (
            <div className="flex flex-col gap-3">
              {p.problem ? (
                <p role="alert" className="text-danger">
                  ▲ {t("policyLine", { text: "" })} <Txt max={400}>{p.problem}</Txt>
                </p>
              ) : null}
              {p.list.map((r) => (
                <article key={r.name} className="rounded-md border border-line p-3">
                  <h3 className="mb-1 flex flex-wrap items-center gap-2 font-semibold">
                    <Txt>{r.name}</Txt>
                    <span className="rounded-[4px] border border-line px-1 text-[11px] leading-4">
                      {r.level}
                    </span>
                    {r.quorum > 1 ? (
                      <span className="font-normal text-t2">{t("quorumOf", { n: r.quorum })}</span>
                    ) : null}
                    {r.atNode ? <span className="font-normal text-t2"> {t("orAtNode")}</span> : null}
                  </h3>
                  <Pairs
                    rows={[
                      [
                        t("capabilities"),
                        <Txt key="c" className="font-mono text-[12px]">
                          {r.capability}
                        </Txt>,
                      ],
                      [
                        t("operations"),
                        <Txt key="o">{listed(r.operations.map((o) => codeWord("op", o)))}</Txt>,
                      ],
                      [t("longest"), span(r.deadlineMs)],
                      [t("safeState"), <Txt key="s">{codeWord("op", r.safeState)}</Txt>],
                      [
                        t("evidence"),
                        t("evidenceOf", { tier: r.minTier.slice(0, 2), span: span(r.maxEvidenceAgeMs) }),
                      ],
                      [
                        t("interlocksWord"),
                        <Txt key="i" max={400}>
                          {r.interlocks.join("; ") || "–"}
                        </Txt>,
                      ],
                      [
                        t("conditions"),
                        <Txt key="x" max={400}>
                          {r.conditions.join("; ") || "–"}
                        </Txt>,
                      ],
                    ]}
                  />
                </article>
              ))}
              {p.list.length ? null : <Empty>{t("policyNone")}</Empty>}
            </div>
          )}
        </Loaded>
      </Panel>
      <Panel
        title={t("policyTestsTitle")}
        aside={
          <>
            {tests.data?.length ? (
              <span className={failed ? "text-danger" : "text-ok"}>
                {failed
                  ? `▲ ${t("testsFailed", { n: failed })}`
                  : `● ${t("testsPassed", { n: tests.data.length })}`}
              </span>
            ) : null}
            <Button className="h-7!" onClick={() => void tests.refetch()}>
              {t("runAgain")}
            </Button>
          </>
        }
      >
        <Loaded q={tests}>
          {(list) =>
            list.length ? (
              <ul className="flex flex-col gap-2">
                {list.map((x) => (
                  <li key={x.name}>
                    <span className={x.passed ? "text-ok" : "font-medium text-danger"}>
                      {x.passed ? "●" : "▲"}{" "}
                      <span className="sr-only">{t(x.passed ? "passed" : "failedTest")}</span>
                    </span>
                    <Txt max={200}>{x.name}</Txt>
                    <Txt className="block pl-4 text-[12px] text-t2" max={400}>
                      {x.detail}
                    </Txt>
                  </li>
                ))}
              </ul>
            ) : (
              <p className="text-t2">{t("noTests")}</p>
            )
          }
        </Loaded>
      </Panel>
    </div>
  );
}
