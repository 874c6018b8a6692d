import { useCallback, useEffect, useMemo, useRef } from "react";
import { markWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Twin } from "@/node/client";
import { useActuators, useTopology, useTwin, useWorld } from "@/node/reads";
import { Button, Loaded, Panel, Select, useNow } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Details } from "./Details";
import { List } from "./List";
import { MARK } from "./marks";
import { assetsSeen, index, MARKS, siteOf, zoneSeen } from "./model";
import { Plan } from "./Plan";
import { Broken, Start } from "./Start";

/** The header has room for the words of so many states; of more there are the shapes. */
const WORDS_MAX = 3;
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

export function View() {
  const q = useTwin();
  return (
    <Loaded q={q}>
      {(twin) =>
        twin.sites.length ? (
          <div className="flex flex-1 flex-col gap-3 md:min-h-0">
            {twin.problems.length ? <Broken twin={twin} beside /> : null}
            <Sites twin={twin} />
          </div>
        ) : twin.problems.length ? (
          <Broken twin={twin} />
        ) : (
          <Start twin={twin} />
        )
      }
    </Loaded>
  );
}

function Sites({ twin }: { twin: Twin }) {
  const [place, go] = usePlace();
  const site = siteOf(twin.sites, place.site);
  const world = useWorld();
  const actuators = useActuators().data;
  const nodes = useTopology().data?.nodes;
  const now = useNow();
  const facts = useMemo(() => index(world.data ?? []), [world.data]);
  const zones = useMemo(() => site?.zones.map((z) => zoneSeen(z, facts, now)) ?? [], [site, facts, now]);
  const assets = useMemo(() => {
    if (!site) return [];
    return assetsSeen(site, { facts, actuators: actuators ?? [], nodes: nodes ?? [], now });
  }, [site, facts, actuators, nodes, now]);
  // The same for ever, so that hundreds of marks are not drawn anew for it.
  const goes = useRef(go);
  useEffect(() => {
    goes.current = go;
  });
  const onPick = useCallback(
    (of: "zone" | "asset", id: string) => goes.current({ zone: undefined, asset: undefined, [of]: id }, true),
    [],
  );
  const view = place.view === "list" ? "list" : "plan";
  const zoom = Math.max(0, ZOOMS.indexOf(Number(place.zoom) || 1));
  const zoomTo = (at: number) => go({ zoom: at <= 0 ? undefined : String(ZOOMS[at] ?? 1) });
  const counts = MARKS.map((m) => ({ m, n: zones.filter((z) => z.mark === m).length })).filter((x) => x.n);
  if (!site) return null;
  return (
    <div className="grid flex-1 gap-3 max-md:content-start md:min-h-0 md:grid-cols-[1fr_minmax(270px,340px)]">
      <Panel
        title={
          twin.sites.length > 1 ? (
            <Select
              label={t("site")}
              className="h-7! max-w-56 font-semibold"
              value={site.id}
              onChange={(e) =>
                go({ site: e.target.value, zone: undefined, asset: undefined, zoom: undefined })
              }
            >
              {twin.sites.map((s) => (
                <option key={s.id} value={s.id}>
                  {line(s.name, 64)}
                </option>
              ))}
            </Select>
          ) : (
            <bdi>{line(site.name, 64)}</bdi>
          )
        }
        className={view === "plan" ? "max-md:max-h-[65vh]" : "max-md:max-h-[70vh]"}
        flush
        aside={
          <>
            <span className="flex flex-wrap items-center gap-x-3 max-lg:hidden">
              {counts.map(({ m, n }) => (
                <span key={m} className={MARK[m].text} title={markWord(m)}>
                  <span aria-hidden="true">{MARK[m].shape}</span> {n}{" "}
                  <span className={counts.length > WORDS_MAX ? "sr-only" : "max-xl:sr-only"}>
                    {markWord(m)}
                  </span>
                </span>
              ))}
            </span>
            {view === "plan" ? (
              <span className="flex items-center">
                <Button
                  tone="quiet"
                  className="h-7! px-2"
                  aria-label={t("zoomOut")}
                  title={t("zoomOut")}
                  disabled={zoom === 0}
                  onClick={() => zoomTo(zoom - 1)}
                >
                  −
                </Button>
                <Button
                  tone="quiet"
                  className="h-7! px-2 max-sm:hidden"
                  disabled={zoom === 0}
                  onClick={() => zoomTo(0)}
                >
                  {t("zoomFit")}
                </Button>
                <Button
                  tone="quiet"
                  className="h-7! px-2"
                  aria-label={t("zoomIn")}
                  title={t("zoomIn")}
                  disabled={zoom === ZOOMS.length - 1}
                  onClick={() => zoomTo(zoom + 1)}
                >
                  +
                </Button>
              </span>
            ) : null}
            <Tabs
              label={t("twin")}
              on={view}
              onPick={(id) => go({ view: id })}
              tabs={[
                ["plan", t("plan")],
                ["list", t("list")],
              ]}
            />
          </>
        }
      >
        {view === "list" ? (
          <List zones={zones} assets={assets} />
        ) : (
          <div className="flex min-h-full min-w-full items-center p-1.5">
            <Plan
              site={site}
              zones={zones}
              assets={assets}
              zoom={ZOOMS[zoom] ?? 1}
              zone={place.zone}
              asset={place.asset}
              onPick={onPick}
              now={now}
            />
          </div>
        )}
      </Panel>
      <Panel title={t("details")}>
        <Details site={site} zones={zones} assets={assets} zone={place.zone} asset={place.asset} />
      </Panel>
    </div>
  );
}
