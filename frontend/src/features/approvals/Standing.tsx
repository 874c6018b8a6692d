/** Standing approvals: what was given to whom, where each stands, and the way to give and to end one. */
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useMemo, useState } from "react";
import { limits } from "@/contract/operator.gen";
import { nodeNow } from "@/lib/clock";
import { left } from "@/lib/format";
import { dateTime, listed, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Approvals, type Given, type Offer, post } from "@/node/client";
import { useLink } from "@/node/live";
import { useProposals, useSession, useStanding, useWho } from "@/node/reads";
import { endStanding, KeyTrouble } from "@/platform/key";
import { Dialog } from "@/ui/dialog";
import { Age, Button, CopyButton, cx, Empty, Field, Id, Loaded, Panel, Search, Txt, useNow } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { VirtualList } from "@/ui/virtual";
import { executorName, Give } from "./Give";
import { useKeys } from "./keys";
import { NoMeans, Phrase, useMeans } from "./Sign";
import {
  askersWords,
  bounds,
  eachUse,
  found,
  offerFor,
  ordered,
  type Stands,
  stands,
  what,
} from "./standing";

const ROW_PX = 56;

const MARKS: Record<Stands, [string, string]> = {
  counts: ["●", "text-ok"],
  later: ["○", "text-info"],
  held: ["◐", "text-warn"],
  usedUp: ["■", "text-t2"],
  ranOut: ["○", "text-t2"],
  revoked: ["■", "text-t2"],
  ended: ["■", "text-t2"],
};
const WORDS = {
  counts: "standingCounts",
  later: "standingLater",
  held: "standingHeld",
  usedUp: "standingUsedUp",
  ranOut: "standingRanOut",
  revoked: "standingRevoked",
  ended: "standingEnded",
} as const;

export function StandsMark({ is }: { is: Stands }) {
  const [shape, color] = MARKS[is];
  return (
    <span className={cx("inline-flex items-center gap-1.5 whitespace-nowrap", color)}>
      <span aria-hidden="true">{shape}</span>
      {t(WORDS[is])}
    </span>
  );
}

/** The page's third list. `tabs` leads to the others. */
export function Standing({ tabs }: { tabs: ReactNode }) {
  const q = useStanding();
  const now = useNow();
  const [place, go] = usePlace();
  const words = place.q ?? "";
  const proposals = useProposals().data;
  const list = useMemo(() => found(ordered(q.data?.list ?? [], now), words), [q.data, words, now]);
  const giving = place.give ? offerOf(q.data, place) : undefined;
  const selected = place.id ? q.data?.list.find((a) => a.id.startsWith(place.id ?? "")) : list[0];
  const at = list.findIndex((a) => a.id === selected?.id);
  const close = { give: undefined, target: undefined, op: undefined, at: undefined, from: undefined };
  useKeys((by) => {
    const next = list[Math.max(0, Math.min(list.length - 1, at + by))];
    if (next) go({ ...close, id: next.id });
  });
  const offer = (o: Offer) => ({ give: "1", target: o.target, op: o.operation, at: o.executor });
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 md:grid-cols-[minmax(300px,380px)_1fr]">
      <Panel
        title={t("approvals")}
        flush
        className="max-md:max-h-64"
        aside={tabs}
        foot={
          <div className="flex items-center gap-2">
            <Search value={words} onChange={(x) => go({ q: x })} className="flex-1" />
            <GiveButton
              known={q.data}
              onGive={(o) => go({ ...offer(o), id: undefined, from: undefined }, true)}
            />
          </div>
        }
      >
        <Loaded q={q}>
          {(known) => (
            <>
              {known.unknown.length ? <Unknown ids={known.unknown} /> : null}
              {list.length ? (
                <VirtualList items={list} height={ROW_PX} at={at} pick={selected?.id} label={t("standing")}>
                  {(a) => (
                    <li key={a.id}>
                      <Entry
                        a={a}
                        now={now}
                        on={!giving && a.id === selected?.id}
                        onPick={() => go({ ...close, id: a.id }, true)}
                      />
                    </li>
                  )}
                </VirtualList>
              ) : (
                <Empty>{words ? t("noHit") : t("standingNone")}</Empty>
              )}
              {known.leftOut ? (
                <p className="p-3 text-t2">{t("standingLeftOut", { n: known.leftOut })}</p>
              ) : null}
            </>
          )}
        </Loaded>
      </Panel>
      {giving && q.data ? (
        <Give
          key={place.from}
          known={q.data}
          offer={giving}
          from={proposals?.find((p) => p.id === place.from)}
          onPick={(o) => go(offer(o))}
          onGiven={(given) => go({ ...close, id: given.id })}
          onClose={() => go(close)}
        />
      ) : place.give && q.data ? (
        <Panel title={t("standingGiveTitle")}>
          <NotHere known={q.data} />
        </Panel>
      ) : selected && q.data ? (
        <Detail key={selected.id} a={selected} known={q.data} now={now} />
      ) : (
        <Panel>
          <Empty>
            {place.id && q.data ? t("noSuchStanding", { id: place.id.slice(0, 16) }) : t("standingWhat")}
          </Empty>
          {q.data && !q.data.allowed.length ? <NotHere known={q.data} /> : null}
        </Panel>
      )}
    </div>
  );
}

