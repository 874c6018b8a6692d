/** Actuators that are offered and not used as such: without the grant, or by two devices at once. */
import { Link } from "@tanstack/react-router";
import { listed, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { useActuators, useOfferings, useWho } from "@/node/reads";
import { cx, Txt } from "@/ui/kit";

const Trust = () => (
  <Link to="/trust" className="text-accent underline">
    {t("trust")}
  </Link>
);

/** Actuators that it offers and that do not count, because it may not offer any. */
export function Withheld({ device, className }: { device: string; className?: string }) {
  const withheld = useOfferings().data?.find((n) => n.deviceId === device)?.withheld ?? [];
  if (!withheld.length) return null;
  return (
    <div role="note" className={cx("rounded-md border border-warn p-2", className)}>
      <p className="text-warn">▲ {t("withheld", { n: withheld.length })}</p>
      <ul>
        {withheld.map((c) => (
          <li key={c} className="font-mono text-[12px] wrap-anywhere">
            <Txt max={160}>{c}</Txt>
          </li>
        ))}
      </ul>
      <p className="text-t2">
        {t("withheldDo")} <Trust />
      </p>
    </div>
  );
}

/** Actuators of a device that another one offers too; `target` names one of them. */
export function Claimed({
  device,
  target,
  className,
}: {
  device: string;
  target?: string;
  className?: string;
}) {
  const who = useWho();
  const claimed = useActuators().data?.filter(
    (a) => a.deviceId === device && a.alsoOfferedBy.length && (!target || a.target === target),
  );
  if (!claimed?.length) return null;
  const names = (ids: string[]) =>
    listed(ids.map((id) => `${line(who.get(id) ?? "", 32)} (${id.slice(0, 8)})`.trim()));
  return (
    <div role="note" className={cx("rounded-md border border-warn p-2", className)}>
      {claimed.map((a) => (
        <p key={a.target} className="text-warn">
          ▲ {target ? "" : <Txt max={160}>{`${a.target}: `}</Txt>}
          {t("alsoOffered", { nodes: names(a.alsoOfferedBy) })}
        </p>
      ))}
      <p className="text-t2">
        {t("alsoOfferedDo")} <Trust />
      </p>
    </div>
  );
}
