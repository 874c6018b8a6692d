/** A proposal in one or two lines: the same everywhere, and always the way to its decision sheet. */
import { Link } from "@tanstack/react-router";
import type { components } from "@/contract/operator.gen";
import { action, left } from "@/lib/format";
import { statusWord } from "@/lib/i18n";
import { line } from "@/lib/words";
import { cx, StatusMark, useNow } from "./kit";

type Proposal = components["schemas"]["ProposalView"];

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
      </span>
      {waiting ? (
        <span className={ms < 60_000 ? "font-semibold text-warn" : "text-t2"}>{left(ms)}</span>
      ) : (
        <StatusMark status={p.status} word={statusWord(p.status)} />
      )}
    </Link>
  );
}
