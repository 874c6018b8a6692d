/** Messages to agents: written here, listed newest first, each with its whole life. */
import { useEffect, useState } from "react";
import { codeWord, t } from "@/lib/i18n";
import { type Message, Refused } from "@/node/client";
import { useAble, useMessages, useSession } from "@/node/reads";
import { Age, Button, Cell, cx, Empty, Loaded, Panel, Row, Search, StatusMark, Table, Txt } from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Compose } from "./Compose";
import { countOf, lookOf, SHOWN, type Shown, shownOf } from "./model";
import { One } from "./One";

const PAGE = 50;
const SEARCH_MS = 300;

export function View() {
  const [place, go] = usePlace();
  const session = useSession().data;
  const may = session !== undefined && session.scope !== "read";
  const chosen = may ? place.m : undefined;
  const able = useAble();
  const names = new Map((able.data ?? []).map((one) => [one.deviceId, one.name]));
  // Nothing is asked for before it is known what this session may.
  if (!session) return <Empty>{t("loading")}</Empty>;
  if (!may)
    return (
      <Panel title={t("messages")} className="shrink-0">
        <p className="max-w-prose text-t2">{t("messagesText")}</p>
        <p className="mt-2">◇ {t("needOperate")}</p>
      </Panel>
    );
  return (
    <div className="grid flex-1 auto-rows-max content-start gap-3 lg:min-h-0 lg:auto-rows-auto lg:grid-cols-[1fr_minmax(320px,440px)] lg:content-stretch">
      {/* On a narrow screen a message that is open has the page for itself. */}
      <div className={cx("flex min-w-0 flex-col gap-3 lg:min-h-0", chosen && "max-lg:hidden")}>
        <Compose onSent={(id) => go({ m: id, before: undefined, beforeId: undefined }, true)} />
        <Listed may={may} chosen={chosen} />
      </div>
      <One id={chosen} names={names} />
    </div>
  );
}

/** What is typed, once it has stood still for a moment. */
function useStill(is: string, said: (words: string) => void): [string, (words: string) => void] {
  const [typed, setTyped] = useState(is);
  useEffect(() => {
    if (typed === is) return;
    const timer = setTimeout(() => said(typed), SEARCH_MS);
    return () => clearTimeout(timer);
  });
  return [typed, setTyped];
}

function Listed({ may, chosen }: { may: boolean; chosen?: string }) {
  const [place, go] = usePlace();
  const shown = shownOf(place.show);
  const [typed, setTyped] = useStill(place.q ?? "", (q) => go({ q, before: undefined, beforeId: undefined }));
  const query = {
    state: SHOWN[shown].join(",") || undefined,
    text: place.q || undefined,
    before: place.before === undefined ? undefined : Number(place.before) || undefined,
    beforeId: place.before === undefined ? undefined : place.beforeId,
    limit: PAGE,
  };
  const q = useMessages(query, may);
  const counts = q.data?.counts ?? {};
  const list = q.data?.messages ?? [];
  const last = list.at(-1);
  const word = (one: Shown) => t(`ms_${one}`, { n: countOf(one, counts) });
  return (
    <Panel
      flush
      title={t("messages")}
      className="max-lg:max-h-[80vh] lg:min-h-0 lg:flex-1"
      aside={
        <>
          <Tabs
            label={t("msShown")}
            tabs={(Object.keys(SHOWN) as Shown[]).map((one) => [one, word(one)])}
            on={shown}
            onPick={(show) =>
              go({ show: show === "all" ? undefined : show, before: undefined, beforeId: undefined })
            }
          />
          <Search value={typed} onChange={setTyped} />
        </>
      }
      foot={
        <div className="flex flex-wrap items-center gap-2">
          {place.before === undefined ? null : (
            <Button className="h-7!" onClick={() => go({ before: undefined, beforeId: undefined })}>
              {t("newest")}
            </Button>
          )}
          <Button
            className="h-7!"
            disabled={!last || list.length < PAGE}
            onClick={() => last && go({ before: String(last.createdAt), beforeId: last.id }, true)}
          >
            {t("older")}
          </Button>
        </div>
      }
    >
      {shown === "dead" ? <p className="border-line border-b px-3 py-2 text-t2">{t("msDeadText")}</p> : null}
      {/* What cannot be read anew is said; what was read before stays. */}
      {q.data && q.error ? (
        <p role="alert" className="px-3 py-2 text-danger">
          ▲ <Txt max={300}>{q.error instanceof Refused ? q.error.message : String(q.error)}</Txt>
        </p>
      ) : null}
      <Loaded q={q}>
        {(page) =>
          page.messages.length ? (
            <Table
              label={t("messages")}
              className="max-sm:[&_tr>:nth-child(3)]:hidden max-sm:[&_tr>:nth-child(4)]:hidden"
              head={[t("state"), t("msMessage"), t("msAt"), t("msSender"), t("time")]}
            >
              {page.messages.map((one) => (
                <Line key={one.id} one={one} on={one.id === chosen} onPick={() => go({ m: one.id }, true)} />
              ))}
            </Table>
          ) : (
            <Empty>{place.q || place.before ? t("noHit") : t(shown === "all" ? "msNone" : "msNoneOf")}</Empty>
          )
        }
      </Loaded>
    </Panel>
  );
}

function Line({ one, on, onPick }: { one: Message; on: boolean; onPick: () => void }) {
  const at = one.attempts.at(-1);
  return (
    <Row on={on}>
      <Cell>
        <StatusMark status={lookOf(one.state)} word={codeWord("mt", one.state)} />
      </Cell>
      <Cell className="w-full max-w-0">
        <button
          type="button"
          className="block w-full truncate text-left font-medium text-accent hover:underline"
          onClick={onPick}
        >
          <Txt max={160}>{one.text}</Txt>
        </button>
      </Cell>
      <Cell className="max-w-48 truncate text-t2">
        {at ? (
          <>
            <Txt max={40}>{at.name}</Txt> · <Txt max={40}>{at.agent}</Txt>
          </>
        ) : (
          "–"
        )}
      </Cell>
      <Cell className="max-w-32 truncate text-t2">
        <Txt max={40}>{one.sender}</Txt>
      </Cell>
      <Cell className="text-t2">
        <Age time={one.createdAt} />
      </Cell>
    </Row>
  );
}
