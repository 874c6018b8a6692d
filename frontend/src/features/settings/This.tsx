/** This node, this session, how it looks. */
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { bytes, span } from "@/lib/format";
import {
  chooseLanguage,
  codeWord,
  dateTime,
  LANGUAGES,
  type LanguageChoice,
  languageChoice,
  number,
  plannerWord,
  t,
} from "@/lib/i18n";
import { type Planner, post } from "@/node/client";
import { useSession, useStatus } from "@/node/reads";
import { applyTheme, type Theme, theme } from "@/platform/browser";
import { AskReason } from "@/ui/dialog";
import { Age, Button, Hex, Loaded, Pairs, Panel, Txt } from "@/ui/kit";
import { Tabs } from "@/ui/tabs";

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
                [t("role"), <Txt key="r">{codeWord("ro", s.role)}</Txt>],
                [t("deviceId"), <Hex key="d">{s.deviceId}</Hex>],
                [t("mesh"), <Txt key="m">{s.meshName || "–"}</Txt>],
                [t("meshIdWord"), <Hex key="i">{s.meshId}</Hex>],
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
          <Txt max={200}>{plannerWord(planner)}</Txt>
        </span>
        {planner.state === "off" || !may ? null : paused ? (
          <Button
            className="ml-auto"
            onClick={() =>
              post("/planner/resume", {})
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
          onGo={(reason) => post("/planner/pause", { reason }).finally(again)}
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
                    post("/session/end")
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

/** The page is drawn anew in its language; whoever pressed the button keeps the focus on it. */
let pressed = false;
export function Appearance() {
  const tongue = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (pressed) tongue.current?.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
    pressed = false;
  }, []);
  const [look, setLook] = useState<Theme>(theme());
  return (
    <Panel title={t("appearance")}>
      <div className="flex flex-wrap items-center gap-x-6 gap-y-2">
        <span className="flex flex-wrap items-center gap-2">
          <span aria-hidden="true" className="text-t2">
            {t("theme")}
          </span>
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
        <span ref={tongue} className="flex flex-wrap items-center gap-2">
          <span aria-hidden="true" className="text-t2">
            {t("language")}
          </span>
          <Tabs
            label={t("language")}
            on={languageChoice()}
            onPick={(id) => {
              pressed = true;
              void chooseLanguage(id as LanguageChoice).finally(() => setLook(theme()));
            }}
            tabs={[["system", t("system")], ...Object.entries(LANGUAGES)]}
          />
        </span>
      </div>
    </Panel>
  );
}
