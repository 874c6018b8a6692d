import { t } from "@/lib/i18n";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Frames } from "./Frames";
import { Latest } from "./Latest";
import { Traces } from "./Traces";

export function View() {
  const [place, go] = usePlace();
  const tab = place.tab ?? "latest";
  return (
    <div className="flex flex-1 flex-col gap-3 md:min-h-0">
      <div>
        <span className="inline-block">
          <Tabs
            label={t("world")}
            on={tab}
            onPick={(id) => go({ tab: id, frame: undefined, before: undefined, q: undefined })}
            tabs={[
              ["latest", t("latest")],
              ["frames", t("frameLog")],
              ["trace", t("traces")],
            ]}
          />
        </span>
      </div>
      {tab === "frames" ? <Frames /> : tab === "trace" ? <Traces /> : <Latest />}
    </div>
  );
}
