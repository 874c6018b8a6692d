/** The first steps of a new node: a name, a first field node, or the demonstration farm. */
import { useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useState } from "react";
import { limits } from "@/contract/operator.gen";
import { t } from "@/lib/i18n";
import { keep } from "@/lib/keep";
import { badName, welcomeKey } from "@/lib/welcome";
import { type Names, post } from "@/node/client";
import { useNames, useSession, useStatus, useTrust } from "@/node/reads";
import { inWindow, tryDemo } from "@/platform/desktop";
import { Button, CopyButton, cx, Field, Loaded, Txt } from "@/ui/kit";

const DEMO = "clawmesh-node demo --state-dir ~/.clawmesh-demo";

export function View() {
  const status = useStatus().data;
  const admin = useSession().data?.scope === "admin";
  const trusted = useTrust().data?.filter((d) => !d.revokedAt).length ?? 0;
  const names = useNames();
  const go = useNavigate();
  const done = () => {
    if (status) keep(welcomeKey(status.deviceId), "done");
    void go({ to: "/" });
  };
  const named = Boolean(names.data?.meshName);
  return (
    <div className="mx-auto flex w-full max-w-3xl flex-col gap-4 py-4">
      <header>
        <h2 className="font-semibold text-[22px] leading-8">{t("welcome")}</h2>
        <p className="text-t2">{t("welcomeText")}</p>
      </header>
      <Step n={1} title={t("stepName")} done={named}>
        <Loaded q={names}>
          {(n) => <Naming key={`${n.name}|${n.meshName}`} n={n} admin={admin} joined={trusted > 0} />}
        </Loaded>
      </Step>
      <Step n={2} title={t("stepPair")} done={trusted > 0}>
        <p className="text-t2">{t("stepPairText")}</p>
        <div className="mt-2">
          <Link
            to="/trust"
            search={{ tab: "pair" } as never}
            className="inline-flex h-8 items-center rounded-md bg-accent px-3 font-medium text-on-accent hover:opacity-90"
          >
            {t("pairOne")}
          </Link>
        </div>
      </Step>
      <Step title={t("stepDemo")}>
        <p className="text-t2">{t("stepDemoText")}</p>
        <Demo />
      </Step>
      <div className="flex gap-2">
        <Button tone={trusted > 0 ? "accent" : "plain"} onClick={done}>
          {t(trusted > 0 ? "welcomeDone" : "welcomeLater")}
        </Button>
      </div>
    </div>
  );
}

function Step({
  n,
  title,
  done,
  children,
}: {
  n?: number;
  title: string;
  done?: boolean;
  children: ReactNode;
}) {
  return (
    <section aria-label={title} className="flex gap-4 rounded-md border border-line bg-s1 p-4">
      <span
        aria-hidden="true"
        className={cx(
          "flex size-7 shrink-0 items-center justify-center rounded-full border font-semibold",
          done ? "border-ok text-ok" : "border-line text-t2",
        )}
      >
        {done ? "●" : (n ?? "◇")}
      </span>
      <div className="min-w-0 flex-1">
        <h3 className="mb-1 font-semibold text-[15px]">
          {title} {done ? <span className="font-normal text-ok">{t("stepDone")}</span> : null}
        </h3>
        {children}
      </div>
    </section>
  );
}

function Naming({ n, admin, joined }: { n: Names; admin: boolean; joined: boolean }) {
  const client = useQueryClient();
  const [name, setName] = useState(n.name);
  const [mesh, setMesh] = useState(n.meshName ?? "");
  const [said, setSaid] = useState<{ good: boolean; text: string }>();
  const [busy, setBusy] = useState(false);
  // A node that trusts others is in their mesh already: another name would take it out.
  const meshFixed = n.meshNameFixed || joined;
  const wish = {
    ...(n.nameFixed || name.trim() === n.name ? {} : { name: name.trim() }),
    ...(meshFixed || !mesh.trim() || mesh.trim() === n.meshName ? {} : { meshName: mesh.trim() }),
  };
  const bad =
    ("name" in wish ? badName(name) : undefined) ?? ("meshName" in wish ? badName(mesh) : undefined);
  const send = (e: FormEvent) => {
    e.preventDefault();
    if (busy || bad || !Object.keys(wish).length) return;
    setBusy(true);
    setSaid(undefined);
    post("/names", wish)
      .then(
        (now) => setSaid({ good: true, text: t(now.restarting ? "namedRestarts" : "named") }),
        (error: Error) => setSaid({ good: false, text: error.message }),
      )
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries();
      });
  };
  return (
    <form onSubmit={send} className="flex flex-col gap-2">
      <p className="text-t2">{t("stepNameText")}</p>
      <div className="flex flex-wrap items-end gap-2">
        <Field
          label={t("deviceName")}
          value={name}
          maxLength={limits.nameBytes}
          disabled={n.nameFixed || !admin}
          className="min-w-48 flex-1"
          onChange={(e) => setName(e.target.value)}
        />
        <Field
          label={t("meshNameWord")}
          value={mesh}
          maxLength={limits.nameBytes}
          disabled={meshFixed || !admin}
          className="min-w-48 flex-1"
          placeholder={t("meshNameHint")}
          onChange={(e) => setMesh(e.target.value)}
        />
        <Button
          type="submit"
          tone="accent"
          disabled={!admin || busy || Boolean(bad) || !Object.keys(wish).length}
        >
          {t("nameGo")}
        </Button>
      </div>
      {n.nameFixed || n.meshNameFixed ? <p className="text-t2">◇ {t("nameFixed")}</p> : null}
      {joined ? <p className="text-t2">◇ {t("meshJoined")}</p> : null}
      {admin ? null : <p className="text-t2">◇ {t("nameNeedsAdmin")}</p>}
      {bad ? (
        <p className="text-warn">
          ◐{" "}
          {bad === "long"
            ? t("nameLong", { bytes: String(limits.nameBytes) })
            : t(bad === "empty" ? "nameEmpty" : "nameOdd")}
        </p>
      ) : null}
      {said ? (
        <p role={said.good ? "status" : "alert"} className={said.good ? "text-ok" : "text-danger"}>
          {said.good ? "●" : "▲"} <Txt max={300}>{said.text}</Txt>
        </p>
      ) : null}
    </form>
  );
}

function Demo() {
  const [said, setSaid] = useState<{ good: boolean; text: string }>();
  const start = inWindow ? tryDemo : undefined;
  if (!start)
    return (
      <div className="mt-2 flex flex-wrap items-center gap-2">
        <code className="min-w-0 rounded-md border border-line bg-s2 px-2 py-1 font-mono text-[12.5px] wrap-anywhere">
          {DEMO}
        </code>
        <CopyButton text={DEMO} />
      </div>
    );
  return (
    <div className="mt-2 flex flex-wrap items-center gap-3">
      <Button
        onClick={() =>
          start().then(
            () => setSaid({ good: true, text: t("demoStarts") }),
            (e: unknown) => setSaid({ good: false, text: e instanceof Error ? e.message : String(e) }),
          )
        }
      >
        {t("tryDemo")}
      </Button>
      {said ? (
        <p role={said.good ? "status" : "alert"} className={said.good ? "text-ok" : "text-danger"}>
          {said.good ? "●" : "▲"} <Txt max={300}>{said.text}</Txt>
        </p>
      ) : null}
    </div>
  );
}
