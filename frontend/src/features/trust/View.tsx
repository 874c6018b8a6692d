import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { type Key, t } from "@/lib/i18n";
import { call } from "@/node/client";
import { useOperators, useSession, useTrust } from "@/node/reads";
import { Age, AskReason, Button, Empty, Id, Loaded, Pairs, State, Txt } from "@/ui/kit";

const EXPLAINED = new Set([
  "observe",
  "relay",
  "read",
  "draft",
  "propose",
  "estop",
  "approve",
  "decide",
  "act",
  "invoke",
]);
const explain = (grant: string): string => {
  const name = grant.split(":")[0] ?? "";
  return t((EXPLAINED.has(name) ? `g_${name}` : "g_other") as Key);
};
const OFFERED = ["observe:T2", "relay", "read", "estop"];

export function View() {
  const client = useQueryClient();
  const admin = useSession().data?.scope === "admin";
  const trust = useTrust();
  const operators = useOperators();
  const [asking, setAsking] = useState<{ name: string; path: string; text: string; body: boolean }>();
  const [problem, setProblem] = useState("");
  const again = () => void client.invalidateQueries();
  const toggle = (id: string, grant: string, on: boolean) => {
    setProblem("");
    call("POST", `/trust/${id}/${on ? "grant" : "ungrant"}`, { grants: grant })
      .catch((e: Error) => setProblem(e.message))
      .finally(again);
  };
  return (
    <div className="flex flex-col gap-4">
      {admin ? null : <p className="text-t2">{t("needAdmin")}</p>}
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt>{problem}</Txt>
        </p>
      ) : null}
      <section aria-labelledby="devices">
        <h2 id="devices" className="mb-2 font-semibold">
          {t("devices")}
        </h2>
        <Loaded q={trust}>
          {(list) =>
            list.length ? (
              <div className="grid gap-3 md:grid-cols-2 2xl:grid-cols-3">
                {list.map((d) => {
                  const name = d.name ?? d.deviceId.slice(0, 8);
                  return (
                    <article
                      key={d.deviceId}
                      aria-label={name}
                      className="flex flex-col gap-3 rounded-md border border-line bg-s1 p-3"
                    >
                      <header className="flex items-center gap-3">
                        <h3 className="min-w-0 truncate font-semibold">
                          <Txt>{name}</Txt>
                        </h3>
                        {d.revokedAt ? (
                          <span className="text-danger">
                            ■ {t("revoked")} <Age time={d.revokedAt} />
                          </span>
                        ) : (
                          <State
                            is={d.connected ? "healthy" : d.connected === false ? "offline" : "unknown"}
                          />
                        )}
                        {admin && !d.revokedAt ? (
                          <Button
                            className="ml-auto"
                            onClick={() =>
                              setAsking({
                                name,
                                path: `/trust/${d.deviceId}/revoke`,
                                text: t("revokeText"),
                                body: false,
                              })
                            }
                          >
                            {t("revoke")}
                          </Button>
                        ) : null}
                      </header>
                      <Pairs
                        rows={[
                          [
                            t("deviceId"),
                            <code key="d" className="font-mono text-[12px]">
                              {d.deviceId}
                            </code>,
                          ],
                          [
                            t("key"),
                            <code key="k" className="font-mono text-[12px]">
                              {d.publicKey ?? t("keyUnpinned")}
                            </code>,
                          ],
                          [t("added"), <Age key="a" time={d.addedAt} />],
                        ]}
                      />
                      <fieldset className="flex flex-col gap-1" disabled={!admin || Boolean(d.revokedAt)}>
                        <legend className="mb-1 text-t2">{t("grants")}</legend>
                        {[
                          ...new Set([
                            ...d.grants,
                            ...OFFERED.filter(
                              (o) => !d.grants.some((g) => g.split(":")[0] === o.split(":")[0]),
                            ),
                          ]),
                        ].map((g) => (
                          <label key={g} className="flex items-start gap-2">
                            <input
                              type="checkbox"
                              className="mt-1 accent-accent"
                              checked={d.grants.includes(g)}
                              onChange={(e) => toggle(d.deviceId, g, e.target.checked)}
                            />
                            <span>
                              <Txt className="font-medium">{g}</Txt>{" "}
                              <span className="text-t2">{explain(g)}</span>
                            </span>
                          </label>
                        ))}
                      </fieldset>
                    </article>
                  );
                })}
              </div>
            ) : (
              <Empty>{t("noDevices")}</Empty>
            )
          }
        </Loaded>
      </section>
      <section aria-labelledby="operators">
        <h2 id="operators" className="mb-2 font-semibold">
          {t("operators")}
        </h2>
        <Loaded q={operators}>
          {(list) =>
            list.length ? (
              <div className="grid gap-3 md:grid-cols-2 2xl:grid-cols-3">
                {list.map((o) => (
                  <article
                    key={o.operatorId + o.issuer}
                    aria-label={o.name}
                    className="flex flex-col gap-3 rounded-md border border-line bg-s1 p-3"
                  >
                    <header className="flex items-center gap-3">
                      <h3 className="min-w-0 truncate font-semibold">
                        <Txt>{o.name}</Txt>
                      </h3>
                      {o.revokedAt ? <span className="text-danger">■ {t("revoked")}</span> : null}
                      {admin && !o.revokedAt ? (
                        <Button
                          className="ml-auto"
                          onClick={() =>
                            setAsking({
                              name: o.name,
                              path: `/operators/${o.operatorId}/revoke`,
                              text: t("revokeOpText"),
                              body: true,
                            })
                          }
                        >
                          {t("revoke")}
                        </Button>
                      ) : null}
                    </header>
                    <Pairs
                      rows={[
                        [t("maxLevel"), o.maxLevel],
                        [
                          t("until"),
                          o.expiresAt ? new Date(o.expiresAt).toLocaleDateString("en-CA") : t("none"),
                        ],
                        [t("key"), <Id key="k" id={o.operatorId} />],
                      ]}
                    />
                  </article>
                ))}
              </div>
            ) : (
              <Empty>{t("noOperators")}</Empty>
            )
          }
        </Loaded>
      </section>
      <p className="text-t2">{t("pairing")}</p>
      {asking ? (
        <AskReason
          optional={!asking.body}
          title={t("revokeTitle", { name: asking.name })}
          text={asking.text}
          go={t("confirm")}
          onClose={() => setAsking(undefined)}
          onGo={(reason) => call("POST", asking.path, asking.body ? { reason } : undefined).finally(again)}
        />
      ) : null}
    </div>
  );
}
