/** This node, this session, how it looks. */
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { bytes, span } from "@/lib/format";
import { dateTime, number, t } from "@/lib/i18n";
import { call, type Planner } from "@/node/client";
import { useSession, useStatus } from "@/node/reads";
import { applyTheme, type Theme, theme } from "@/platform/browser";
import { Age, AskReason, Button, Loaded, Pairs, Panel, Tabs, Txt } from "@/ui/kit";

const Code = ({ children }: { children: string }) => (
  <code className="font-mono text-[12px] wrap-anywhere">{children}</code>
);

export function Identity() {
  const status = useStatus();
  return (
    <Panel title={t("identity")}>
      <Loaded q={status}>
        {(s) => (
          <div className="flex flex-col gap-3">
            <Pairs
              rows={[
                [t("name"), <Txt key="n">{s.displayName}</Txt>],
                [t("role"), <Txt key="r">{s.role}</Txt>],
                [t("deviceId"), <Code key="d">{s.deviceId}</Code>],
                [t("mesh"), <Txt key="m">{s.meshName || "–"}</Txt>],
                [t("meshIdWord"), <Code key="i">{s.meshId}</Code>],
                [t("version"), s.version],
                [t("port"), s.port],
                [t("uptime"), span(s.uptimeMs)],
                [t("clock"), s.clockTrusted ? `● ${t("clockGood")}` : `▲ ${t("clockBad")}`],
                [t("frames"), number(s.frames)],
                [t("store"), bytes(s.storeBytes)],
                [t("facts"), number(s.facts)],
              ]}
            />
            {s.problems.length ? (
              <ul className="text-warn">
                {s.problems.map((p) => (
                  <li key={p}>
                    ◐ <Txt max={400}>{p}</Txt>
                  </li>
                ))}
              </ul>
            ) : null}
            <PlannerState planner={s.planner} />
            <Link to="/welcome" className="text-accent underline">
              {t("welcome")}
            </Link>
          </div>
        )}
      </Loaded>
    </Panel>
  );
}

function PlannerState({ planner }: { planner: Planner }) {
  const client = useQueryClient();
  const may = useSession().data?.scope !== "read";
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState("");
  const again = () => void client.invalidateQueries({ queryKey: ["status"] });
  const paused = planner.pause;
  return (
    <section className="flex flex-col gap-1 border-line border-t pt-3">
      <div className="flex flex-wrap items-center gap-2">
        <h3 className="font-semibold">{t("plannerState")}</h3>
        <span className={paused ? "text-warn" : "text-t2"}>
          {paused ? "◐ " : ""}
          <Txt max={200}>{planner.why}</Txt>
        </span>
        {planner.state === "off" || !may ? null : paused ? (
          <Button
            className="ml-auto"
            onClick={() =>
              call("POST", "/planner/resume", {})
                .catch((e: Error) => setProblem(e.message))
                .finally(again)
            }
          >
            {t("resume")}
          </Button>
        ) : (
          <Button className="ml-auto" onClick={() => setAsking(true)}>
            {t("pausePlanner")}
          </Button>
        )}
      </div>
      {paused ? (
        <p className="text-t2">
          {t("pausedBy")} <Txt>{paused.by}</Txt>, <Age time={paused.since} />
          {paused.reason ? ": " : ""}
          <Txt max={200}>{paused.reason}</Txt>
        </p>
      ) : null}
      {problem ? (
        <p role="alert" className="text-danger">
          ▲ <Txt max={300}>{problem}</Txt>
        </p>
      ) : null}
      {asking ? (
        <AskReason
          optional
          title={t("pausePlanner")}
          text={t("pauseText")}
          go={t("pausePlanner")}
          onClose={() => setAsking(false)}
          onGo={(reason) => call("POST", "/planner/pause", { reason }).finally(again)}
        />
      ) : null}
    </section>
  );
}

export function Session() {
  const session = useSession();
  const client = useQueryClient();
  const [said, setSaid] = useState("");
  return (
    <Panel title={t("session")}>
      <Loaded q={session}>
        {(s) => (
          <div className="flex flex-col gap-2">
            <Pairs
              rows={[
                [t("name"), <Txt key="n">{s.name ?? "–"}</Txt>],
                [
                  t("scope"),
                  t(s.scope === "admin" ? "sc_admin" : s.scope === "operate" ? "sc_operate" : "sc_read"),
                ],
                [t("untilWhen"), s.expiresAt ? dateTime(s.expiresAt) : "–"],
                [
                  t("decide"),
                  <Txt key="d" max={300}>
                    {s.decision.mode === "none" ? s.decision.hint : (s.decision.operator?.name ?? t("yes"))}
                  </Txt>,
                ],
              ]}
            />
            {s.csrf ? (
              <div>
                <Button
                  onClick={() =>
                    call("POST", "/session/end")
                      .then(
                        () => setSaid(t("ended")),
                        (e: Error) => setSaid(e.message),
                      )
                      .finally(() => void client.invalidateQueries())
                  }
                >
                  {t("endSession")}
                </Button>
              </div>
            ) : null}
            {said ? (
              <p role="status">
                <Txt max={300}>{said}</Txt>
              </p>
            ) : null}
          </div>
        )}
      </Loaded>
    </Panel>
  );
}

export function Appearance() {
  const [look, setLook] = useState<Theme>(theme());
  return (
    <Panel title={t("appearance")}>
      <span className="inline-block">
        <Tabs
          label={t("theme")}
          on={look}
          onPick={(id) => {
            applyTheme(id as Theme);
            setLook(id as Theme);
          }}
          tabs={[
            ["system", t("system")],
            ["light", t("light")],
            ["dark", t("dark")],
          ]}
        />
      </span>
    </Panel>
  );
}
