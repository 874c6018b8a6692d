/** In which units readings are shown in this browser. */
import { useState } from "react";
import { t } from "@/lib/i18n";
import { chooseUnits, TEMPERATURES, type UnitChoice, units, VOLUMES } from "@/lib/quantity";
import { Panel } from "@/ui/kit";
import { Tabs } from "@/ui/tabs";

export function Units() {
  const [is, set] = useState<UnitChoice>(units());
  const word = { reported: t("asReported"), celsius: "°C", fahrenheit: "°F", litre: "L", gallon: "gal" };
  const row = (name: string, of: readonly (keyof typeof word)[], on: string, key: keyof UnitChoice) => (
    <span className="flex flex-wrap items-center gap-2">
      <span aria-hidden="true" className="text-t2">
        {name}
      </span>
      <Tabs
        label={name}
        on={on}
        onPick={(id) => set(chooseUnits({ [key]: id }))}
        tabs={of.map((id) => [id, word[id]])}
      />
    </span>
  );
  return (
    <Panel title={t("units")}>
      <div className="flex flex-wrap items-center gap-x-6 gap-y-2">
        {row(t("unitTemperature"), TEMPERATURES, is.temperature, "temperature")}
        {row(t("unitVolume"), VOLUMES, is.volume, "volume")}
      </div>
      <p className="mt-2 text-t2">{t("unitsText")}</p>
    </Panel>
  );
}
