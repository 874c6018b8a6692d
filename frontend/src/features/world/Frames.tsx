/** The log of frames as they came, newest first, and one of them in full. */
import { codeWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import type { Frame } from "@/node/client";
import { Refused } from "@/node/client";
import { useFrame, useFrames, useWorld } from "@/node/reads";
import {
  Age,
  Button,
  Cell,
  CopyButton,
  Empty,
  Hex,
  Id,
  Json,
  Loaded,
  Pairs,
  Panel,
  Row,
  Search,
  Select,
  Since,
  Table,
  Txt,
  Worth,
} from "@/ui/kit";
import { usePlace } from "@/ui/place";
import { VirtualRows } from "@/ui/virtual";
import { gist } from "./model";

const KINDS = ["observation", "event", "human_input", "inference", "capability_update", "agent_response"];
const PAGE = 500;

export function Frames() {
  const [place, go] = usePlace();
  const origins = new Map((useWorld().data ?? []).map((f) => [f.origin, f.originName]));
  // An older page does not change: it is read once.
  const q = useFrames(
    {
      kind: place.kind,
      origin: place.origin,
      before: place.before ? Number(place.before) : undefined,
      limit: PAGE,
    },
    place.before ? undefined : 3_000,
  );
  const words = (place.q ?? "").toLowerCase();
  const all = q.data ?? [];
  const found = words
    ? all.filter((f) =>
        `${f.kind} ${gist(f)} ${f.frameId} ${origins.get(f.origin)} ${f.origin}`
          .toLowerCase()
          .includes(words),
      )
    : all;
  const last = all.at(-1);
  return (
    <div className="grid gap-3 md:min-h-0 md:flex-1 lg:grid-cols-[1fr_minmax(320px,420px)]">
      <Panel
        flush
        title={t("frameLog")}
        className="max-md:max-h-[60vh]"
        aside={
          <>
            <Search value={place.q ?? ""} onChange={(x) => go({ q: x })} className="w-28" />
            <Select
              label={t("kind")}
              className="h-7!"
              value={place.kind ?? ""}
              onChange={(e) => go({ kind: e.target.value, before: undefined })}
            >
              <option value="">{t("anyKind")}</option>
              {KINDS.map((k) => (
                <option key={k} value={k}>
                  {codeWord("fk", k)}
                </option>
              ))}
            </Select>
            <Select
              label={t("origin")}
              value={place.origin ?? ""}
              className="h-7! max-w-36 max-sm:hidden"
              onChange={(e) => go({ origin: e.target.value, before: undefined })}
            >
              <option value="">{t("anyOrigin")}</option>
              {[...origins].map(([id, name]) => (
                <option key={id} value={id}>
                  {name ? line(name, 40) : id.slice(0, 8)}
                </option>
              ))}
            </Select>
          </>
        }
        foot={
          <div className="flex flex-wrap items-center gap-2">
            {place.before ? (
              <Button className="h-7!" onClick={() => go({ before: undefined })}>
                {t("newest")}
              </Button>
            ) : (
              <Button
                className="h-7!"
                disabled={!all.length}
                onClick={() => go({ before: String((all[0]?.seq ?? 0) + 1) })}
              >
                {t("holdStill")}
              </Button>
            )}
            <Button
              className="h-7!"
              disabled={all.length < PAGE}
              onClick={() => go({ before: String(last?.seq) }, true)}
            >
              {t("older")}
            </Button>
            <span className="ml-auto text-[12px] text-t2">
              {all.length
                ? t("framesSpan", { n: all.length, from: String(last?.seq), to: String(all[0]?.seq) })
                : null}
            </span>
          </div>
        }
      >
        <Loaded q={q}>
          {() =>
            found.length ? (
              <Table
                label={t("frameLog")}
                className="max-sm:[&_tr>:nth-child(1)]:hidden max-sm:[&_tr>:nth-child(5)]:hidden max-sm:[&_tr>:nth-child(6)]:hidden"
                head={[t("seq"), t("age"), t("content"), t("tier"), t("kind"), t("origin")]}
              >
                <VirtualRows
                  items={found}
                  columns={6}
                  pick={place.frame}
                  at={place.frame ? found.findIndex((f) => f.frameId === place.frame) : undefined}
                >
                  {(f) => (
                    <Row key={f.seq} on={f.frameId === place.frame}>
                      <Cell className="text-t2">{f.seq}</Cell>
                      <Cell>
                        <Since time={f.time} stale={Number.POSITIVE_INFINITY} />
                      </Cell>
                      <Cell>
                        <button
                          type="button"
                          className="block max-w-72 truncate text-left text-accent hover:underline"
                          onClick={() => go({ frame: f.frameId }, true)}
                        >
                          <bdi>{gist(f)}</bdi>
                        </button>
                      </Cell>
                      <Cell>
                        <Worth
                          claimed={f.claimedTier}
                          effective={f.effectiveTier}
                          signature={f.signature}
                          tainted={f.tainted}
                          secret={f.private}
                        />
                      </Cell>
                      <Cell className="whitespace-nowrap">
                        <Txt max={32}>{codeWord("fk", f.kind)}</Txt>
                      </Cell>
                      <Cell className="max-w-40 truncate">
                        <Id id={f.origin} label={origins.get(f.origin)} />
                      </Cell>
                    </Row>
                  )}
                </VirtualRows>
              </Table>
            ) : (
              <Empty>{words || place.kind || place.origin ? t("noFrames") : t("noFacts")}</Empty>
            )
          }
        </Loaded>
      </Panel>
      <One id={place.frame} listed={all.find((f) => f.frameId === place.frame)} origins={origins} />
    </div>
  );
}

function One({
  id,
  listed,
  origins,
}: {
  id?: string;
  listed?: Frame;
  origins: Map<string, string | null | undefined>;
}) {
  // What a link names may be older than the list.
  const asked = useFrame(listed ? undefined : id);
  const f = listed ?? asked.data;
  const gone = asked.error instanceof Refused && asked.error.status === 404;
  return (
    <Panel
      title={t("frame")}
      aside={
        f ? (
          <CopyButton
            label={t("copyLink")}
            text={`${location.origin}/world?tab=frames&frame=${encodeURIComponent(f.frameId)}`}
          />
        ) : null
      }
    >
      {f ? (
        <div className="flex flex-col gap-3">
          <p className="font-medium">
            <bdi className="wrap-anywhere">{gist(f)}</bdi>
          </p>
          <Pairs
            rows={[
              [
                t("frame"),
                <Txt key="f" className="font-mono text-[12px]">
                  {f.frameId}
                </Txt>,
              ],
              [t("kind"), <Txt key="k">{codeWord("fk", f.kind)}</Txt>],
              [t("origin"), <Id key="o" id={f.origin} label={origins.get(f.origin)} />],
              [t("time"), <Age key="t" time={f.time} />],
              [t("received"), <Age key="r" time={f.receivedAt} />],
              [
                t("tier"),
                <Worth
                  key="w"
                  claimed={f.claimedTier}
                  effective={f.effectiveTier}
                  signature={f.signature}
                  tainted={f.tainted}
                  secret={f.private}
                />,
              ],
              [t("hash"), <Hex key="h">{f.content}</Hex>],
            ]}
          />
          {f.ahead ? <p className="text-warn">◐ {t("ahead")}</p> : null}
          <h3 className="font-semibold text-[12px] text-t2">{t("full")}</h3>
          <Json data={f.frame} />
        </div>
      ) : !id ? (
        <p className="text-t2">{t("pickFrame")}</p>
      ) : gone ? (
        <p className="text-t2">◇ {t("frameGone")}</p>
      ) : (
        <Loaded q={asked}>{() => null}</Loaded>
      )}
    </Panel>
  );
}
