import { lazy, Suspense, useCallback, useMemo, useRef, useState } from "react";
import { type Health, health } from "@/lib/condition";
import { t } from "@/lib/i18n";
import type { Topology } from "@/node/client";
import { useStatus, useTopology, useTwin } from "@/node/reads";
import { Empty, healthWord, Loaded, Panel, Search, Select } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Details } from "./Details";
import { List } from "./List";
import { type Flow, flows } from "./model";
import { NO_SITES, sitesOf } from "./sites";

const Graph = lazy(() => import("./Graph").then((m) => ({ default: m.Graph })));
const Wide = lazy(() => import("./Wide").then((m) => ({ default: m.Wide })));
/** From so many nodes on they are drawn by WebGL, and until so few again: it does not go back and forth. */
const WIDE_FROM = 151;
const WIDE_UNTIL = 140;

const STATES: Health[] = ["healthy", "degraded", "stopped", "offline"];

export function View() {
  const q = useTopology();
  const status = useStatus().data;
  const [place, go] = usePlace();
  const view = place.view ?? "graph";
  const words = place.q ?? "";
  const traffic = useRef<ReadonlyMap<string, Flow>>(new Map());
  const top = q.data;
  const flow = useMemo(() => {
    if (top) traffic.current = flows(traffic.current, top.links, top.at);
    return traffic.current;
  }, [top]);
  const twin = useTwin();
  // Which device is at which site; the same answer again is the same map, so that nothing is laid out anew.
  const placed = JSON.stringify([...(twin.data ? sitesOf(twin.data) : [])]);
  const sites = useMemo(
    () => (placed === "[]" ? NO_SITES : new Map(JSON.parse(placed) as [string, string][])),
    [placed],
  );
  // What a node can be found by, written once for every letter that is typed.
  const found = useMemo(
    () =>
      new Map(
        top?.nodes.map((n) => [
          n.deviceId,
          `${n.name} ${n.role} ${n.deviceId} ${n.version} ${sites.get(n.deviceId) ?? ""} ${n.capabilities.join(" ")}`.toLowerCase(),
        ]),
      ),
    [top, sites],
  );
  const keeps = useCallback(
    (n: Topology["nodes"][number]) =>
      (!place.is || health(n, status) === place.is) &&
      (!place.role || n.role === place.role) &&
      words
        .toLowerCase()
        .split(/\s+/)
        .every((w) => found.get(n.deviceId)?.includes(w)),
    [words, place.is, place.role, status, found],
  );
  const roles = [...new Set(top?.nodes.flatMap((n) => (n.role ? [n.role] : [])))].sort();
  const kept = top?.nodes.filter(keeps) ?? [];
  const [lost, setLost] = useState(false);
  const wide = useRef(false);
  wide.current = (top?.nodes.length ?? 0) >= (wide.current ? WIDE_UNTIL : WIDE_FROM);
  const canWide = wide.current && !lost;
  const shown = (top: Topology) => ({
    top,
    flow,
    status,
    sites,
    keeps,
    node: place.node,
    link: place.link,
    onNode: (id: string) => go({ node: id, link: undefined }, true),
    onLink: (id: string) => go({ link: id, node: undefined }, true),
  });
  return (
    <div className="grid flex-1 gap-3 max-md:content-start md:min-h-0 md:grid-cols-[1fr_minmax(270px,340px)]">
      <Panel
        flush
        title={t("topology")}
        className="max-md:h-[60vh]"
        aside={
          <>
            {top && kept.length < top.nodes.length ? (
              <span>{t("shownOf", { n: kept.length, all: top.nodes.length })}</span>
            ) : null}
            <Search value={words} onChange={(q) => go({ q })} />
            <Select
              label={t("state")}
              className="h-7! max-lg:hidden"
              value={place.is ?? ""}
              onChange={(e) => go({ is: e.target.value })}
            >
              <option value="">{t("anyState")}</option>
              {STATES.map((s) => (
                <option key={s} value={s}>
                  {healthWord(s)}
                </option>
              ))}
            </Select>
            <Select
              label={t("role")}
              className="h-7! max-w-32 max-lg:hidden"
              value={place.role ?? ""}
              onChange={(e) => go({ role: e.target.value })}
            >
              <option value="">{t("anyRole")}</option>
              {roles.map((r) => (
                <option key={r}>{r}</option>
              ))}
            </Select>
            <Tabs
              label={t("topology")}
              on={view}
              onPick={(id) => go({ view: id })}
              tabs={[
                ["graph", t("graph")],
                ["list", t("list")],
              ]}
            />
          </>
        }
      >
        <Loaded q={q}>
          {(top) =>
            twin.isPending ? (
              <Empty>{t("loading")}</Empty>
            ) : view === "list" ? (
              <List top={top} nodes={kept} status={status} />
            ) : (
              <Suspense fallback={<Empty>{t("loading")}</Empty>}>
                {canWide ? <Wide {...shown(top)} onLost={() => setLost(true)} /> : <Graph {...shown(top)} />}
                {wide.current && !canWide ? (
                  <p className="absolute right-2 bottom-1 bg-s1 px-1 text-t2 text-[12px]">{t("noWebgl")}</p>
                ) : null}
              </Suspense>
            )
          }
        </Loaded>
      </Panel>
      <Panel title={t("details")}>
        {top ? <Details top={top} flow={flow} status={status} node={place.node} link={place.link} /> : null}
      </Panel>
    </div>
  );
}
