import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { limits } from "@/contract/operator.gen";
import { nodeNow } from "@/lib/clock";
import { device } from "@/lib/format";
import { codeWord, statusWord, t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import { get, type Proposal, post, Refused, type Standing } from "@/node/client";
import { useLink } from "@/node/live";
import { isWaiting } from "@/node/patch";
import { useSession, useTopology } from "@/node/reads";
import { type Card, decide, KeyTrouble } from "@/platform/key";
import { AskReason } from "@/ui/dialog";
import { Button, Field, Txt, useNow } from "@/ui/kit";
import { Keep } from "./Keep";
import { Hold, NoMeans, Phrase, useMeans } from "./Sign";

/** What to do about a refusal that is about whose word on persons counts at the executor. */
const WHOSE_WORD: Partial<Record<string, "selfVouchedDo" | "issuerNotAcceptedDo" | "operatorUnknownDo">> = {
  SELF_VOUCHED: "selfVouchedDo",
  ISSUER_NOT_ACCEPTED: "issuerNotAcceptedDo",
  OPERATOR_UNKNOWN: "operatorUnknownDo",
};

export function Decide({ p, onTaken }: { p: Proposal; onTaken?: () => void }) {
  const session = useSession().data;
  const link = useLink();
  const now = useNow();
  const client = useQueryClient();
  const executor = useTopology().data?.nodes.find((n) => n.deviceId === p.executor);
  const [passphrase, setPassphrase] = useState("");
  const [reason, setReason] = useState("");
  const [typed, setTyped] = useState("");
  const [code, setCode] = useState("");
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<{ good: boolean; text: string; code?: string }>();
  const [stopping, setStopping] = useState(false);

  // At the desktop the application signs on this press; elsewhere a passphrase opens a key.
  const means = useMeans(now);
  const press = means?.how === "press";
  const own = means?.how === "browser" ? means.card : undefined;

  const send = async (decision: "approve" | "reject" | "withdraw") => {
    setSaid(undefined);
    if (decision !== "withdraw" && !press && !passphrase) {
      setSaid({ good: false, text: t("passphraseNeeded") });
      return;
    }
    setBusy(true);
    try {
      const note = reason.trim() || undefined;
      // As the executor compares it: eight digits.
      const atNode = (p.atNode && decision === "approve" && code.replace(/[ -]/g, "")) || undefined;
      const standing =
        own && decision !== "withdraw"
          ? await signedHere(own, passphrase, p, { verdict: decision, note, atNode })
          : await post("/console/decide", {
              proposalId: p.id,
              digest: p.digest,
              decision,
              ...(note ? { reason: note } : {}),
              ...(p.level === "L3" && decision === "approve" ? { target: typed.trim() } : {}),
              ...(atNode ? { atNode } : {}),
              ...(decision === "withdraw" || press ? {} : { passphrase }),
            });
      onTaken?.();
      setSaid({
        good: true,
        text: t("nowStands", { status: statusWord(standing.status), detail: standing.detail }),
      });
    } catch (error) {
      const why = error instanceof KeyTrouble ? t(error.why) : error instanceof Error ? error.message : "";
      setSaid({
        good: false,
        text: why || String(error),
        ...(error instanceof Refused ? { code: error.code } : {}),
      });
    } finally {
      setPassphrase("");
      setBusy(false);
      void client.invalidateQueries({ queryKey: ["proposals"] });
    }
  };

  const advice = WHOSE_WORD[said?.code ?? ""];
  const answer = said ? (
    <p role={said.good ? "status" : "alert"} className={said.good ? "text-ok" : "text-danger"}>
      {said.good ? "●" : "▲"} <Txt max={400}>{said.text}</Txt>
      {advice ? (
        <span className="mt-1 block text-t1">
          {t(advice, {
            executor: tame(executor?.name || p.executor.slice(0, 8), 60),
          })}
          {p.own ? (
            <>
              {" "}
              <Link to="/trust" search={{ tab: "operators" } as never} className="text-accent underline">
                {t("operators")}
              </Link>
            </>
          ) : null}
        </span>
      ) : null}
    </p>
  ) : null;

  if (p.status === "executing" || p.status === "approved")
    return (
      <div className="flex flex-wrap items-center gap-3">
        {session?.scope === "read" ? null : (
          <Button tone="danger" onClick={() => setStopping(true)}>
            ■ {t("stopAction")}
          </Button>
        )}
        {p.kind?.name === "held" ? <Keep id={p.id} leaseMs={p.kind.leaseMs} /> : null}
        {answer}
        {stopping ? (
          <AskReason
            optional
            title={t("stopAction")}
            text={
              p.kind?.name === "sequence"
                ? t("kindSequence", { span: "0 s" })
                : t(p.gen1 ? "afterwardsGen1" : "afterwards", {
                    safe: codeWord("op", p.safeState),
                    span: "0 s",
                  })
            }
            go={t("confirm")}
            onClose={() => setStopping(false)}
            onGo={() => post("/proposals/{id}/stop", undefined, { id: p.id })}
          />
        ) : null}
      </div>
    );
  if (!isWaiting(p)) return answer ?? <p className="text-t2">{statusWord(p.status)}</p>;
  if (now >= p.expiresAt) return <p className="text-warn">○ {t("expired")}</p>;
  if (!means) return null;
  if (means.how === "none") return <NoMeans means={means} />;
  // A decision goes straight to the executor; without a link to it the node refuses to take one.
  const away = !p.own && executor !== undefined && !executor.connected;
  const lost = link.state === "lost" || away;
  const target = device(p.target);
  const ready = !busy && !lost && (p.level !== "L3" || typed === target);
  return (
    <form className="flex flex-col gap-2" onSubmit={(e: FormEvent) => e.preventDefault()}>
      <div className="flex flex-wrap items-end gap-2">
        <Phrase means={means} value={passphrase} onChange={setPassphrase} />
        <Field
          label={t("reasonOptional")}
          className="min-w-40 flex-1"
          maxLength={limits.textChars}
          value={reason}
          onChange={(e) => setReason(e.target.value)}
        />
        {p.level === "L3" ? (
          <Field
            label={t("typeTarget", { target })}
            className="min-w-40 flex-1"
            autoComplete="off"
            data-step="target"
            value={typed}
            onChange={(e) => setTyped(e.target.value)}
          />
        ) : null}
        {p.atNode ? (
          <Field
            label={t("codeAtNode")}
            className="min-w-40 flex-1"
            autoComplete="off"
            inputMode="numeric"
            maxLength={12}
            value={code}
            onChange={(e) => setCode(e.target.value)}
          />
        ) : null}
        <Button data-go="reject" onClick={() => send("reject")} disabled={busy || lost}>
          {t("reject")}
        </Button>
        <Hold disabled={!ready} onDone={() => send("approve")} />
      </div>
      {busy ? (
        <p role="status" className="text-t2">
          {t("sending")}
        </p>
      ) : null}
      {lost ? (
        <p role="status" className="text-warn">
          ○{" "}
          {away && link.state !== "lost"
            ? t("executorAway", { name: tame(executor.name || p.executor.slice(0, 8), 60) })
            : t("offlineNoDecide")}
        </p>
      ) : null}
      {answer}
    </form>
  );
}

/** Signs in this browser what is shown, and nothing else, and takes it to the executor. */
async function signedHere(
  card: Card,
  passphrase: string,
  p: Proposal,
  word: { verdict: "approve" | "reject"; note?: string | undefined; atNode?: string | undefined },
): Promise<Standing> {
  const { record } = await get("/proposals/{id}/record", { id: p.id });
  const signed = await decide(card, passphrase, { p, record, at: nodeNow(), ...word });
  return post("/proposals/{id}/decision", signed, { id: p.id });
}
