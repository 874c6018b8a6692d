/**
 * The drawing with zones and assets over it. The drawing is an image and stays one: what is drawn over it
 * is ours alone. What can be chosen are buttons in a text's order; arrow keys go to what lies that way.
 */
import { memo, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Health } from "@/lib/condition";
import { span, value } from "@/lib/format";
import { assetWord, kindWord, markWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { usePlan } from "@/node/reads";
import { cx, State, Txt, Worth } from "@/ui/kit";
import { Glyph, MARK } from "./marks";
import {
  type Asset,
  type AssetSeen,
  extent,
  fit,
  freeSpot,
  labelAt,
  MARKS,
  type Mark,
  nearest,
  type Site,
  type Spot,
  type Way,
  type Zone,
  type ZoneSeen,
} from "./model";

/** Below these sizes on the screen a zone's label says less, and then only its shape. */
const FULL_PX = [128, 76] as const;
const SHORT_PX = [58, 34] as const;
/** Beyond so many, names of assets would lie on each other. */
const NAMES_MAX = 40;
const NAMES_FROM_PX = 480;
/** At most so much of the screen does a character take in them. */
const FULL_CHAR_PX = 10;
const SHORT_CHAR_PX = 8;
const PAD_PX = 12;
/** With less room for each on the average, assets are dots. */
const CROWDED_PX = 44;
const DOT_PX = 14;
/** With still less, what is well is a mere speck, so that what is not is seen. */
const PACKED_PX = 24;
/** The part of a phone's height that a plan may take. */
const PHONE_PART = 0.55;
/** How much room the labels and the marks of assets take. */
const LABEL_PX = [
  [22, 22],
  [76, 22],
  [100, 64],
] as const;
const MARK_PX = 30;

interface Choice extends Spot {
  id: string;
}

export function Plan({
  site,
  zones,
  assets,
  zoom,
  zone,
  asset,
  onPick,
  now,
}: {
  site: Site;
  zones: ZoneSeen[];
  assets: AssetSeen[];
  zoom: number;
  zone?: string;
  asset?: string;
  onPick: (of: "zone" | "asset", id: string) => void;
  now: number;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [room, setRoom] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const outer = box.current?.closest<HTMLElement>("[data-scroll]");
    if (!outer) return;
    // On a phone the plan is as high as its width makes it, and the page scrolls.
    const narrow = matchMedia("(max-width: 767px)");
    const look = () =>
      setRoom({
        width: outer.clientWidth - PAD_PX,
        height: narrow.matches ? window.innerHeight * PHONE_PART : outer.clientHeight - PAD_PX,
      });
    look();
    const watch = new ResizeObserver(look);
    watch.observe(outer);
    return () => watch.disconnect();
  }, []);
  const width = fit(site, room.width, room.height) * zoom;
  const perUnit = width / site.width;
  const spots = useMemo(
    () => site.zones.map((z) => ({ ...labelAt(z.outline), ...extent(z.outline) })),
    [site],
  );
  const choices: Choice[] = useMemo(
    () => [
      ...site.zones.map((z, i) => ({ id: `zone:${z.id}`, x: spots[i]?.x ?? 0, y: spots[i]?.y ?? 0 })),
      ...site.assets.map((a) => ({ id: `asset:${a.id}`, x: a.x, y: a.y })),
    ],
    [site, spots],
  );
  const sizes = zones.map((z, i) => {
    const [w, h] = [(spots[i]?.width ?? 0) * perUnit, (spots[i]?.height ?? 0) * perUnit];
    const long = z.telling?.fact ? value(z.telling.fact.value, z.telling.fact.unit).length : 0;
    // A number is there whole or not at all: cut off it would be another number.
    const full = Math.max(FULL_PX[0], long * FULL_CHAR_PX + PAD_PX);
    const short = Math.max(SHORT_PX[0], long * SHORT_CHAR_PX + MARK_PX);
    return w >= full && h >= FULL_PX[1] ? 2 : w >= short && h >= SHORT_PX[1] ? 1 : 0;
  });
  const sized = sizes.join("");
  const each = Math.sqrt((width * width * site.height) / site.width / (assets.length || 1));
  const crowded = each < CROWDED_PX;
  const packed = each < PACKED_PX;
  // Where things stand and how large labels are changes seldom; a label is not moved for a new value.
  const places = useMemo(
    () =>
      site.zones.map((z, i) => {
        const [labelW, labelH] = LABEL_PX[Number(sized[i]) as 0 | 1 | 2];
        const markPx = crowded ? DOT_PX : MARK_PX;
        return freeSpot(z.outline, spots[i] ?? { x: 0, y: 0 }, site.assets, {
          width: (labelW + markPx) / perUnit,
          height: (labelH + markPx) / perUnit,
        });
      }),
    [site, spots, sized, perUnit, crowded],
  );
  const chosen = zone ? `zone:${zone}` : asset ? `asset:${asset}` : undefined;
  // One of them is in the order of Tab; from there the arrows go on.
  const entry = choices.some((c) => c.id === chosen) ? chosen : choices[0]?.id;
  const onKeyDown = (e: React.KeyboardEvent<HTMLDivElement>) => {
    const at = (e.target as HTMLElement).dataset.spot;
    const from = choices.find((c) => c.id === at);
    if (!from || !e.key.startsWith("Arrow")) return;
    const to = nearest(from, choices, e.key as Way);
    if (!to) return;
    e.preventDefault();
    box.current?.querySelector<HTMLElement>(`[data-spot="${CSS.escape(to.id)}"]`)?.focus();
  };
  // What is chosen, or else the middle, is in sight after a change of scale.
  useLayoutEffect(() => {
    const outer = box.current?.closest<HTMLElement>("[data-scroll]");
    const plan = box.current;
    if (!outer || !plan || zoom <= 1 || !width) return;
    const spot = chosen && plan.querySelector<HTMLElement>(`[data-spot="${CSS.escape(chosen)}"]`);
    const x = spot ? spot.offsetLeft : plan.offsetWidth / 2;
    const y = spot ? spot.offsetTop : plan.offsetHeight / 2;
    outer.scrollTo({
      left: plan.offsetLeft + x - outer.clientWidth / 2,
      top: plan.offsetTop + y - outer.clientHeight / 2,
    });
  }, [zoom, chosen, width]);
  const left = (x: number) => `${((x - site.x) / site.width) * 100}%`;
  const top = (y: number) => `${((y - site.y) / site.height) * 100}%`;
  const named = assets.length <= NAMES_MAX && width >= NAMES_FROM_PX;
  return (
    <div
      ref={box}
      role="group"
      aria-label={`${line(site.name)}. ${t("planKeys")}`}
      onKeyDown={onKeyDown}
      onClick={(e) => {
        const at = (e.target as Element).closest<SVGElement>("[data-zone]")?.dataset.zone;
        if (at) onPick("zone", at);
      }}
      className="relative mx-auto shrink-0"
      style={{ width, height: (width * site.height) / site.width }}
    >
      <Drawing path={site.plan} />
      <Shapes site={site} zones={zones} zone={zone} perUnit={perUnit} />
      {zones.map(({ zone: z, mark, telling }, i) => {
        const size = sizes[i] ?? 0;
        const fact = telling?.fact;
        return (
          <ZoneLabel
            key={z.id}
            zone={z}
            mark={mark}
            metric={telling?.metric.metric}
            size={size}
            shown={fact && value(fact.value, fact.unit)}
            age={fact && size === 2 ? span(now - fact.sensedAt) : undefined}
            claimed={fact?.claimedTier}
            effective={fact?.effectiveTier}
            signature={fact?.signature}
            tainted={fact?.tainted}
            on={zone === z.id}
            tab={entry === `zone:${z.id}`}
            left={left(places[i]?.x ?? 0)}
            top={top(places[i]?.y ?? 0)}
            widest={Math.max(22, (spots[i]?.width ?? 0) * perUnit - 4)}
            onPick={onPick}
          />
        );
      })}
      {assets.map((a) => (
        <AssetMark
          key={a.asset.id}
          asset={a.asset}
          is={a.is}
          why={a.why}
          active={a.active}
          small={crowded}
          speck={packed && a.is === "healthy" && !a.active && asset !== a.asset.id}
          named={named}
          on={asset === a.asset.id}
          tab={entry === `asset:${a.asset.id}`}
          left={left(a.asset.x)}
          top={top(a.asset.y)}
          onPick={onPick}
        />
      ))}
    </div>
  );
}

