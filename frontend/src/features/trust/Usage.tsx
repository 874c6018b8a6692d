/** What a device has made this node keep, against its shares. */
import { bytes } from "@/lib/format";
import { codeWord, number, t } from "@/lib/i18n";
import type { Share, Trust } from "@/node/client";
import { Button, cx, Txt } from "@/ui/kit";
import { isFull, usageOf } from "./model";

const amount = (u: Share, n: number): string => (u.kind.endsWith("bytes") ? bytes(n) : number(n));

export function Usage({ d, onRevoke }: { d: Trust; onRevoke?: () => void }) {
  const shares = d.usage ?? [];
  if (!shares.length) return null;
  const { most, refused, look } = usageOf(shares);
  return (
    <details
      open={look || undefined}
      className={cx("rounded-md border", look ? "border-warn" : "border-line")}
    >
      <summary className="cursor-pointer px-3 py-1.5">
        <span className="font-medium">{t("keeps")}</span>{" "}
        <span className={look ? "text-warn" : "text-t2"}>
          {look ? "▲ " : ""}
          {t("keepsMost", { part: number(Math.min(100, most * 100), 0, "percent") })}
          {refused ? ` · ${t("keepsRefused", { n: refused })}` : ""}
        </span>
      </summary>
      <div className="flex flex-col gap-2 border-line border-t px-3 py-2">
        <p className="text-[12px] text-t2">{t("keepsText")}</p>
        <ul className="flex flex-col gap-1">
          {shares.map((u) => (
            <Row key={u.kind} u={u} />
          ))}
        </ul>
        {look && onRevoke ? (
          <div className="flex flex-wrap items-center gap-2">
            <span className="min-w-0 flex-1 text-warn">{t("keepsLook")}</span>
            <Button onClick={onRevoke}>{t("revoke")}</Button>
          </div>
        ) : null}
      </div>
    </details>
  );
}

function Row({ u }: { u: Share }) {
  const full = isFull(u);
  const word = codeWord("sh", u.kind);
  return (
    <li className="grid grid-cols-[minmax(0,1fr)_72px_minmax(96px,max-content)] items-center gap-x-3">
      <Txt max={40}>{word}</Txt>
      <span
        role="meter"
        aria-label={word}
        aria-valuemin={0}
        aria-valuemax={u.limit}
        aria-valuenow={Math.min(u.used, u.limit)}
        className="h-1.5 overflow-hidden rounded-full bg-s3"
      >
        <span
          className={cx("block h-full", full ? "bg-warn" : "bg-accent")}
          style={{ width: `${Math.min(100, (u.used / Math.max(1, u.limit)) * 100)}%` }}
        />
      </span>
      <span className={cx("text-right", full ? "text-warn" : "text-t2")}>
        {full ? "▲ " : ""}
        {amount(u, u.used)} / {amount(u, u.limit)}
        {u.refused ? <span className="block text-[12px]">{t("keepsRefused", { n: u.refused })}</span> : null}
      </span>
    </li>
  );
}
