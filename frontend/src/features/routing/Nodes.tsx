/** What each node says that it can do; the tags of this one are given and taken here. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { bytes, millis } from "@/lib/format";
import { t } from "@/lib/i18n";
import { type Able, post } from "@/node/client";
import { useAble } from "@/node/reads";
import { Button, Field, Loaded, Pairs, Panel, State, Txt } from "@/ui/kit";

const TAG_MAX = 32;

export function Nodes({ admin }: { admin: boolean }) {
  const able = useAble();
  return (
    <Panel title={t("rtNodes")} className="shrink-0">
      <Loaded q={able}>
        {(all) => (
          <ul className="flex flex-col gap-3">
            {all.map((one) => (
              <One key={one.deviceId} one={one} admin={admin} />
            ))}
          </ul>
        )}
      </Loaded>
      <p className="mt-3 text-[12px] text-t2">{t("rtNodesText")}</p>
    </Panel>
  );
}

function One({ one, admin }: { one: Able; admin: boolean }) {
  const p = one.profile;
  const machine = [
    p.os,
    p.arch,
    p.cpus ? t("rtCpus", { n: p.cpus }) : "",
    p.memoryMib ? bytes(p.memoryMib * 1_048_576) : "",
  ];
  const list = (of: string[]) => <Txt max={600}>{of.join(", ") || "–"}</Txt>;
  return (
    <li
      aria-label={one.name}
      className="flex flex-col gap-1 border-line border-t pt-2 first:border-t-0 first:pt-0"
    >
      <div className="flex flex-wrap items-center gap-x-3">
        <State is={one.away ? "offline" : one.agents.length ? "healthy" : "unknown"} word={false} />
        <h3 className="font-medium">
          <Txt max={64}>{one.name}</Txt>
        </h3>
        <span className="text-t2">
          {one.own ? `${t("rtOwn")} · ` : ""}
          {t("rtUnderWay", { n: one.inFlight })}
          {one.own || one.latencyMs == null ? "" : ` · ${millis(one.latencyMs, 0)}`}
        </span>
      </div>
      {one.away ? (
        <p className="text-warn">
          <Txt max={300}>{one.away}</Txt>
        </p>
      ) : null}
      <Pairs
        rows={[
          [t("rtAgents"), one.agents.length ? list(one.agents) : t("rtNoAgents")],
          [t("rtMachine"), p.os ? list(machine.filter(Boolean)) : t("rtSaysNothing")],
          ...(p.gpus.length
            ? ([[t("rtGpus"), list(p.gpus.map((g) => g.name))]] as [string, React.ReactNode][])
            : []),
          ...(p.skills.length
            ? ([[t("rtSkills"), list(p.skills.map((s) => s.name))]] as [string, React.ReactNode][])
            : []),
          [t("rtTags"), one.own && admin ? <Tags key="t" tags={p.tags} /> : list(p.tags)],
        ]}
      />
    </li>
  );
}

function Tags({ tags }: { tags: string[] }) {
  const client = useQueryClient();
  const [fresh, setFresh] = useState("");
  const [problem, setProblem] = useState("");
  const change = (add: string[], gone: string[]) => {
    setProblem("");
    post("/abilities/tags", { add, remove: gone })
      .then(
        () => setFresh(""),
        (e: Error) => setProblem(e.message),
      )
      .finally(() => void client.invalidateQueries({ queryKey: ["abilities"] }));
  };
  const add = (e: FormEvent) => {
    e.preventDefault();
    if (fresh.trim()) change([fresh.trim()], []);
  };
  return (
    <div className="flex flex-col gap-1">
      {tags.length ? (
        <ul className="flex flex-wrap gap-1">
          {tags.map((tag) => (
            <li key={tag} className="flex items-center gap-1 rounded-md border border-line bg-s2 pl-2">
              <Txt max={TAG_MAX}>{tag}</Txt>
              <Button
                tone="quiet"
                className="h-6! px-1.5!"
                aria-label={t("rtUntag", { tag })}
                onClick={() => change([], [tag])}
              >
                ×
              </Button>
            </li>
          ))}
        </ul>
      ) : null}
      <form onSubmit={add} className="flex items-end gap-1">
        <Field
          label={t("rtNewTag")}
          hideLabel
          placeholder={t("rtNewTag")}
          value={fresh}
          maxLength={TAG_MAX}
          autoComplete="off"
          className="w-36"
          onChange={(e) => setFresh(e.target.value)}
        />
        <Button type="submit" disabled={!fresh.trim()}>
          {t("rtTag")}
        </Button>
      </form>
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
    </div>
  );
}