function Drawing({ path }: { path: string }) {
  const { src, error } = usePlan(path);
  const [failed, setFailed] = useState("");
  if (error || failed === path)
    return (
      <p role="alert" className="absolute inset-x-0 top-0 z-10 bg-s2 p-2 text-warn">
        ▲ {t("planFailed")}
      </p>
    );
  return src ? (
    <img
      src={src}
      alt=""
      draggable={false}
      onError={() => setFailed(path)}
      className="absolute inset-0 size-full select-none"
    />
  ) : null;
}

const PATTERN_PX = 9;
/** Each mark its own hatch, so that it is told without colour. */
const HATCH: Partial<Record<Mark, string>> = {
  outside: "M-2 2l4-4M0 9l9-9M7 11l4-4",
  near: "M4.5 4.5h.01",
  stale: "M-2 7l4 4M0 0l9 9M7-2l4 4",
  odd: "M0 4.500h9",
};

const Shapes = memo(function Shapes({
  site,
  zones,
  zone,
  perUnit,
}: {
  site: Site;
  zones: ZoneSeen[];
  zone?: string;
  perUnit: number;
}) {
  const scale = perUnit > 0 ? 1 / perUnit : 1;
  return (
    <svg
      aria-hidden="true"
      viewBox={`${site.x} ${site.y} ${site.width} ${site.height}`}
      preserveAspectRatio="none"
      className="absolute inset-0 size-full overflow-visible"
    >
      <defs>
        {MARKS.filter((m) => HATCH[m]).map((m) => (
          <pattern
            key={m}
            id={`hatch-${m}`}
            width={PATTERN_PX}
            height={PATTERN_PX}
            patternUnits="userSpaceOnUse"
            patternTransform={`scale(${scale})`}
          >
            <path
              d={HATCH[m]}
              className={MARK[m].line}
              strokeWidth={m === "near" ? 3 : 1.4}
              strokeOpacity="0.7"
              strokeLinecap="round"
            />
          </pattern>
        ))}
      </defs>
      {zones.map(({ zone: z, mark }) => {
        const points = z.outline.map((p) => p.join(",")).join(" ");
        return (
          <g key={z.id} data-zone={z.id} data-mark={mark} className="cursor-pointer">
            <polygon
              points={points}
              className={cx(mark === "none" ? "fill-s1" : MARK[mark].fill)}
              fillOpacity={mark === "none" ? 0.25 : mark === "stale" ? 0.12 : 0.2}
            />
            {HATCH[mark] ? <polygon points={points} fill={`url(#hatch-${mark})`} /> : null}
            <polygon
              points={points}
              fill="none"
              className={zone === z.id ? "stroke-accent" : MARK[mark].line}
              strokeWidth={zone === z.id ? 4 : mark === "outside" ? 2.5 : 1.75}
              strokeDasharray={zone === z.id ? undefined : MARK[mark].dash}
              strokeLinejoin="round"
              vectorEffect="non-scaling-stroke"
            />
          </g>
        );
      })}
    </svg>
  );
});

