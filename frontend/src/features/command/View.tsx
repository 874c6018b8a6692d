import { Link } from "@tanstack/react-router";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { alerting } from "@/lib/alerts";
import { health } from "@/lib/condition";
import { span, value } from "@/lib/format";
import { healthKey, statusWord, t } from "@/lib/i18n";
import { line, tame } from "@/lib/words";
import { type Answered, ask, type Fact, post, remove, type Telling } from "@/node/client";
import { isWaiting } from "@/node/patch";
import {
  queries,
  useAnswered,
  useEvents,
  usePlanner,
  useProposals,
  useSession,
  useStatus,
  useTopology,
  useWorld,
} from "@/node/reads";
import { Button, cx, Empty, Id, Panel, Since, Txt, Worth } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { ProposalCard } from "@/ui/proposal";
import { Earlier, Marked } from "./Earlier";
import { conversationOf, renewed, understand } from "./model";
import { PlannerLine } from "./PlannerLine";
import { Schedules } from "./Schedules";

interface Line {
  n: number;
  mine: boolean;
  text: string;
  facts?: Fact[];
  proposals?: string[];
  /** What the planner answered, where it was asked. */
  said?: Answered;
}

/** What the planner does for a question now. */
interface Doing {
  text: string;
  steps: string[];
}
/** What the console itself said outlives a look at another page, and nothing longer; what the planner answered is kept
 * by the node, and the address says which conversation it is. */
let kept: Line[] = [];
let keptIn: string | undefined;
/** A conversation as lines, from what the node has kept, newest first. */
const linesOf = (answered: Answered[], conversation: string): Line[] =>
  answered
    .filter((a) => conversationOf(a) === conversation)
    .reverse()
    .flatMap((a, i) => [
      { n: 2 * i + 1, mine: true, text: a.question },
      { n: 2 * i + 2, mine: false, text: a.answer, said: a, proposals: a.proposals },
    ]);
const LINES_MAX = 200;
const HINTS = ["/status", "/waiting", "/nodes", "/alerts", "/world", "/help"];

/** The readings that the planner's last answer rests on. */
function Cites({ said }: { said?: Answered }) {
  if (!said?.citations.length) return <Empty>{t("noCited")}</Empty>;
  return (
    <ul className="flex flex-col gap-2">
      {said.citations.map((c) => (
        <li key={`${c.frameId}@${c.origin}`}>
          <Link
            to="/world"
            search={{ tab: "frames", frame: c.frameId } as never}
            className="text-accent hover:underline"
          >
            <Txt max={160}>{c.summary || c.frameId}</Txt>
          </Link>
        </li>
      ))}
    </ul>
  );
}

/** Where no model could be asked: whether it is asked again by itself, and the switch for that. */
function Later({ said }: { said: Answered }) {
  const planner = usePlanner().data;
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string>();
  const queued = planner?.later ? planner.later.some((l) => l.id === said.id) : said.queued;
  if (said.answerer !== "rules" || !(queued || (said.why && planner?.model))) return null;
  const run = (work: Promise<unknown>) => {
    setBusy(true);
    setTrouble(undefined);
    work
      .catch((error: Error) => setTrouble(error.message))
      .then(() =>
        Promise.all([
          queries.invalidateQueries({ queryKey: ["planner"] }),
          queries.invalidateQueries({ queryKey: ["answered"] }),
        ]),
      )
      .finally(() => setBusy(false));
  };
  return (
    <p className="mt-1 flex flex-wrap items-center gap-2">
      {queued ? <span>◐ {t("askedLater")}</span> : null}
      <Button
        className="h-7! px-2"
        disabled={busy}
        onClick={() =>
          run(
            queued ? remove("/planner/later/{id}", { id: said.id }) : post("/planner/later", { id: said.id }),
          )
        }
      >
        {t(queued ? "askLaterCancel" : "askLater")}
      </Button>
      {trouble ? <span className="text-warn">▲ {trouble}</span> : null}
    </p>
  );
}

