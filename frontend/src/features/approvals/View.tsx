import { action, left } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { byUrgency, isWaiting } from "@/node/patch";
import { useProposals } from "@/node/reads";
import { Age, cx, Empty, Loaded, Panel, StatusMark, Tabs, Txt, useNow } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { Sheet } from "./Sheet";

const SHOWN = 200;

export function View() {
  const q = useProposals();
  const [place, go] = usePlace();
  const now = useNow();
  const all = q.data ?? [];
  const waiting = all.filter(isWaiting).sort(byUrgency);
  const decided = all.filter((p) => !isWaiting(p)).sort((a, b) => b.updatedAt - a.updatedAt);
  const linked = place.id ? all.find((p) => p.id.startsWith(place.id ?? "")) : undefined;
  const tab = place.tab ?? (linked && !isWaiting(linked) ? "decided" : "waiting");
  const list = tab === "waiting" ? waiting : decided;
  const selected = linked ?? (place.id ? undefined : list[0]);
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 md:grid-cols-[minmax(260px,340px)_1fr]">
      <Panel
        title={t("approvals")}
        flush
        className="max-md:max-h-64"
        aside={
          <Tabs
            label={t("approvals")}
            on={tab}
            onPick={(id) => go({ tab: id, id: undefined })}
            tabs={[
              ["waiting", `${t("inbox")} ${waiting.length}`],
              ["decided", `${t("decided")} ${decided.length}`],
            ]}
          />
        }
      >
        <Loaded q={q}>
          {() =>
            list.length ? (
              <ul>
                {list.slice(0, SHOWN).map((p) => (
                  <li key={p.id}>
                    <button
                      type="button"
                      aria-current={p.id === selected?.id}
                      onClick={() => go({ id: p.id, tab }, true)}
                      className={cx(
                        "flex w-full flex-col gap-0.5 border-line/60 border-b px-3 py-2 text-left hover:bg-s2",
                        p.id === selected?.id && "bg-s3",
                      )}
                    >
                      <span className="flex w-full items-center gap-2">
                        <span className="font-semibold">{p.level}</span>
                        <Txt className="min-w-0 flex-1 truncate font-medium">
                          {action(p.operation, p.target, p.runMs)}
                        </Txt>
                        {isWaiting(p) ? <span className="text-t2">{left(p.expiresAt - now)}</span> : null}
                      </span>
                      <span className="flex w-full items-center gap-2 text-t2">
                        {isWaiting(p) ? (
                          <Txt className="truncate">{p.reason}</Txt>
                        ) : (
                          <>
                            <StatusMark status={p.status} word={statusWord(p.status)} />
                            <span className="ml-auto">
                              <Age time={p.updatedAt} />
                            </span>
                          </>
                        )}
                      </span>
                    </button>
                  </li>
                ))}
              </ul>
            ) : (
              <Empty>{tab === "waiting" ? t("emptyInbox") : t("nothingDecided")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      {selected ? (
        <Sheet key={selected.id} p={selected} others={all} />
      ) : (
        <Panel>
          <Empty>{t("noProposal")}</Empty>
        </Panel>
      )}
    </div>
  );
}
