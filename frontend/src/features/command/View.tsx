import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { action, span, value } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { call, type Draft, type Fact } from "@/node/client";
import { isWaiting } from "@/node/patch";
import { useEvents, useProposals, useSession, useStatus, useTopology, useWorld } from "@/node/reads";
import { Button, cx, Id, Panel, Since, Txt, Worth } from "@/ui/kit";
import { understand } from "./model";

interface Line {
  n: number;
  mine: boolean;
  text: string;
  facts?: Fact[];
  proposals?: string[];
}

export function View() {
  const [lines, setLines] = useState<Line[]>([]);
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const status = useStatus().data;
  const session = useSession().data;
  const topology = useTopology().data;
  const proposals = useProposals().data ?? [];
  const events = useEvents().data ?? [];
  const world = useWorld().data ?? [];

  const answer = async (asked: string): Promise<Omit<Line, "n" | "mine">> => {
    const wish = understand(asked, [...new Set(world.map((f) => f.metric))]);
    switch (wish.kind) {
      case "help":
        return { text: t("help") };
      case "bad":
        return { text: t("draftBad") };
      case "status":
        return {
          text: status
            ? `${status.displayName}: ${span(status.uptimeMs)} up, ${status.peers.length} peers, ${status.frames} frames, ${status.proposalsWaiting} waiting. ${status.problems.join(" ")}`
            : t("lostNever"),
        };
      case "waiting": {
        const w = proposals.filter(isWaiting);
        return {
          text: w.length
            ? w.map((p) => `${p.level}: ${action(p.operation, p.target, p.runMs)} (${p.reason})`).join("\n")
            : t("nothingWaits"),
          proposals: w.map((p) => p.id),
        };
      }
      case "nodes":
        return {
          text: (topology?.nodes ?? [])
            .map(
              (n) =>
                `${n.name ?? n.deviceId.slice(0, 8)}: ${n.own ? t("self") : n.connected ? t("connected") : t("offline")}`,
            )
            .join("\n"),
        };
      case "alerts": {
        const a = events.filter((e) => e.severity !== "info").slice(-10);
        return { text: a.length ? a.map((e) => e.message).join("\n") : t("noAlerts") };
      }
      case "world": {
        const facts = world.filter((f) => f.metric.toLowerCase().includes(wish.metric)).slice(0, 20);
        return {
          text: facts.length
            ? facts
                .map((f) => `${f.metric}${f.zone ? ` (${f.zone})` : ""}: ${value(f.value, f.unit)}`)
                .join("\n")
            : t("noFacts"),
          facts,
        };
      }
      case "do": {
        const draft = await call<Draft>("POST", "/drafts", {
          target: wish.target,
          operation: wish.operation,
          params: wish.params,
          reason: wish.reason,
          name: session?.name ?? session?.decision.operator?.name ?? "console",
          cites: [],
        });
        return {
          text: `${t("draftSent", { target: wish.target, operation: wish.operation, status: draft.status })} ${draft.detail ?? ""}`,
          proposals: draft.proposalId ? [draft.proposalId] : [],
        };
      }
      default:
        return { text: t("cannot") };
    }
  };

  const send = (e: FormEvent) => {
    e.preventDefault();
    const asked = text.trim();
    if (!asked || busy) return;
    setText("");
    setBusy(true);
    setLines((l) => [...l, { n: l.length, mine: true, text: asked }]);
    answer(asked)
      .catch((error: Error) => ({ text: error.message }))
      .then((a) => setLines((l) => [...l.slice(-200), { ...a, n: (l.at(-1)?.n ?? 0) + 1, mine: false }]))
      .finally(() => setBusy(false));
  };
  const cited = lines.findLast((l) => l.facts?.length)?.facts;
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 lg:grid-cols-[1fr_minmax(280px,360px)]">
      <section className="flex min-h-80 flex-col rounded-md border border-line bg-s1 md:min-h-0">
        <p className="border-line border-b px-3 py-2 text-t2">◇ {t("noModel")}</p>
        <div
          role="log"
          tabIndex={0}
          aria-label={t("command")}
          className="flex min-h-0 flex-1 flex-col gap-3 overflow-auto p-3"
        >
          {lines.length ? null : <p className="text-t2">{t("help")}</p>}
          {lines.map((l) => (
            <div
              key={l.n}
              className={cx(
                "max-w-[80%] rounded-md border px-3 py-2",
                l.mine ? "self-end border-human" : "self-start border-line bg-s2",
              )}
            >
              <div className="text-[11px] text-t2">{l.mine ? t("you") : t("consoleName")}</div>
              <div className="whitespace-pre-wrap wrap-anywhere">
                <Txt>{l.text.slice(0, 4000)}</Txt>
              </div>
              {(l.proposals ?? []).map((id) => {
                const p = proposals.find((x) => x.id === id);
                return (
                  <Link
                    key={id}
                    to="/approvals"
                    search={{ id } as never}
                    className="mt-1 block text-accent hover:underline"
                  >
                    {p
                      ? `${action(p.operation, p.target, p.runMs)} · ${statusWord(p.status)}`
                      : id.slice(0, 8)}
                  </Link>
                );
              })}
            </div>
          ))}
        </div>
        <form onSubmit={send} className="flex gap-2 border-line border-t p-3">
          <input
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
      <Panel title={t("cited")}>
        {cited ? (
          <ul className="flex flex-col gap-3">
            {cited.map((f) => (
              <li key={f.frameId}>
                <Link
                  to="/world"
                  search={{ tab: "frames", frame: f.frameId } as never}
                  className="font-medium hover:underline"
                >
                  <bdi>
                    {f.metric} = {value(f.value, f.unit)}
                  </bdi>
                </Link>
                <div className="flex flex-wrap gap-2 text-t2">
                  <Worth
                    claimed={f.claimedTier}
                    effective={f.effectiveTier}
                    signature={f.signature}
                    tainted={f.tainted}
                  />
                  <Since time={f.sensedAt} />
                  <Id id={f.origin} label={f.originName} />
                </div>
              </li>
            ))}
          </ul>
        ) : (
          <p className="text-t2">{t("noCited")}</p>
        )}
      </Panel>
    </div>
  );
}
