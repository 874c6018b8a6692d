import { t } from "@/lib/i18n";
import { ThisDesktop } from "@/platform/Around";
import { usePlace } from "@/ui/place";
import { Tabs } from "@/ui/tabs";
import { Channels } from "./Channels";
import { Devices } from "./Devices";
import { Discovery } from "./Discovery";
import { OwnKey } from "./OwnKey";
import { Peers } from "./Peers";
import { Policy } from "./Policy";
import { Programs } from "./Programs";
import { Push } from "./Push";
import { Sessions } from "./Sessions";
import { Appearance, Identity, Session } from "./This";
import { Units } from "./Units";

export function View() {
  const [place, go] = usePlace();
  const tab = place.tab ?? "node";
  return (
    <div className="flex flex-1 flex-col gap-3 md:min-h-0">
      <div>
        <span className="inline-block max-w-full overflow-x-auto">
          <Tabs
            label={t("settings")}
            on={tab}
            onPick={(id) => go({ tab: id })}
            tabs={[
              ["node", t("thisNode")],
              ["devices", t("devices")],
              ["discovery", t("discovery")],
              ["peers", t("peers")],
              ["policy", t("policy")],
            ]}
          />
        </span>
      </div>
      {tab === "devices" ? (
        <Devices />
      ) : tab === "discovery" ? (
        <Discovery />
      ) : tab === "peers" ? (
        <Peers />
      ) : tab === "policy" ? (
        <Policy />
      ) : (
        <div className="grid items-start gap-3 lg:grid-cols-2">
          <div className="flex flex-col gap-3">
            <Identity />
            <Channels />
            <Programs />
          </div>
          <div className="flex flex-col gap-3">
            <Session />
            <Push />
            <OwnKey />
            <Sessions />
            <Appearance />
            <Units />
            <ThisDesktop />
          </div>
        </div>
      )}
    </div>
  );
}
