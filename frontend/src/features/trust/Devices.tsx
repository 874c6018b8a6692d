/** Each trusted device a card; its grants are switches that say what they allow. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { health } from "@/lib/condition";
import { t } from "@/lib/i18n";
import { line, tame } from "@/lib/words";
import { post, type Trust } from "@/node/client";
import { useTopology, useTrust } from "@/node/reads";
import { Dialog, TypeToConfirm } from "@/ui/dialog";
import { Age, Button, cx, Empty, Link, Loaded, Pairs, Search, Select, State, Switch, Txt } from "@/ui/kit";
import { Claimed, Withheld } from "@/ui/offers";
import { usePlace } from "@/ui/place";
import { type Grant, grants, toType } from "./model";
import { Usage } from "./Usage";
import { AdminWarning, Worst } from "./Worst";

const CARDS_MAX = 60;

export function Devices({ admin }: { admin: boolean }) {
  const trust = useTrust(5_000);
  const [place, go] = usePlace();
  const words = (place.q ?? "").toLowerCase();
  return (
    <Loaded q={trust}>
      {(list) => {
        const found = list
          .filter((d) => `${d.name} ${d.deviceId} ${d.grants.join(" ")}`.toLowerCase().includes(words))
          .sort(
            (a, b) =>
              Number(Boolean(a.revokedAt)) - Number(Boolean(b.revokedAt)) ||
              (a.name ?? a.deviceId).localeCompare(b.name ?? b.deviceId),
          );
        return (
          <>
            {list.length > 6 ? (
              <div className="flex items-center gap-3">
                <Search value={place.q ?? ""} onChange={(q) => go({ q })} className="w-56" />
                <span className="text-t2">
                  {t("shownOf", { n: Math.min(found.length, CARDS_MAX), all: list.length })}
                </span>
              </div>
            ) : null}
            {list.length ? (
              <div className="grid gap-3 lg:grid-cols-2 2xl:grid-cols-3">
                {found.slice(0, CARDS_MAX).map((d) => (
                  <Card key={d.deviceId} d={d} admin={admin} />
                ))}
              </div>
            ) : (
              <Empty>
                {t("noDevices")} <Link onClick={() => go({ tab: "pair" }, true)}>{t("pairOne")}</Link>
              </Empty>
            )}
          </>
        );
      }}
    </Loaded>
  );
}

function Card({ d, admin }: { d: Trust; admin: boolean }) {
  const client = useQueryClient();
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [revoking, setRevoking] = useState(false);
  const [giving, setGiving] = useState(false);
  const name = d.name ? line(d.name, 48) : d.deviceId.slice(0, 8);
  // The mesh knows more than whether there is a link: a stopped node is connected and does nothing.
  const seen = useTopology().data?.nodes.find((n) => n.deviceId === d.deviceId);
  const is = seen ? health(seen) : d.connected ? "healthy" : d.connected === false ? "offline" : "unknown";
  const closed = !admin || Boolean(d.revokedAt);
  const again = () => void client.invalidateQueries();
  // The switch shows what the node says, never what was wished.
  const change = async (steps: ["grant" | "ungrant", string][]) => {
    setProblem("");
    setBusy(true);
    try {
      for (const [how, g] of steps) await post(`/trust/{id}/${how}`, { grants: g }, { id: d.deviceId });
    } catch (e) {
      setProblem(e instanceof Error ? e.message : String(e));
    } finally {
      setBusy(false);
      again();
    }
  };
  return (
    <article
      aria-label={name}
      className={cx(
        "flex flex-col gap-3 rounded-md border border-line bg-s1 p-3",
        d.revokedAt ? "opacity-75" : null,
      )}
    >
      <header className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <h2 className="min-w-0 truncate font-semibold text-[15px]">
          <bdi>{name}</bdi>
        </h2>
        {d.revokedAt ? (
          <span className="text-danger">
            ■ {t("revoked")} <Age time={d.revokedAt} />
          </span>
        ) : (
          <State is={is} />
        )}
        {closed ? null : (
          <Button className="ml-auto" onClick={() => setRevoking(true)}>
            {t("revoke")}
          </Button>
        )}
      </header>
      <Pairs
        rows={[
          [
            t("deviceId"),
            <code key="d" className="block truncate font-mono text-[12px]" title={d.deviceId}>
              {d.deviceId}
            </code>,
          ],
          [
            t("key"),
            <code key="k" className="block truncate font-mono text-[12px]" title={d.publicKey ?? undefined}>
              {d.publicKey ? tame(d.publicKey, 80) : t("keyUnpinned")}
            </code>,
          ],
          [t("added"), <Age key="a" time={d.addedAt} />],
        ]}
      />
      <fieldset className="flex flex-col gap-1" disabled={closed || busy}>
        <legend className="mb-1 font-medium text-t2">{t("grants")}</legend>
        {grants(d.grants).map((g) => (
          <GrantSwitch
            key={g.name}
            g={g}
            held={d.grants}
            onChange={(steps) =>
              steps.some(([how, id]) => how === "grant" && id === "admin") ? setGiving(true) : change(steps)
            }
          />
        ))}
      </fieldset>
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
      {d.revokedAt ? null : (
        <>
          {d.grants.includes("admin") ? <AdminWarning /> : null}
          <Withheld device={d.deviceId} />
          <Claimed device={d.deviceId} />
          <Usage d={d} onRevoke={closed ? undefined : () => setRevoking(true)} />
          <Worst grants={d.grants} />
        </>
      )}
      {giving ? (
        <Dialog title={t("adminTitle", { name })} onClose={() => setGiving(false)}>
          <div className="flex flex-col gap-3">
            <AdminWarning />
            <div className="flex justify-end gap-2">
              <Button onClick={() => setGiving(false)}>{t("cancel")}</Button>
              <Button
                tone="danger"
                onClick={() => {
                  setGiving(false);
                  void change([["grant", "admin"]]);
                }}
              >
                {t("adminGo")}
              </Button>
            </div>
          </div>
        </Dialog>
      ) : null}
      {revoking ? (
        <TypeToConfirm
          title={t("revokeTitle", { name })}
          text={t("revokeText")}
          word={toType(d.name, d.deviceId)}
          go={t("revokeForGood")}
          onClose={() => setRevoking(false)}
          onGo={() => post("/trust/{id}/revoke", undefined, { id: d.deviceId }).finally(again)}
        />
      ) : null}
    </article>
  );
}

function GrantSwitch({
  g,
  held,
  onChange,
}: {
  g: Grant;
  held: string[];
  onChange: (steps: ["grant" | "ungrant", string][]) => void;
}) {
  const tier = g.id.split(":")[1];
  return (
    <div className="flex items-start gap-2">
      <Switch
        label={`${t(g.word)}: ${t(g.text)}`}
        on={g.on}
        onChange={(on) => onChange([[on ? "grant" : "ungrant", g.id]])}
      >
        <span className={g.on ? "font-medium" : undefined}>
          {g.word === "gn_other" ? <Txt>{g.id}</Txt> : t(g.word)}
        </span>{" "}
        <span className="text-t2">{t(g.text)}</span>{" "}
        {g.on && g.word !== "gn_other" ? (
          <code className="font-mono text-[11px] text-t2">({g.id})</code>
        ) : null}
        {g.far && g.on ? <span className="text-warn"> ▲ {t("farReaching")}</span> : null}
      </Switch>
      {g.name === "observe" && g.on ? (
        <Select
          label={t("tierOf")}
          className="ml-auto h-6! px-1"
          value={tier ?? "T2"}
          onChange={(e) => {
            const others = held.filter((x) => x.startsWith("observe"));
            onChange([
              ...others.map((x): ["ungrant", string] => ["ungrant", x]),
              ["grant", `observe:${e.target.value}`],
            ]);
          }}
        >
          {["T1", "T2", "T3"].map((x) => (
            <option key={x}>{x}</option>
          ))}
        </Select>
      ) : null}
    </div>
  );
}
