import { useState } from "react";
import { t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import { type Audit, type AuditReport, get, readText } from "@/node/client";
import { useAudit } from "@/node/reads";
import {
  Age,
  Button,
  Cell,
  CopyButton,
  cx,
  download,
  Empty,
  Hex,
  Json,
  Loaded,
  Pairs,
  Panel,
  Row,
  Search,
  Table,
  Txt,
} from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { VirtualRows } from "@/ui/virtual";

const PAGE = 500;

export function View() {
  const [place, go] = usePlace();
  const since = place.since === undefined ? undefined : Number(place.since) || 0;
  const q = useAudit(since, PAGE);
  const [report, setReport] = useState<AuditReport | string>();
  const [busy, setBusy] = useState("");
  const verify = () => {
    setBusy("verify");
    get("/audit/verify")
      .then(setReport, (e: Error) => setReport(e.message))
      .finally(() => setBusy(""));
  };
  const exported = () => {
    setBusy("export");
    readText("/audit/export")
      .then(
        (text) => download("clawmesh-audit.jsonl", "application/x-ndjson", text),
        (e: Error) => setReport(e.message),
      )
      .finally(() => setBusy(""));
  };
  const words = (place.q ?? "").toLowerCase();
  const list = [...(q.data ?? [])].reverse();
  const found = words
    ? list.filter((a) =>
        `${a.seq} ${a.kind} ${a.subject} ${JSON.stringify(a.detail)}`.toLowerCase().includes(words),
      )
    : list;
  const first = list.at(-1)?.seq;
  const chosen = place.seq ? list.find((a) => String(a.seq) === place.seq) : undefined;
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 lg:grid-cols-[1fr_minmax(300px,380px)]">
      <Panel
        flush
        title={t("audit")}
        className="max-md:max-h-[70vh] md:min-h-0"
        aside={
          <>
            <Search value={place.q ?? ""} onChange={(x) => go({ q: x })} />
            <Button className="h-7!" onClick={verify} disabled={Boolean(busy)}>
              {busy === "verify" ? t("verifying") : t("verify")}
            </Button>
            <Button className="h-7!" onClick={exported} disabled={Boolean(busy)} title={t("exportAuditHint")}>
              {t("exportAudit")}
            </Button>
          </>
        }
        foot={
          <div className="flex flex-wrap items-center gap-2">
            {since === undefined ? null : (
              <Button className="h-7!" onClick={() => go({ since: undefined, seq: undefined })}>
                {t("newest")}
              </Button>
            )}
            <Button
              className="h-7!"
              disabled={!first || first <= 1}
              onClick={() =>
                go({ since: String(Math.max(0, (first ?? 1) - 1 - PAGE)), seq: undefined }, true)
              }
            >
              {t("older")}
            </Button>
            <span className="ml-auto text-[12px] text-t2">
              {list.length
                ? t("seqSpan", { n: list.length, from: String(first), to: String(list[0]?.seq) })
                : null}
            </span>
          </div>
        }
      >
        {report ? <Report report={report} /> : null}
        <Loaded q={q}>
          {() =>
            found.length ? (
              <Table
                className="max-sm:[&_tr>:nth-child(4)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden"
                label={t("audit")}
                head={[t("seq"), t("time"), t("kind"), t("subject"), t("chain")]}
              >
                <VirtualRows
                  items={found}
                  columns={5}
                  pick={place.seq}
                  at={chosen ? found.indexOf(chosen) : undefined}
                >
                  {(a) => (
                    <Row key={a.seq} on={a === chosen}>
                      <Cell className="text-t2">{a.seq}</Cell>
                      <Cell className="whitespace-nowrap">
                        <Age time={a.time} />
                      </Cell>
                      <Cell>
                        <button
                          type="button"
                          className="max-w-64 truncate text-left font-medium text-accent hover:underline"
                          onClick={() => go({ seq: String(a.seq) }, true)}
                        >
                          <Txt max={64}>{a.kind}</Txt>
                        </button>
                      </Cell>
                      <Cell className="max-w-56 truncate font-mono text-[12px]">
                        <bdi title={tame(a.subject, 200)}>{tame(a.subject, 36)}</bdi>
                      </Cell>
                      <Cell className="whitespace-nowrap font-mono text-[12px] text-t2">
                        <span aria-hidden="true">↳ </span>
                        {a.hash.slice(0, 8)}
                      </Cell>
                    </Row>
                  )}
                </VirtualRows>
              </Table>
            ) : (
              <Empty>{words ? t("noHit") : t("noAudit")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <Entry a={chosen} before={chosen ? list[list.indexOf(chosen) + 1] : undefined} />
    </div>
  );
}

function Report({ report }: { report: AuditReport | string }) {
  const bad = typeof report === "string" || !report.ok;
  return (
    <div
      role={bad ? "alert" : "status"}
      className={cx("border-line border-b bg-s2 px-3 py-2", bad ? "text-danger" : "text-ok")}
    >
      {typeof report === "string" ? (
        <>
          ▲ <Txt max={400}>{report}</Txt>
        </>
      ) : report.ok ? (
        `● ${t("verifyOk", { n: report.entries })}`
      ) : (
        <>
          ■ {t("verifyBad", { n: report.faults.length })}
          {report.faults.slice(0, 20).map((f) => (
            <p key={f}>
              <Txt max={300}>{f}</Txt>
            </p>
          ))}
        </>
      )}
    </div>
  );
}

function Entry({ a, before }: { a?: Audit; before?: Audit }) {
  return (
    <Panel
      title={t("entry")}
      aside={a ? <CopyButton label={t("copyLink")} text={`${location.origin}/audit?seq=${a.seq}`} /> : null}
    >
      {a ? (
        <div className="flex flex-col gap-3">
          <Pairs
            rows={[
              [t("seq"), a.seq],
              [t("time"), <Age key="t" time={a.time} />],
              [t("kind"), <Txt key="k">{a.kind}</Txt>],
              [
                t("subject"),
                <Txt key="s" className="font-mono text-[12px]" max={300}>
                  {a.subject}
                </Txt>,
              ],
              [t("hashOf"), <Hex key="h">{a.hash}</Hex>],
              [
                t("follows"),
                before ? (
                  <span key="b">
                    {before.seq}: <Hex>{before.hash}</Hex>
                  </span>
                ) : (
                  "–"
                ),
              ],
            ]}
          />
          <Json data={a.detail} />
        </div>
      ) : (
        <p className="text-t2">{t("pickEntry")}</p>
      )}
    </Panel>
  );
}
