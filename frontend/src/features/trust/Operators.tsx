/** People whose signatures count here. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { left } from "@/lib/format";
import { dayOf, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { call, type KeyWaiting } from "@/node/client";
import { useKeysWaiting, useOperators } from "@/node/reads";
import { AskReason, Button, Empty, Field, Id, Loaded, Pairs, Panel, Select, Txt, useNow } from "@/ui/kit";
import { Pictures } from "@/ui/pictures";

export function Operators({ admin }: { admin: boolean }) {
  const client = useQueryClient();
  const operators = useOperators();
  const now = useNow();
  const [asking, setAsking] = useState<{ name: string; id: string }>();
  const again = () => void client.invalidateQueries();
  return (
    <>
      <Loaded q={operators}>
        {(list) =>
          list.length ? (
            <div className="grid gap-3 md:grid-cols-2 2xl:grid-cols-3">
              {list.map((o) => {
                const name = line(o.name, 48);
                const over = Boolean(o.expiresAt && o.expiresAt < now);
                return (
                  <article
                    key={o.operatorId + o.issuer}
                    aria-label={name}
                    className="flex flex-col gap-3 rounded-md border border-line bg-s1 p-3"
                  >
                    <header className="flex items-center gap-3">
                      <h2 className="min-w-0 truncate font-semibold text-[15px]">
                        <span aria-hidden="true" className="text-human">
                          ✎{" "}
                        </span>
                        <bdi>{name}</bdi>
                      </h2>
                      {o.revokedAt ? <span className="text-danger">■ {t("revoked")}</span> : null}
                      {over ? <span className="text-warn">○ {t("expired")}</span> : null}
                      {admin && !o.revokedAt ? (
                        <Button className="ml-auto" onClick={() => setAsking({ name, id: o.operatorId })}>
                          {t("revoke")}
                        </Button>
                      ) : null}
                    </header>
                    <Pairs
                      rows={[
                        [t("maxLevel"), <Txt key="l">{o.maxLevel}</Txt>],
                        [t("untilWhen"), o.expiresAt ? dayOf(o.expiresAt) : t("none")],
                        [t("vouchedBy"), <Id key="i" id={o.issuer} />],
                        [
                          t("key"),
                          <code key="k" className="block truncate font-mono text-[12px]" title={o.publicKey}>
                            {line(o.publicKey, 80)}
                          </code>,
                        ],
                      ]}
                    />
                  </article>
                );
              })}
            </div>
          ) : (
            <Empty>{t("noOperators")}</Empty>
          )
        }
      </Loaded>
      {admin ? <Waiting onDone={again} /> : null}
      {admin ? <Enroll onDone={again} /> : null}
      {asking ? (
        <AskReason
          title={t("revokeTitle", { name: asking.name })}
          text={t("revokeOpText")}
          go={t("revokeForGood")}
          onClose={() => setAsking(undefined)}
          onGo={(reason) => call("POST", `/operators/${asking.id}/revoke`, { reason }).finally(again)}
        />
      ) : null}
    </>
  );
}

/** Keys that people made in their browsers: compare, then enrol or decline. */
function Waiting({ onDone }: { onDone: () => void }) {
  const waiting = useKeysWaiting(true).data ?? [];
  if (!waiting.length) return null;
  return (
    <Panel title={t("keysWaiting")}>
      <div className="flex flex-col gap-4">
        {waiting.map((k) => (
          <OneWaiting key={k.operatorId} k={k} onDone={onDone} />
        ))}
      </div>
    </Panel>
  );
}

function OneWaiting({ k, onDone }: { k: KeyWaiting; onDone: () => void }) {
  const now = useNow();
  const [level, setLevel] = useState("L2");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const act = (work: Promise<unknown>) => {
    setProblem("");
    setBusy(true);
    work
      .catch((e: Error) => setProblem(e.message))
      .finally(() => {
        setBusy(false);
        onDone();
      });
  };
  const name = line(k.name, 48);
  return (
    <article aria-label={name} className="flex flex-col gap-2 border-line border-b pb-3 last:border-0">
      <p>
        <bdi className="font-semibold">{t("keysFrom", { name, from: line(k.from, 48) })}</bdi>{" "}
        <span className="text-t2">{left(k.expiresAt - now)}</span>
      </p>
      <Pictures emoji={k.emoji} digits={k.digits} title={t("keysCompare")} />
      <div className="flex flex-wrap items-end gap-2">
        <Select label={t("maxLevel")} value={level} onChange={(e) => setLevel(e.target.value)}>
          {["L2", "L3"].map((l) => (
            <option key={l}>{l}</option>
          ))}
        </Select>
        <Button
          tone="accent"
          disabled={busy}
          onClick={() =>
            act(call("POST", "/operators", { name: k.name, publicKey: k.publicKey, level, days: 365 }))
          }
        >
          {t("enrollGo")}
        </Button>
        <Button
          disabled={busy}
          onClick={() => act(call("DELETE", `/operators/requests/${encodeURIComponent(k.operatorId)}`))}
        >
          {t("keysDecline")}
        </Button>
      </div>
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
    </article>
  );
}

function Enroll({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState("");
  const [key, setKey] = useState("");
  const [level, setLevel] = useState("L2");
  const [days, setDays] = useState("365");
  const [said, setSaid] = useState<{ good: boolean; text: string }>();
  const send = (e: FormEvent) => {
    e.preventDefault();
    setSaid(undefined);
    call("POST", "/operators", { name: name.trim(), publicKey: key.trim(), level, days: Number(days) || 365 })
      .then(
        () => {
          setSaid({ good: true, text: t("enrolled", { name: line(name, 48) }) });
          setName("");
          setKey("");
        },
        (error: Error) => setSaid({ good: false, text: error.message }),
      )
      .finally(onDone);
  };
  return (
    <Panel title={t("enroll")}>
      <form onSubmit={send} className="flex flex-col gap-2">
        <p className="text-t2">{t("enrollText")}</p>
        <div className="flex flex-wrap items-end gap-2">
          <Field label={t("name")} value={name} maxLength={64} onChange={(e) => setName(e.target.value)} />
          <Field
            label={t("publicKey")}
            value={key}
            maxLength={64}
            className="min-w-60 flex-1"
            onChange={(e) => setKey(e.target.value)}
          />
          <Select label={t("maxLevel")} value={level} onChange={(e) => setLevel(e.target.value)}>
            {["L2", "L3"].map((l) => (
              <option key={l}>{l}</option>
            ))}
          </Select>
          <Field
            label={t("days")}
            type="number"
            min={1}
            max={3650}
            value={days}
            className="w-24"
            onChange={(e) => setDays(e.target.value)}
          />
          <Button type="submit" tone="accent" disabled={!name.trim() || !key.trim()}>
            {t("enrollGo")}
          </Button>
        </div>
        {said ? (
          <p role={said.good ? "status" : "alert"} className={said.good ? "text-ok" : "text-danger"}>
            {said.good ? "●" : "▲"} <Txt max={300}>{said.text}</Txt>
          </p>
        ) : null}
      </form>
    </Panel>
  );
}
