/**
 * Units of readings. Nodes say them as UCUM codes; this browser shows them by their signs, and temperatures and
 * volumes in the unit that was chosen here. What a node is told, and what is exported, stays as it was measured.
 */
import { keep, recall } from "./keep";

export const TEMPERATURES = ["reported", "celsius", "fahrenheit"] as const;
export const VOLUMES = ["reported", "litre", "gallon"] as const;
export interface UnitChoice {
  temperature: (typeof TEMPERATURES)[number];
  volume: (typeof VOLUMES)[number];
}

const AS_REPORTED: UnitChoice = { temperature: "reported", volume: "reported" };
const GALLON = 3.785411784;
const PLACE = "units";

/** What people read where the code is not what they write. */
const SIGNS: Record<string, string> = {
  Cel: "°C",
  "[degF]": "°F",
  "[gal_us]": "gal",
  m3: "m³",
  m2: "m²",
  "m/s2": "m/s²",
  Ohm: "Ω",
  uS: "µS",
  "uS/cm": "µS/cm",
  ug: "µg",
  um: "µm",
  deg: "°",
  "1": "",
};

const TO_CELSIUS: Record<string, (v: number) => number> = {
  Cel: (v) => v,
  "°C": (v) => v,
  "[degF]": (v) => ((v - 32) * 5) / 9,
  "°F": (v) => ((v - 32) * 5) / 9,
  K: (v) => v - 273.15,
};
const LITRES: Record<string, number> = {
  L: 1,
  l: 1,
  hL: 100,
  dm3: 1,
  m3: 1000,
  "[gal_us]": GALLON,
  gal: GALLON,
};

function read(): UnitChoice {
  const kept = recall<Partial<UnitChoice> | null>(PLACE, null) ?? {};
  const one = <T extends string>(of: readonly T[], is: unknown, otherwise: T): T =>
    of.find((x) => x === is) ?? otherwise;
  return {
    temperature: one(TEMPERATURES, kept.temperature, AS_REPORTED.temperature),
    volume: one(VOLUMES, kept.volume, AS_REPORTED.volume),
  };
}

let chosen: UnitChoice | undefined;
// Another page of this browser chose.
if (typeof window !== "undefined")
  window.addEventListener("storage", () => {
    chosen = undefined;
  });

/** The units that were chosen in this browser. */
export function units(): UnitChoice {
  chosen ??= read();
  return chosen;
}

export function chooseUnits(change: Partial<UnitChoice>): UnitChoice {
  chosen = { ...units(), ...change };
  keep(PLACE, chosen);
  return chosen;
}

const sign = (unit: string): string => (Object.hasOwn(SIGNS, unit) ? (SIGNS[unit] ?? unit) : unit);

/** A number and its unit as they are shown here. */
export function shown(v: number, unit: string | null | undefined): { v: number; unit: string } {
  if (!unit) return { v, unit: "" };
  const { temperature, volume } = units();
  const celsius = Object.hasOwn(TO_CELSIUS, unit) ? TO_CELSIUS[unit]?.(v) : undefined;
  if (celsius !== undefined && temperature !== "reported")
    return temperature === "celsius" ? { v: celsius, unit: "°C" } : { v: (celsius * 9) / 5 + 32, unit: "°F" };
  // A flow is a volume in some time, whose name stays.
  const [what = "", ...per] = unit.split("/");
  const litres = Object.hasOwn(LITRES, what) ? LITRES[what] : undefined;
  const tail = per.length ? `/${per.join("/")}` : "";
  if (litres !== undefined && volume !== "reported")
    return volume === "litre"
      ? { v: v * litres, unit: `L${tail}` }
      : { v: (v * litres) / GALLON, unit: `gal${tail}` };
  return { v, unit: Object.hasOwn(SIGNS, unit) ? sign(unit) : sign(what) + tail };
}