const ZoneLabel = memo(function ZoneLabel({
  zone,
  mark,
  metric,
  size,
  shown,
  age,
  claimed,
  effective,
  signature,
  tainted,
  on,
  tab,
  left,
  top,
  widest,
  onPick,
}: {
  zone: Zone;
  mark: Mark;
  /** The metric that is told; absent where nothing is measured. */
  metric?: string;
  size: 0 | 1 | 2;
  /** Its value and age; absent where nobody told one. */
  shown?: string;
  age?: string;
  claimed?: string;
  effective?: string;
  signature?: string;
  tainted?: boolean;
  on: boolean;
  tab: boolean;
  left: string;
  top: string;
  widest: number;
  onPick: (of: "zone", id: string) => void;
}) {
  const stands = metric === undefined ? t("notMeasured") : markWord(mark);
  const said = [zone.name, stands, ...(shown ? [`${metric} ${shown}`] : [])];
  return (
    <button
      type="button"
      data-spot={`zone:${zone.id}`}
      tabIndex={tab ? 0 : -1}
      aria-pressed={on}
      title={line(said.join(", "), 200)}
      onClick={() => onPick("zone", zone.id)}
      style={{ left, top, maxWidth: widest }}
      className={cx(
        "absolute z-10 flex -translate-x-1/2 -translate-y-1/2 flex-col items-center overflow-hidden rounded-md border bg-s1/92 text-center leading-[17px] hover:bg-s2",
        on ? "border-accent" : "border-line",
        size === 2 ? "px-1.5 py-1" : size === 1 ? "px-1.5" : "px-0.5",
      )}
    >
      <span className="flex max-w-full items-center gap-1">
        <span aria-hidden="true" className={MARK[mark].text}>
          {MARK[mark].shape}
        </span>
        <Txt className={size === 2 ? "truncate text-[12px] text-t2" : "sr-only"}>{zone.name}</Txt>
        {size === 2 && !shown ? null : <span className="sr-only">{stands}</span>}
        {size === 1 ? <Txt className="font-semibold text-[12px]">{shown ?? "–"}</Txt> : null}
      </span>
      {size === 2 ? (
        shown ? (
          <>
            <Txt className="sr-only">{metric}</Txt>
            <Txt className={cx("font-semibold text-[15px]", mark === "stale" && "text-t2")}>{shown}</Txt>
            <span className="flex max-w-full items-center gap-1.5 text-[11px] text-t2">
              <span className={mark === "stale" ? "text-warn" : undefined}>{age}</span>
              <Worth
                claimed={claimed ?? ""}
                effective={effective ?? ""}
                signature={signature ?? ""}
                tainted={tainted}
              />
            </span>
          </>
        ) : (
          <span className="text-[12px] text-t2">{stands}</span>
        )
      ) : null}
    </button>
  );
});

