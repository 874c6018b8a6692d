import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { action } from "@/lib/format";
import { statusWord, t } from "@/lib/i18n";
import { useProposals, useTopology, useTwin, useWorld } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { cx, Txt } from "@/ui/kit";
import { PAGES } from "./pages";

interface Hit {
  id: string;
  text: string;
  kind: string;
  to: string;
  search: Record<string, string>;
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [asked, setAsked] = useState("");
  const [at, setAt] = useState(0);
  const go = useNavigate();
  const topology = useTopology().data;
  const proposals = useProposals().data;
  const world = useWorld().data;
  const twin = useTwin().data;
  const all: Hit[] = [
    ...PAGES.map(([to, name]) => ({ id: to, text: t(name), kind: t("page"), to: to as string, search: {} })),
    ...(topology?.nodes ?? []).map((n) => ({
      id: n.deviceId,
      text: n.name ?? n.deviceId,
      kind: t("node"),
      to: "/topology",
      search: { node: n.deviceId },
    })),
    ...(proposals ?? []).map((p) => ({
      id: p.id,
      text: `${action(p.operation, p.target, p.runMs)} (${p.id.slice(0, 8)})`,
      kind: statusWord(p.status),
      to: "/approvals",
      search: { id: p.id },
    })),
    ...[...new Set((world ?? []).map((f) => f.metric))].map((m) => ({
      id: `m:${m}`,
      text: m,
      kind: t("metric"),
      to: "/telemetry",
      search: { m },
    })),
  ];
  for (const site of twin?.sites ?? []) {
    const at = (search: Record<string, string>) => ({ kind: t("twin"), to: "/twin", search });
    all.push({ id: `site:${site.id}`, text: site.name, ...at({ site: site.id }) });
    for (const z of site.zones)
      all.push({ id: `zone:${site.id}:${z.id}`, text: z.name, ...at({ site: site.id, zone: z.id }) });
    for (const a of site.assets)
      all.push({ id: `asset:${site.id}:${a.id}`, text: a.name, ...at({ site: site.id, asset: a.id }) });
  }
  const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = all
    .filter((h) => words.every((w) => `${h.text} ${h.kind} ${h.id}`.toLowerCase().includes(w)))
    .slice(0, 12);
  const pick = (h: Hit | undefined) => {
    if (!h) return;
    onClose();
    void go({ to: h.to, search: h.search as never });
  };
  return (
    <Dialog title={t("search")} onClose={onClose}>
      <input
        autoFocus
        role="combobox"
        aria-expanded="true"
        aria-controls="palette"
        aria-activedescendant={hits[at] ? `hit-${at}` : undefined}
        aria-label={t("search")}
        placeholder={t("searchHint")}
        value={asked}
        onChange={(e) => {
          setAsked(e.target.value);
          setAt(0);
        }}
        onKeyDown={(e) => {
          if (e.key === "ArrowDown") setAt(Math.min(at + 1, hits.length - 1));
          else if (e.key === "ArrowUp") setAt(Math.max(at - 1, 0));
          else if (e.key === "Enter") pick(hits[at]);
          else return;
          e.preventDefault();
        }}
        className="mb-2 h-9 w-full rounded-md border border-line bg-s0 px-3"
      />
      <div id="palette" role="listbox" aria-label={t("search")}>
        {hits.map((h, i) => (
          <div
            key={h.id}
            id={`hit-${i}`}
            role="option"
            tabIndex={-1}
            aria-selected={i === at}
            onClick={() => pick(h)}
            className={cx(
              "flex h-8 cursor-pointer items-center justify-between gap-3 rounded-md px-2",
              i === at && "bg-s3",
            )}
          >
            <Txt className="truncate">{h.text}</Txt>
            <span className="shrink-0 text-t2">{h.kind}</span>
          </div>
        ))}
      </div>
      {hits.length ? null : <p className="p-2 text-t2">{t("noHit")}</p>}
    </Dialog>
  );
}
