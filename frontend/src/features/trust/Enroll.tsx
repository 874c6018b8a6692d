/** A key becomes one of a person's: of somebody new, or, by an explicit act, of somebody known here. */
import { type FormEvent, useState } from "react";
import { left } from "@/lib/format";
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type KeyWaiting, post, Refused, remove } from "@/node/client";
import { useKeysWaiting } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { Button, Field, Hex, Pairs, Panel, Select, Txt, useNow } from "@/ui/kit";
import { Pictures } from "@/ui/pictures";
import { namesake, type Person } from "./model";

const LEVELS = ["L2", "L3"];
const shown = (p: Person): string =>
  `${line(p.name, 48)} (${p.id.slice(0, 8)}; ${t("keysHas", { n: p.keys.length })})`;

interface Wish {
  publicKey: string;
  name: string;
  level: string;
  days: number;
}

/** Whose key it is: what is chosen, whether that is enough to go on, and the question itself. */
function useWhose(name: string, known: readonly Person[], taken: boolean) {
  const [choice, setChoice] = useState<"further" | "other">();
  const [picked, setPicked] = useState("");
  const same = namesake(name, known);
  const some = known.filter((p) => p.counts);
  // The node compares names more strictly than this page: what it refused is asked here too.
  const asks = Boolean(same) || (taken && some.length > 0);
  const further = asks && choice === "further";
  const person = further ? (some.find((p) => p.id === picked) ?? same ?? some[0]) : undefined;
  return {
    person,
    ready: !asks || Boolean(person),
    ask: asks ? (
      <fieldset role="alert" className="flex flex-col gap-1.5 rounded-md border border-warn p-2">
        <legend className="px-1 text-warn">▲ {t("sameName", { name: line(same?.name ?? name, 48) })}</legend>
        <label className="flex items-start gap-2">
          <input
            type="radio"
            className="mt-1"
            checked={choice === "further"}
            onChange={() => setChoice("further")}
          />
          <span>{t("sameFurther")}</span>
        </label>
        {further ? (
          <Select
            label={t("person")}
            className="ml-6 max-w-full"
            value={person?.id ?? ""}
            onChange={(e) => setPicked(e.target.value)}
          >
            {some.map((p) => (
              <option key={p.id} value={p.id}>
                {shown(p)}
              </option>
            ))}
          </Select>
        ) : null}
        <label className="flex items-start gap-2">
          <input
            type="radio"
            className="mt-1"
            checked={choice === "other"}
            onChange={() => setChoice("other")}
          />
          <span>{t("sameOther")}</span>
        </label>
      </fieldset>
    ) : null,
  };
}

/** Sends the wish; a further key of somebody known is confirmed first, with who it is. */
function useEnrolling(onDone: () => void) {
  const [said, setSaid] = useState<{ good: boolean; text: string; taken: boolean }>();
  const [busy, setBusy] = useState(false);
  const [confirming, setConfirming] = useState<{ wish: Wish; person: Person; after?: () => void }>();
  const send = (wish: Wish, person?: Person, after?: () => void) => {
    setSaid(undefined);
    setBusy(true);
    const whose = person ? { name: "", person: person.id } : { name: wish.name };
    return post("/operators", { ...wish, ...whose })
      .then(
        () => {
          setSaid({
            good: true,
            text: t("enrolled", { name: line(person?.name ?? wish.name, 48) }),
            taken: false,
          });
          after?.();
        },
        (e: Error) =>
          setSaid({ good: false, text: e.message, taken: e instanceof Refused && e.code === "CONFLICT" }),
      )
      .finally(() => {
        setBusy(false);
        setConfirming(undefined);
        onDone();
      });
  };
  return {
    busy,
    taken: Boolean(said?.taken),
    forget: () => setSaid(undefined),
    go: (wish: Wish, person?: Person, after?: () => void) =>
      person ? setConfirming({ wish, person, after }) : void send(wish, undefined, after),
    answer: (
      <>
        {said ? (
          <p role={said.good ? "status" : "alert"} className={said.good ? "text-ok" : "text-danger"}>
            {said.good ? "●" : "▲"} <Txt max={400}>{said.text}</Txt>
          </p>
        ) : null}
        {confirming ? (
          <Further
            {...confirming}
            busy={busy}
            onClose={() => setConfirming(undefined)}
            onGo={() => void send(confirming.wish, confirming.person, confirming.after)}
          />
        ) : null}
      </>
    ),
  };
}

