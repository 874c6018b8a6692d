import { useEffect, useMemo } from "react";
import { action, left } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { tame } from "@/lib/words";
import type { Proposal } from "@/node/client";
import { isWaiting } from "@/node/patch";
import { useProposals } from "@/node/reads";
import { Age, cx, Empty, Loaded, Panel, Search, StatusMark, Txt, useNow } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { VirtualList } from "@/ui/virtual";
import { useKeys } from "./keys";
import { matching, sorted } from "./model";
import { Sheet } from "./Sheet";
import { Standing } from "./Standing";

const ROW_PX = 56;

export function View() {
  const [place] = usePlace();
  return place.tab === "standing" ? <Standing tabs={<Lists />} /> : <Proposals />;
}

/** The lists of this page: what waits, what was decided, what was approved ahead of time. */
function Lists({ on = "standing" }: { on?: string }) {
  const [place, go] = usePlace();
  const q = useProposals();
  const lists = useMemo(() => sorted(q.data ?? []), [q.data]);
  // What belongs to the list that is left stays with it.
  const none = Object.fromEntries(Object.keys(place).map((k) => [k, undefined]));
  return (
    <Tabs
      label={t("approvals")}
      on={on}
      onPick={(id) => go({ ...none, tab: id })}
      tabs={[
        ["waiting", `${t("inbox")} ${lists.waiting.length}`],
        ["decided", `${t("decided")} ${lists.decided.length}`],
        ["standing", t("standing")],
      ]}
    />
  );
}

function Proposals() {
  const q = useProposals();
  const [place, go] = usePlace();
  const all = q.data ?? [];
  const lists = useMemo(() => sorted(q.data ?? []), [q.data]);
  const linked = place.id ? all.find((p) => p.id.startsWith(place.id ?? "")) : undefined;
  const tab = place.tab ?? (linked && !isWaiting(linked) ? "decided" : "waiting");
  const words = place.q ?? "";
  const list = useMemo(
    () => matching(tab === "waiting" ? lists.waiting : lists.decided, words),
    [lists, tab, words],
  );
  const selected = linked ?? (place.id ? undefined : list[0]);
  const at = list.findIndex((p) => p.id === selected?.id);
  // What is looked at stays in sight when it is decided: the address names it from the start.
  const first = place.id ? undefined : list[0]?.id;
  useEffect(() => {
    if (first) go({ id: first, tab });
  }, [first]);
  useKeys((by) => {
    const next = list[Math.max(0, Math.min(list.length - 1, at + by))];
    if (next) go({ id: next.id, tab });
  });
  return (
    <div className="grid flex-1 gap-3 md:min-h-0 md:grid-cols-[minmax(300px,380px)_1fr]">
      <Panel
        title={t("approvals")}
        flush
        className="max-md:max-h-64"
        aside={<Lists on={tab} />}
        foot={
          <div className="flex items-center gap-2">
            <Search value={words} onChange={(x) => go({ q: x })} className="flex-1" />
            <span className="text-[12px] text-t2 max-md:hidden">
              <kbd>j</kbd> <kbd>k</kbd> {t("keysMove")} <kbd>a</kbd> <kbd>r</kbd> {t("keysDecide")}
            </span>
          </div>
        }
      >
        <Loaded q={q}>
          {() =>
            list.length ? (
              <VirtualList items={list} height={ROW_PX} at={at} pick={selected?.id} label={t("approvals")}>
                {(p) => (
                  <li key={p.id}>
                    <Entry p={p} on={p.id === selected?.id} onPick={() => go({ id: p.id, tab }, true)} />
                  </li>
                )}
              </VirtualList>
            ) : (
              <Empty>{words ? t("noHit") : tab === "waiting" ? t("emptyInbox") : t("nothingDecided")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      {selected ? (
        <Sheet key={selected.id} p={selected} others={all} />
      ) : (
        <Panel>
          <Empty>
            {place.id && q.data ? t("noSuchProposal", { id: place.id.slice(0, 36) }) : t("noProposal")}
          </Empty>
        </Panel>
      )}
    </div>
  );
}

function Entry({ p, on, onPick }: { p: Proposal; on: boolean; onPick: () => void }) {
  const waiting = isWaiting(p);
  return (
    <button
      type="button"
      aria-current={on}
      onClick={onPick}
      className={cx(
        "flex h-14 w-full flex-col justify-center gap-0.5 border-line/60 border-b px-3 text-left hover:bg-s2",
        on && "bg-s3 shadow-[inset_3px_0_0_var(--accent)]",
      )}
    >
      <span className="flex w-full items-center gap-2">
        <span className={cx("font-semibold", p.level === "L3" && waiting && "text-danger")}>{p.level}</span>
        <Txt className="min-w-0 flex-1 truncate font-medium">{action(p.operation, p.target, p.runMs)}</Txt>
        {waiting ? <Countdown until={p.expiresAt} /> : null}
      </span>
      <span className="flex w-full min-w-0 items-center gap-2 text-t2">
        {waiting ? (
          <bdi className="truncate">{tame(p.reason, 200)}</bdi>
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
  );
}

function Countdown({ until }: { until: number }) {
  const ms = until - useNow();
  return <span className={ms < 60_000 ? "font-semibold text-warn" : "text-t2"}>{left(ms)}</span>;
}
