import { limits } from "@/contract/operator.gen";

/** Whether the first steps are offered: pure, so that nobody meets them twice or never. */
export interface FirstRun {
  demo: boolean;
  /** Trust records, revoked ones too: whoever has one has been here before. */
  trusted: number | undefined;
  peers: number | undefined;
  dismissed: boolean;
}
export const isFirstRun = (s: FirstRun): boolean =>
  !s.demo && !s.dismissed && s.trusted === 0 && s.peers === 0;

/** What this browser remembers of it, for one node. */
export const welcomeKey = (deviceId: string): string => `welcome.${deviceId.slice(0, 16)}`;

/** What is wrong with a name, if anything; the node has the last word. */
export function badName(name: string): "empty" | "long" | "odd" | undefined {
  if (!name.trim()) return "empty";
  if (new TextEncoder().encode(name.trim()).length > limits.nameBytes) return "long";
  return /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name) ? "odd" : undefined;
}
