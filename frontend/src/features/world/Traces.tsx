/** From reading to outcome, one proposal at a time. */
import { Link } from "@tanstack/react-router";
import { action } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { useProposals, useTrace, useWho } from "@/node/reads";
import { CopyButton, Empty, Loaded, Panel, Select, StatusMark, Txt } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { TraceDiagram } from "@/ui/trace";

const OFFERED = 200;

export function Traces() {
  const [place, go] = usePlace();
  const proposals = useProposals();
  const list = [...(proposals.data ?? [])].sort((a, b) => b.updatedAt - a.updatedAt).slice(0, OFFERED);
  const id = place.id ?? list[0]?.id;
  const listed = list.some((p) => p.id === id);
  return (
    <Panel
      title={t("traces")}
      className="md:min-h-0 md:flex-1"
      aside={
        <>
          <Select
            label={t("traces")}
            className="h-7! max-w-[70vw] sm:max-w-96"
            value={id ?? ""}
            onChange={(e) => go({ id: e.target.value }, true)}
          >
            {id && !listed ? <option value={id}>{line(id, 36)}</option> : null}
            {list.map((p) => (
              <option key={p.id} value={p.id}>
                {line(
                  `${action(p.operation, p.target, p.runMs)} · ${statusWord(p.status)} · ${p.id.slice(0, 8)}`,
                  90,
                )}
              </option>
            ))}
          </Select>
          {id ? (
            <CopyButton label={t("copyLink")} text={`${location.origin}/world?tab=trace&id=${id}`} />
          ) : null}
        </>
      }
    >
      {id ? <TraceOf key={id} id={id} /> : <Empty>{proposals.data ? t("noTraces") : t("loading")}</Empty>}
    </Panel>
  );
}

function TraceOf({ id }: { id: string }) {
  const q = useTrace(id);
  const who = useWho();
  return (
    <Loaded q={q}>
      {({ proposal: p, steps }) => (
        <div className="flex flex-col gap-3">
          <div className="flex flex-wrap gap-x-3">
            <strong className="text-[15px]">
              <Txt>{action(p.operation, p.target, p.runMs)}</Txt>
            </strong>
            <StatusMark status={p.status} word={statusWord(p.status)} />
            <Link to="/approvals" search={{ id } as never} className="text-accent hover:underline">
              {t("open")}
            </Link>
          </div>
          <TraceDiagram steps={steps} who={who} />
        </div>
      )}
    </Loaded>
  );
}