function Further({
  wish,
  person,
  busy,
  onGo,
  onClose,
}: {
  wish: Wish;
  person: Person;
  busy: boolean;
  onGo: () => void;
  onClose: () => void;
}) {
  const name = line(person.name, 48);
  return (
    <Dialog title={t("furtherTitle", { name })} onClose={onClose}>
      <div className="flex flex-col gap-3">
        <p className="text-t2">{t("furtherText", { name })}</p>
        <Pairs
          rows={[
            [t("person"), <Hex key="p">{person.id}</Hex>],
            [
              t("keysNow"),
              person.keys.map((k) => `${k.operatorId.slice(0, 8)} (${line(k.maxLevel, 8)})`).join(", "),
            ],
            [
              t("keyNew"),
              <code key="k" className="font-mono text-[12px] wrap-anywhere">
                {line(wish.publicKey, 80)}
              </code>,
            ],
            [t("maxLevel"), wish.level],
          ]}
        />
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button tone="danger" disabled={busy} onClick={onGo}>
            {t("furtherGo", { name })}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}

/** Keys that people made in their browsers: compare, then enrol or decline. */
export function Waiting({ known, onDone }: { known: readonly Person[]; onDone: () => void }) {
  const keys = useKeysWaiting(true).data ?? [];
  if (!keys.length) return null;
  return (
    <Panel title={t("keysWaiting")}>
      <div className="flex flex-col gap-4">
        {keys.map((k) => (
          <OneWaiting key={k.operatorId} k={k} known={known} onDone={onDone} />
        ))}
      </div>
    </Panel>
  );
}

function OneWaiting({ k, known, onDone }: { k: KeyWaiting; known: readonly Person[]; onDone: () => void }) {
  const now = useNow();
  const [level, setLevel] = useState("L2");
  const [as, setAs] = useState(k.name);
  const [problem, setProblem] = useState("");
  const enrolling = useEnrolling(onDone);
  const whose = useWhose(as, known, enrolling.taken);
  const name = line(k.name, 48);
  const wish = { publicKey: k.publicKey, name: as.trim(), level, days: 365 };
  return (
    <article aria-label={name} className="flex flex-col gap-2 border-line border-b pb-3 last:border-0">
      <p>
        <bdi className="font-semibold">{t("keysFrom", { name, from: line(k.from, 48) })}</bdi>{" "}
        <span className="text-t2">{left(k.expiresAt - now)}</span>
      </p>
      <Pictures emoji={k.emoji} digits={k.digits} title={t("keysCompare")} />
      {whose.ask}
      <div className="flex flex-wrap items-end gap-2">
        <Field
          label={t("name")}
          value={as}
          maxLength={64}
          disabled={Boolean(whose.person)}
          onChange={(e) => {
            enrolling.forget();
            setAs(e.target.value);
          }}
        />
        <Select label={t("maxLevel")} value={level} onChange={(e) => setLevel(e.target.value)}>
          {LEVELS.map((l) => (
            <option key={l}>{l}</option>
          ))}
        </Select>
        <Button
          tone="accent"
          disabled={enrolling.busy || !whose.ready || !wish.name}
          onClick={() => enrolling.go(wish, whose.person)}
        >
          {t("enrollGo")}
        </Button>
        <Button
          disabled={enrolling.busy}
          onClick={() => {
            remove("/operators/requests/{id}", { id: k.operatorId })
              .catch((e: Error) => setProblem(e.message))
              .finally(onDone);
          }}
        >
          {t("keysDecline")}
        </Button>
      </div>
      {enrolling.answer}
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
    </article>
  );
}

export function Enroll({ known, onDone }: { known: readonly Person[]; onDone: () => void }) {
  const [name, setName] = useState("");
  const [key, setKey] = useState("");
  const [level, setLevel] = useState("L2");
  const [days, setDays] = useState("365");
  const enrolling = useEnrolling(onDone);
  const whose = useWhose(name, known, enrolling.taken);
  const send = (e: FormEvent) => {
    e.preventDefault();
    if (!whose.ready) return;
    const wish = { publicKey: key.trim(), name: name.trim(), level, days: Number(days) || 365 };
    enrolling.go(wish, whose.person, () => {
      setName("");
      setKey("");
    });
  };
  return (
    <Panel title={t("enroll")}>
      <form onSubmit={send} className="flex flex-col gap-2">
        <p className="text-t2">{t("enrollText")}</p>
        <div className="flex flex-wrap items-end gap-2">
          <Field
            label={t("name")}
            value={name}
            maxLength={64}
            onChange={(e) => {
              enrolling.forget();
              setName(e.target.value);
            }}
          />
          <Field
            label={t("publicKey")}
            value={key}
            maxLength={64}
            className="min-w-60 flex-1"
            onChange={(e) => setKey(e.target.value)}
          />
          <Select label={t("maxLevel")} value={level} onChange={(e) => setLevel(e.target.value)}>
            {LEVELS.map((l) => (
              <option key={l}>{l}</option>
            ))}
          </Select>
          <Field
            label={t("days")}
            type="number"
            min={1}
            max={365}
            value={days}
            className="w-24"
            onChange={(e) => setDays(e.target.value)}
          />
          <Button
            type="submit"
            tone="accent"
            disabled={!name.trim() || !key.trim() || !whose.ready || enrolling.busy}
          >
            {t("enrollGo")}
          </Button>
        </div>
        {whose.ask}
      </form>
      {enrolling.answer}
    </Panel>
  );
}
