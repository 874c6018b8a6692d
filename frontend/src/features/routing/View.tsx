/** How messages find a node: the rules, what they would do with a message, and what the nodes can do. */
import { t } from "@/lib/i18n";
import { useRules, useSession } from "@/node/reads";
import { Loaded, Panel } from "@/ui/kit";
import { Explain } from "./Explain";
import { Nodes } from "./Nodes";
import { RulesPanel } from "./Rules";

export function View() {
  const session = useSession().data;
  const may = session !== undefined && session.scope !== "read";
  const rules = useRules(may);
  return (
    <div className="grid flex-1 auto-rows-max gap-3 lg:auto-rows-auto lg:grid-cols-[1fr_minmax(340px,460px)]">
      {session && !may ? (
        <Panel title={t("routing")} className="self-start">
          <p className="max-w-prose text-t2">{t("routingText")}</p>
          <p className="mt-2">◇ {t("needOperate")}</p>
        </Panel>
      ) : (
        <Panel title={t("routing")} className="self-start">
          <p className="mb-2 max-w-prose text-t2">{t("routingText")}</p>
          <Loaded q={rules}>{(is) => <RulesPanel is={is} admin={session?.scope === "admin"} />}</Loaded>
        </Panel>
      )}
      <div className="flex min-w-0 flex-col gap-3">
        {may ? <Explain /> : null}
        <Nodes admin={session?.scope === "admin"} />
      </div>
    </div>
  );
}