/** The action that the address names; the first there is where it names none. */
function offerOf(known: Approvals | undefined, place: Record<string, string>): Offer | undefined {
  if (!known) return undefined;
  if (!place.target) return known.allowed[0];
  return known.allowed.find(
    (o) =>
      o.target === place.target &&
      (!place.op || o.operation === place.op) &&
      (!place.at || o.executor === place.at),
  );
}

const NotHere = ({ known }: { known: Approvals }) => (
  <div className="flex flex-col gap-2 p-3">
    <p className="text-t2">◇ {t(known.allowed.length ? "standingNotThis" : "standingNowhere")}</p>
    <pre className="overflow-x-auto rounded-md border border-line bg-s2 p-2 font-mono text-[12px]">
      standing_approvals = true
    </pre>
  </div>
);

/** Never a button that does nothing: without an action to approve it is not there. */
function GiveButton({ known, onGive }: { known: Approvals | undefined; onGive: (o: Offer) => void }) {
  const session = useSession().data;
  const first = known?.allowed[0];
  if (!first || !session || session.scope === "read") return null;
  return (
    <Button className="h-7!" onClick={() => onGive(first)}>
      {t("standingGive")}
    </Button>
  );
}

function Unknown({ ids }: { ids: string[] }) {
  const who = useWho();
  return (
    <p role="note" className="border-line border-b p-3 text-warn">
      ◐ {t("standingUnknown", { names: listed(ids.map((id) => line(who.get(id) ?? id.slice(0, 8), 48))) })}
    </p>
  );
}

function Entry({ a, now, on, onPick }: { a: Given; now: number; on: boolean; onPick: () => void }) {
  const is = stands(a, now);
  return (
    <button
      type="button"
      aria-current={on}
      onClick={onPick}
      className={cx(
        "flex h-14 w-full flex-col justify-center gap-0.5 border-line/60 border-b px-3 text-left hover:bg-s2",
        on && "bg-s3 shadow-[inset_3px_0_0_var(--accent)]",
      )}
    >
      <span className="flex w-full items-center gap-2">
        <Txt className="min-w-0 flex-1 truncate font-medium">{what(a)}</Txt>
        <span className="whitespace-nowrap text-t2">{t("usedOf", { used: a.used, of: a.usesMax })}</span>
      </span>
      <span className="flex w-full min-w-0 items-center gap-2 text-t2">
        <StandsMark is={is} />
        <Txt className="min-w-0 truncate">{`${a.name ?? a.operatorId.slice(0, 8)}, ${executorName(a)}`}</Txt>
        {is === "counts" || is === "held" ? (
          <span className="ml-auto whitespace-nowrap">{left(a.validUntil - now)}</span>
        ) : null}
      </span>
    </button>
  );
}

