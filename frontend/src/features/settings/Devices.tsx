/** The devices of this node's configuration: what each measures and moves, how that is now, and what to do. */
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { device, lasting, span, value } from "@/lib/format";
import { codeWord, statusWord, t } from "@/lib/i18n";
import { kindName } from "@/lib/kinds";
import { type Device, type Fact, post } from "@/node/client";
import { useDevices, useStatus, useWorld } from "@/node/reads";
import {
  Age,
  Button,
  cx,
  Empty,
  Loaded,
  Search,
  Since,
  State,
  StatusMark,
  Txt,
  useNow,
  Worth,
} from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { factOf, healthOf, matches, type Position, positionOf, sorted } from "./devices";
import { Picture } from "./Picture";
import { Rereading } from "./Rereading";

type Sensor = Device["sensors"][number];
type Moved = Device["actuators"][number];
/** After so long a reading fades. */
const STALE_MS = 120_000;
const CARDS_MAX = 60;

export function Devices() {
  const q = useDevices();
  const own = useStatus().data?.deviceId ?? "";
  const facts = useWorld().data ?? [];
  const [place, go] = usePlace();
  const words = place.q ?? "";
  return (
    <Loaded q={q}>
      {(list) => {
        const found = sorted(list).filter((d) => matches(d, words));
        return (
          <div className="flex flex-col gap-3">
            <div className="flex flex-wrap items-center gap-3">
              <p className="min-w-0 flex-1 basis-80 text-t2">{t("devicesText")}</p>
              <Rereading />
              {list.length > 6 ? (
                <>
                  <Search value={words} onChange={(x) => go({ q: x })} className="w-56" />
                  <span className="text-t2">
                    {t("shownOf", { n: Math.min(found.length, CARDS_MAX), all: list.length })}
                  </span>
                </>
              ) : null}
            </div>
            {list.length ? (
              <div className="grid items-start gap-3 lg:grid-cols-2">
                {found.slice(0, CARDS_MAX).map((d) => (
                  <Card key={`${d.kind} ${d.name}`} d={d} own={own} facts={facts} />
                ))}
                {found.length ? null : <Empty>{t("noHit")}</Empty>}
              </div>
            ) : (
              <div className="flex flex-col gap-2 rounded-md border border-line bg-s1 p-3">
                <p>{t("devicesNone")}</p>
                <pre className="overflow-x-auto rounded-md border border-line bg-s2 p-2 font-mono text-[12px]">
                  {'[[device]]\nkind = "modbus"\nname = "plc-1"'}
                </pre>
                <p className="text-t2">{t("devicesNoneDo")}</p>
                <code className="font-mono text-[12px]">clawmesh-node device test</code>
              </div>
            )}
          </div>
        );
      }}
    </Loaded>
  );
}

function Card({ d, own, facts }: { d: Device; own: string; facts: readonly Fact[] }) {
  return (
    <article
      aria-label={d.name}
      className="flex min-w-0 flex-col gap-3 rounded-md border border-line bg-s1 p-3"
    >
      <header className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <h2 className="min-w-0 truncate font-semibold text-[15px]">
          <Txt max={60}>{d.name}</Txt>
        </h2>
        {d.kind ? (
          <span className="rounded-[4px] border border-line px-1 font-mono text-[11px] text-t2 leading-4">
            <Txt max={32}>{d.kind}</Txt>
          </span>
        ) : null}
        <span className="ml-auto">
          <State is={healthOf(d)} />
        </span>
      </header>
      {d.sensors.length ? (
        <section>
          <h3 className="mb-0.5 font-semibold text-[12px] text-t2">{t("sensors")}</h3>
          <ul className="flex flex-col gap-2">
            {d.sensors.map((s) => (
              <OneSensor key={s.name} s={s} own={own} facts={facts} pictured={d.kind === "camera"} />
            ))}
          </ul>
        </section>
      ) : null}
      {d.actuators.length ? (
        <section>
          <h3 className="mb-0.5 font-semibold text-[12px] text-t2">{t("actuators")}</h3>
          <ul className="flex flex-col gap-2">
            {d.actuators.map((a) => (
              <OneActuator key={a.capability} a={a} own={own} />
            ))}
          </ul>
        </section>
      ) : null}
      {d.sensors.length || d.actuators.length ? null : <p className="text-t2">{t("deviceBare")}</p>}
    </article>
  );
}

type Sensed = { s: Sensor; own: string; facts: readonly Fact[]; pictured: boolean };

