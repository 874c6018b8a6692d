/** The OpenClaw gateways of this node: how each stands, what to do, its agents; added, renamed, turned off and removed by an administrator. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import type { Health } from "@/lib/condition";
import { t } from "@/lib/i18n";
import { type Gateway, post, remove } from "@/node/client";
import { useGateways, useSession } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { Age, Button, CopyButton, Field, Loaded, Panel, State, Txt } from "@/ui/kit";
import { Add } from "./Add";

const HEALTH: Record<Gateway["state"], Health> = {
  ready: "healthy",
  starting: "degraded",
  connecting: "offline",
  "pairing-required": "needs",
  disabled: "unknown",
  failed: "stopped",
};

export function View() {
  const gateways = useGateways();
  const admin = useSession().data?.scope === "admin";
  const [adding, setAdding] = useState(false);
  return (
    <div className="flex flex-1 flex-col gap-3">
      <Panel title={t("gateways")} className="shrink-0">
        <div className="mb-2 flex flex-wrap items-start justify-between gap-2">
          <p className="max-w-prose text-t2">{t("gatewaysText")}</p>
          {admin ? (
            <Button tone="accent" onClick={() => setAdding(true)}>
              {t("gatewayAdd")}
            </Button>
          ) : null}
        </div>
        <Loaded q={gateways}>
          {(all) =>
            all.length ? (
              <ul className="flex flex-col gap-3">
                {all.map((one) => (
                  <One key={one.id} one={one} admin={admin} />
                ))}
              </ul>
            ) : (
              <p className="text-t2">{t("gatewaysNone")}</p>
            )
          }
        </Loaded>
      </Panel>
      {adding ? <Add onClose={() => setAdding(false)} /> : null}
    </div>
  );
}

function One({ one, admin }: { one: Gateway; admin: boolean }) {
  const client = useQueryClient();
  const [problem, setProblem] = useState("");
  const [asked, setAsked] = useState<"rename" | "remove">();
  const change = (work: Promise<unknown>) => {
    setProblem("");
    work
      .then(() => setAsked(undefined))
      .catch((e: Error) => setProblem(e.message))
      .finally(() => void client.invalidateQueries({ queryKey: ["gateways"] }));
  };
  const enabled = one.state !== "disabled";
  return (
    <li
      aria-label={one.name}
      className="flex flex-col gap-1 border-line border-t pt-2 first:border-t-0 first:pt-0"
    >
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <State is={HEALTH[one.state]} word={false} />
        <h3 className="font-medium">
          <Txt max={64}>{one.name}</Txt>
        </h3>
        <span>
          {t(`gw_${one.state}`)} · <Age time={one.since} />
        </span>
        {admin ? (
          <span className="ml-auto flex flex-wrap gap-1">
            <Button
              tone="quiet"
              className="h-7!"
              aria-label={t("gatewayRenameOf", { name: one.name })}
              onClick={() => setAsked("rename")}
            >
              {t("gatewayRename")}
            </Button>
            <Button
              tone="quiet"
              className="h-7!"
              aria-label={t(enabled ? "gatewayDisableOf" : "gatewayEnableOf", { name: one.name })}
              onClick={() => change(post("/gateways/{id}", { enabled: !enabled }, { id: one.id }))}
            >
              {t(enabled ? "gatewayDisable" : "gatewayEnable")}
            </Button>
            <Button
              tone="quiet"
              className="h-7!"
              aria-label={t("gatewayRemoveOf", { name: one.name })}
              onClick={() => setAsked("remove")}
            >
              {t("gatewayRemove")}
            </Button>
          </span>
        ) : null}
      </div>
      <p className="text-t2">
        <Txt max={300} className="font-mono text-[12.5px]">
          {one.url}
        </Txt>
        {one.version ? (
          <>
            {" · OpenClaw "}
            <Txt max={40}>{one.version}</Txt>
          </>
        ) : null}
        {one.sessions == null ? null : ` · ${t("gatewaySessions", { n: one.sessions })}`}
        {one.heardAt ? (
          <>
            {" · "}
            {t("gatewayHeard")} <Age time={one.heardAt} />
          </>
        ) : null}
      </p>
      {one.why ? (
        <p className={one.state === "failed" ? "text-danger" : "text-t2"}>
          <Txt max={500}>{one.why}</Txt>
        </p>
      ) : null}
      {one.command ? (
        <div className="flex flex-wrap items-center gap-2">
          <span>{t("gatewayApprove")}</span>
          <code className="rounded-md border border-line bg-s2 px-2 py-1 font-mono text-[12.5px] wrap-anywhere">
            <Txt max={200}>{one.command}</Txt>
          </code>
          <CopyButton text={one.command} />
        </div>
      ) : null}
      {one.agents.length ? (
        <p className="text-t2">
          {t("gatewayAgents")}{" "}
          {one.agents.map((agent, i) => (
            <span key={agent.id}>
              {i ? ", " : ""}
              <Txt max={64}>{agent.name}</Txt>
              {agent.model ? (
                <>
                  {" ("}
                  <Txt max={60}>{agent.model}</Txt>)
                </>
              ) : null}
            </span>
          ))}
        </p>
      ) : null}
      {problem && !asked ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={400}>{problem}</Txt>
        </p>
      ) : null}
      {asked === "rename" ? (
        <Rename
          name={one.name}
          problem={problem}
          go={(name) => change(post("/gateways/{id}", { name }, { id: one.id }))}
          onClose={() => setAsked(undefined)}
        />
      ) : null}
      {asked === "remove" ? (
        <Dialog title={t("gatewayRemoveOf", { name: one.name })} onClose={() => setAsked(undefined)}>
          <div className="flex flex-col gap-3">
            <p className="text-t2">{t("gatewayRemoveText")}</p>
            <Problem text={problem} />
            <div className="flex gap-2">
              <Button tone="danger" onClick={() => change(remove("/gateways/{id}", { id: one.id }))}>
                {t("gatewayRemove")}
              </Button>
              <Button onClick={() => setAsked(undefined)}>{t("cancel")}</Button>
            </div>
          </div>
        </Dialog>
      ) : null}
    </li>
  );
}

function Problem({ text }: { text: string }) {
  return text ? (
    <p role="alert" className="text-danger">
      ▲ <Txt max={400}>{text}</Txt>
    </p>
  ) : null;
}

function Rename(asked: { name: string; problem: string; go: (name: string) => void; onClose: () => void }) {
  const [name, setName] = useState(asked.name);
  return (
    <Dialog title={t("gatewayRenameOf", { name: asked.name })} onClose={asked.onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          asked.go(name);
        }}
      >
        <Field
          label={t("gatewayNewName")}
          value={name}
          maxLength={64}
          onChange={(e) => setName(e.target.value)}
        />
        <Problem text={asked.problem} />
        <div className="flex gap-2">
          <Button type="submit" tone="accent" disabled={!name.trim()}>
            {t("gatewayRename")}
          </Button>
          <Button onClick={asked.onClose}>{t("cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