const Part = ({ name, children }: { name: string; children: ReactNode }) => (
  <section className="border-line/60 border-b py-2.5 last:border-b-0">
    <h3 className="mb-1 font-semibold text-[12px] text-t2">{name}</h3>
    {children}
  </section>
);

function Detail({ a, known, now }: { a: Given; known: Approvals; now: number }) {
  const is = stands(a, now);
  const params = bounds(a.params);
  const proposals = useProposals().data;
  const offered = offerFor(known.allowed, a);
  return (
    <Panel
      title={<Txt>{what(a)}</Txt>}
      aside={
        <>
          <StandsMark is={is} />
          <CopyButton label={t("copyLink")} text={`${location.origin}/approvals?tab=standing&id=${a.id}`} />
        </>
      }
      flush
      className="md:min-h-0"
    >
      <div className="flex min-h-full flex-col">
        <div className="flex-1 px-4">
          <Part name={t("standingAllows")}>
            <p className="text-[17px] leading-6">
              <strong>
                <Txt>{what(a)}</Txt>
              </strong>{" "}
              {t("on")}{" "}
              <strong>
                <Id id={a.executor} label={a.executorName} />
              </strong>
            </p>
            <p>{t("standingEach", { span: eachUse(a.runMaxMs), n: a.usesMax })}</p>
            {params.length ? (
              <ul>
                {params.map(([name, may]) => (
                  <li key={name}>
                    <code className="font-mono text-[12.5px]">
                      <Txt max={60}>{name}</Txt>
                    </code>{" "}
                    <Txt max={120}>{may}</Txt>
                  </li>
                ))}
              </ul>
            ) : null}
            <p className="text-t2">{t("standingAskedBy", { who: askersWords(a.askers) })}</p>
          </Part>
          <Part name={t("state")}>
            <p>
              <StandsMark is={is} />{" "}
              {a.why ? (
                <span className="text-t2">
                  <Txt max={300}>{a.why}</Txt>
                </span>
              ) : null}
            </p>
            <p className="text-t2">
              {a.validFrom > now ? `${t("standingFrom", { time: dateTime(a.validFrom) })} ` : ""}
              {t("standingUntil", { time: dateTime(a.validUntil) })}
              {a.state === "ended" ? "" : ` (${left(a.validUntil - now)})`}
            </p>
          </Part>
          <Part name={t("standingUsed")}>
            <p className={a.used >= a.usesMax ? "text-t2" : undefined}>
              {t("standingLeft", { used: a.used, of: a.usesMax, n: Math.max(0, a.usesMax - a.used) })}
            </p>
            {a.uses.length ? (
              <ol>
                {a.uses.map((u, i) => {
                  const p = proposals?.find((x) => x.id === u.proposalId);
                  return (
                    <li key={u.proposalId} className="flex flex-wrap items-center gap-x-2">
                      <Link
                        to="/approvals"
                        search={{ id: u.proposalId } as never}
                        className="text-accent hover:underline"
                      >
                        {t("standingUse", { n: i + 1 })}, <Age time={u.at} />
                      </Link>
                      {p ? <Txt className="text-t2">{p.outcome?.detail ?? p.reason}</Txt> : null}
                    </li>
                  );
                })}
              </ol>
            ) : null}
          </Part>
          <Part name={t("standingGivenBy")}>
            <span aria-hidden="true" className="text-human">
              ✎
            </span>{" "}
            <Txt max={60}>{a.name ?? a.operatorId.slice(0, 8)}</Txt>{" "}
            <span className="text-t2">
              <Age time={a.givenAt} />, {t("key")} <code>{a.operatorId.slice(0, 8)}</code>
            </span>
            {a.note ? (
              <p>
                <Txt max={400}>{a.note}</Txt>
              </p>
            ) : null}
          </Part>
          <Part name={t("standingNever")}>
            <p className="text-t2">{t("standingNeverText")}</p>
            {a.state !== "ended" && !offered && !known.unknown.includes(a.executor) ? (
              <p className="text-warn">◐ {t("standingNotThis")}</p>
            ) : null}
          </Part>
        </div>
        {a.state === "ended" ? null : <Revoke a={a} known={known} />}
      </div>
    </Panel>
  );
}

