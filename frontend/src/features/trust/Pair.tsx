/** Two nodes come to trust each other: find, compare, say yes at both. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { left } from "@/lib/format";
import { t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Pairing, post, remove } from "@/node/client";
import { useGrantTable, usePairing, useTrust } from "@/node/reads";
import { Button, CopyButton, Empty, Field, Loaded, Pairs, Panel, Select, Txt, useNow } from "@/ui/kit";
import { Pictures } from "@/ui/pictures";
import { target } from "./model";
import { AdminWarning, said, Worst } from "./Worst";

export function Pair({ admin }: { admin: boolean }) {
  return admin ? <Open /> : <Empty>{t("pairNeedsAdmin")}</Empty>;
}

function Open() {
  const client = useQueryClient();
  const q = usePairing(1_000);
  const [problem, setProblem] = useState("");
  const act: Act = (asking) => {
    setProblem("");
    return asking.then(
      (p) => client.setQueryData(["pairing", "/pairing"], p),
      (e: Error) => setProblem(e.message),
    );
  };
  // A node that joined another mesh starts again and forgets how its pairing ended; this page does not.
  const [peer, setPeer] = useState<{ id: string; name: string }>();
  const compared = q.data?.session?.compare?.peer;
  useEffect(() => {
    if (compared) setPeer({ id: compared.deviceId, name: compared.name });
  }, [compared]);
  const trusted = useTrust().data?.find((d) => d.deviceId === peer?.id && !d.revokedAt);
  return (
    <Loaded q={q}>
      {(p) => (
        <div className="flex max-w-5xl flex-col gap-3">
          {problem ? (
            <p role="alert" className="rounded-md border border-danger p-2 text-danger">
              ▲ <Txt max={400}>{problem}</Txt>
            </p>
          ) : null}
          {p.last && !p.session ? <Last last={p.last} /> : null}
          {peer && trusted && !p.last && !p.session ? (
            <p role="status" className="rounded-md border border-ok p-3 font-medium text-ok">
              ● {t("pairTrusted", { name: line(peer.name || peer.id.slice(0, 8), 48) })}
            </p>
          ) : null}
          {p.session ? (
            <Session key={p.session.id} s={p.session} act={act} />
          ) : (
            <div className="grid gap-3 md:grid-cols-2">
              <Ask p={p} act={act} />
              <Window w={p.window} act={act} />
            </div>
          )}
        </div>
      )}
    </Loaded>
  );
}

/** Shows what the asking comes to. */
type Act = (asking: Promise<Pairing>) => Promise<unknown>;

function Ask({ p, act }: { p: Pairing; act: Act }) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState("");
  const wish = target(text);
  const start = (to: string) => {
    setBusy(to);
    void act(post("/pairing/start", { target: to })).finally(() => setBusy(""));
  };
  return (
    <Panel title={t("pairAsk")}>
      <div className="flex flex-col gap-3">
        <p className="text-t2">{t("pairAskText")}</p>
        <ul aria-label={t("nearby")} className="flex flex-col gap-1.5">
          {p.nearby.map((n) => (
            <li
              key={n.device}
              className="flex flex-wrap items-center gap-x-3 rounded-md border border-line px-3 py-1.5"
            >
              <span className="min-w-0 flex-1">
                <Txt className="block truncate font-medium" max={64}>
                  {n.name || n.device.slice(0, 8)}
                </Txt>
                <Txt className="block truncate text-[12px] text-t2" max={120}>
                  {`${n.device.slice(0, 8)} · ${n.mesh.slice(0, 24)} · ${n.url}`}
                </Txt>
              </span>
              {n.pairing ? <span className="text-ok">● {t("pairWindowOpen")}</span> : null}
              <Button disabled={Boolean(busy)} onClick={() => start(n.url)}>
                {busy === n.url ? t("pairReaching") : t("pairGo")}
              </Button>
            </li>
          ))}
        </ul>
        {p.nearby.length ? null : <p className="text-t2">◇ {t("noNearby")}</p>}
        <form
          className="flex flex-wrap items-end gap-2"
          onSubmit={(e: FormEvent) => {
            e.preventDefault();
            if (wish.ok && !busy) start(wish.text);
          }}
        >
          <Field
            label={t("pairTarget")}
            placeholder="ws://192.168.1.7:18789"
            className="min-w-56 flex-1"
            value={text}
            maxLength={1000}
            aria-invalid={text !== "" && !wish.ok}
            onChange={(e) => setText(e.target.value)}
          />
          <Button type="submit" tone="accent" disabled={!wish.ok || Boolean(busy)}>
            {busy && busy === wish.text ? t("pairReaching") : t("pairGo")}
          </Button>
        </form>
        {text && !wish.ok ? <p className="text-warn">◐ {t("pairBadTarget")}</p> : null}
      </div>
    </Panel>
  );
}

