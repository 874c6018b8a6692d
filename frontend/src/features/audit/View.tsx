import { useState } from "react";
import { csv } from "@/lib/format";
import { t } from "@/lib/i18n";
import { type Audit, type AuditReport, call } from "@/node/client";
import { useAudit } from "@/node/reads";
import { Age, Button, Cell, download, Empty, Json, Loaded, Panel, Row, Table, Txt } from "@/ui/kit";

const STEP = 100;
const MOST = 500;

export function View() {
  const [limit, setLimit] = useState(STEP);
  const q = useAudit(limit);
  const [report, setReport] = useState<AuditReport | string>();
  const [busy, setBusy] = useState(false);
  const verify = () => {
    setBusy(true);
    call<AuditReport>("GET", "/audit/verify")
      .then(setReport, (e: Error) => setReport(e.message))
      .finally(() => setBusy(false));
  };
  const rows = (list: Audit[]) => [
    ["seq", "time", "kind", "subject", "detail", "hash"],
    ...list.map((a) => [
      a.seq,
      new Date(a.time).toISOString(),
      a.kind,
      a.subject,
      JSON.stringify(a.detail),
      a.hash,
    ]),
  ];
  return (
    <Panel
      flush
      title={t("audit")}
      className="flex-1 md:min-h-0"
      aside={
        <>
          <Button className="h-7" onClick={verify} disabled={busy}>
            {t("verify")}
          </Button>
          <Button
            className="h-7"
            onClick={() => q.data && download("audit.csv", "text/csv", csv(rows(q.data)))}
          >
            {t("exportCsv")}
          </Button>
          <Button
            className="h-7"
            onClick={() =>
              q.data && download("audit.json", "application/json", JSON.stringify(q.data, null, 2))
            }
          >
            {t("exportJson")}
          </Button>
        </>
      }
    >
      {report ? (
        <div role="status" className="border-line border-b bg-s2 px-3 py-2">
          {typeof report === "string" ? (
            <span className="text-danger">
              ▲ <Txt>{report}</Txt>
            </span>
          ) : report.ok ? (
            <span className="text-ok">● {t("verifyOk", { n: report.entries })}</span>
          ) : (
            <div className="text-danger">
              ■ {t("verifyBad", { n: report.faults.length })}{" "}
              {report.faults.map((f) => (
                <p key={f}>
                  <Txt>{f}</Txt>
                </p>
              ))}
            </div>
          )}
        </div>
      ) : null}
      <Loaded q={q}>
        {(list) =>
          list.length ? (
            <>
              <Table label={t("audit")} head={[t("seq"), t("time"), t("kind"), t("subject"), t("detail")]}>
                {[...list].reverse().map((a) => (
                  <Row key={a.seq}>
                    <Cell className="align-top text-t2">{a.seq}</Cell>
                    <Cell className="align-top">
                      <Age time={a.time} />
                    </Cell>
                    <Cell className="align-top font-medium">{a.kind}</Cell>
                    <Cell className="align-top font-mono text-[12px]">
                      <Txt title={a.subject}>{a.subject.slice(0, 36)}</Txt>
                    </Cell>
                    <Cell className="w-1/2">
                      <details>
                        <summary className="max-w-[50vw] truncate text-t2">
                          <Txt>{JSON.stringify(a.detail).slice(0, 140)}</Txt>
                        </summary>
                        <Json data={{ detail: a.detail, hash: a.hash }} />
                      </details>
                    </Cell>
                  </Row>
                ))}
              </Table>
              {list.length >= limit && limit < MOST ? (
                <Button className="m-2" onClick={() => setLimit(Math.min(limit + STEP, MOST))}>
                  {t("loadMore")}
                </Button>
              ) : null}
            </>
          ) : (
            <Empty>{t("noAudit")}</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}
