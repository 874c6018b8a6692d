/** No site yet, or a file with mistakes: what to write, where, and what is wrong. */
import { t } from "@/lib/i18n";
import type { Twin } from "@/node/client";
import { Button, CopyButton, download, Panel, Words } from "@/ui/kit";

const PLAN_FILE = "plan.svg";

export function Start({ twin }: { twin: Twin }) {
  const example = twin.example;
  return (
    <Panel title={t("twinNone")} className="md:min-h-0 md:flex-1">
      <div className="flex max-w-4xl flex-col gap-3">
        <p className="text-t2">{t("twinNoneText")}</p>
        <div className="flex flex-wrap items-center gap-2">
          <code className="rounded-[4px] bg-s2 px-2 py-1 font-mono text-[12.5px] wrap-anywhere">
            {twin.file}
          </code>
          <CopyButton text={twin.file} />
        </div>
        {example ? (
          <>
            <Example
              title={t("twinExample", { file: "site.toml" })}
              file="site.toml"
              kind="text/plain"
              text={example.site}
            />
            <Example
              title={t("twinExamplePlan", { file: PLAN_FILE })}
              file={PLAN_FILE}
              kind="image/svg+xml"
              text={example.plan}
            />
          </>
        ) : null}
      </div>
    </Panel>
  );
}

function Example({ title, file, kind, text }: { title: string; file: string; kind: string; text: string }) {
  return (
    <section className="rounded-md border border-line">
      <header className="flex min-h-9 items-center gap-2 border-line border-b px-3">
        <h3 className="min-w-0 flex-1 truncate font-semibold">{title}</h3>
        <CopyButton text={text} />
        <Button tone="quiet" className="h-7! px-2" onClick={() => download(file, kind, text)}>
          {t("save")}
        </Button>
      </header>
      <div className="max-h-64 overflow-auto p-3" role="group" aria-label={title} tabIndex={0}>
        <Words text={text} max={20_000} mono />
      </div>
    </section>
  );
}

/** What is wrong in the file of the sites: in the place of the sites, or `beside` those that are right. */
export function Broken({ twin, beside = false }: { twin: Twin; beside?: boolean }) {
  const n = twin.problems.length;
  return (
    <Panel
      title={
        <span className="text-warn">
          <span aria-hidden="true">▲ </span>
          {t("twinBroken", { n })}
        </span>
      }
      className={beside ? "max-h-40 shrink-0" : "md:min-h-0 md:flex-1"}
    >
      <div role="status" className="flex max-w-4xl flex-col gap-3">
        <p className="wrap-anywhere text-t2">
          {t(beside ? "twinBrokenSome" : "twinBrokenText", { file: twin.file })}
        </p>
        <ol className="flex flex-col">
          {twin.problems.map((p) => (
            <li
              key={`${p.line}${p.key}${p.message}`}
              className="flex flex-wrap items-baseline gap-x-3 border-line/60 border-b py-1.5"
            >
              <span className="w-20 shrink-0 font-medium">
                {p.line ? t("lineAt", { line: String(p.line) }) : t("wholeFile")}
              </span>
              {p.key ? <code className="font-mono text-[12.5px] text-t2">{p.key}</code> : null}
              <span className="min-w-0 basis-full sm:basis-0 sm:grow">
                <Words text={p.message} max={600} />
              </span>
            </li>
          ))}
        </ol>
      </div>
    </Panel>
  );
}
