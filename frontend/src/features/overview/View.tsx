import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { alerting } from "@/lib/alerts";
import { type Health, health } from "@/lib/condition";
import { span, value } from "@/lib/format";
import { codeWord, t } from "@/lib/i18n";
import type { NodeEvent, Proposal, Status, Topology } from "@/node/client";
import { byUrgency, isWaiting } from "@/node/patch";
import { useEvents, useProposals, useStatus, useTopology, useWorld } from "@/node/reads";
import { Age, Cell, Empty, Id, Loaded, Panel, Row, Since, Table, Txt, useNow, Words } from "@/ui/kit";
import { NodeState } from "@/ui/nodes";
import { ProposalCard } from "@/ui/proposal";
import { VirtualRows } from "@/ui/virtual";
import { Alerts } from "./Alerts";
import { sentence, told } from "./model";

const NEEDS_MAX = 20;
const SHOWN_MAX = 100;
const HOUR_MS = 3_600_000;
const WORST: Health[] = ["stopped", "offline", "degraded", "unknown", "needs", "healthy"];
type TopNode = Topology["nodes"][number];
const worstFirst = (nodes: TopNode[], status: Status | undefined): TopNode[] =>
  [...nodes].sort((a, b) => WORST.indexOf(health(a, status)) - WORST.indexOf(health(b, status)));

export function View() {
  const now = useNow();
  const proposals = useProposals();
  const topology = useTopology();
  const status = useStatus().data;
  const events = useEvents();
  const world = useWorld().data ?? [];
  const recent = told(events.data ?? [], now - HOUR_MS);
  // Alerts that stand are listed above what else asked for attention.
  const others = alerting(events.data ?? []).filter((e) => e.kind !== "alert.began");
  const alerts = told(others, now - HOUR_MS);
  const loads = new Map(world.filter((f) => f.metric === "cpu.load").map((f) => [f.origin, f]));
  const waiting = (proposals.data ?? []).filter(isWaiting).sort(byUrgency);
  const known = useMemo(() => new Map((proposals.data ?? []).map((p) => [p.id, p])), [proposals.data]);
  return (
    <div className="grid flex-1 gap-3 lg:min-h-0 lg:grid-cols-2 lg:grid-rows-2 [&>*]:max-lg:min-h-56">
      <Panel title={t("needsYou")} aside={waiting.length || null} flush>
        <Loaded q={proposals}>
          {() =>
            waiting.length ? (
              <ul>
                {waiting.slice(0, NEEDS_MAX).map((p) => (
                  <li key={p.id}>
                    <ProposalCard p={p} />
                  </li>
                ))}
                {waiting.length > NEEDS_MAX ? (
                  <li className="p-3">
                    <Link to="/approvals" className="text-accent underline">
                      {t("moreWaiting", { n: waiting.length - NEEDS_MAX })}
                    </Link>
                  </li>
                ) : null}
              </ul>
            ) : (
              <Empty>● {t("nothingWaits")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <Panel title={t("nodesTitle")} flush>
        <Loaded q={topology}>
          {(top) => (
            <Table
              label={t("nodesTitle")}
              className="max-sm:[&_tr>:nth-child(4)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden"
              head={[t("name"), t("state"), t("age"), t("load"), t("linksTitle")]}
            >
              <VirtualRows items={worstFirst(top.nodes, status)} columns={5}>
                {(n) => {
                  const load = loads.get(n.deviceId);
                  return (
                    <Row key={n.deviceId}>
                      <Cell className="max-w-64 truncate font-medium">
                        <Link
                          to="/topology"
                          search={{ node: n.deviceId } as never}
                          className="hover:underline"
                        >
                          <Id id={n.deviceId} label={n.name} />
                        </Link>
                        {n.own ? <span className="text-t2"> ({t("self")})</span> : null}
                      </Cell>
                      <Cell>
                        <NodeState n={n} status={status} />
                      </Cell>
                      <Cell className="whitespace-nowrap">
                        {n.ageMs === null || n.ageMs === undefined ? "–" : span(n.ageMs)}
                      </Cell>
                      <Cell>{load ? value(load.value, load.unit) : "–"}</Cell>
                      <Cell>{top.links.filter((l) => l.a === n.deviceId || l.b === n.deviceId).length}</Cell>
                    </Row>
                  );
                }}
              </VirtualRows>
            </Table>
          )}
        </Loaded>
      </Panel>
      <Panel title={t("changed")} flush>
        <Loaded q={events}>
          {() =>
            recent.length ? (
              <ul>
                {recent.slice(0, SHOWN_MAX).map(({ event: e, times }) => (
                  <li key={e.seq} className="flex gap-3 border-line/60 border-b px-3 py-1.5">
                    <span className="w-20 shrink-0 text-t2">
                      <Age time={e.time} />
                    </span>
                    <span className="min-w-0 flex-1">
                      <Said e={e} known={known} />
                      {times > 1 ? <span className="text-t2"> ×{times}</span> : null}
                    </span>
                  </li>
                ))}
              </ul>
            ) : (
              <Empty>{t("nothingChanged")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <Alerts>
        {alerts.length ? (
          <ul>
            {alerts.slice(0, SHOWN_MAX).map(({ event: e, times }) => (
              <li key={e.seq} className="flex gap-3 border-line/60 border-b px-3 py-1.5">
                <span className={e.severity === "critical" ? "text-danger" : "text-warn"}>
                  {e.severity === "critical" ? "■" : "◐"}{" "}
                  <span className="sr-only">{codeWord("sv", e.severity)}</span>
                </span>
                <span className="min-w-0 flex-1">
                  <Said e={e} known={known} />
                  {times > 1 ? <span className="text-t2"> ×{times}</span> : null}
                </span>
                <Since time={e.time} stale={Number.POSITIVE_INFINITY} />
              </li>
            ))}
          </ul>
        ) : (
          <Empty>● {t("noAlerts")}</Empty>
        )}
      </Alerts>
    </div>
  );
}

function Said({ e, known }: { e: NodeEvent; known: ReadonlyMap<string, Proposal> }) {
  const { text, to } = sentence(e, known);
  return to ? (
    <Link to={to.to} search={to.search as never} className="hover:underline">
      <Txt max={200}>{text}</Txt>
    </Link>
  ) : (
    <Words text={text} />
  );
}
