/** From reading to outcome as a diagram: columns of steps, arrows with the time between them. */
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { absolute, span } from "@/lib/format";
import { type Key, t } from "@/lib/i18n";
import { type Column, columns, frameOf, named, type Step, type Who } from "@/lib/story";
import { tame } from "@/lib/words";
import { Age, cx, Json, Words } from "./kit";

const LOOKS: Record<string, [Key, string, string]> = {
  reading: ["sg_reading", "◈", "border-t-info"],
  minted: ["sg_minted", "▲", "border-t-accent"],
  decision: ["sg_decision", "✎", "border-t-human"],
  executing: ["sg_executing", "▶", "border-t-warn"],
  ended: ["sg_ended", "■", "border-t-warn"],
  outcome: ["sg_outcome", "●", "border-t-ok"],
};
const stageWord = (stage: string): string => {
  const looks = LOOKS[stage];
  return looks ? t(looks[0]) : tame(stage, 24);
};

/** `who` gives the names of devices and operators; in full a step shows their ids too. */
export function TraceDiagram({ steps, who }: { steps: Step[]; who: Who }) {
  const [picked, setPicked] = useState<Step>();
  return (
    <div className="@container flex flex-col gap-3">
      <ol
        aria-label={t("trace")}
        className="flex flex-col @min-[960px]:flex-row @min-[960px]:items-start @min-[960px]:overflow-x-auto @min-[960px]:pb-2"
      >
        {columns(steps).map((c, i) => (
          <li
            key={`${c.stage}${c.steps[0]?.time}${i}`}
            className="flex flex-col @min-[960px]:min-w-0 @min-[960px]:flex-1 @min-[960px]:flex-row @min-[960px]:first:flex-[1.2]"
          >
            {c.after === null ? null : <Arrow ms={c.after} />}
            <Stage
              column={c}
              who={who}
              picked={picked}
              onPick={(s) => setPicked(picked === s ? undefined : s)}
            />
          </li>
        ))}
      </ol>
      {picked ? (
        <div className="rounded-md border border-line bg-s2 p-3">
          <div className="mb-1 flex flex-wrap gap-x-3">
            <strong>{stageWord(picked.stage)}</strong>
            <bdi className="text-t2 wrap-anywhere">{tame(picked.actor, 120)}</bdi>
            <span className="ml-auto text-t2">{absolute(picked.time)}</span>
          </div>
          <p>
            <Words text={picked.message} max={1000} />
          </p>
          {picked.data ? <Json data={picked.data} /> : null}
        </div>
      ) : null}
    </div>
  );
}

function Arrow({ ms }: { ms: number }) {
  const text = ms < 1000 ? `${ms} ms` : span(ms);
  return (
    <div
      title={t("timeBetween")}
      className="flex items-center gap-2 py-0.5 pl-4 text-[11px] text-t2 @min-[960px]:w-12 @min-[960px]:shrink-0 @min-[960px]:flex-col @min-[960px]:gap-0 @min-[960px]:px-1 @min-[960px]:pt-4"
    >
      <span className="whitespace-nowrap">{text}</span>
      <span aria-hidden="true" className="hidden w-full items-center @min-[960px]:flex">
        <span className="h-px flex-1 bg-t3" />
        <span className="-ml-1 leading-none">▸</span>
      </span>
      <span aria-hidden="true" className="order-first @min-[960px]:hidden">
        ↓
      </span>
    </div>
  );
}

function Stage({
  column,
  who,
  picked,
  onPick,
}: {
  column: Column;
  who: Who;
  picked?: Step;
  onPick: (s: Step) => void;
}) {
  const [, glyph, border] = LOOKS[column.stage] ?? ["sg_outcome", "◇", "border-t-line"];
  return (
    <div className="flex min-w-0 flex-1 flex-col gap-1.5">
      {column.steps.map((s, i) => {
        const frame = frameOf(s);
        return (
          <div
            key={`${s.time}${s.message}${i}`}
            className={cx(
              "rounded-md border border-line border-t-4 bg-s1 px-2.5 py-1.5",
              border,
              picked === s && "outline-2 outline-accent",
            )}
          >
            <button
              type="button"
              aria-expanded={picked === s}
              onClick={() => onPick(s)}
              className="flex w-full flex-wrap items-baseline gap-x-2 text-left hover:underline"
            >
              <span className="whitespace-nowrap font-semibold">
                <span aria-hidden="true" className="mr-1.5 font-normal">
                  {glyph}
                </span>
                {stageWord(s.stage)}
              </span>
              <span className="text-[12px] text-t2">
                <Age time={s.time} />
              </span>
            </button>
            <bdi className="block truncate text-[12px] text-t2" title={tame(s.actor, 120)}>
              {tame(named(s.actor, who), 80)}
            </bdi>
            <p
              className="line-clamp-4 text-[12.5px] leading-[17px] wrap-anywhere"
              title={tame(s.message, 400)}
            >
              <bdi>{tame(named(s.message, who), 240)}</bdi>
            </p>
            {frame ? (
              <Link
                to="/world"
                search={{ tab: "frames", frame } as never}
                className="text-[12px] text-accent hover:underline"
              >
                {t("openFrame")}
              </Link>
            ) : null}
          </div>
        );
      })}
    </div>
  );
}