function Window({ w, act }: { w: Pairing["window"]; act: Act }) {
  const now = useNow();
  return (
    <Panel title={t("pairBeAsked")}>
      <div className="flex flex-col gap-3">
        <p className="text-t2">{t("pairBeAskedText")}</p>
        {w ? (
          <>
            <p className="text-ok">● {t("pairOpenFor", { left: left(w.until - now), tries: w.triesLeft })}</p>
            <div>
              <div className="mb-1 text-t2">{t("pairLink")}</div>
              <code className="block rounded-md border border-line bg-s2 p-2 font-mono text-[12px] wrap-anywhere">
                {w.link}
              </code>
            </div>
            <div className="flex gap-2">
              <CopyButton text={w.link} />
              <Button onClick={() => void act(remove("/pairing"))}>{t("pairClose")}</Button>
            </div>
          </>
        ) : (
          <div>
            <Button tone="accent" onClick={() => void act(post("/pairing/window"))}>
              {t("pairOpen")}
            </Button>
          </div>
        )}
      </div>
    </Panel>
  );
}

function Session({ s, act }: { s: NonNullable<Pairing["session"]>; act: Act }) {
  const now = useNow();
  const c = s.compare;
  const [preset, setPreset] = useState("");
  const as = preset || (c?.suggested ?? "viewer");
  const decide = (yes: boolean) =>
    void act(post("/pairing/decision", { session: s.id, yes, ...(yes ? { as } : {}) }));
  const presets = useGrantTable().data?.presets ?? [];
  const chosen = presets.find((p) => p.preset === as);
  return (
    <Panel
      title={t("pairing")}
      aside={
        <span className={s.until - now < 30_000 ? "font-semibold text-warn" : undefined}>
          {t("expiresIn")} {left(s.until - now)}
        </span>
      }
    >
      {c ? (
        <div className="flex flex-col gap-4">
          <Pairs
            rows={[
              [
                t("otherNode"),
                <Txt key="n" className="font-semibold">
                  {c.peer.name}
                </Txt>,
              ],
              [t("role"), <Txt key="r">{c.peer.role}</Txt>],
              [t("mesh"), <Txt key="m">{c.peer.mesh}</Txt>],
              [
                t("deviceId"),
                <code key="d" className="font-mono text-[12px]">
                  {c.peer.deviceId}
                </code>,
              ],
            ]}
          />
          <Pictures emoji={c.emoji} digits={c.digits} />
          {c.joins ? (
            <p className="text-info">
              ◐ <Txt max={200}>{c.joins}</Txt>
            </p>
          ) : null}
          {s.ours ? (
            <p role="status" className="text-t2">
              ● {t("pairSaidYes")} {s.theirs ? "" : t("pairWaitOther")}
            </p>
          ) : (
            <>
              <div className="flex flex-wrap items-center gap-2">
                <Select label={t("pairAs")} value={as} onChange={(e) => setPreset(e.target.value)}>
                  {(presets.length ? presets.map((p) => p.preset) : [as]).map((id) => (
                    <option key={id}>{id}</option>
                  ))}
                </Select>
                <span className="min-w-0 text-t2">{chosen ? said(chosen.for) : null}</span>
              </div>
              {chosen?.grants.includes("admin") ? <AdminWarning /> : null}
              {chosen ? <Worst key={as} grants={chosen.grants} presets /> : null}
              <div className="flex flex-wrap gap-2">
                <Button tone="accent" onClick={() => decide(true)}>
                  {t("pairSame")}
                </Button>
                <Button onClick={() => decide(false)}>{t("pairDiffer")}</Button>
                {s.theirs ? <span className="self-center text-t2">● {t("pairTheySaidYes")}</span> : null}
              </div>
            </>
          )}
        </div>
      ) : (
        <p role="status" className="text-t2">
          ◐ {t(s.stage === "storing" ? "pairStoring" : "pairExchanging")}
        </p>
      )}
      <div className="mt-4 border-line border-t pt-3">
        <Button onClick={() => void act(remove("/pairing"))}>{t("pairCancel")}</Button>
      </div>
    </Panel>
  );
}

function Last({ last }: { last: NonNullable<Pairing["last"]> }) {
  const good = last.stored && last.complete;
  const half = last.stored && !last.complete;
  return (
    <div
      role="status"
      className={`rounded-md border p-3 ${good ? "border-ok text-ok" : half ? "border-warn text-warn" : "border-danger text-danger"}`}
    >
      <p className="font-medium">
        {good ? "●" : half ? "◐" : "▲"}{" "}
        {t(good ? "pairDone" : half ? "pairHalf" : "pairFailed", {
          name: line(last.peer?.name || last.peer?.deviceId?.slice(0, 8) || t("otherNode"), 48),
        })}
      </p>
      <p>
        <Txt max={400}>{last.message}</Txt>
        {last.code ? <span className="text-t2"> ({line(last.code, 40)})</span> : null}
      </p>
      {last.restarting ? <p>◐ {t("pairRestarting")}</p> : null}
    </div>
  );
}