const AssetMark = memo(function AssetMark({
  asset,
  is,
  why,
  active,
  small,
  speck,
  named,
  on,
  tab,
  left,
  top,
  onPick,
}: {
  asset: Asset;
  is: Health;
  why: AssetSeen["why"];
  active: boolean;
  small: boolean;
  speck: boolean;
  named: boolean;
  on: boolean;
  tab: boolean;
  left: string;
  top: string;
  onPick: (of: "asset", id: string) => void;
}) {
  const said = line(`${asset.name}, ${kindWord(asset.kind)}, ${assetWord(why)}`, 200);
  return (
    <button
      type="button"
      data-spot={`asset:${asset.id}`}
      data-is={why}
      tabIndex={tab ? 0 : -1}
      aria-pressed={on}
      aria-label={said}
      title={said}
      onClick={() => onPick("asset", asset.id)}
      style={{ left, top }}
      className="group absolute z-20 flex -translate-x-1/2 -translate-y-1/2 flex-col items-center outline-offset-2"
    >
      {speck ? (
        <span className="size-1.5 rounded-full bg-ok" />
      ) : small ? (
        <span
          className={cx(
            "flex size-3.5 items-center justify-center rounded-full border bg-s1 text-[8px] leading-none",
            on ? "border-2 border-accent" : active ? "border-accent" : "border-line",
          )}
        >
          {why === "bare" ? null : <State is={is} word={false} />}
        </span>
      ) : (
        <span
          className={cx(
            "relative flex size-7 items-center justify-center rounded-full border bg-s1 group-hover:bg-s2",
            on ? "border-2 border-accent" : "border-t3",
            active ? "text-accent" : "text-t1",
          )}
        >
          <Glyph kind={asset.kind} active={active} />
          {why === "bare" ? null : (
            <span className="absolute -top-1.5 -right-1.5 flex size-3.5 items-center justify-center rounded-full bg-s1 text-[9px] leading-none">
              <State is={is} word={false} />
            </span>
          )}
        </span>
      )}
      {named && !small ? (
        <Txt
          className="absolute top-full mt-0.5 max-w-28 truncate rounded-[4px] bg-s1/85 px-1 text-[11px] text-t2 leading-4"
          max={24}
        >
          {asset.name}
        </Txt>
      ) : null}
    </button>
  );
});
