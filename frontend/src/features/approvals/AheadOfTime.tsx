/** What standing approvals have to do with a proposal: by which it began, and whether the next one may begin so. */
import { Link } from "@tanstack/react-router";
import { t } from "@/lib/i18n";
import type { Step } from "@/lib/story";
import { line } from "@/lib/words";
import type { Proposal } from "@/node/client";
import { isWaiting } from "@/node/patch";
import { useRecord, useSession, useStanding } from "@/node/reads";
import { offerFor, useOf } from "./standing";

export interface Used {
  /** The standing approval. */
  id: string;
  /** Who gave it. */
  name: string;
  number: number;
  of: number;
  at: number;
}

/** The use by which it began; told by its own record here, and by its executor elsewhere. */
export function useUsed(p: Proposal): Used | undefined {
  const waiting = isWaiting(p);
  const record = useRecord(waiting ? undefined : p.id).data;
  const known = useStanding(30_000).data;
  if (waiting) return undefined;
  const told = useOf(known?.list ?? [], p.id);
  const own = record?.standing;
  if (own)
    return {
      id: own.id,
      name: line(own.name ?? own.operatorId.slice(0, 8), 60),
      number: own.use,
      of: own.of,
      at: told?.of.uses[told.number - 1]?.at ?? p.createdAt,
    };
  if (!told) return undefined;
  return {
    id: told.of.id,
    name: line(told.of.name ?? told.of.operatorId.slice(0, 8), 60),
    number: told.number,
    of: told.of.usesMax,
    at: told.of.uses[told.number - 1]?.at ?? p.createdAt,
  };
}

/** Its story with the use, where the node that tells it does not know of one. */
export function withUse(steps: Step[], used: Used | undefined): Step[] {
  if (!used || steps.some((s) => s.stage === "decision")) return steps;
  const message = t("standingStep", { n: used.number, of: used.of, id: used.id.slice(0, 8) });
  const step = { time: used.at, stage: "decision", actor: used.name, message, data: { approval: used.id } };
  return [...steps, step].sort((a, b) => a.time - b.time);
}

export function AheadOfTime({ p, used }: { p: Proposal; used: Used | undefined }) {
  const q = useStanding(30_000);
  const may = useSession().data?.scope !== "read";
  const known = q.data;
  const offer = known && offerFor(known.allowed, p);
  const no = !known
    ? undefined
    : known.unknown.includes(p.executor) || (!p.own && !known.answered.includes(p.executor))
      ? t("standingNotTold")
      : p.gen1
        ? t("standingNoGen1")
        : p.level !== "L2"
          ? t("standingNoLevel", { level: p.level })
          : t("standingNoRule", { rule: line(p.rule, 60) });
  return (
    <>
      {used ? (
        <p>
          <span aria-hidden="true" className="text-human">
            ✎
          </span>{" "}
          <Link
            to="/approvals"
            search={{ tab: "standing", id: used.id } as never}
            className="text-accent hover:underline"
          >
            {t("standingBegan", { name: used.name, n: used.number, of: used.of })}
          </Link>
        </p>
      ) : null}
      {!known ? (
        <p className="text-t2">{q.error ? t("standingNotTold") : t("loading")}</p>
      ) : offer ? (
        <p>
          {may ? (
            <Link
              to="/approvals"
              search={
                {
                  tab: "standing",
                  give: "1",
                  target: p.target,
                  op: p.operation,
                  at: p.executor,
                  from: p.id,
                } as never
              }
              className="text-accent underline"
            >
              {t("standingAhead")}
            </Link>
          ) : null}{" "}
          <span className="text-t2">{t(p.tainted ? "standingAheadModel" : "standingAheadText")}</span>
        </p>
      ) : (
        <p className="text-t2">◇ {no}</p>
      )}
    </>
  );
}
