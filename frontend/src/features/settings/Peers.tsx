import { millis } from "@/lib/format";
import { codeWord, t } from "@/lib/i18n";
import { usePeers } from "@/node/reads";
import { Age, Cell, cx, Empty, Id, Loaded, Panel, Row, State, Table, Txt } from "@/ui/kit";
import { VirtualRows } from "@/ui/virtual";

const UP = new Set(["connected", "on-demand"]);
const OPEN = new Set(["waiting", "dialing", "suspect"]);

export function Peers() {
  const peers = usePeers();
  return (
    <Panel title={t("peers")} flush className="md:min-h-0 md:flex-1">
      <Loaded q={peers}>
        {(list) =>
          list.length ? (
            <Table
              label={t("peers")}
              className="max-sm:[&_tr>:nth-child(4)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden max-sm:[&_tr>:nth-child(6)]:hidden max-sm:[&_tr>:nth-child(7)]:hidden max-sm:[&_tr>:nth-child(8)]:hidden"
              head={[
                t("name"),
                t("state"),
                t("why"),
                t("since"),
                t("posture"),
                t("latency"),
                t("skew"),
                t("address"),
              ]}
            >
              <VirtualRows items={list} columns={8}>
                {(p) => (
                  <Row key={p.deviceId}>
                    <Cell className="max-w-48 truncate font-medium">
                      <Id id={p.deviceId} label={p.displayName} />
                    </Cell>
                    <Cell className="whitespace-nowrap">
                      <State
                        is={UP.has(p.state) ? "healthy" : OPEN.has(p.state) ? "degraded" : "offline"}
                        word={false}
                      />{" "}
                      <Txt>{codeWord("ps", p.state)}</Txt>
                    </Cell>
                    <Cell className="max-w-64 truncate">
                      <Txt max={200} title={p.reason}>
                        {p.reason}
                      </Txt>
                    </Cell>
                    <Cell>
                      <Age time={p.since} />
                    </Cell>
                    <Cell className={cx("whitespace-nowrap", p.posture === "insecure" && "text-warn")}>
                      <Txt>{p.posture ? codeWord("po", p.posture) : "–"}</Txt>
                    </Cell>
                    <Cell className="whitespace-nowrap">{p.rttMs == null ? "–" : millis(p.rttMs)}</Cell>
                    <Cell className="whitespace-nowrap">{p.skewMs == null ? "–" : millis(p.skewMs, 0)}</Cell>
                    <Cell className="max-w-56 truncate font-mono text-[12px]">
                      <Txt title={p.addresses.join(", ")}>{p.addresses[0] ?? "–"}</Txt>
                    </Cell>
                  </Row>
                )}
              </VirtualRows>
            </Table>
          ) : (
            <Empty>{t("noPeers")}</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}
