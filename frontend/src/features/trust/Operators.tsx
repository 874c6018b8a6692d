/** People whose signatures count here, each with their keys. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { dayOf, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Operator, post } from "@/node/client";
import { useOperators, useWho } from "@/node/reads";
import { AskReason } from "@/ui/dialog";
import { Button, Empty, Id, Loaded, Pairs, useNow } from "@/ui/kit";
import { Enroll, Waiting } from "./Enroll";
import { Issuers } from "./Issuers";
import { decides, type Person, persons } from "./model";

interface Ending {
  title: string;
  text: string;
  /** Of a whole person, or of one key. */
  of: "/operators/persons/{id}/revoke" | "/operators/{id}/revoke";
  id: string;
}

export function Operators({ admin }: { admin: boolean }) {
  const client = useQueryClient();
  const operators = useOperators();
  const now = useNow();
  const [ending, setEnding] = useState<Ending>();
  const again = () => void client.invalidateQueries();
  const known = persons(operators.data ?? [], now);
  return (
    <>
      <p className="text-t2">{t("personsText")}</p>
      <Loaded q={operators}>
        {() =>
          known.length ? (
            <div className="grid gap-3 lg:grid-cols-2 2xl:grid-cols-3">
              {known.map((p) => (
                <OnePerson key={p.id} p={p} now={now} onEnd={admin ? setEnding : undefined} />
              ))}
            </div>
          ) : (
            <Empty>{t("noOperators")}</Empty>
          )
        }
      </Loaded>
      {admin ? <Waiting known={known} onDone={again} /> : null}
      {admin ? <Enroll known={known} onDone={again} /> : null}
      <Issuers admin={admin} onDone={again} />
      {ending ? (
        <AskReason
          title={ending.title}
          text={ending.text}
          go={t("revokeForGood")}
          onClose={() => setEnding(undefined)}
          onGo={(reason) => post(ending.of, { reason }, { id: ending.id }).finally(again)}
        />
      ) : null}
    </>
  );
}

function OnePerson({ p, now, onEnd }: { p: Person; now: number; onEnd?: (e: Ending) => void }) {
  const name = line(p.name, 48);
  const live = p.keys.filter((k) => !k.revokedAt && k.counts);
  return (
    <article aria-label={name} className="flex flex-col gap-2 rounded-md border border-line bg-s1 p-3">
      <header className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <h2 className="min-w-0 truncate font-semibold text-[15px]">
          <span aria-hidden="true" className="text-human">
            ✎{" "}
          </span>
          <bdi>{name}</bdi>
        </h2>
        <span className="text-t2">
          {t("person")} <Id id={p.id} />
        </span>
        {onEnd && live.length > 1 ? (
          <Button
            className="ml-auto"
            onClick={() =>
              onEnd({
                title: t("revokePersonTitle", { name }),
                text: t("revokePersonText", { n: live.length }),
                of: "/operators/persons/{id}/revoke",
                id: p.id,
              })
            }
          >
            {t("revokePerson")}
          </Button>
        ) : null}
      </header>
      {live.length > 1 ? <p className="text-t2">◐ {t("keysCountOnce", { n: live.length })}</p> : null}
      <ul className="flex flex-col gap-2">
        {p.keys.map((k) => (
          <OneKey key={k.operatorId + k.issuer} k={k} name={name} now={now} onEnd={onEnd} />
        ))}
      </ul>
    </article>
  );
}

function OneKey({
  k,
  name,
  now,
  onEnd,
}: {
  k: Operator;
  name: string;
  now: number;
  onEnd?: (e: Ending) => void;
}) {
  const over = Boolean(k.expiresAt && k.expiresAt <= now);
  const who = useWho();
  return (
    <li
      aria-label={`${t("key")} ${k.operatorId.slice(0, 8)}`}
      className="rounded-md border border-line/60 px-2 py-1.5"
    >
      <div className="flex flex-wrap items-center gap-x-3">
        <span>
          {t("key")} <Id id={k.operatorId} />
        </span>
        {k.revokedAt ? (
          <span className="text-danger">■ {t("revoked")}</span>
        ) : over ? (
          <span className="text-warn">○ {t("expired")}</span>
        ) : decides(k, now) ? (
          <span className="text-ok">● {t("keyCounts")}</span>
        ) : (
          <span className="text-warn">◇ {t("keyIdle")}</span>
        )}
        {onEnd && k.counts && !k.revokedAt ? (
          <Button
            className="ml-auto h-7!"
            onClick={() =>
              onEnd({
                title: t("revokeTitle", { name: `${name}, ${t("key")} ${k.operatorId.slice(0, 8)}` }),
                text: t("revokeOpText"),
                of: "/operators/{id}/revoke",
                id: k.operatorId,
              })
            }
          >
            {t("revoke")}
          </Button>
        ) : null}
      </div>
      <Pairs
        rows={[
          [t("maxLevel"), line(k.maxLevel, 8)],
          [t("untilWhen"), k.expiresAt ? dayOf(k.expiresAt) : t("none")],
          [t("vouchedBy"), <Id key="i" id={k.issuer} label={who.get(k.issuer)} />],
          [
            t("publicKey"),
            <code key="k" className="block truncate font-mono text-[12px]" title={k.publicKey}>
              {line(k.publicKey, 80)}
            </code>,
          ],
        ]}
      />
      {!k.counts && !k.revokedAt ? <p className="text-warn">{t("keyIdleDo")}</p> : null}
    </li>
  );
}
