/** Keys of providers: set and removed here, never shown. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useId, useState } from "react";
import { t } from "@/lib/i18n";
import { post, remove } from "@/node/client";
import { useCredentials, useModels, useSession } from "@/node/reads";
import { Age, Button, Field, Loaded, Panel, Txt } from "@/ui/kit";
import { type KeyRow, keyRows } from "./model";

export function Keys() {
  const credentials = useCredentials();
  const models = useModels().data?.models ?? [];
  const session = useSession().data;
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [secret, setSecret] = useState("");
  const [busy, setBusy] = useState(false);
  const [leaving, setLeaving] = useState<string>();
  const [said, setSaid] = useState<{ bad: boolean; text: string }>();
  const known = useId();
  const admin = session?.scope === "admin";
  const rows = keyRows(models, credentials.data ?? []);
  const wanted = name.trim() || rows.find((r) => r.missing)?.name || "";

  const change = (work: Promise<unknown>, text: string) => {
    setBusy(true);
    setSaid(undefined);
    work
      .then(() => setSaid({ bad: false, text }))
      .catch((e: Error) => setSaid({ bad: true, text: e.message }))
      .finally(() => {
        setBusy(false);
        setLeaving(undefined);
        void client.invalidateQueries({ queryKey: ["credentials"] });
        void client.invalidateQueries({ queryKey: ["models"] });
      });
  };
  const save = (e: FormEvent) => {
    e.preventDefault();
    if (!wanted || !secret || busy) return;
    const full = wanted.includes("/") ? wanted : `provider/${wanted}`;
    // Whatever comes of it, the key stays on the page no longer.
    setSecret("");
    change(post("/credentials", { name: full, secret }), t("keySet", { name: full }));
  };
  const drop = (row: KeyRow) =>
    change(remove("/credentials/{id}", { id: row.name }), t("keyRemoved", { name: row.name }));

  return (
    <Panel title={t("keysTitle")} className="shrink-0">
      <Loaded q={credentials}>
        {() => (
          <div className="flex flex-col gap-3">
            <p className="text-t2">{t("keysText")}</p>
            {rows.length ? (
              <ul className="flex flex-col gap-1.5">
                {rows.map((r) => (
                  <li key={r.name} className="flex flex-wrap items-center gap-x-2 gap-y-1">
                    <Txt className="font-mono text-[12.5px]" max={80}>
                      {r.name}
                    </Txt>
                    <span className={r.missing ? "text-warn" : "text-t2"}>
                      {r.setAt !== undefined ? (
                        <>
                          ● {t("keyIsSet")} <Age time={r.setAt} />
                        </>
                      ) : r.variable ? (
                        `● $${r.variable}`
                      ) : (
                        `▲ ${t("keyMissing")}`
                      )}
                      {r.models.length ? null : ` · ${t("keyUnused")}`}
                    </span>
                    {admin && r.setAt !== undefined ? (
                      leaving === r.name ? (
                        <span className="ml-auto flex gap-1">
                          <Button tone="danger" className="h-7!" disabled={busy} onClick={() => drop(r)}>
                            {t("keyReallyRemove")}
                          </Button>
                          <Button className="h-7!" onClick={() => setLeaving(undefined)}>
                            {t("cancel")}
                          </Button>
                        </span>
                      ) : (
                        <Button
                          tone="quiet"
                          className="ml-auto h-7!"
                          aria-label={t("keyRemoveOf", { name: r.name })}
                          onClick={() => setLeaving(r.name)}
                        >
                          {t("keyRemove")}
                        </Button>
                      )
                    ) : null}
                  </li>
                ))}
              </ul>
            ) : (
              <p className="text-t2">{t("keysNone")}</p>
            )}
            {admin ? (
              <form onSubmit={save} className="flex flex-wrap items-end gap-2">
                <Field
                  label={t("keyName")}
                  className="flex-1 basis-32"
                  value={name}
                  placeholder={wanted || "provider/openai"}
                  list={known}
                  maxLength={80}
                  autoComplete="off"
                  spellCheck={false}
                  onChange={(e) => setName(e.target.value)}
                />
                <datalist id={known}>
                  {rows.map((r) => (
                    <option key={r.name} value={r.name} />
                  ))}
                </datalist>
                <Field
                  label={t("keyValue")}
                  className="flex-1 basis-32"
                  type="password"
                  value={secret}
                  maxLength={4096}
                  autoComplete="new-password"
                  spellCheck={false}
                  onChange={(e) => setSecret(e.target.value)}
                />
                <Button type="submit" tone="accent" disabled={busy || !wanted || !secret}>
                  {t("keySave")}
                </Button>
              </form>
            ) : (
              <p className="text-t2">{t("keysNeedAdmin")}</p>
            )}
            {said ? (
              <p role={said.bad ? "alert" : "status"} className={said.bad ? "text-danger" : "text-ok"}>
                {said.bad ? "▲" : "●"} <Txt max={400}>{said.text}</Txt>
              </p>
            ) : null}
            <p className="text-[12px] text-t2">
              {t("keysByCommand")}{" "}
              <code className="font-mono wrap-anywhere">
                clawmesh-node credential set {wanted || "provider/openai"}
              </code>
            </p>
          </div>
        )}
      </Loaded>
    </Panel>
  );
}
