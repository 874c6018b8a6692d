/** The form that gives a standing approval: what is signed is what stands at its end, and nothing else. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { limits } from "@/contract/operator.gen";
import { nodeNow } from "@/lib/clock";
import { dateTime, listed, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Approvals, type Given, type Offer, type Proposal, post } from "@/node/client";
import { useLink } from "@/node/live";
import { giveStanding, KeyTrouble } from "@/platform/key";
import { Button, cx, Field, Pairs, Panel, Select, Txt, useNow } from "@/ui/kit";
import { Hold, type Means, NoMeans, Phrase, useMeans } from "./Sign";
import {
  askersWords,
  type Bound,
  begin,
  bounds,
  compose,
  eachUse,
  type Form,
  offerName,
  type Put,
  type Wish,
  wall,
  what,
} from "./standing";

const HOUR_MS = 3_600_000;
const QUICK = [1, 4, 8, 24, 72, 168];
const USES = 3;

export const executorName = (o: { executor: string; executorName?: string | null }): string =>
  line(o.executorName || o.executor.slice(0, 8), 60);
const keyOf = (o: Offer): string => `${o.executor} ${o.target} ${o.operation}`;

export function Give({
  known,
  offer,
  from,
  onPick,
  onGiven,
  onClose,
}: {
  known: Approvals;
  offer: Offer;
  /** The proposal from which somebody came here. */
  from?: Proposal;
  onPick: (offer: Offer) => void;
  onGiven: (given: Given) => void;
  onClose: () => void;
}) {
  const now = useNow();
  const means = useMeans(now);
  return (
    <Panel
      title={t("standingGiveTitle")}
      aside={
        <Button tone="quiet" className="h-7! px-2" onClick={onClose}>
          {t("cancel")}
        </Button>
      }
      flush
      className="md:min-h-0"
    >
      <div className="flex flex-col gap-3 p-4">
        <p className="text-t2">{t("standingGiveText")}</p>
        <div className="flex flex-col gap-1">
          <span className="text-t2">{t("standingFor")}</span>
          <Select
            label={t("standingFor")}
            className="w-full max-w-md"
            value={keyOf(offer)}
            onChange={(e) => {
              const next = known.allowed.find((o) => keyOf(o) === e.target.value);
              if (next) onPick(next);
            }}
          >
            {known.allowed.map((o) => (
              <option key={keyOf(o)} value={keyOf(o)}>
                {`${line(offerName(o), 80)} (${executorName(o)})`}
              </option>
            ))}
          </Select>
        </div>
        {!means ? null : means.how === "none" ? (
          <NoMeans means={means} />
        ) : means.how === "press" ? (
          <p className="text-t2">◇ {t("standingWindow")}</p>
        ) : (
          <Fields
            key={keyOf(offer)}
            offer={offer}
            meshId={known.meshId}
            from={from}
            means={means}
            onGiven={onGiven}
          />
        )}
      </div>
    </Panel>
  );
}

function Fields({
  offer,
  meshId,
  from,
  means,
  onGiven,
}: {
  offer: Offer;
  meshId: string;
  from?: Proposal;
  means: Means;
  onGiven: (given: Given) => void;
}) {
  const client = useQueryClient();
  const now = useNow();
  const lost = useLink().state === "lost";
  const [form, setForm] = useState<Form>(() => ({
    params: Object.fromEntries(
      Object.entries(offer.params).map(([name, b]) => [name, begin(name, b, offer, from)]),
    ),
    uses: String(USES),
    until: wall(nodeNow() + 8 * HOUR_MS),
    rules: from?.requestedBy.kind !== "person",
    persons: from?.requestedBy.kind === "person",
    note: "",
  }));
  const [passphrase, setPassphrase] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const set = (change: Partial<Form>) => setForm({ ...form, ...change });
  const composed = compose(offer, form, now, { uses: limits.standingUses, ms: limits.standingMs });
  const wish = "wish" in composed ? composed.wish : undefined;

  const sign = async () => {
    setProblem("");
    if (!wish) return;
    if (!passphrase) return setProblem(t("passphraseNeeded"));
    setBusy(true);
    try {
      const given =
        means.how === "browser"
          ? await post(
              "/approvals",
              await giveStanding(means.card, passphrase, { meshId, wish, at: nodeNow() }),
            )
          : await post("/console/approvals", { ...wish, passphrase });
      onGiven(given);
    } catch (error) {
      setProblem(
        error instanceof KeyTrouble ? t(error.why) : error instanceof Error ? error.message : String(error),
      );
    } finally {
      setPassphrase("");
      setBusy(false);
      void client.invalidateQueries({ queryKey: ["approvals"] });
    }
  };

  return (
    <form
      className="grid items-start gap-4 xl:grid-cols-[1fr_minmax(300px,360px)]"
      onSubmit={(e: FormEvent) => e.preventDefault()}
    >
      <div className="flex min-w-0 flex-col gap-4">
        {Object.keys(offer.params).length ? (
          <fieldset className="flex flex-col gap-2">
            <legend className="mb-1 font-semibold text-[12px] text-t2">{t("standingParams")}</legend>
            {Object.entries(offer.params).map(([name, b]) => (
              <OneParam
                key={name}
                name={name}
                b={b}
                put={form.params[name] ?? begin(name, b, offer, from)}
                onChange={(put) => set({ params: { ...form.params, [name]: put } })}
              />
            ))}
          </fieldset>
        ) : null}
        <fieldset className="flex flex-col gap-2">
          <legend className="mb-1 font-semibold text-[12px] text-t2">{t("standingHowLong")}</legend>
          <div className="flex flex-wrap items-end gap-2">
            <Field
              label={t("standingUses")}
              type="number"
              inputMode="numeric"
              min={1}
              max={limits.standingUses}
              className="w-28"
              value={form.uses}
              onChange={(e) => set({ uses: e.target.value })}
            />
            <Field
              label={t("untilWhen")}
              type="datetime-local"
              className="w-56"
              value={form.until}
              min={wall(now)}
              max={wall(now + limits.standingMs)}
              onChange={(e) => set({ until: e.target.value })}
            />
            <span className="flex flex-wrap gap-1">
              {QUICK.map((h) => (
                <Button
                  key={h}
                  className="h-7! px-2"
                  aria-label={t("standingUntilIn", { span: eachUse(h * HOUR_MS) })}
                  onClick={() =>
                    set({ until: wall(nodeNow() + Math.min(h * HOUR_MS, limits.standingMs - 60_000)) })
                  }
                >
                  {eachUse(h * HOUR_MS)}
                </Button>
              ))}
            </span>
          </div>
        </fieldset>
        <fieldset className="flex flex-col gap-1">
          <legend className="mb-1 font-semibold text-[12px] text-t2">{t("standingWhose")}</legend>
          <Tick on={form.rules} onChange={(rules) => set({ rules })}>
            {t("standingRulesToo")}
          </Tick>
          <Tick on={form.persons} onChange={(persons) => set({ persons })}>
            {t("standingPersonsToo")}
          </Tick>
        </fieldset>
        <Field
          label={t("noteOptional")}
          maxLength={limits.textChars}
          value={form.note}
          onChange={(e) => set({ note: e.target.value })}
        />
      </div>
      <div className="flex min-w-0 flex-col gap-3">
        {wish ? (
          <section aria-label={t("standingSigned")} className="rounded-md border border-line bg-s2 p-3">
            <h3 className="mb-1 font-semibold text-[12px] text-t2">{t("standingSigned")}</h3>
            <Said wish={wish} executor={executorName(offer)} />
          </section>
        ) : (
          <p role="status" className="text-warn">
            ◐ <Txt max={300}>{"problem" in composed ? composed.problem : ""}</Txt>
          </p>
        )}
        <div className="flex flex-wrap items-end gap-2">
          <Phrase means={means} value={passphrase} onChange={setPassphrase} />
          <Hold label={t("standingHold")} disabled={!wish || busy || lost} onDone={sign} />
        </div>
        {lost ? (
          <p role="status" className="text-warn">
            ○ {t("offlineNoDecide")}
          </p>
        ) : null}
        {busy ? (
          <p role="status" className="text-t2">
            {t("sending")}
          </p>
        ) : null}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={400}>{problem}</Txt>
          </p>
        ) : null}
      </div>
    </form>
  );
}

