import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { span } from "@/lib/format";
import { t } from "@/lib/i18n";
import { call } from "@/node/client";
import { usePeers, usePolicy, useSession, useStatus } from "@/node/reads";
import { applyTheme, type Theme, theme } from "@/platform/browser";
import { Age, Button, Cell, Empty, Id, Loaded, Pairs, Panel, Row, State, Table, Tabs, Txt } from "@/ui/kit";

export function View() {
  const status = useStatus();
  const session = useSession();
  const peers = usePeers();
  const policy = usePolicy();
  const client = useQueryClient();
  const [look, setLook] = useState<Theme>(theme());
  const [said, setSaid] = useState("");
  const again = () => void client.invalidateQueries();
  return (
    <div className="grid gap-3 lg:grid-cols-2">
      <Panel title={t("identity")}>
        <Loaded q={status}>
          {(s) => (
            <Pairs
              rows={[
                [t("name"), <Txt key="n">{s.displayName}</Txt>],
                [t("role"), s.role],
                [
                  t("deviceId"),
                  <code key="d" className="font-mono text-[12px]">
                    {s.deviceId}
                  </code>,
                ],
                [
                  t("mesh"),
                  <span key="m">
                    <Txt>{s.meshName}</Txt> <code className="font-mono text-[12px]">{s.meshId}</code>
                  </span>,
                ],
                [t("version"), s.version],
                [t("port"), s.port],
                [t("uptime"), span(s.uptimeMs)],
                [t("clock"), s.clockTrusted ? `● ${t("clockGood")}` : `▲ ${t("clockBad")}`],
                [t("frames"), s.frames.toLocaleString("en-US")],
                [t("facts"), s.facts.toLocaleString("en-US")],
              ]}
            />
          )}
        </Loaded>
      </Panel>
      <div className="flex flex-col gap-3">
        <Panel title={t("appearance")}>
          <span className="inline-block">
            <Tabs
              label={t("theme")}
              on={look}
              onPick={(id) => {
                applyTheme(id as Theme);
                setLook(id as Theme);
              }}
              tabs={[
                ["system", t("system")],
                ["light", t("light")],
                ["dark", t("dark")],
              ]}
            />
          </span>
        </Panel>
        <Panel title={t("session")}>
          <Loaded q={session}>
            {(s) => (
              <div className="flex flex-col gap-2">
                <Pairs
                  rows={[
                    [t("name"), <Txt key="n">{s.name ?? "–"}</Txt>],
                    [t("scope"), s.scope],
                    [t("until"), s.expiresAt ? new Date(s.expiresAt).toLocaleString("en-GB") : "–"],
                    [
                      t("decide"),
                      <Txt key="d">
                        {s.decision.mode === "passphrase" ? s.decision.operator?.name : s.decision.hint}
                      </Txt>,
                    ],
                  ]}
                />
                {s.csrf ? (
                  <div>
                    <Button
                      onClick={() =>
                        call("POST", "/session/end")
                          .then(
                            () => setSaid(t("ended")),
                            (e: Error) => setSaid(e.message),
                          )
                          .finally(again)
                      }
                    >
                      {t("endSession")}
                    </Button>
                  </div>
                ) : null}
                {said ? (
                  <p role="status">
                    <Txt>{said}</Txt>
                  </p>
                ) : null}
              </div>
            )}
          </Loaded>
        </Panel>
        <Panel title={t("discovery")}>
          <p className="text-t2">{t("discoveryNote")}</p>
        </Panel>
        <Panel title={t("credentials")}>
          <p className="text-t2">{t("credentialsNote")}</p>
        </Panel>
      </div>
      <Panel title={t("peers")} flush className="lg:col-span-2">
        <Loaded q={peers}>
          {(list) =>
            list.length ? (
              <Table
                label={t("peers")}
                head={[t("name"), t("state"), t("why"), t("posture"), t("latency"), t("skew"), t("address")]}
              >
                {list.map((p) => (
                  <Row key={p.deviceId}>
                    <Cell className="font-medium">
                      <Id id={p.deviceId} label={p.displayName} />
                    </Cell>
                    <Cell>
                      <State is={p.state === "connected" ? "healthy" : "offline"} word={false} />{" "}
                      <Txt>{p.state}</Txt>{" "}
                      <span className="text-t2">
                        <Age time={p.since} />
                      </span>
                    </Cell>
                    <Cell>
                      <Txt>{p.reason}</Txt>
                    </Cell>
                    <Cell>
                      <Txt>{p.posture ?? "–"}</Txt>
                    </Cell>
                    <Cell>{p.rttMs == null ? "–" : `${p.rttMs.toFixed(1)} ms`}</Cell>
                    <Cell>{p.skewMs == null ? "–" : `${p.skewMs} ms`}</Cell>
                    <Cell>
                      <Txt>{p.addresses.join(", ") || "–"}</Txt>
                    </Cell>
                  </Row>
                ))}
              </Table>
            ) : (
              <Empty>{t("noPeers")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <Panel
        title={t("policy")}
        flush
        className="lg:col-span-2"
        aside={
          session.data?.scope === "admin" ? (
            <Button
              className="h-7!"
              onClick={() =>
                call("POST", "/policy/reload")
                  .catch((e: Error) => setSaid(e.message))
                  .finally(again)
              }
            >
              {t("reload")}
            </Button>
          ) : null
        }
      >
        <Loaded q={policy}>
          {(p) => (
            <>
              {p.problem ? (
                <p role="alert" className="p-3 text-danger">
                  ▲ <Txt>{p.problem}</Txt>
                </p>
              ) : null}
              {p.list.length ? (
                <Table
                  label={t("policy")}
                  head={[
                    t("name"),
                    t("capabilities"),
                    t("operations"),
                    t("level"),
                    t("quorum"),
                    t("longest"),
                    t("safeState"),
                    t("minTier"),
                    t("interlocks"),
                    t("conditions"),
                  ]}
                >
                  {p.list.map((r) => (
                    <Row key={r.name}>
                      <Cell className="font-medium">{r.name}</Cell>
                      <Cell className="font-mono text-[12px]">{r.capability}</Cell>
                      <Cell>{r.operations.join(", ")}</Cell>
                      <Cell>{r.level}</Cell>
                      <Cell>{r.quorum}</Cell>
                      <Cell>{span(r.deadlineMs)}</Cell>
                      <Cell>{r.safeState}</Cell>
                      <Cell>{r.minTier.slice(0, 2)}</Cell>
                      <Cell>{r.interlocks.join("; ") || "–"}</Cell>
                      <Cell>{r.conditions.join("; ") || "–"}</Cell>
                    </Row>
                  ))}
                </Table>
              ) : (
                <Empty>{t("policyNone")}</Empty>
              )}
              <p className="px-3 py-2 text-t2">{t("policyTests")}</p>
            </>
          )}
        </Loaded>
      </Panel>
    </div>
  );
}
