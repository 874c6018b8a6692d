/** The conversations that the node has kept, and whether the one that is open is private. */
import { t } from "@/lib/i18n";
import type { Answered } from "@/node/client";
import { Age, cx, Empty, Panel, Switch, Txt } from "@/ui/kit";
import { conversationsOf } from "./model";

/** Once something private was said in a conversation it stays private. */
export function Marked({
  on,
  fixed,
  onChange,
}: {
  on: boolean;
  fixed: boolean;
  onChange: (on: boolean) => void;
}) {
  if (fixed)
    return (
      <span className="text-warn" title={t("markPrivateText")}>
        ▲ {t("markPrivate")}
      </span>
    );
  return (
    <span title={t("markPrivateText")}>
      <Switch on={on} label={t("markPrivate")} onChange={onChange}>
        {t("markPrivate")}
      </Switch>
    </span>
  );
}

export function Earlier({
  answered,
  on,
  onOpen,
  disabled,
}: {
  answered: Answered[] | undefined;
  on: string | undefined;
  onOpen: (conversation: string) => void;
  disabled: boolean;
}) {
  const all = conversationsOf(answered ?? []);
  return (
    <Panel title={t("conversations")} flush className="min-h-40 lg:flex-1">
      {all.length ? (
        <ul>
          {all.map((c) => (
            <li key={c.id}>
              <button
                type="button"
                aria-current={c.id === on ? "true" : undefined}
                disabled={disabled}
                onClick={() => onOpen(c.id)}
                className={cx(
                  "flex w-full flex-col items-start border-line/60 border-b px-3 py-1.5 text-left hover:bg-s2",
                  c.id === on && "bg-s2 font-medium",
                )}
              >
                <Txt max={120}>{c.first}</Txt>
                <span className="text-[12px] text-t2 font-normal">
                  {c.private ? <span className="text-warn">▲ {t("markPrivate")} · </span> : null}
                  {c.count > 1 ? `${c.count} · ` : ""}
                  <Age time={c.at} /> ·{" "}
                  <Txt max={60}>{t(c.standing ? "askedByStanding" : "askedByShort", { name: c.by })}</Txt>
                </span>
              </button>
            </li>
          ))}
        </ul>
      ) : (
        <Empty>{answered ? t("conversationsNone") : t("loading")}</Empty>
      )}
    </Panel>
  );
}
