/** The same as the graph, for reading and sorting. */
import { health } from "@/lib/condition";
import { codeWord, t } from "@/lib/i18n";
import type { Status, Topology } from "@/node/client";
import { Cell, Empty, healthWord, Id, Row, Since, Table, Txt } from "@/ui/kit";
import { NodeState, roleGlyph } from "@/ui/nodes";
import { usePlace } from "@/ui/place";
import { VirtualRows } from "@/ui/virtual";

type TopNode = Topology["nodes"][number];
/** Made once: to compare by a language anew each time is what takes the time. */
const order = new Intl.Collator();

export function List({ top, nodes, status }: { top: Topology; nodes: TopNode[]; status?: Status }) {
  const [place, go] = usePlace();
  const sort = place.sort ?? "name";
  const links = new Map<string, number>();
  for (const l of top.links) for (const id of [l.a, l.b]) links.set(id, (links.get(id) ?? 0) + 1);
  const key = (n: TopNode): string =>
    sort === "state"
      ? healthWord(health(n, status))
      : sort === "role"
        ? (n.role ?? "~")
        : sort === "version"
          ? (n.version ?? "~")
          : (n.name ?? n.deviceId);
  const head = (id: string, name: string) => (
    <button type="button" aria-pressed={sort === id} className="font-medium" onClick={() => go({ sort: id })}>
      {name}
      <span aria-hidden="true">{sort === id ? " ▾" : ""}</span>
    </button>
  );
  const sorted = nodes
    .map((n) => [key(n), n] as const)
    .sort(([a], [b]) => order.compare(a, b))
    .map(([, n]) => n);
  if (!sorted.length) return <Empty>{t("noHit")}</Empty>;
  return (
    <Table
      label={t("nodesTitle")}
      className="max-sm:[&_tr>:nth-child(3)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden max-sm:[&_tr>:nth-child(6)]:hidden"
      head={[
        head("name", t("name")),
        head("state", t("state")),
        head("role", t("role")),
        t("reported"),
        t("linksTitle"),
        head("version", t("version")),
      ]}
    >
      <VirtualRows
        items={sorted}
        columns={6}
        pick={place.node}
        at={sorted.findIndex((n) => n.deviceId === place.node)}
      >
        {(n) => (
          <Row key={n.deviceId} on={place.node === n.deviceId}>
            <Cell>
              <button
                type="button"
                className="max-w-56 truncate font-medium text-accent hover:underline"
                onClick={() => go({ node: n.deviceId, link: undefined }, true)}
              >
                <Id id={n.deviceId} label={n.name} />
              </button>
              {n.own ? <span className="text-t2"> ({t("self")})</span> : null}
            </Cell>
            <Cell>
              <NodeState n={n} status={status} />
            </Cell>
            <Cell className="whitespace-nowrap">
              <span aria-hidden="true">{roleGlyph(n.role)}</span>{" "}
              <Txt max={32}>{n.role ? codeWord("ro", n.role) : "–"}</Txt>
            </Cell>
            <Cell>{n.own ? "–" : n.reportedAt ? <Since time={n.reportedAt} stale={90_000} /> : "–"}</Cell>
            <Cell>{links.get(n.deviceId) ?? 0}</Cell>
            <Cell>
              <Txt max={32}>{n.version ?? "–"}</Txt>
            </Cell>
          </Row>
        )}
      </VirtualRows>
    </Table>
  );
}
