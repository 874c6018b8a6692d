/** What is known of the selected zone or asset, and where to go on from there. */
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { value } from "@/lib/format";
import { assetWord, codeWord, kindWord, listed, markWord, statusWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Fact, Proposal } from "@/node/client";
import { useProposals, useSpark } from "@/node/reads";
import { Age, CopyButton, Id, Pairs, Since, State, StatusMark, Txt, Worth } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { ProposalCard } from "@/ui/proposal";
import { Spark } from "@/ui/spark";
import { Glyph, MarkWord } from "./marks";
import {
  type Asset,
  type AssetSeen,
  MARKS,
  type Metric,
  type Reading,
  type Site,
  type Zone,
  type ZoneSeen,
} from "./model";

const PROPOSALS_MAX = 5;
const SUMMARY_MAX = 60;

const Part = ({ name, children }: { name: string; children: ReactNode }) => (
  <section>
    <h3 className="mb-0.5 font-semibold text-[12px] text-t2">{name}</h3>
    {children}
  </section>
);

export function Details({
  site,
  zones,
  assets,
  zone,
  asset,
}: {
  site: Site;
  zones: ZoneSeen[];
  assets: AssetSeen[];
  zone?: string;
  asset?: string;
}) {
  const z = zone ? zones.find((x) => x.zone.id === zone) : undefined;
  const a = asset ? assets.find((x) => x.asset.id === asset) : undefined;
  if (z) return <OfZone key={z.zone.id} seen={z} site={site} assets={assets} />;
  if (a) return <OfAsset key={a.asset.id} seen={a} site={site} />;
  return <Summary zones={zones} />;
}

/** Nothing is selected: every zone, the worst first. */
function Summary({ zones }: { zones: ZoneSeen[] }) {
  const [, go] = usePlace();
  const sorted = [...zones].sort((a, b) => MARKS.indexOf(a.mark) - MARKS.indexOf(b.mark));
  return (
    <div className="flex flex-col gap-2">
      <p className="text-t2">{t("twinPick")}</p>
      {sorted.length ? (
        <Part name={t("zones")}>
          <ul>
            {sorted.slice(0, SUMMARY_MAX).map(({ zone, mark, telling }) => (
              <li key={zone.id}>
                <button
                  type="button"
                  className="flex min-h-8 w-full items-center gap-2 text-left hover:underline"
                  onClick={() => go({ zone: zone.id, asset: undefined }, true)}
                >
                  <MarkWord mark={mark} word={false} />
                  <Txt className="min-w-0 flex-1 truncate text-accent">{zone.name}</Txt>
                  {telling?.fact ? (
                    <Txt
                      className={mark === "stale" ? "text-t2" : "font-medium"}
                      title={telling.metric.metric}
                      max={32}
                    >
                      {value(telling.fact.value, telling.fact.unit)}
                    </Txt>
                  ) : (
                    <span className="text-t2">{telling ? markWord(mark) : t("notMeasured")}</span>
                  )}
                </button>
              </li>
            ))}
          </ul>
        </Part>
      ) : null}
      {sorted.length > SUMMARY_MAX ? (
        <p className="text-t2">{t("shownOf", { n: SUMMARY_MAX, all: sorted.length })}</p>
      ) : null}
    </div>
  );
}

const here = (site: Site, rest: string) =>
  `${location.origin}/twin?site=${encodeURIComponent(site.id)}&${rest}`;

function OfZone({ seen, site, assets }: { seen: ZoneSeen; site: Site; assets: AssetSeen[] }) {
  const [, go] = usePlace();
  const { zone } = seen;
  const its = assets.filter((a) => a.asset.zone === zone.id);
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-x-3">
        <strong className="min-w-0 text-[15px]">
          <Txt className="wrap-anywhere">{zone.name}</Txt>
        </strong>
        {seen.telling ? <MarkWord mark={seen.mark} /> : null}
        <span className="ml-auto">
          <CopyButton label={t("copyLink")} text={here(site, `zone=${encodeURIComponent(zone.id)}`)} />
        </span>
      </div>
      {zone.device && !zone.device.deviceId ? (
        <p className="text-warn">◇ {t("noSuchDevice", { device: line(zone.device.written, 64) })}</p>
      ) : null}
      {seen.readings.length ? (
        seen.readings.map((r) => <OfMetric key={r.metric.metric} r={r} zone={zone} />)
      ) : (
        <p className="text-t2">{t("zoneUnmeasured")}</p>
      )}
      {its.length ? (
        <Part name={t("inZone")}>
          <ul>
            {its.map((a) => (
              <li key={a.asset.id}>
                <button
                  type="button"
                  className="flex min-h-8 w-full items-center gap-2 text-left hover:underline"
                  onClick={() => go({ asset: a.asset.id, zone: undefined }, true)}
                >
                  <Glyph kind={a.asset.kind} active={a.active} />
                  <Txt className="min-w-0 flex-1 truncate text-accent">{a.asset.name}</Txt>
                  <AssetState seen={a} />
                </button>
              </li>
            ))}
          </ul>
        </Part>
      ) : null}
    </div>
  );
}

