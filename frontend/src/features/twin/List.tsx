/** The same as the plan, for reading: each metric of each zone, and each asset, in a row. */
import { Link } from "@tanstack/react-router";
import { value } from "@/lib/format";
import { kindWord, t } from "@/lib/i18n";
import { Cell, Empty, Id, Row, Since, Table, Txt, Worth } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { VirtualRows } from "@/ui/virtual";
import { AssetState, limitText } from "./Details";
import { MarkWord } from "./marks";
import type { AssetSeen, Reading, ZoneSeen } from "./model";

type Line = { id: string; zone: ZoneSeen; reading?: Reading } | { id: string; asset: AssetSeen };

export function List({ zones, assets }: { zones: ZoneSeen[]; assets: AssetSeen[] }) {
  const [place, go] = usePlace();
  const lines: Line[] = [
    ...zones.flatMap((zone): Line[] =>
      zone.readings.length
        ? zone.readings.map((reading) => ({
            id: `z:${zone.zone.id}:${reading.metric.metric}`,
            zone,
            reading,
          }))
        : [{ id: `z:${zone.zone.id}`, zone }],
    ),
    ...assets.map((asset): Line => ({ id: `a:${asset.asset.id}`, asset })),
  ];
  if (!lines.length) return <Empty>{t("twinEmptySite")}</Empty>;
  return (
    <Table
      label={t("twin")}
      head={[
        t("name"),
        t("kind"),
        t("state"),
        t("metric"),
        t("value"),
        t("limits"),
        t("age"),
        t("origin"),
        t("tier"),
      ]}
    >
      <VirtualRows items={lines} columns={9}>
        {(l) => {
          const zone = "zone" in l ? l.zone : undefined;
          const asset = "asset" in l ? l.asset : undefined;
          const reading = "reading" in l ? l.reading : undefined;
          const fact = reading?.fact ?? asset?.fact;
          const on = zone ? place.zone === zone.zone.id : place.asset === asset?.asset.id;
          return (
            <Row key={l.id} on={on}>
              <Cell className="max-w-48 truncate">
                <button
                  type="button"
                  className="max-w-full truncate text-accent hover:underline"
                  onClick={() => go({ zone: zone?.zone.id, asset: asset?.asset.id }, true)}
                >
                  <Txt>{zone?.zone.name ?? asset?.asset.name}</Txt>
                </button>
              </Cell>
              <Cell className="whitespace-nowrap text-t2">
                {asset ? kindWord(asset.asset.kind) : t("zone")}
              </Cell>
              <Cell>
                {asset ? (
                  <AssetState seen={asset} />
                ) : (
                  <MarkWord mark={reading?.mark ?? zone?.mark ?? "plain"} />
                )}
              </Cell>
              <Cell className="max-w-40 truncate">
                <Txt>{reading?.metric.metric ?? asset?.asset.sensor ?? "–"}</Txt>
              </Cell>
              <Cell className="whitespace-nowrap font-medium">
                <Txt max={32}>{fact ? value(fact.value, fact.unit) : "–"}</Txt>
              </Cell>
              <Cell className="max-w-40 truncate text-t2">
                <Txt max={120}>{(reading && limitText(reading.metric)) || "–"}</Txt>
              </Cell>
              <Cell>{fact ? <Since time={fact.sensedAt} stale={reading?.metric.staleMs} /> : "–"}</Cell>
              <Cell className="max-w-40 truncate">
                {fact ? (
                  <Link to="/topology" search={{ node: fact.origin } as never} className="hover:underline">
                    <Id id={fact.origin} label={fact.originName} />
                  </Link>
                ) : (
                  "–"
                )}
              </Cell>
              <Cell>
                {fact ? (
                  <Worth
                    claimed={fact.claimedTier}
                    effective={fact.effectiveTier}
                    signature={fact.signature}
                    tainted={fact.tainted}
                    secret={fact.private}
                  />
                ) : (
                  "–"
                )}
              </Cell>
            </Row>
          );
        }}
      </VirtualRows>
    </Table>
  );
}
