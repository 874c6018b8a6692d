/** Writes a message and gives it to this node, which has it on its disk when it answers. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useId, useRef, useState } from "react";
import { span } from "@/lib/format";
import { t } from "@/lib/i18n";
import { groupsOf } from "@/lib/rules";
import { line } from "@/lib/words";
import { post } from "@/node/client";
import { useAble, useRules } from "@/node/reads";
import { Button, Panel, Select, Txt } from "@/ui/kit";
import { agentsOf, bytesOf, freshKey, Keys, placeOf } from "./model";

/** As the node takes it. */
const TEXT_MAX_BYTES = 65_536;
const TIMES_MS = [60_000, 300_000, 1_800_000, 3_600_000];

export function Compose({ onSent }: { onSent: (id: string) => void }) {
  const client = useQueryClient();
  const able = useAble().data ?? [];
  const groups = groupsOf(useRules(true).data?.text ?? "");
  const [text, setText] = useState("");
  const [where, setWhere] = useState("");
  const [agent, setAgent] = useState("");
  const [priority, setPriority] = useState("0");
  const [time, setTime] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const keys = useRef(new Keys(freshKey));
  /** The state of React comes late for the second of two clicks. */
  const sending = useRef(false);
  const id = useId();
  const agents = agentsOf(able, where);
  const tooLong = bytesOf(text) > TEXT_MAX_BYTES;
  const ready = Boolean(text.trim()) && !tooLong;

  const send = (e?: FormEvent) => {
    e?.preventDefault();
    if (!ready || sending.current) return;
    sending.current = true;
    setBusy(true);
    setProblem("");
    const asked = {
      text,
      ...placeOf(where, agents.includes(agent) ? agent : ""),
      priority: Number(priority),
      timeoutMs: time ? Number(time) : null,
    };
    post("/messages", { ...asked, key: keys.current.of(JSON.stringify(asked)) })
      .then(
        (sent) => {
          keys.current.taken();
          setText("");
          onSent(sent.id);
        },
        (error: Error) => setProblem(error.message),
      )
      .finally(() => {
        sending.current = false;
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["messages"] });
      });
  };

  return (
    <Panel title={t("msNew")} className="shrink-0">
      <form onSubmit={send} className="flex flex-col gap-2">
        <label htmlFor={id} className="sr-only">
          {t("msText")}
        </label>
        <textarea
          id={id}
          dir="auto"
          rows={2}
          value={text}
          placeholder={t("msText")}
          aria-invalid={tooLong}
          onChange={(e) => setText(e.target.value)}
          onKeyDown={(e) => {
            if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) send();
          }}
          className="max-h-64 min-h-14 resize-y rounded-md border border-line bg-s1 px-2 py-1.5 text-t1"
        />
        <div className="flex flex-wrap items-center gap-2">
          <Select
            label={t("msWhere")}
            className="max-w-56"
            value={where}
            onChange={(e) => setWhere(e.target.value)}
          >
            <option value="">{t("msAutomatic")}</option>
            {groups.length ? (
              <optgroup label={t("msGroups")}>
                {groups.map((name) => (
                  <option key={name} value={`group:${name}`}>
                    {line(name, 64)}
                  </option>
                ))}
              </optgroup>
            ) : null}
            <optgroup label={t("nodes")}>
              {able.map((one) => (
                <option key={one.deviceId} value={`node:${one.deviceId}`}>
                  {line(one.name, 64)}
                </option>
              ))}
            </optgroup>
          </Select>
          <Select
            label={t("msAgent")}
            className="max-w-48"
            value={agents.includes(agent) ? agent : ""}
            onChange={(e) => setAgent(e.target.value)}
          >
            <option value="">{t("msAgentUsual")}</option>
            {agents.map((name) => (
              <option key={name} value={name}>
                {line(name, 80)}
              </option>
            ))}
          </Select>
          <Select label={t("msPriority")} value={priority} onChange={(e) => setPriority(e.target.value)}>
            <option value="5">{t("msHigh")}</option>
            <option value="0">{t("msNormal")}</option>
            <option value="-5">{t("msLow")}</option>
          </Select>
          <Select label={t("msTimeout")} value={time} onChange={(e) => setTime(e.target.value)}>
            <option value="">{t("msTimeUsual")}</option>
            {TIMES_MS.map((ms) => (
              <option key={ms} value={String(ms)}>
                {t("msWithin", { span: span(ms) })}
              </option>
            ))}
          </Select>
          <Button
            type="submit"
            tone="accent"
            className="ml-auto"
            disabled={busy || !ready}
            title={t("msSendHint")}
          >
            {t("send")}
          </Button>
        </div>
        {tooLong ? (
          <p role="alert" className="text-danger">
            ▲ {t("msTooLong")}
          </p>
        ) : null}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={400}>{problem}</Txt>
          </p>
        ) : null}
      </form>
    </Panel>
  );
}
