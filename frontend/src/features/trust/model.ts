/** Grants as people understand them; pure. */
import type { Key } from "@/lib/i18n";
import type { Operator, Share } from "@/node/client";

type Name = Extract<Key, `gn_${string}`>;
type Text = Extract<Key, `g_${string}`>;

export interface Grant {
  /** What is sent, for example `observe:T2`. */
  id: string;
  name: string;
  word: Name;
  text: Text;
  on: boolean;
  /** It reaches far: worth a second thought. */
  far: boolean;
}

const KNOWN: [string, Name, Text, boolean][] = [
  ["observe", "gn_observe", "g_observe", false],
  ["relay", "gn_relay", "g_relay", false],
  ["read", "gn_read", "g_read", false],
  ["plan", "gn_plan", "g_plan", false],
  ["human", "gn_human", "g_human", true],
  ["llm", "gn_llm", "g_llm", false],
  ["estop", "gn_estop", "g_estop", false],
  ["actuate", "gn_actuate", "g_actuate", false],
  ["admin", "gn_admin", "g_admin", true],
];
const OBSERVE_DEFAULT = "observe:T2";

/** Every grant there is, in a fixed order, on or off; those this console does not know come last. */
export function grants(has: readonly string[]): Grant[] {
  const list = KNOWN.map(([name, word, text, far]): Grant => {
    const held = has.find((g) => g.split(":")[0] === name);
    const id = held ?? (name === "observe" ? OBSERVE_DEFAULT : name);
    return { id, name, word, text, on: held !== undefined, far };
  });
  const known = new Set(KNOWN.map(([name]) => name));
  for (const id of has) {
    const name = id.split(":")[0] ?? id;
    if (!known.has(name)) list.push({ id, name, word: "gn_other", text: "g_other", on: true, far: true });
  }
  return list;
}

/** From this part of a share on, a person should look. */
const FULL = 0.9;
const part = (u: Share): number => (u.limit ? u.used / u.limit : 0);

/** How much of its shares a device uses: the fullest one, what was refused, and whether to look. */
export function usageOf(shares: readonly Share[]): { most: number; refused: number; look: boolean } {
  const most = Math.max(0, ...shares.map(part));
  const refused = shares.reduce((sum, u) => sum + u.refused, 0);
  return { most, refused, look: most >= FULL || refused > 0 };
}
export const isFull = (u: Share): boolean => part(u) >= FULL || u.refused > 0;

export interface Person {
  id: string;
  name: string;
  /** Those that count first, then by age. */
  keys: Operator[];
  /** Whether any key of theirs decides here now. */
  counts: boolean;
}

/** Whether a key's decisions are taken here at this moment. */
export const decides = (o: Operator, now: number): boolean =>
  o.counts && !o.revokedAt && !(o.expiresAt && o.expiresAt <= now);

/** Keys by the person they belong to; those who decide here first. */
export function persons(list: readonly Operator[], now: number): Person[] {
  const found = new Map<string, Person>();
  for (const o of list) {
    const person = found.get(o.person) ?? { id: o.person, name: o.name, keys: [], counts: false };
    person.keys.push(o);
    if (decides(o, now)) {
      person.name = person.counts ? person.name : o.name;
      person.counts = true;
    }
    found.set(o.person, person);
  }
  for (const p of found.values())
    p.keys.sort((a, b) => Number(decides(b, now)) - Number(decides(a, now)) || a.issuedAt - b.issuedAt);
  return [...found.values()].sort(
    (a, b) => Number(b.counts) - Number(a.counts) || a.name.localeCompare(b.name) || a.id.localeCompare(b.id),
  );
}

const plain = (name: string): string =>
  name
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]/gu, "");

/**
 * The person here who has this name already. The node compares more strictly (look-alike letters) and
 * refuses what this does not find.
 */
export function namesake(name: string, known: readonly Person[]): Person | undefined {
  const wanted = plain(name);
  return wanted ? known.find((p) => p.counts && plain(p.name) === wanted) : undefined;
}

/** What a person types to revoke: the name, or the start of the id where there is no typeable name. */
export const toType = (name: string | null | undefined, id: string): string => {
  const plain = (name ?? "").trim();
  return /^[\x21-\x7e][\x20-\x7e]{0,40}$/.test(plain) ? plain : id.slice(0, 8);
};

/** Whether what was put in can be a pairing target; what is wrong with it otherwise. */
export function target(text: string): { ok: boolean; text: string } {
  const wish = text.trim();
  if (/^clawmesh:\/\/pair\?\S+$/i.test(wish)) return { ok: true, text: wish };
  if (/^wss?:\/\/[^\s/]+/i.test(wish)) return { ok: true, text: wish };
  // A bare address with a port is what people copy.
  if (/^(\[[0-9a-f:.%]+\]|[\w.-]+):\d{1,5}$/i.test(wish)) return { ok: true, text: `ws://${wish}` };
  return { ok: false, text: wish };
}
