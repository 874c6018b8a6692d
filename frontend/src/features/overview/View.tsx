import { Link } from "@tanstack/react-router";
import { action, left, span, value } from "@/lib/format";
import { t } from "@/lib/i18n";
import { byUrgency, isWaiting } from "@/node/patch";
import { useEvents, useProposals, useStatus, useTopology, useWorld } from "@/node/reads";
import { Age, Cell, Empty, Id, Loaded, Panel, Row, Since, Table, Txt, useNow, Words } from "@/ui/kit";
import { NodeState } from "@/ui/nodes";

export function View() {
  const now = useNow();
  const proposals = useProposals();
  const topology = useTopology();
  const status = useStatus().data;
  const events = useEvents();
  const world = useWorld().data ?? [];
  const recent = (events.data ?? []).filter((e) => now - e.time < 3_600_000).reverse();
  const alerts = recent.filter((e) => e.severity !== "info");
  const loadOf = (id: string) => world.find((f) => f.origin === id && f.metric === "cpu.load");
  const waiting = (proposals.data ?? []).filter(isWaiting).sort(byUrgency);
  return (
    <div className="grid flex-1 gap-3 lg:min-h-0 lg:grid-cols-2 lg:grid-rows-2 [&>*]:max-lg:min-h-56">
      <Panel title={t("needsYou")} aside={waiting.length || null} flush>
        <Loaded q={proposals}>
          {() =>
            waiting.length ? (
              <ul>
                {waiting.map((p) => (
                  <li key={p.id}>
                    <Link
                      to="/approvals"
                      search={{ id: p.id } as never}
                      className="flex min-h-12 items-center gap-3 border-line/60 border-b px-3 py-1.5 hover:bg-s2"
                    >
                      <span className="font-semibold text-warn">▲ {p.level}</span>
                      <span className="min-w-0 flex-1">
                        <Txt className="block truncate font-medium">
                          {action(p.operation, p.target, p.runMs)}
                        </Txt>
                        <Txt className="block truncate text-t2">{p.reason}</Txt>
                      </span>
                      <span className="text-t2">{left(p.expiresAt - now)}</span>
                    </Link>
                  </li>
                ))}
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
              head={[t("name"), t("state"), t("age"), t("load"), t("linksTitle")]}
            >
              {top.nodes.map((n) => {
                const load = loadOf(n.deviceId);
                return (
                  <Row key={n.deviceId}>
                    <Cell className="font-medium">
                      <Link to="/topology" search={{ node: n.deviceId } as never} className="hover:underline">
                        <Id id={n.deviceId} label={n.name} />
                      </Link>
                      {n.own ? <span className="text-t2"> ({t("self")})</span> : null}
                    </Cell>
                    <Cell>
                      <NodeState n={n} status={status} />
                    </Cell>
                    <Cell>{n.ageMs === null || n.ageMs === undefined ? "–" : span(n.ageMs)}</Cell>
                    <Cell>{load ? value(load.value, load.unit) : "–"}</Cell>
                    <Cell>{top.links.filter((l) => l.a === n.deviceId || l.b === n.deviceId).length}</Cell>
                  </Row>
                );
              })}
            </Table>
          )}
        </Loaded>
      </Panel>
      <Panel title={t("changed")} flush>
        <Loaded q={events}>
          {() =>
            recent.length ? (
              <ul>
                {recent.slice(0, 100).map((e) => (
                  <li key={e.seq} className="flex gap-3 border-line/60 border-b px-3 py-1.5">
                    <span className="w-20 shrink-0 text-t2">
                      <Age time={e.time} />
                    </span>
                    <span className="min-w-0 flex-1">
                      <Words text={e.message} />
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
      <Panel title={t("alerts")} aside={alerts.length || null} flush>
        {alerts.length ? (
          <ul>
            {alerts.map((e) => (
              <li key={e.seq} className="flex gap-3 border-line/60 border-b px-3 py-1.5">
                <span className={e.severity === "critical" ? "text-danger" : "text-warn"}>
                  {e.severity === "critical" ? "■" : "◐"} <span className="sr-only">{e.severity}</span>
                </span>
                <span className="min-w-0 flex-1">
                  <Words text={e.message} />
                </span>
                <Since time={e.time} stale={Number.POSITIVE_INFINITY} />
              </li>
            ))}
          </ul>
        ) : (
          <Empty>● {t("noAlerts")}</Empty>
        )}
      </Panel>
    </div>
  );
}