function Revoke({ a, known }: { a: Given; known: Approvals }) {
  const session = useSession().data;
  const means = useMeans(useNow());
  const lost = useLink().state === "lost";
  const [open, setOpen] = useState(false);
  // At the executor itself its administrator ends one without a key.
  const admin = session?.scope === "admin" && a.executor === known.own;
  if (!means) return null;
  const signs = means.how === "browser" || means.how === "passphrase";
  return (
    <div className="sticky bottom-0 border-line border-t bg-s1 px-4 py-3">
      {lost ? (
        <p role="status" className="text-warn">
          ○ {t("offlineNoDecide")}
        </p>
      ) : signs || admin ? (
        <div className="flex flex-wrap items-center gap-2">
          <Button tone="danger" onClick={() => setOpen(true)}>
            {t("revoke")}
          </Button>
          <span className="text-t2">{t("standingRevokeText")}</span>
        </div>
      ) : means.how === "press" ? (
        <p className="text-t2">◇ {t("standingWindow")}</p>
      ) : means.how === "none" ? (
        <NoMeans means={means} />
      ) : null}
      {open ? <Ending a={a} known={known} admin={admin} onClose={() => setOpen(false)} /> : null}
    </div>
  );
}

function Ending({
  a,
  known,
  admin,
  onClose,
}: {
  a: Given;
  known: Approvals;
  admin: boolean;
  onClose: () => void;
}) {
  const client = useQueryClient();
  const means = useMeans(useNow());
  const [passphrase, setPassphrase] = useState("");
  const [note, setNote] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const said = note.trim() || undefined;
  const signs = means?.how === "browser" || means?.how === "passphrase";
  const go = async (work: () => Promise<unknown>) => {
    setProblem("");
    setBusy(true);
    try {
      await work();
      onClose();
    } catch (error) {
      setProblem(
        error instanceof KeyTrouble ? t(error.why) : error instanceof Error ? error.message : String(error),
      );
      setBusy(false);
    } finally {
      setPassphrase("");
      void client.invalidateQueries({ queryKey: ["approvals"] });
    }
  };
  const sign = async () => {
    if (means?.how === "browser") {
      const asked = { meshId: known.meshId, executor: a.executor, id: a.id, at: nodeNow(), note: said };
      await post("/approvals/{id}/end", await endStanding(means.card, passphrase, asked), { id: a.id });
    } else
      await post("/console/approvals/end", {
        executor: a.executor,
        id: a.id,
        passphrase,
        ...(said ? { note: said } : {}),
      });
  };
  return (
    <Dialog title={t("standingRevokeTitle")} onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          if (!signs) return;
          if (passphrase) void go(sign);
          else setProblem(t("passphraseNeeded"));
        }}
      >
        <p>
          <strong>
            <Txt>{what(a)}</Txt>
          </strong>{" "}
          {t("on")} <bdi>{executorName(a)}</bdi>
        </p>
        <p className="text-t2">{t("standingRevokeText")}</p>
        <Field
          label={t("noteOptional")}
          value={note}
          maxLength={limits.textChars}
          onChange={(e) => setNote(e.target.value)}
        />
        {means ? <Phrase means={means} value={passphrase} onChange={setPassphrase} /> : null}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={300}>{problem}</Txt>
          </p>
        ) : null}
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={onClose}>{t("cancel")}</Button>
          {admin ? (
            <Button
              disabled={busy}
              onClick={() =>
                go(() => post("/approvals/{id}/void", said ? { reason: said } : {}, { id: a.id }))
              }
            >
              {t("standingVoid")}
            </Button>
          ) : null}
          {signs ? (
            <Button tone="danger" type="submit" disabled={busy}>
              {t("standingRevokeGo")}
            </Button>
          ) : null}
        </div>
      </form>
    </Dialog>
  );
}
