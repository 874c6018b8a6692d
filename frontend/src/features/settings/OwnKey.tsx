/** A person's own operator key in this browser: made, shown to an administrator, forgotten. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { left } from "@/lib/format";
import { dateTime, t } from "@/lib/i18n";
import { post } from "@/node/client";
import { useKeysWaiting, useOperators, useOwnKey, useSession } from "@/node/reads";
import { type Card, forget, KeyTrouble, make, possible, store } from "@/platform/key";
import { Dialog } from "@/ui/dialog";
import { Button, Field, Pairs, Panel, Txt, useNow } from "@/ui/kit";
import { Pictures } from "@/ui/pictures";

const saying = (e: unknown): string =>
  e instanceof KeyTrouble ? t(e.why) : e instanceof Error ? e.message : String(e);

export function OwnKey() {
  const own = useOwnKey();
  if (!own.isEnabled) return null;
  return (
    <Panel title={t("ownKey")}>
      {own.data ? (
        <Has card={own.data} />
      ) : possible() ? (
        <Make />
      ) : (
        <p className="text-t2">◇ {t("keyNotHere")}</p>
      )}
    </Panel>
  );
}

function Make() {
  const client = useQueryClient();
  const session = useSession().data;
  const [name, setName] = useState<string>();
  const [phrase, setPhrase] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const called = name ?? session?.name ?? "";
  const go = (e: FormEvent) => {
    e.preventDefault();
    setProblem("");
    if (phrase !== again) {
      setProblem(t("ownKeyDiffer"));
      return;
    }
    setBusy(true);
    make(called.trim(), phrase)
      .then((card) => store(card).then(() => ask(card)))
      .catch((e: unknown) => setProblem(saying(e)))
      .finally(() => {
        setPhrase("");
        setAgain("");
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["ownKey"] });
        void client.invalidateQueries({ queryKey: ["keysWaiting"] });
      });
  };
  const secret = { type: "password", autoComplete: "new-password", className: "min-w-48 flex-1" };
  return (
    <form onSubmit={go} className="flex flex-col gap-2">
      <p className="text-t2">{t("ownKeyText")}</p>
      <Field
        label={t("ownKeyName")}
        value={called}
        maxLength={64}
        onChange={(e) => setName(e.target.value)}
      />
      <div className="flex flex-wrap gap-2">
        <Field
          label={t("ownKeyPhrase")}
          {...secret}
          value={phrase}
          onChange={(e) => setPhrase(e.target.value)}
        />
        <Field
          label={t("ownKeyAgain")}
          {...secret}
          value={again}
          onChange={(e) => setAgain(e.target.value)}
        />
      </div>
      <div>
        <Button type="submit" disabled={busy || !called.trim() || !phrase || session?.scope === "read"}>
          {busy ? t("ownKeyMaking") : t("ownKeyMake")}
        </Button>
      </div>
      {session?.scope === "read" ? <p className="text-t2">◇ {t("needOperate")}</p> : null}
      <Problem text={problem} />
    </form>
  );
}

const ask = (card: Card) => post("/operators/requests", { name: card.name, publicKey: card.publicKey });

function Has({ card }: { card: Card }) {
  const client = useQueryClient();
  const now = useNow();
  const may = useSession().data?.scope !== "read";
  const operator = useOperators().data?.find((o) => o.operatorId === card.operatorId);
  const over = Boolean(operator?.expiresAt && operator.expiresAt <= now);
  const enrolled = Boolean(operator && !operator.revokedAt && !over);
  const waits = useKeysWaiting(!enrolled).data?.find((k) => k.operatorId === card.operatorId);
  const [forgetting, setForgetting] = useState(false);
  const [problem, setProblem] = useState("");
  const again = () => {
    void client.invalidateQueries({ queryKey: ["keysWaiting"] });
    void client.invalidateQueries({ queryKey: ["operators"] });
  };
  return (
    <div className="flex flex-col gap-3">
      <Pairs
        rows={[
          [t("name"), <Txt key="n">{card.name}</Txt>],
          [
            t("publicKey"),
            <code key="k" className="font-mono text-[12px] wrap-anywhere">
              {card.publicKey}
            </code>,
          ],
        ]}
      />
      {operator?.revokedAt ? (
        <p className="text-danger">■ {t("ownKeyRevoked")}</p>
      ) : enrolled && operator ? (
        <p role="status" className="text-ok">
          ●{" "}
          {t("ownKeyEnrolled", {
            level: operator.maxLevel,
            until: operator.expiresAt ? dateTime(operator.expiresAt) : "–",
          })}{" "}
          <span className="text-t2">{t("ownKeyElsewhere")}</span>
        </p>
      ) : waits ? (
        <>
          <p role="status" className="text-info">
            ◐ {t("ownKeyWaits", { left: left(waits.expiresAt - now) })}
          </p>
          <Pictures emoji={waits.emoji} digits={waits.digits} title={t("keysCompare")} />
        </>
      ) : (
        <p className="text-warn">▲ {over ? t("ownKeyOver") : t("ownKeyNot")}</p>
      )}
      <div className="flex flex-wrap gap-2">
        {!enrolled && !waits && !operator?.revokedAt ? (
          <Button
            tone="accent"
            disabled={!may}
            onClick={() => {
              setProblem("");
              ask(card)
                .catch((e: unknown) => setProblem(saying(e)))
                .finally(again);
            }}
          >
            {t("ownKeyAsk")}
          </Button>
        ) : null}
        <Button onClick={() => setForgetting(true)}>{t("ownKeyForget")}</Button>
      </div>
      <Problem text={problem} />
      {forgetting ? (
        <Dialog title={t("ownKeyForget")} onClose={() => setForgetting(false)}>
          <div className="flex flex-col gap-3">
            <p className="text-t2">{t("ownKeyForgetText")}</p>
            <div className="flex justify-end gap-2">
              <Button onClick={() => setForgetting(false)}>{t("cancel")}</Button>
              <Button
                tone="danger"
                onClick={() => {
                  forget()
                    .catch((e: unknown) => setProblem(saying(e)))
                    .finally(() => void client.invalidateQueries({ queryKey: ["ownKey"] }));
                  setForgetting(false);
                }}
              >
                {t("ownKeyForget")}
              </Button>
            </div>
          </div>
        </Dialog>
      ) : null}
    </div>
  );
}

const Problem = ({ text }: { text: string }) =>
  text ? (
    <p role="alert" className="text-danger">
      ▲ <Txt max={300}>{text}</Txt>
    </p>
  ) : null;
