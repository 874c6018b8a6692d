/** What presets and grants can do at worst: one table of the node, in its own two languages. */
import { language, t } from "@/lib/i18n";
import type { GrantTable } from "@/node/client";
import { useGrantTable } from "@/node/reads";
import { cx, Txt } from "@/ui/kit";

/** The node's words in the language of the console. */
export const said = (words: GrantTable["adminWarning"]): string => words[language()] ?? words.en;

/** Said before a device gets `admin`, and beside one that has it. */
export function AdminWarning({ className }: { className?: string }) {
  const table = useGrantTable().data;
  return table ? (
    <p role="note" className={cx("rounded-md border border-danger p-2 text-danger", className)}>
      ▲ {said(table.adminWarning)}
    </p>
  ) : null;
}

const worstOf = (table: GrantTable, grant: string) => table.grants.find((g) => g.grant === grant);

/** What these grants let a stolen or lying device do here, and every preset beside it to compare. */
export function Worst({ grants, presets = false }: { grants: readonly string[]; presets?: boolean }) {
  const table = useGrantTable().data;
  if (!table) return null;
  return (
    <details className="rounded-md border border-line">
      <summary className="cursor-pointer px-3 py-1.5 font-medium">{t("worstTitle")}</summary>
      <div className="flex flex-col gap-3 border-line border-t px-3 py-2">
        <dl className="flex flex-col gap-1.5">
          {grants.map((g) => {
            const worst = worstOf(table, g);
            return (
              <div key={g}>
                <dt>
                  <code className="font-mono text-[12px]">
                    <Txt max={40}>{g}</Txt>
                  </code>
                </dt>
                <dd className={cx("ml-3", g === "admin" ? "text-danger" : "text-t2")}>
                  {worst ? said(worst.worst) : t("g_other")}
                </dd>
              </div>
            );
          })}
        </dl>
        {presets ? (
          <div>
            <h4 className="mb-1 font-medium">{t("presetsAll")}</h4>
            <dl className="flex flex-col gap-1.5">
              {table.presets.map((p) => (
                <div key={p.preset}>
                  <dt>
                    <strong className="font-medium">{p.preset}</strong>{" "}
                    <span className="text-t2">{said(p.for)}</span>
                  </dt>
                  <dd className="ml-3 font-mono text-[12px] text-t2">{p.grants.join(", ")}</dd>
                </div>
              ))}
            </dl>
          </div>
        ) : null}
      </div>
    </details>
  );
}