/** Limits in words; where they come from, too. */
export function limitText(m: Metric): string {
  const of = (n: number | null | undefined) => (n == null ? "" : value(n, m.unit));
  const text =
    m.low != null && m.high != null
      ? t("limitBetween", { low: of(m.low), high: of(m.high) })
      : m.low != null
        ? t("limitAbove", { low: of(m.low) })
        : m.high != null
          ? t("limitBelow", { high: of(m.high) })
          : "";
  if (!m.fromPolicy) return text;
  if (!text) return t("limitPolicyNone");
  return `${text} (${t("fromRules", { rules: listed(m.rules.map((r) => line(r, 48))) })})`;
}

function OfMetric({ r, zone }: { r: Reading; zone: Zone }) {
  const { metric: m, fact } = r;
  const limits = limitText(m);
  return (
    <section className="rounded-md border border-line px-2 py-1.5">
      <div className="flex flex-wrap items-center gap-x-2">
        <h3 className="min-w-0">
          <Link to="/telemetry" search={{ m: m.metric } as never} className="text-accent hover:underline">
            <Txt>{m.metric}</Txt>
          </Link>
        </h3>
        <span className="ml-auto">
          <MarkWord mark={r.mark} />
        </span>
      </div>
      {fact ? (
        <OfFact f={fact} staleMs={m.staleMs} />
      ) : (
        <p className="text-t2">
          {zone.device
            ? t("noReadingFrom", {
                metric: line(m.metric, 64),
                zone: line(zone.zone, 64),
                device: line(zone.device.written, 64),
              })
            : t("noReading", { metric: line(m.metric, 64), zone: line(zone.zone, 64) })}
        </p>
      )}
      {r.mark === "odd" ? (
        <p className="text-warn">
          {t("oddUnit", {
            told: line(fact?.unit || t("noUnit"), 24),
            wanted: line(m.unit ?? t("noUnit"), 24),
          })}
        </p>
      ) : null}
      {limits ? (
        <p className="text-[12px] text-t2">
          {t("limits")}: <bdi>{limits}</bdi>
        </p>
      ) : null}
      {r.others.length ? (
        <details className="text-[12px]">
          <summary className="text-t2">
            {t("alsoTold")}: {r.others.length}
          </summary>
          {r.others.slice(0, 8).map((f) => (
            <OfFact key={f.origin} f={f} staleMs={m.staleMs} small />
          ))}
        </details>
      ) : null}
    </section>
  );
}

function OfFact({ f, staleMs, small }: { f: Fact; staleMs: number; small?: boolean }) {
  return (
    <div className="flex flex-wrap items-center gap-x-2 gap-y-0.5">
      <Txt className={small ? "font-medium" : "font-semibold text-[17px] leading-7"} max={40}>
        {value(f.value, f.unit)}
      </Txt>
      {!small && typeof f.value === "number" ? <Line f={f} /> : null}
      <span className="ml-auto inline-flex flex-wrap items-center gap-x-2">
        <Since time={f.sensedAt} stale={staleMs} />
        <Worth
          claimed={f.claimedTier}
          effective={f.effectiveTier}
          signature={f.signature}
          tainted={f.tainted}
          secret={f.private}
        />
        <Link to="/topology" search={{ node: f.origin } as never} className="text-accent hover:underline">
          <Id id={f.origin} label={f.originName} />
        </Link>
        <Link
          to="/world"
          search={{ tab: "frames", frame: f.frameId } as never}
          title={f.frameId}
          className="font-mono text-[12px] text-accent hover:underline"
        >
          {f.frameId.slice(-8)}
        </Link>
      </span>
    </div>
  );
}

function Line({ f }: { f: Fact }) {
  const s = useSpark(f.metric, f.origin, f.zone).data;
  return s ? <Spark {...s} /> : null;
}

export function AssetState({ seen }: { seen: AssetSeen }) {
  if (seen.why === "bare") return <span className="text-t2">{assetWord("bare")}</span>;
  if (seen.why === "node") return <State is={seen.is} />;
  return (
    <span className="inline-flex items-center gap-1.5 whitespace-nowrap">
      <State is={seen.is} word={false} />
      <span className="text-t2">
        {seen.actuator?.position && seen.why !== "problem" && seen.why !== "away" ? (
          <Txt max={32}>{codeWord("pos", seen.actuator.position)}</Txt>
        ) : seen.why === "reading" && seen.fact ? (
          <Txt max={32}>{`${seen.fact.metric} ${value(seen.fact.value, seen.fact.unit)}`}</Txt>
        ) : (
          assetWord(seen.why)
        )}
      </span>
    </span>
  );
}