/** What is signed, line by line. */
function Said({ wish, executor }: { wish: Wish; executor: string }) {
  const params = bounds(wish.params).map(([name, may]) => `${name} ${may}`);
  return (
    <Pairs
      rows={[
        [
          t("action"),
          <span key="w">
            <strong>
              <Txt>{what(wish)}</Txt>
            </strong>{" "}
            {t("on")} <bdi>{executor}</bdi>
            {params.length ? (
              <>
                : <Txt max={300}>{listed(params)}</Txt>
              </>
            ) : null}
          </span>,
        ],
        [t("eachUse"), t("atMost", { what: eachUse(wish.runMaxMs) })],
        [t("standingUses"), t("atMost", { what: wish.usesMax })],
        [t("untilWhen"), dateTime(wish.validUntil)],
        [t("standingWhose"), askersWords(wish.askers)],
      ]}
    />
  );
}

function OneParam({
  name,
  b,
  put,
  onChange,
}: {
  name: string;
  b: Bound;
  put: Put;
  onChange: (put: Put) => void;
}) {
  const label = line(name, 60);
  const number = b.is === "integer" || b.is === "number";
  const step = b.is === "integer" ? 1 : "any";
  return (
    <div className="flex flex-wrap items-end gap-2">
      {b.required ? null : (
        <Tick on={put.on} onChange={(on) => onChange({ ...put, on })}>
          {t("standingHas", { name: label })}
        </Tick>
      )}
      {!put.on ? null : number ? (
        <>
          <Field
            label={t("paramLeast", { name: label })}
            type="number"
            step={step}
            min={b.min ?? undefined}
            max={b.max ?? undefined}
            className="w-44"
            value={put.least}
            onChange={(e) => onChange({ ...put, least: e.target.value })}
          />
          <Field
            label={t("paramMost", { name: label })}
            type="number"
            step={step}
            min={b.min ?? undefined}
            max={b.max ?? undefined}
            className="w-44"
            value={put.most}
            onChange={(e) => onChange({ ...put, most: e.target.value })}
          />
        </>
      ) : (
        <span className="flex flex-col gap-1">
          <span className="text-t2">
            <bdi>{label}</bdi>
          </span>
          <Select label={label} value={put.is} onChange={(e) => onChange({ ...put, is: e.target.value })}>
            {b.is === "boolean" ? (
              <>
                <option value="true">{t("yes")}</option>
                <option value="false">{t("no")}</option>
              </>
            ) : (
              (b.values ?? []).map((v) => <option key={v}>{v}</option>)
            )}
          </Select>
        </span>
      )}
    </div>
  );
}

function Tick({
  on,
  onChange,
  children,
  className,
}: {
  on: boolean;
  onChange: (on: boolean) => void;
  children: string;
  className?: string;
}) {
  return (
    <label className={cx("flex min-h-7 cursor-pointer items-center gap-2", className)}>
      <input type="checkbox" checked={on} onChange={(e) => onChange(e.target.checked)} />
      <bdi>{children}</bdi>
    </label>
  );
}
