import { lazy, Suspense, useState } from "react";
import { csv, value } from "@/lib/format";
import { t } from "@/lib/i18n";
import type { Series } from "@/node/client";
import { useProposals, useSeries, useStatus, useWorld } from "@/node/reads";
import { Button, cx, download, Empty, Id, Loaded, Panel, Select, Since, Txt, Worth } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { RANGES } from "./model";

const Chart = lazy(() => import("./Chart").then((m) => ({ default: m.Chart })));

export function View() {
  const world = useWorld();
  const status = useStatus().data;
  const [place, go] = usePlace();
  const metrics = [
    ...new Set((world.data ?? []).filter((f) => typeof f.value === "number").map((f) => f.metric)),
  ].sort();
  const picked = (place.m ?? metrics.find((m) => m === "moisture") ?? metrics[0] ?? "")
    .split(",")
    .filter(Boolean);
  const follow = place.follow !== "no";
  const toggle = (m: string) =>
    go({ m: (picked.includes(m) ? picked.filter((x) => x !== m) : [...picked, m].slice(-6)).join(",") });
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 md:grid-cols-[220px_1fr]">
      <Panel title={t("metrics")} flush className="max-md:max-h-48">
        {metrics.length ? (
          <ul className="p-1">
            {metrics.map((m) => (
              <li key={m}>
                <label
                  className={cx(
                    "flex h-8 items-center gap-2 rounded-md px-2 hover:bg-s2",
                    picked.includes(m) && "bg-s2 font-medium",
                  )}
                >
                  <input
                    type="checkbox"
                    className="accent-accent"
                    checked={picked.includes(m)}
                    onChange={() => toggle(m)}
                  />
                  <Txt className="truncate">{m}</Txt>
                </label>
              </li>
            ))}
          </ul>
        ) : (
          <Empty>{world.data ? t("noMetrics") : t("loading")}</Empty>
        )}
        <p className="border-line border-t p-3 text-[12px] text-t2">
          {t("plannerState")}: {t("plannerNone")} {t("frames")}:{" "}
          {status?.frames.toLocaleString("en-US") ?? "–"}. {t("storeSize")}
        </p>
      </Panel>
      <div className="flex min-w-0 flex-col gap-3 md:min-h-0">
        <div className="flex flex-wrap items-center justify-end gap-2">
          <span className="mr-auto text-t2">{t("actuations")}</span>
          <Select
            label={t("range")}
            value={place.range ?? "15m"}
            onChange={(e) => go({ range: e.target.value, to: undefined })}
          >
            {Object.keys(RANGES).map((r) => (
              <option key={r}>{r}</option>
            ))}
          </Select>
          <Button
            aria-pressed={follow}
            onClick={() =>
              go({ follow: follow ? "no" : undefined, to: follow ? String(Date.now()) : undefined })
            }
          >
            {follow ? `● ${t("following")}` : `○ ${t("follow")}`}
          </Button>
        </div>
        <div className="flex flex-col gap-3 md:min-h-0 md:flex-1 md:overflow-auto">
          {picked.length ? (
            picked.map((m) => (
              <One
                key={m}
                metric={m}
                range={RANGES[place.range ?? "15m"] ?? 900_000}
                to={follow ? undefined : Number(place.to) || undefined}
              />
            ))
          ) : (
            <Empty>{t("pickMetric")}</Empty>
          )}
        </div>
      </div>
    </div>
  );
}

const rows = (s: Series) => [
  ["metric", "origin", "zone", "unit", "time", "value", "tier", "signature", "tainted"],
  ...s.lines.flatMap((l) =>
    l.points.map((p) => [
      s.metric,
      l.originName ?? l.origin,
      l.zone,
      l.unit,
      new Date(p.time).toISOString(),
      p.value,
      p.tier,
      p.signature,
      p.tainted,
    ]),
  ),
];

function One({ metric, range, to }: { metric: string; range: number; to?: number }) {
  const [opened] = useState(Date.now());
  // Following asks by a moving window that the key does not name, so that the chart stays while it is read.
  const q = useSeries(
    { metric, points: 600, from: (to ?? Math.floor(opened / 60_000) * 60_000) - range, to },
    to ? undefined : 2_000,
  );
  const actions = (useProposals().data ?? []).flatMap((p) =>
    p.outcome ? [{ time: p.outcome.startedAt, text: p.operation }] : [],
  );
  const facts = (useWorld().data ?? []).filter((f) => f.metric === metric);
  const file = metric.replace(/[^\w.-]/g, "_");
  return (
    <Panel
      title={<Txt>{metric}</Txt>}
      className="min-h-64 shrink-0 md:flex-1"
      flush
      aside={
        <>
          <Button
            className="h-7 px-2"
            aria-label={`${t("exportCsv")} ${metric}`}
            onClick={() => q.data && download(`${file}.csv`, "text/csv", csv(rows(q.data)))}
          >
            {t("exportCsv")}
          </Button>
          <Button
            className="h-7 px-2"
            aria-label={`${t("exportJson")} ${metric}`}
            onClick={() =>
              q.data && download(`${file}.json`, "application/json", JSON.stringify(q.data, null, 2))
            }
          >
            {t("exportJson")}
          </Button>
        </>
      }
    >
      <div className="flex h-full min-h-52 flex-col">
        <div className="flex flex-wrap gap-x-6 gap-y-1 px-3 pt-2">
          {facts.map((f) => (
            <span key={f.origin + f.zone} className="inline-flex items-center gap-2">
              <strong>{value(f.value, f.unit)}</strong>
              <Id id={f.origin} label={f.originName} />
              <Txt className="text-t2">{f.zone}</Txt>
              <Since time={f.sensedAt} />
              <Worth
                claimed={f.claimedTier}
                effective={f.effectiveTier}
                signature={f.signature}
                tainted={f.tainted}
              />
            </span>
          ))}
        </div>
        {q.data?.truncated ? <p className="px-3 text-warn">◐ {t("truncatedSeries")}</p> : null}
        <Loaded q={q}>
          {(s) =>
            s.lines.some((l) => l.points.length) ? (
              <Suspense fallback={<Empty>{t("loading")}</Empty>}>
                <Chart
                  series={s}
                  range={range}
                  actions={actions}
                  label={t("chartOf", {
                    metric,
                    count: s.lines.reduce((n, l) => n + l.samples, 0),
                    newest: facts[0] ? value(facts[0].value, facts[0].unit) : "–",
                  })}
                />
              </Suspense>
            ) : (
              <Empty>{t("noSeries")}</Empty>
            )
          }
        </Loaded>
      </div>
    </Panel>
  );
}
