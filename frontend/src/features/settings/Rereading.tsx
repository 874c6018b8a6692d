/** Has the node read its configuration again for its devices, and says what came of it. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { t } from "@/lib/i18n";
import { post } from "@/node/client";
import { useSession } from "@/node/reads";
import { Button, Txt } from "@/ui/kit";
import { linesOf } from "./devices";

const LINES_MAX = 20;

export function Rereading() {
  const client = useQueryClient();
  const admin = useSession().data?.scope === "admin";
  const [busy, setBusy] = useState(false);
  const [said, setSaid] = useState<readonly string[]>([]);
  if (!admin) return null;
  const read = () => {
    setBusy(true);
    post("/devices/reload")
      .then((report) => setSaid(linesOf(report)))
      .catch((e: Error) => setSaid([e.message]))
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries();
      });
  };
  return (
    <>
      <Button className="h-7!" onClick={read} disabled={busy}>
        {t("devicesReread")}
      </Button>
      <ul aria-live="polite" className="flex basis-full flex-col gap-1 text-t2 empty:hidden">
        {said.slice(0, LINES_MAX).map((line) => (
          <li key={line}>
            <Txt max={400}>{line}</Txt>
          </li>
        ))}
      </ul>
    </>
  );
}
