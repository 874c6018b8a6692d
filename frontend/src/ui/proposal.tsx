/** A proposal in one or two lines: the same everywhere, and always the way to its decision sheet. */
import { Link } from "@tanstack/react-router";
import type { components } from "@/contract/operator.gen";
import { action, left } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { cx, StatusMark, useNow } from "./kit";

type Proposal = components["schemas"]["ProposalView"];

/** The device whose planner or model led to a wish, where another one's did. */
export function LedBy({ p }: { p: Proposal }) {
  if (!p.ledBy) return null;
  return (
    <bdi title={p.ledBy} className="text-llm">
      {line(t("ledBy", { name: p.ledByName ?? p.ledBy.slice(0, 8) }), 100)}
    </bdi>
  );
}

export function ProposalCard({ p, framed }: { p: Proposal; framed?: boolean }) {
  const waiting = p.status === "awaiting_approval";
  const ms = p.expiresAt - useNow();
  return (
    <Link
      to="/approvals"
      search={{ id: p.id } as never}
      className={cx(
        "flex min-h-12 items-center gap-3 px-3 py-1.5 hover:bg-s2",
        framed ? "rounded-md border border-line bg-s1" : "border-line/60 border-b",
      )}
    >
      <span
        className={cx(
          "font-semibold",
          waiting ? (p.level === "L3" ? "text-danger" : "text-warn") : "text-t2",
        )}
      >
        {waiting ? "▲ " : ""}
        {p.level}
      </span>
      <span className="min-w-0 flex-1">
        <bdi className="block truncate font-medium">{line(action(p.operation, p.target, p.runMs))}</bdi>
        <bdi className="block truncate text-t2">{line(p.reason, 200)}</bdi>
        {p.ledBy ? (
          <span className="block truncate">
            <LedBy p={p} />
          </span>
        ) : null}
      </span>
      {waiting ? (
        <span className={ms < 60_000 ? "font-semibold text-warn" : "text-t2"}>{left(ms)}</span>
      ) : (
        <StatusMark status={p.status} word={statusWord(p.status)} />
      )}
    </Link>
  );
}