/** Who answered, and the readings that the answer rests on. */
function Said({ said }: { said: Answered }) {
  const by = said.model
    ? t("answeredByModel", { model: said.model, ms: said.tookMs, tokens: said.tokens })
    : t("answeredByRules");
  return (
    <div className="mt-1 text-[12px] text-t2">
      <ul>
        {said.citations.map((c) => (
          <li key={`${c.frameId}@${c.origin}`}>
            <Link
              to="/world"
              search={{ tab: "frames", frame: c.frameId } as never}
              className="text-accent hover:underline"
            >
              <Txt max={160}>{c.summary || c.frameId}</Txt>
            </Link>
          </li>
        ))}
      </ul>
      {said.private?.length ? (
        <p className="text-warn">▲ {t("wasPrivate", { what: (said.private ?? []).join(", ") })}</p>
      ) : null}
      {said.citationsDropped ? <p>{t("citesDropped", { n: said.citationsDropped })}</p> : null}
      <p>
        <Txt max={300}>{said.why ? `${by} · ${said.why}` : by}</Txt>
      </p>
      <Later said={said} />
    </div>
  );
}

export function View() {
  const [lines, setLines] = useState<Line[]>(kept);
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [place, go] = usePlace();
  const conversation = place.c;
  const answered = useAnswered().data;
  const [wantsPrivate, setWantsPrivate] = useState(false);
  const [dropped, setDropped] = useState<ReadonlySet<string>>(new Set());
  const [doing, setDoing] = useState<Doing>();
  const asking = useRef<AbortController>(null);
  const end = useRef<HTMLDivElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const status = useStatus().data;
  const session = useSession().data;
  const topology = useTopology().data;
  const proposals = useProposals().data ?? [];
  const events = useEvents().data ?? [];
  const world = useWorld().data ?? [];
  // The address without a conversation is the one that was open here before.
  useEffect(() => {
    if (!conversation && keptIn) go({ c: keptIn });
  }, []);
  useEffect(() => {
    if (!conversation || conversation === keptIn || !answered) return;
    keptIn = conversation;
    setLines(linesOf(answered, conversation));
  }, [conversation, answered]);
  // The answer of a model to a question that waited for it takes the place of that of the rules.
  useEffect(() => {
    if (answered) setLines((all) => renewed(all, answered));
  }, [answered]);
  useEffect(() => {
    kept = lines;
    end.current?.scrollIntoView({ block: "nearest" });
  }, [lines]);

  const isPrivate = lines.some((l) => l.said?.private?.length);
  const begin = () => {
    keptIn = undefined;
    setLines([]);
    setWantsPrivate(false);
    go({ c: undefined }, true);
    field.current?.focus();
  };
  const cited = lines.findLast((l) => l.facts?.length)?.facts ?? [];
  const cites = cited.filter((f) => !dropped.has(f.frameId));

  const answer = async (asked: string): Promise<Omit<Line, "n" | "mine">> => {
    // A model understands sentences; commands are still the console's own.
    if (status?.planner?.model && !asked.startsWith("/")) return askPlanner(asked);
    const wish = understand(asked, [...new Set(world.map((f) => f.metric))]);
    switch (wish.kind) {
      case "help":
        return { text: t("help") };
      case "bad":
        return { text: t("draftBad") };
      case "status":
        return {
          text: status
            ? [
                t("saysStatus", {
                  name: status.displayName,
                  up: span(status.uptimeMs),
                  peers: status.peers.length,
                  frames: status.frames,
                  waiting: status.proposalsWaiting,
                }),
                ...status.problems,
              ].join("\n")
            : t("lostNever"),
        };
      case "waiting": {
        const w = proposals.filter(isWaiting);
        return {
          text: w.length ? t("saysWaiting", { n: w.length }) : t("nothingWaits"),
          proposals: w.map((p) => p.id),
        };
      }
      case "nodes":
        return {
          text: (topology?.nodes ?? [])
            .map((n) => `${line(n.name ?? n.deviceId.slice(0, 8), 48)}: ${t(healthKey(health(n, status)))}`)
            .join("\n"),
        };
      case "alerts": {
        const a = alerting(events).slice(-10);
        return { text: a.length ? a.map((e) => line(e.message, 200)).join("\n") : t("noAlerts") };
      }
      case "world": {
        const facts = world.filter((f) => f.metric.toLowerCase().includes(wish.metric)).slice(0, 20);
        return {
          text: facts.length
            ? facts
                .map((f) =>
                  line(`${f.metric}${f.zone ? ` (${f.zone})` : ""}: ${value(f.value, f.unit)}`, 160),
                )
                .join("\n")
            : t("noFacts"),
          facts,
        };
      }
      case "do": {
        const draft = await post("/drafts", {
          target: wish.target,
          operation: wish.operation,
          params: wish.params,
          reason: wish.reason,
          name: session?.name ?? session?.decision.operator?.name ?? "console",
          cites: cites.map((f) => `${f.frameId}@${f.origin}`),
          ...(wish.executor ? { executor: wish.executor } : {}),
          ...(wish.zone ? { zone: wish.zone } : {}),
        });
        return {
          text: `${t("draftSent", { target: wish.target, operation: wish.operation, status: statusWord(draft.status) })} ${draft.detail ?? ""}`,
          proposals: draft.proposalId ? [draft.proposalId] : [],
        };
      }
      default:
        return askPlanner(asked);
    }
  };

  /** Asks the planner of the node: a model where it has one, else its rules. */
  const askPlanner = async (asked: string): Promise<Omit<Line, "n" | "mine">> => {
    const control = new AbortController();
    asking.current = control;
    let last: Telling | undefined;
    setDoing({ text: "", steps: [] });
    const step = (text: string) =>
      setDoing((d) => ({ text: "", steps: [...(d?.steps ?? []), text].slice(-8) }));
    try {
      await ask(
        { question: asked, conversation, private: wantsPrivate },
        (told) => {
          last = told;
          if (told.event === "text") setDoing((d) => ({ steps: d?.steps ?? [], text: told.text }));
          if (told.event === "queued" && told.behind) step(t("waitsBehind", { n: told.behind }));
          if (told.event === "thinking") step(told.route);
          if (told.event === "tool") step(`${told.call} → ${line(told.result, 120)}`);
          if (told.event === "again") step(told.why);
        },
        control.signal,
      );
    } catch (error) {
      if (control.signal.aborted) return { text: t("askStopped") };
      throw error;
    } finally {
      setDoing(undefined);
      asking.current = null;
    }
    if (last?.event === "answered") {
      keptIn = last.conversation;
      go({ c: keptIn });
      void queries.invalidateQueries({ queryKey: ["answered"] });
    }
    if (last?.event === "answered") return { text: last.answer, said: last, proposals: last.proposals };
    return { text: `▲ ${last?.event === "failed" ? last.message : t("unreachableNode")}` };
  };

  const say = (asked: string) => {
    if (!asked || busy) return;
    setText("");
    setBusy(true);
    setLines((l) => [...l, { n: (l.at(-1)?.n ?? 0) + 1, mine: true, text: asked }]);
    answer(asked)
      .catch((error: Error) => ({ text: `▲ ${error.message}` }))
      .then((a) =>
        setLines((l) => [...l.slice(-LINES_MAX), { ...a, n: (l.at(-1)?.n ?? 0) + 1, mine: false }]),
      )
      .finally(() => setBusy(false));
  };
  const send = (e: FormEvent) => {
    e.preventDefault();
    say(text.trim());
  };
  return (
    <div className="grid flex-1 gap-3 max-md:content-start md:min-h-0 lg:grid-cols-[1fr_minmax(280px,360px)]">
      <section className="flex min-h-80 flex-col rounded-md border border-line bg-s1 md:min-h-0">
        <div className="flex flex-wrap items-center gap-x-3 gap-y-1 border-line border-b px-3 py-2 text-t2">
          <PlannerLine />
          <Marked
            on={wantsPrivate || Boolean(isPrivate)}
            fixed={Boolean(isPrivate)}
            onChange={setWantsPrivate}
          />
          <Button className="ml-auto h-7!" disabled={busy || !(lines.length || conversation)} onClick={begin}>
            {t("newConversation")}
          </Button>
        </div>
        <div
          role="log"
          tabIndex={0}
          aria-label={t("command")}
          className="flex min-h-0 flex-1 flex-col gap-3 overflow-auto p-3"
        >
          {lines.length ? null : <p className="max-w-prose text-t2">{t("help")}</p>}
          {lines.length || !conversation || answered ? null : <p className="text-t2">{t("loading")}</p>}
          {lines.map((l) => (
            <div
              key={l.n}
              className={cx(
                "max-w-[85%] rounded-md border px-3 py-2",
                l.mine ? "self-end border-human" : "self-start border-line bg-s2",
              )}
            >
              <div className="text-[11px] text-t2">{l.mine ? t("you") : t("consoleName")}</div>
              <div className="whitespace-pre-wrap wrap-anywhere">
                <bdi>{tame(l.text, 4000, true)}</bdi>
              </div>
              {l.facts?.length ? (
                <p className="mt-1 flex flex-wrap gap-x-2 text-[12px]">
                  {l.facts.map((f, i) => (
                    <Link
                      key={f.frameId}
                      to="/world"
                      search={{ tab: "frames", frame: f.frameId } as never}
                      title={line(`${f.metric} = ${value(f.value, f.unit)}`, 120)}
                      className="text-accent hover:underline"
                    >
                      [{i + 1}]
                    </Link>
                  ))}
                </p>
              ) : null}
              {l.said ? <Said said={l.said} /> : null}
              {l.proposals?.length ? (
                <div className="mt-2 flex flex-col gap-1.5">
                  {l.proposals.slice(0, 20).map((id) => {
                    const p = proposals.find((x) => x.id === id);
                    return p ? <ProposalCard key={id} p={p} framed /> : null;
                  })}
                </div>
              ) : null}
            </div>
          ))}
          {busy ? (
            <div role="status" className="flex flex-col gap-1 text-t2">
              {doing?.steps.map((s, i) => (
                <p key={i} className="text-[12px] wrap-anywhere">
                  <bdi>{tame(s, 300)}</bdi>
                </p>
              ))}
              <p className="whitespace-pre-wrap wrap-anywhere">
                <bdi>{doing?.text ? tame(doing.text, 4000, true) : t("asking")}</bdi>
              </p>
              {doing ? (
                <Button tone="quiet" className="h-7! self-start px-2" onClick={() => asking.current?.abort()}>
                  {t("askStop")}
                </Button>
              ) : null}
            </div>
          ) : null}
          <div ref={end} />
        </div>
        <div className="flex flex-wrap gap-1 border-line border-t px-3 pt-2">
          {HINTS.map((h) => (
            <Button key={h} tone="quiet" className="h-7! px-2" disabled={busy} onClick={() => say(h)}>
              {h}
            </Button>
          ))}
          <Button
            tone="quiet"
            className="h-7! px-2"
            onClick={() => {
              setText("/do ");
              field.current?.focus();
            }}
          >
            /do…
          </Button>
        </div>
        <form onSubmit={send} className="flex gap-2 p-3 pt-2">
          <input
            ref={field}
            aria-label={t("ask")}
            dir="auto"
            maxLength={1000}
            placeholder={t("askPlaceholder")}
            value={text}
            onChange={(e) => setText(e.target.value)}
            className="h-9 min-w-0 flex-1 rounded-md border border-line bg-s0 px-3"
          />
          <Button type="submit" tone="accent" className="h-9!" disabled={busy || !text.trim()}>
            {t("send")}
          </Button>
        </form>
      </section>
      <div className="flex min-h-0 min-w-0 flex-col gap-3">
        <Panel title={t("cited")} className="lg:max-h-[50%]">
          {cited.length ? (
            <>
              <p className="mb-2 text-[12px] text-t2">{t("citesHint")}</p>
              <ul className="flex flex-col gap-3">
                {cited.map((f, i) => (
                  <li key={f.frameId} className="flex gap-2">
                    <input
                      type="checkbox"
                      className="mt-1 self-start accent-accent"
                      aria-label={t("citeThis", { text: line(f.metric, 60) })}
                      checked={!dropped.has(f.frameId)}
                      onChange={(e) => {
                        const next = new Set(dropped);
                        if (e.target.checked) next.delete(f.frameId);
                        else next.add(f.frameId);
                        setDropped(next);
                      }}
                    />
                    <div className="min-w-0">
                      <Link
                        to="/world"
                        search={{ tab: "frames", frame: f.frameId } as never}
                        className="font-medium hover:underline"
                      >
                        <Txt>{`[${i + 1}] ${f.metric} = ${value(f.value, f.unit)}`}</Txt>
                      </Link>
                      <div className="flex flex-wrap gap-2 text-t2">
                        <Worth
                          claimed={f.claimedTier}
                          effective={f.effectiveTier}
                          signature={f.signature}
                          tainted={f.tainted}
                          secret={f.private}
                        />
                        <Since time={f.sensedAt} />
                        <Id id={f.origin} label={f.originName} />
                      </div>
                    </div>
                  </li>
                ))}
              </ul>
            </>
          ) : (
            <Cites said={lines.findLast((l) => l.said)?.said} />
          )}
        </Panel>
        <Schedules />
        <Earlier answered={answered} on={conversation} onOpen={(c) => go({ c }, true)} disabled={busy} />
      </div>
    </div>
  );
}