function OneSensor({ s, own, facts, pictured }: Sensed) {
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const now = useNow();
  const look = () => {
    setBusy(true);
    setProblem("");
    post("/devices/look", { sensor: s.name })
      .catch((e: Error) => setProblem(e.message))
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["devices"] });
        void client.invalidateQueries({ queryKey: ["world"] });
      });
  };
  return (
    <li className="flex flex-col gap-0.5 rounded-md border border-line px-2 py-1">
      <div className="flex flex-wrap items-center gap-2">
        <span className={s.failingSince ? "text-danger" : "text-ok"}>
          <span aria-hidden="true">{s.failingSince ? "▲" : "●"}</span>
          <span className="sr-only">{t(s.failingSince ? "sensorFails" : "sensorWorks")}</span>
        </span>
        <Txt className="min-w-0 font-medium wrap-anywhere" max={80}>
          {s.name}
        </Txt>
        <Button
          className="ml-auto h-7! px-2"
          disabled={busy}
          aria-label={`${t(busy ? "looking" : "lookNow")}: ${s.name}`}
          onClick={look}
        >
          {busy ? t("looking") : t("lookNow")}
        </Button>
      </div>
      <ul>
        {s.values.map((v) => {
          const f = factOf(facts, own, v);
          return (
            <li key={v.metric + v.zone} className="py-0.5">
              <div className="flex flex-wrap items-center gap-x-3">
                <Link
                  to="/telemetry"
                  search={{ m: v.metric } as never}
                  className="min-w-0 flex-1 basis-32 hover:underline"
                >
                  <Txt max={60}>{v.metric}</Txt>
                  {v.zone ? (
                    <Txt className="ml-1.5 text-t2" max={40}>
                      {v.zone}
                    </Txt>
                  ) : null}
                </Link>
                <Txt
                  className={cx("font-medium", v.doubt && "text-warn")}
                  max={32}
                  title={v.raw == null ? undefined : t("rawSaid", { raw: String(v.raw) })}
                >
                  {value(v.value, v.unit)}
                </Txt>
                <span className="min-w-14 text-right text-t2">
                  {v.at ? <Since time={v.at} stale={STALE_MS} /> : t("nothingYet")}
                </span>
                {f ? (
                  <Worth
                    claimed={f.claimedTier}
                    effective={f.effectiveTier}
                    signature={f.signature}
                    tainted={f.tainted}
                    secret={f.private}
                  />
                ) : (
                  <span className="text-[11px] text-t2">{t("unpublished")}</span>
                )}
              </div>
              {pictured && f ? <Picture frameId={f.frameId} name={s.name} /> : null}
              {v.doubt ? (
                <p className="text-warn">
                  ◐ {t("doubtedBecause")} <Txt max={200}>{v.doubt}</Txt>.{" "}
                  <span className="text-t2">{codeWord("ad", "reading.doubted")}</span>
                </p>
              ) : null}
            </li>
          );
        })}
      </ul>
      {s.values.length ? null : <p className="text-t2">{t("nothingYet")}</p>}
      {s.failingSince ? (
        <p className="text-danger">
          ▲ {t("failingFor", { span: span(Math.max(0, now - s.failingSince)) })}{" "}
          <Txt max={300}>{s.problem}</Txt> <span className="text-t2">{codeWord("ad", "sensor.failing")}</span>
        </p>
      ) : null}
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
    </li>
  );
}

const MARKS: Record<Position, [string, string, "inSafeState" | "awayFromSafe" | "notSafe" | "safeUnknown"]> =
  {
    safe: ["●", "text-ok", "inSafeState"],
    away: ["◐", "text-info", "awayFromSafe"],
    unsafe: ["▲", "text-danger", "notSafe"],
    unknown: ["◇", "text-t2", "safeUnknown"],
  };

function OneActuator({ a, own }: { a: Moved; own: string }) {
  const at = positionOf(a);
  const [shape, color, word] = MARKS[at];
  return (
    <li className="flex flex-col gap-0.5 rounded-md border border-line px-2 py-1">
      <div className="flex flex-wrap items-center gap-x-3">
        <Txt className="min-w-0 font-medium" title={a.capability} max={80}>
          {device(a.capability)}
        </Txt>
        {a.position ? <Txt max={60}>{codeWord("pos", a.position)}</Txt> : null}
        <span className={cx("ml-auto whitespace-nowrap", color)}>
          <span aria-hidden="true">{shape}</span> {t(word)}
        </span>
      </div>
      <Txt className="font-mono text-[12px] text-t2 wrap-anywhere" max={160}>
        {a.capability}
      </Txt>
      {a.moving ? (
        <Link to="/approvals" search={{ id: a.moving } as never} className="text-info hover:underline">
          ◐ {t("running")}
        </Link>
      ) : null}
      {at === "unsafe" || a.problem ? (
        <p className="text-danger">
          ▲ <Txt max={300}>{a.problem ?? t("notSafe")}</Txt>{" "}
          {at === "unsafe" ? <span className="text-t2">{codeWord("ad", "actuator.unsafe")}</span> : null}
        </p>
      ) : null}
      <ul>
        {a.actions.map((o) => (
          <li key={o.operation} className="flex flex-wrap items-baseline gap-x-2">
            <Txt className="font-medium" max={40}>
              {codeWord("op", o.operation)}
            </Txt>
            {o.rule ? (
              <span className="text-t2">
                {o.rule.level} · {kindName(o.rule.kind)} ·{" "}
                {t("thenSafe", {
                  span: lasting(o.rule.longestMs),
                  safe: codeWord("op", o.rule.safeState),
                })}
                {o.rule.standingApprovals ? (
                  <>
                    {" · "}
                    <Link
                      to="/approvals"
                      search={
                        {
                          tab: "standing",
                          give: "1",
                          target: a.capability,
                          op: o.operation,
                          at: own,
                        } as never
                      }
                      className="text-accent underline"
                    >
                      {t("standingAhead")}
                    </Link>
                  </>
                ) : null}
              </span>
            ) : (
              <span className="text-t2">◇ {t("noRuleFor")}</span>
            )}
          </li>
        ))}
      </ul>
      {a.last ? (
        <Link
          to="/approvals"
          search={{ id: a.last.proposal } as never}
          className="flex flex-wrap items-center gap-x-2 text-[12px] text-t2 hover:underline"
        >
          {t("lastAction")}: <Txt>{codeWord("op", a.last.operation)}</Txt>{" "}
          <StatusMark status={a.last.status} word={statusWord(a.last.status)} /> <Age time={a.last.at} />
          {a.last.message ? <Txt max={200}>{a.last.message}</Txt> : null}
        </Link>
      ) : (
        <p className="text-[12px] text-t2">{t("neverMoved")}</p>
      )}
    </li>
  );
}
