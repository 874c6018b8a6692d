import { t } from "@/lib/i18n";
import { useSession } from "@/node/reads";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Devices } from "./Devices";
import { Operators } from "./Operators";
import { Pair } from "./Pair";

export function View() {
  const [place, go] = usePlace();
  const admin = useSession().data?.scope === "admin";
  const tab = place.tab ?? "devices";
  return (
    <div className="flex flex-col gap-3">
      <div className="flex flex-wrap items-center gap-3">
        <Tabs
          label={t("trust")}
          on={tab}
          onPick={(id) => go({ tab: id })}
          tabs={[
            ["devices", t("devices")],
            ["operators", t("operators")],
            ["pair", t("pair")],
          ]}
        />
        {admin ? null : <p className="text-t2">◇ {t("needAdmin")}</p>}
      </div>
      {tab === "pair" ? (
        <Pair admin={admin} />
      ) : tab === "operators" ? (
        <Operators admin={admin} />
      ) : (
        <Devices admin={admin} />
      )}
    </div>
  );
}
