/** How a device is, from what its sensors and actuators say; pure. */
import type { Health } from "@/lib/condition";
import { listed, t } from "@/lib/i18n";
import type { Device, Fact, Reloaded } from "@/node/client";

type Sensor = Device["sensors"][number];
type Moved = Device["actuators"][number];

/** Away from its safe state by a run, on its way there, or not known to be there. */
export type Position = "safe" | "away" | "unsafe" | "unknown";
export const positionOf = (a: Moved): Position =>
  a.running ? "away" : a.safe === true ? "safe" : a.safe === false ? "unsafe" : "unknown";

export const doubted = (s: Sensor): boolean => s.values.some((v) => v.doubt);

export function healthOf(d: Device): Health {
  if (d.actuators.some((a) => positionOf(a) === "unsafe" || a.problem)) return "needs";
  if (d.sensors.length && d.sensors.every((s) => s.failingSince)) return "offline";
  if (d.sensors.some((s) => s.failingSince || doubted(s))) return "degraded";
  const said = d.sensors.some((s) => s.values.some((v) => v.at)) || d.actuators.some((a) => a.safe != null);
  return said ? "healthy" : "unknown";
}

/** A picture of a camera, as its frame tells of it. */
export type Pictured = { sha256: string; width: number; height: number; thumbnail: string };

/** The picture that a frame tells of; null where it tells of none, or not in the form that a camera of ours gives it. */
export function pictureOf(frame: unknown): Pictured | null {
  const data = (frame as { data?: { picture?: Partial<Pictured> } } | null | undefined)?.data;
  const { sha256, width, height, thumbnail } = data?.picture ?? {};
  const good =
    typeof sha256 === "string" &&
    /^[0-9a-f]{64}$/.test(sha256) &&
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    typeof thumbnail === "string" &&
    thumbnail.length <= 4_096 &&
    /^data:image\/jpeg;base64,[A-Za-z0-9+/]+=*$/.test(thumbnail);
  return good ? ({ sha256, width, height, thumbnail } as Pictured) : null;
}

const RANK: Health[] = ["needs", "offline", "degraded", "unknown", "healthy"];
/** What needs somebody first, then by name. */
export const sorted = (list: Device[]): Device[] =>
  [...list].sort(
    (a, b) => RANK.indexOf(healthOf(a)) - RANK.indexOf(healthOf(b)) || a.name.localeCompare(b.name),
  );

export const matches = (d: Device, words: string): boolean => {
  const of = d.sensors.flatMap((s) => [s.name, ...s.values.map((v) => `${v.metric} ${v.zone ?? ""}`)]);
  const text = [d.kind, d.name, ...of, ...d.actuators.map((a) => a.capability)].join(" ").toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((w) => text.includes(w));
};

/** The reading that was published of it, which has a tier. */
export const factOf = (
  facts: readonly Fact[],
  own: string,
  v: { metric: string; zone?: string | null },
): Fact | undefined =>
  facts.find((f) => f.origin === own && f.metric === v.metric && (f.zone ?? "") === (v.zone ?? ""));

/** What came of reading the configuration again, a sentence a line; mistakes as the node says them. */
export function linesOf(report: Reloaded): string[] {
  const named = (key: "devicesAdded" | "devicesRemoved" | "devicesChanged", names: string[]) =>
    names.length ? [t(key, { names: listed(names) })] : [];
  const restart = report.restart.length ? [t("devicesRestart", { keys: listed(report.restart) })] : [];
  if (report.outcome === "refused") {
    const why = report.mistakes.length ? t("devicesMistakes") : t("devicesBusy");
    return [why, ...report.mistakes, ...report.busy];
  }
  if (report.outcome === "unchanged") return [t("devicesSame"), ...restart];
  return [
    ...named("devicesAdded", report.added),
    ...named("devicesRemoved", report.removed),
    ...named("devicesChanged", report.changed),
    ...(report.redundant ? [t("devicesRedundant")] : []),
    ...restart,
  ];
}