/** The newest proposals about what stands here. */
const proposalsOf = (all: Proposal[], asset: Asset, executor: string | undefined): Proposal[] =>
  all
    .filter((p) => p.target === asset.actuator && (!executor || p.executor === executor))
    .sort((a, b) => b.createdAt - a.createdAt)
    .slice(0, PROPOSALS_MAX);

function OfAsset({ seen, site }: { seen: AssetSeen; site: Site }) {
  const [, go] = usePlace();
  const proposals = useProposals().data ?? [];
  const { asset, actuator, fact, node } = seen;
  const zone = site.zones.find((z) => z.id === asset.zone);
  const device = asset.device?.deviceId;
  const its = asset.actuator ? proposalsOf(proposals, asset, actuator?.deviceId ?? device ?? undefined) : [];
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-x-3">
        <strong className="inline-flex min-w-0 items-center gap-1.5 text-[15px]">
          <Glyph kind={asset.kind} active={seen.active} />
          <Txt className="wrap-anywhere">{asset.name}</Txt>
        </strong>
        <AssetState seen={seen} />
        <span className="ml-auto">
          <CopyButton label={t("copyLink")} text={here(site, `asset=${encodeURIComponent(asset.id)}`)} />
        </span>
      </div>
      <Pairs
        rows={[
          [t("kind"), kindWord(asset.kind)],
          ...(zone
            ? ([
                [
                  t("zone"),
                  <button
                    key="z"
                    type="button"
                    className="text-accent hover:underline"
                    onClick={() => go({ zone: zone.id, asset: undefined }, true)}
                  >
                    <Txt>{zone.name}</Txt>
                  </button>,
                ],
              ] as [string, ReactNode][])
            : []),
          ...(asset.device
            ? ([
                [
                  t("device"),
                  device ? (
                    <span key="d" className="inline-flex flex-wrap gap-x-3">
                      <Link
                        to="/topology"
                        search={{ node: device } as never}
                        className="text-accent hover:underline"
                      >
                        <Id id={device} label={node?.name ?? asset.device.written} />
                      </Link>
                      <Link
                        to="/trust"
                        search={{ q: device } as never}
                        className="text-accent hover:underline"
                      >
                        {t("trust")}
                      </Link>
                    </span>
                  ) : (
                    <span key="d" className="text-warn">
                      ◇ {t("noSuchDevice", { device: line(asset.device.written, 64) })}
                    </span>
                  ),
                ],
              ] as [string, ReactNode][])
            : []),
          ...(asset.actuator
            ? ([
                [
                  t("actuator"),
                  <code key="a" className="wrap-anywhere font-mono text-[12px]">
                    {asset.actuator}
                  </code>,
                ],
              ] as [string, ReactNode][])
            : []),
        ]}
      />
      {asset.actuator && !actuator ? (
        <p className="text-warn">◇ {t("notOffered", { target: line(asset.actuator, 80) })}</p>
      ) : null}
      {actuator?.problem ? (
        <p className="text-danger">
          ▲ <Txt max={300}>{actuator.problem}</Txt>
        </p>
      ) : null}
      {actuator?.last ? (
        <Link
          to="/approvals"
          search={{ id: actuator.last.proposal } as never}
          className="flex flex-wrap items-center gap-x-2 text-t2 hover:underline"
        >
          {t("lastAction")}: <Txt>{codeWord("op", actuator.last.operation)}</Txt>{" "}
          <StatusMark status={actuator.last.status} word={statusWord(actuator.last.status)} />{" "}
          <Age time={actuator.last.at} />
        </Link>
      ) : null}
      {asset.sensor ? (
        <Part name={t("readingOf")}>
          <Link to="/telemetry" search={{ m: asset.sensor } as never} className="text-accent hover:underline">
            <Txt>{asset.sensor}</Txt>
          </Link>
          {fact ? (
            <OfFact f={fact} staleMs={60_000} />
          ) : (
            <p className="text-t2">
              {t("noReading", { metric: line(asset.sensor, 64), zone: line(zone?.zone ?? "–", 64) })}
            </p>
          )}
        </Part>
      ) : null}
      {asset.actuator ? (
        <Part name={t("proposalsOf")}>
          {its.length ? (
            <ul className="-mx-3">
              {its.map((p) => (
                <li key={p.id}>
                  <ProposalCard p={p} />
                </li>
              ))}
            </ul>
          ) : (
            <p className="text-t2">{t("noProposalsOf")}</p>
          )}
        </Part>
      ) : null}
    </div>
  );
}
