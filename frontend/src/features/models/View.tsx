import { listed, t } from "@/lib/i18n";
import type { Models } from "@/node/client";
import { useCredentials, useModels, useOfferings } from "@/node/reads";
import { CopyButton, Loaded, Pairs, Panel, State, Txt } from "@/ui/kit";
import { Chain } from "./Chain";
import { Keys } from "./Keys";
import { elsewhere } from "./model";
import { Try } from "./Try";

const LOCAL = "clawmesh-node start --model ollama/qwen2.5:1.5b";
const CLOUD = `[[model]]
name = "openai/gpt-4o-mini"
tokens_per_day = 200000`;

function Command({ text }: { text: string }) {
  return (
    <div className="flex flex-wrap items-start gap-2">
      <pre className="min-w-0 flex-1 whitespace-pre-wrap wrap-anywhere rounded-md border border-line bg-s2 p-2 font-mono text-[12.5px]">
        {text}
      </pre>
      <CopyButton text={text} />
    </div>
  );
}

/** What adds a model. */
function None() {
  return (
    <div className="flex max-w-prose flex-col gap-2">
      <p>{t("modelsNone")}</p>
      <p className="text-t2">{t("modelsAddLocal")}</p>
      <Command text={LOCAL} />
      <p className="text-t2">{t("modelsAddConfig")}</p>
      <Command text={CLOUD} />
      <p className="text-t2">{t("modelsAddKey")}</p>
    </div>
  );
}

/** Which models may see what. */
function Privacy({ view }: { view: Models }) {
  const names = (sees: boolean) => view.models.filter((m) => m.seesPrivate === sees).map((m) => m.model);
  const list = (all: string[]) => <Txt max={600}>{all.length ? listed(all) : "–"}</Txt>;
  const nothing = !view.privateZones.length && !view.privateMetrics.length;
  return (
    <Panel title={t("privacyTitle")}>
      <Pairs
        rows={[
          [t("privateZones"), list(view.privateZones)],
          [t("privateMetrics"), list(view.privateMetrics)],
          [t("privateMayGo"), view.models.length ? list(names(true)) : "–"],
          [t("publicOnly"), view.models.length ? list(names(false)) : "–"],
          [t("orderWord"), t(view.edgeFirst ? "edgeFirst" : "asConfigured")],
        ]}
      />
      <p className="mt-2 text-[12px] text-t2">{nothing ? t("privacyNone") : t("privacyText")}</p>
    </Panel>
  );
}

/** What other nodes say they serve. */
function Elsewhere() {
  const nodes = useOfferings();
  return (
    <Panel title={t("modelsElsewhere")}>
      <Loaded q={nodes}>
        {(all) => {
          const found = elsewhere(all);
          return found.length ? (
            <ul className="flex flex-col gap-1">
              {found.map(({ node, model }) => (
                <li key={`${node.deviceId} ${model}`} className="flex flex-wrap items-center gap-x-2">
                  <State is={node.connected ? "healthy" : "offline"} word={false} />
                  <Txt className="font-medium" max={120}>
                    {model}
                  </Txt>
                  <Txt className="text-t2" max={64}>
                    {node.displayName || node.deviceId.slice(0, 8)}
                  </Txt>
                </li>
              ))}
            </ul>
          ) : (
            <p className="text-t2">{t("modelsElsewhereNone")}</p>
          );
        }}
      </Loaded>
    </Panel>
  );
}

export function View() {
  const models = useModels();
  const set = new Set(useCredentials().data?.map((c) => c.name));
  const column = "flex min-w-0 flex-col gap-3 lg:min-h-0 lg:overflow-auto";
  return (
    <div className="grid flex-1 content-start gap-3 lg:min-h-0 lg:grid-cols-[1fr_minmax(320px,420px)] lg:content-stretch">
      <div className={column}>
        <Panel title={t("chainTitle")} className="shrink-0">
          <p className="mb-2 text-t2">{t("chainText")}</p>
          <Loaded q={models}>
            {(view) => (view.models.length ? <Chain models={view.models} set={set} /> : <None />)}
          </Loaded>
        </Panel>
        <div className="grid shrink-0 items-start gap-3 xl:grid-cols-2">
          {models.data ? <Privacy view={models.data} /> : null}
          <Elsewhere />
        </div>
      </div>
      <div className={column}>
        {models.data?.models.length ? <Try /> : null}
        <Keys />
      </div>
    </div>
  );
}
