/** The graph of very many nodes: the same as `Graph`, drawn by WebGL. Comes only when it is needed. */
import { useEffect, useMemo, useRef, useState } from "react";
import { health } from "@/lib/condition";
import { bytes } from "@/lib/format";
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { roleGlyph, StateOf } from "@/ui/nodes";
import { Bar } from "./Bar";
import { drawn, type Hit, nameOf } from "./drawn";
import type { Shown } from "./Graph";
import { isOpen, linkId } from "./model";
import { usePlaces } from "./places";
import { grounds } from "./sites";
import type { Spot } from "./spots";
import { Stage } from "./stage";

/** How much ground a node of a site has round it. */
const ROOM = 110;

export function Wide(props: Shown & { onLost: () => void }) {
  const { top, flow, status, sites, keeps, node, link, onNode, onLink, onLost } = props;
  const box = useRef<HTMLDivElement>(null);
  const stage = useRef<Stage>(undefined);
  const [over, setOver] = useState<{ hit: Hit; at: Spot }>();
  const places = usePlaces(top, sites);
  const { spots, settled, pins, pin, tidy, again } = places;
  const calls = useRef({ onNode, onLink, onLost, pin });
  calls.current = { onNode, onLink, onLost, pin };

  useEffect(() => {
    const at = box.current;
    if (!at) return;
    let made: Stage;
    try {
      made = new Stage(at, {
        pick: ({ node, link }) => {
          if (node) calls.current.onNode(node);
          else if (link) calls.current.onLink(link);
        },
        hover: (hit, at) => setOver(hit.node || hit.link ? { hit, at } : undefined),
        moved: (id, at) => calls.current.pin([{ id, at }]),
        lost: () => calls.current.onLost(),
      });
    } catch {
      // Whatever kept it from drawing: there is another way to draw.
      calls.current.onLost();
      return;
    }
    stage.current = made;
    const themed = () => made.recolor();
    window.addEventListener("clawmesh-theme", themed);
    return () => {
      window.removeEventListener("clawmesh-theme", themed);
      stage.current = undefined;
      made.end();
    };
  }, []);

  const scene = useMemo(
    () => (settled ? drawn({ top, flow, status, spots, keeps, node, link }) : undefined),
    [top, flow, status, spots, settled, keeps, node, link],
  );
  const ground = useMemo(() => {
    const here = new Map(
      top.nodes.flatMap((n) => {
        const spot = spots.get(n.deviceId);
        return spot ? [[n.deviceId, spot] as const] : [];
      }),
    );
    return grounds(here, sites, ROOM);
  }, [top.nodes.length, spots, sites]);
  useEffect(() => {
    if (scene) stage.current?.draw(scene, ground);
  }, [scene, ground]);
  // After a new layout all of it is in sight.
  const fitted = useRef(again);
  useEffect(() => {
    if (!settled || fitted.current === again) return;
    fitted.current = again;
    stage.current?.fit();
  }, [settled, again]);
  useEffect(() => {
    if (node && settled) stage.current?.seek(node);
  }, [node, settled]);

  return (
    <div className="absolute inset-0" data-graph="webgl" data-settled={settled ? "" : undefined}>
      <div
        ref={box}
        tabIndex={0}
        role="group"
        aria-roledescription={t("graph")}
        aria-label={t("graphMany", { n: top.nodes.length, links: top.links.length })}
        onKeyDown={(e) => {
          if (!e.ctrlKey && !e.metaKey && !e.altKey && stage.current?.key(e.key)) e.preventDefault();
        }}
        className="absolute inset-0 touch-none select-none overflow-hidden -outline-offset-2"
      />
      <Bar
        pinned={Object.keys(pins).length > 0}
        onFit={() => stage.current?.fit()}
        onTidy={tidy}
        className="absolute top-2 left-2"
      />
      {settled ? null : (
        <p role="status" className="absolute inset-x-0 top-1/2 text-center text-t2">
          {t("layingOut")}
        </p>
      )}
      {over ? <Tip {...over} {...props} pins={pins} wide={box.current?.clientWidth ?? 0} /> : null}
    </div>
  );
}

/** What is under the pointer, in words: the selection tells the rest. */
function Tip({
  hit,
  at,
  wide,
  top,
  flow,
  status,
  sites,
  pins,
}: Shown & { hit: Hit; at: Spot; wide: number; pins: Record<string, Spot> }) {
  const n = hit.node ? top.nodes.find((x) => x.deviceId === hit.node) : undefined;
  const l = hit.link ? top.links.find((x) => linkId(x) === hit.link) : undefined;
  const name = (id: string) => {
    const found = top.nodes.find((x) => x.deviceId === id);
    return found ? nameOf(found) : id.slice(0, 8);
  };
  if (!n && !l) return null;
  const left = at.x > wide / 2;
  const perSec = l ? flow.get(linkId(l))?.perSec : undefined;
  const site = n ? sites.get(n.deviceId) : undefined;
  return (
    <div
      aria-hidden="true"
      className="pointer-events-none absolute z-10 max-w-64 rounded-md border border-line bg-s1 px-2 py-1"
      style={{ top: at.y + 14, ...(left ? { right: wide - at.x + 8 } : { left: at.x + 12 }) }}
    >
      {n ? (
        <>
          <div className="flex items-center gap-2">
            <span>{roleGlyph(n.role)}</span>
            <bdi className="truncate font-semibold">{nameOf(n)}</bdi>
            <StateOf is={health(n, status)} />
          </div>
          <div className="text-[12px] text-t2">
            <bdi>{n.role ? line(n.role, 24) : t("notKnown")}</bdi>
            {site ? (
              <>
                {" · "}
                <bdi>{line(site, 40)}</bdi>
              </>
            ) : null}
            {n.trusted || n.own ? "" : ` · ${t("notTrusted")}`}
            {n.deviceId in pins ? ` · ◉ ${t("pinned")}` : ""}
          </div>
        </>
      ) : l ? (
        <>
          <bdi className="block truncate">
            {name(l.a)} – {name(l.b)}
          </bdi>
          <span className={isOpen(l.posture) ? "text-warn" : "text-t2"}>
            {isOpen(l.posture) ? "▲ " : ""}
            {l.posture ? line(l.posture, 24) : t("notKnown")}
          </span>
          <span className="text-t2">
            {l.rttMs == null ? "" : ` · ${l.rttMs.toFixed(1)} ms`}
            {perSec == null ? "" : ` · ${bytes(perSec)}/s`}
          </span>
        </>
      ) : null}
    </div>
  );
}
