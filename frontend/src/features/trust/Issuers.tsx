/** Whose word on persons counts at this node: devices with `admin`, accepted by a person here. */
import { useState } from "react";
import { listed, t } from "@/lib/i18n";
import { line } from "@/lib/words";
import { type Issuer, post } from "@/node/client";
import { useIssuers } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { Age, Button, Hex, Loaded, Panel, Txt } from "@/ui/kit";
import { AdminWarning } from "./Worst";

const NAMES_MAX = 12;
const label = (i: Issuer): string => line(i.name || i.deviceId.slice(0, 8), 48);
const names = (i: Issuer): string => {
  const some = i.names.slice(0, NAMES_MAX).map((n) => line(n, 64));
  const rest = i.names.length - some.length;
  return listed(rest ? [...some, t("moreTroubles", { n: rest })] : some);
};

export function Issuers({ admin, onDone }: { admin: boolean; onDone: () => void }) {
  const q = useIssuers();
  const [accepting, setAccepting] = useState<Issuer>();
  const [removing, setRemoving] = useState<Issuer>();
  return (
    <Panel title={t("issuers")}>
      <div className="flex flex-col gap-2">
        <p className="text-t2">{t("issuersText")}</p>
        <Loaded q={q}>
          {(list) =>
            list.length ? (
              <ul className="flex flex-col gap-2">
                {list.map((i) => (
                  <One
                    key={i.deviceId}
                    i={i}
                    onAccept={admin ? setAccepting : undefined}
                    onRemove={admin ? setRemoving : undefined}
                  />
                ))}
              </ul>
            ) : (
              <p className="text-t2">◇ {t("issuersNone")}</p>
            )
          }
        </Loaded>
      </div>
      {accepting ? (
        <Ask
          title={t("issuerAcceptTitle", { name: label(accepting) })}
          go={t("issuerAcceptGo")}
          onClose={() => setAccepting(undefined)}
          onGo={() =>
            post("/operators/issuers/{id}/accept", undefined, { id: accepting.deviceId }).finally(onDone)
          }
        >
          <p>{t("issuerAcceptText", { name: label(accepting) })}</p>
          <div>
            <div className="text-t2">{t("issuerCompare")}</div>
            <p className="font-mono font-semibold text-[24px] tracking-wider">
              {accepting.deviceId.slice(0, 8)}
            </p>
            <Hex>{accepting.deviceId}</Hex>
          </div>
          <p>
            {accepting.names.length ? t("issuerNames", { names: names(accepting) }) : t("issuerNamesNone")}
          </p>
          <AdminWarning />
        </Ask>
      ) : null}
      {removing ? (
        <Ask
          title={t("issuerRemoveTitle", { name: label(removing) })}
          go={t("issuerRemove")}
          onClose={() => setRemoving(undefined)}
          onGo={() =>
            post("/operators/issuers/{id}/remove", undefined, { id: removing.deviceId }).finally(onDone)
          }
        >
          <p>{t("issuerRemoveText")}</p>
          {removing.names.length ? <p>{t("issuerNames", { names: names(removing) })}</p> : null}
        </Ask>
      ) : null}
    </Panel>
  );
}

function One({
  i,
  onAccept,
  onRemove,
}: {
  i: Issuer;
  onAccept?: (i: Issuer) => void;
  onRemove?: (i: Issuer) => void;
}) {
  const accepted = i.acceptedAt != null;
  return (
    <li aria-label={label(i)} className="flex flex-col gap-1 rounded-md border border-line px-3 py-2">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <Txt className="font-medium" max={48}>
          {i.name || i.deviceId.slice(0, 8)}
        </Txt>
        <code className="font-mono text-[12px] text-t2" title={i.deviceId}>
          {i.deviceId.slice(0, 8)}
        </code>
        {accepted && i.issues ? (
          <span className="text-ok">
            ● {t("issuerCounts")} <Age time={i.acceptedAt ?? 0} />
          </span>
        ) : accepted ? (
          <span className="text-warn">◐ {t("issuerStale")}</span>
        ) : (
          <span className="text-t2">◇ {t("issuerNot")}</span>
        )}
        {accepted && onRemove ? (
          <Button className="ml-auto" onClick={() => onRemove(i)}>
            {t("issuerRemove")}
          </Button>
        ) : !accepted && onAccept ? (
          <Button className="ml-auto" onClick={() => onAccept(i)}>
            {t("issuerAccept")}
          </Button>
        ) : null}
      </div>
      {i.carried && accepted ? <p className="text-warn">▲ {t("issuerCarried")}</p> : null}
      <p className="text-t2">
        {i.names.length ? t("issuerNames", { names: names(i) }) : t("issuerNamesNone")}
      </p>
    </li>
  );
}

/** A question with what it means; an error stays on screen until the next try. */
function Ask({
  title,
  go,
  onGo,
  onClose,
  children,
}: {
  title: string;
  go: string;
  onGo: () => Promise<unknown>;
  onClose: () => void;
  children: React.ReactNode;
}) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={title} onClose={onClose}>
      <div className="flex flex-col gap-3">
        {children}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={300}>{problem}</Txt>
          </p>
        ) : null}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button
            tone="danger"
            disabled={busy}
            onClick={() => {
              setBusy(true);
              onGo().then(onClose, (e: Error) => {
                setProblem(e.message);
                setBusy(false);
              });
            }}
          >
            {go}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
