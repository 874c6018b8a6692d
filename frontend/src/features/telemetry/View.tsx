import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { bytes, csv, span, value } from "@/lib/format";
import { clockTime, fixed, number, plannerWord, t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import type { Fact, Series } from "@/node/client";
import { series, useProposals, useSeries, useStatus, useWorld } from "@/node/reads";
import {
  Age,
  Button,
  cx,
  download,
  Empty,
  Id,
  Loaded,
  Panel,
  Search,
  Select,
  Since,
  Txt,
  useNow,
  Worth,
} from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { actuations, begin, firstOf, RANGES, tree } from "./model";

const Chart = lazy(() => import("./Chart").then((m) => ({ default: m.Chart })));
const PICKED_MAX = 6;
const EXPORT_POINTS = 2_000;
const SHORTEST_MS = 5_000;

export function View() {
  const world = useWorld();
  const [place, go] = usePlace();
  const facts = world.data ?? [];
  const metrics = [...new Set(facts.filter((f) => typeof f.value === "number").map((f) => f.metric))].sort();
  const picked = (place.m ?? metrics.find((m) => m === "moisture") ?? metrics[0] ?? "")
    .split(",")
    .filter(Boolean);
  const to = Number(place.to) || undefined;
  const range = Number(place.span) || (RANGES[place.range ?? "15m"] ?? 900_000);
  const toggle = (m: string) =>
    go({
      m: (picked.includes(m) ? picked.filter((x) => x !== m) : [...picked, m].slice(-PICKED_MAX)).join(","),
    });
  // All charts share one time axis. While it follows, it begins where the readings of a young store do.
  const now = useNow();
  const [firsts, setFirsts] = useState<Record<string, number>>({});
  const onFirst = useCallback((m: string, first: number) => setFirsts((f) => ({ ...f, [m]: first })), []);
  const end = to ?? now;
  const begun = picked.flatMap((m) => firsts[`${m} ${range}`] ?? []);
  const from = to ? end - range : begin(end - range, end, begun);
  const live = () => go({ to: undefined, span: undefined });
  return (
    <div className="flex flex-1 flex-col gap-3 md:min-h-0">
      <div className="grid flex-1 gap-3 max-md:content-start md:min-h-0 md:grid-cols-[230px_1fr]">
        <Metrics
          known={Boolean(world.data)}
          facts={facts}
          metrics={metrics}
          picked={picked}
          onToggle={toggle}
        />
        <div className="flex min-w-0 flex-col gap-3 md:min-h-0">
          <div className="flex flex-wrap items-center gap-2">
            <span className="mr-auto text-[12px] text-t2 max-md:hidden">{t("chartHint")}</span>
            {to === undefined && from > end - range ? (
              <span className="text-t2">{t("rangeSoFar", { span: span(end - Math.min(...begun)) })}</span>
            ) : null}
            {place.span ? (
              <span className="text-t2">
                {to ? clockTime(to - range) : ""} – {to ? clockTime(to) : ""} ({span(range)})
              </span>
            ) : null}
            <Select
              label={t("range")}
              value={place.span ? "" : (place.range ?? "15m")}
              onChange={(e) => go({ range: e.target.value, span: undefined })}
            >
              {place.span ? <option value="">{t("zoomed")}</option> : null}
              {Object.entries(RANGES).map(([r, ms]) => (
                <option key={r} value={r}>
                  {span(ms)}
                </option>
              ))}
            </Select>
            <Button
              aria-pressed={!to}
              className={to ? "border-warn text-warn" : undefined}
              onClick={() => (to ? live() : go({ to: String(Math.round(Date.now())) }))}
            >
              {to ? `○ ${t("followAgain")}` : `● ${t("following")}`}
            </Button>
          </div>
          <div className="flex flex-col gap-3 md:min-h-0 md:flex-1 md:overflow-auto">
            {picked.length ? (
              picked.map((m) => (
                <One
                  key={m}
                  metric={m}
                  range={range}
                  to={to}
                  from={from}
                  onFirst={onFirst}
                  facts={facts.filter((f) => f.metric === m)}
                  onZoom={(from, until) =>
                    go(
                      {
                        to: String(Math.round(until)),
                        span: String(Math.max(SHORTEST_MS, Math.round(until - from))),
                      },
                      true,
                    )
                  }
                />
              ))
            ) : (
              <Empty>{metrics.length ? t("pickMetric") : world.data ? t("noMetrics") : t("loading")}</Empty>
            )}
          </div>
        </div>
      </div>
      <StatusLine />
    </div>
  );
}

function Metrics({
  known,
  facts,
  metrics,
  picked,
  onToggle,
}: {
  known: boolean;
  facts: Fact[];
  metrics: string[];
  picked: string[];
  onToggle: (m: string) => void;
}) {
  const [words, setWords] = useState("");
  const shown = metrics.filter((m) => m.toLowerCase().includes(words.toLowerCase()));
  return (
    <Panel
      title={t("metrics")}
      flush
      className="max-md:max-h-48"
      aside={<Search value={words} onChange={setWords} className="w-28" />}
    >
      {shown.length ? (
        tree(shown).map((g) => (
          <fieldset key={g.name} className="p-1">
            <legend className={g.name ? "px-2 pt-1 font-medium text-[12px] text-t2" : "sr-only"}>
              {g.name ? tame(g.name, 40) : t("metrics")}
            </legend>
            {g.metrics.map((m) => {
              const its = facts.filter((f) => f.metric === m);
              return (
                <label
                  key={m}
                  className={cx(
                    "flex h-8 items-center gap-2 rounded-md px-2 hover:bg-s2",
                    picked.includes(m) && "bg-s2 font-medium",
                  )}
                >
                  <input
                    type="checkbox"
                    className="accent-accent"
                    checked={picked.includes(m)}
                    onChange={() => onToggle(m)}
                  />
                  <bdi className="min-w-0 flex-1 truncate" title={tame(m, 200)}>
                    {g.name ? <span className="text-t3">{tame(g.name, 40)}.</span> : null}
                    {tame(g.name ? m.slice(g.name.length + 1) : m, 80)}
                  </bdi>
                  <span className="shrink-0 text-[12px] text-t2">
                    {its.length === 1 && its[0]
                      ? value(its[0].value, its[0].unit)
                      : its.length
                        ? `×${its.length}`
                        : ""}
                  </span>
                </label>
              );
            })}
          </fieldset>
        ))
      ) : (
        <Empty>{words ? t("noHit") : known ? t("noMetrics") : t("loading")}</Empty>
      )}
    </Panel>
  );
}

/** Where the readings go: how fast they come, what the store holds, what the planner does with them. */
function StatusLine() {
  const s = useStatus().data;
  if (!s) return null;
  const rate = s.framesPerSec as number | undefined;
  const store = s.storeBytes as number | undefined;
  const planner = s.planner as typeof s.planner | undefined;
  return (
    <p className="flex shrink-0 flex-wrap gap-x-5 gap-y-0.5 px-1 text-[12px] text-t2">
      {rate === undefined ? null : <span>{t("rateOf", { n: fixed(rate, 1) })}</span>}
      <span>
        {t("frames")}: {number(s.frames)}
      </span>
      {store === undefined ? null : (
        <span>
          {t("store")}: {bytes(store)}
        </span>
      )}
      {planner ? (
        <span className={planner.state === "paused" ? "text-warn" : undefined}>
          {t("plannerState")}: {planner.state === "paused" ? "◐ " : ""}
          <Txt max={200}>{plannerWord(planner)}</Txt>
          {planner.lastRule && planner.lastFiredAt ? (
            <>
              {" · "}
              {t("lastRule")} <Txt>{planner.lastRule}</Txt>, <Age time={planner.lastFiredAt} />
            </>
          ) : null}
        </span>
      ) : null}
    </p>
  );
}

const rows = (s: Series) => [
  [
    "metric",
    "origin",
    "zone",
    "unit",
    "time",
    "value",
    "low",
    "high",
    "count",
    "tier",
    "signature",
    "tainted",
  ],
  ...s.lines.flatMap((l) =>
    l.points.map((p) => [
      s.metric,
      l.originName ?? l.origin,
      l.zone,
      l.unit,
      new Date(p.time).toISOString(),
      p.value,
      p.low,
      p.high,
      p.count,
      p.tier,
      p.signature,
      p.tainted,
    ]),
  ),
];

function One({
  metric,
  range,
  to,
  from,
  onFirst,
  facts,
  onZoom,
}: {
  metric: string;
  range: number;
  to?: number;
  from: number;
  onFirst: (metric: string, first: number) => void;
  facts: Fact[];
  onZoom: (from: number, to: number) => void;
}) {
  const q = useSeries(metric, range, to);
  const now = useNow();
  const [problem, setProblem] = useState("");
  // Following, the axis runs on with the clock also when nothing comes: silence is seen as a gap.
  const end = to ?? now;
  const actions = actuations(useProposals().data ?? [], from, end);
  const first = q.data && firstOf(q.data);
  useEffect(() => {
    if (first !== undefined) onFirst(`${metric} ${range}`, first);
  }, [metric, range, first, onFirst]);
  const file = metric.replace(/[^\w.-]/g, "_").slice(0, 80);
  const save = (kind: "csv" | "json") => {
    setProblem("");
    series(metric, range, to, EXPORT_POINTS).then(
      (s) =>
        kind === "csv"
          ? download(`${file}.csv`, "text/csv", csv(rows(s)))
          : download(`${file}.json`, "application/json", JSON.stringify(s, null, 2)),
      (e: Error) => setProblem(e.message),
    );
  };
  return (
    <Panel
      title={<Txt>{metric}</Txt>}
      className="min-h-64 shrink-0 md:flex-1"
      flush
      aside={
        <>
          <Button
            className="h-7! px-2"
            aria-label={`${t("exportCsv")} ${metric}`}
            onClick={() => save("csv")}
          >
            {t("exportCsv")}
          </Button>
          <Button
            className="h-7! px-2"
            aria-label={`${t("exportJson")} ${metric}`}
            onClick={() => save("json")}
          >
            {t("exportJson")}
          </Button>
        </>
      }
    >
      <div className="flex h-full min-h-52 flex-col">
        {problem ? (
          <p role="alert" className="px-3 pt-1 text-danger">
            ▲ <Txt max={300}>{problem}</Txt>
          </p>
        ) : null}
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
                secret={f.private}
              />
            </span>
          ))}
        </div>
        {q.data?.truncated ? <p className="px-3 text-warn">◐ {t("truncatedSeries")}</p> : null}
        {q.data?.lines.some((l) => l.inHours) ? (
          <p className="px-3 text-[12px] text-t2">{t("meansOfHours")}</p>
        ) : null}
        {q.data && q.error ? (
          <p className="px-3 text-warn">◐ {t("failedRead", { text: tame(q.error.message, 200) })}</p>
        ) : null}
        <Loaded q={q}>
          {(s) =>
            s.lines.some((l) => l.points.length) ? (
              <Suspense fallback={<Empty>{t("loading")}</Empty>}>
                <Chart
                  series={s}
                  from={from}
                  to={end}
                  actions={actions}
                  onZoom={onZoom}
                  label={t("chartOf", {
                    metric: tame(metric, 80),
                    count: s.lines.reduce((n, l) => n + l.samples + l.inHours, 0),
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
