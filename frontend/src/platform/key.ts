/**
 * A person's own operator key in this browser: made here, kept here under a passphrase, and opened for
 * one signature at a time. The node only ever gets the public half and signed decisions. At rest the
 * key is ciphertext (AES-GCM under PBKDF2-SHA-256 of the passphrase), because a browser keeps even keys
 * that it will not export in plain files of its profile.
 */
import { limits } from "@/contract/operator.gen";
import type { Proposal, Sent } from "@/node/client";

const ROUNDS = 600_000;
const DECISION = "clawmesh/decision/v1\n";
const PROPOSAL = "clawmesh/proposal/v1\n";
const STANDING = "clawmesh/standing-approval/v1\n";
const STANDING_END = "clawmesh/standing-approval-end/v1\n";

/** What is kept; nothing of it signs without the passphrase. */
export interface Card {
  name: string;
  /** base64url of the 32 raw bytes. */
  publicKey: string;
  operatorId: string;
  salt: Uint8Array<ArrayBuffer>;
  iv: Uint8Array<ArrayBuffer>;
  rounds: number;
  sealed: ArrayBuffer;
}

/** What went wrong, as a key of the sentences. */
export class KeyTrouble extends Error {
  constructor(readonly why: "keyNotHere" | "keyWrong" | "keyShort" | "keyOther" | "keyStore") {
    super(why);
  }
}

const utf8 = (text: string) => new TextEncoder().encode(text);
export const hex = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");
export const base64url = (bytes: ArrayBuffer): string =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** JSON with sorted keys (RFC 8785): JavaScript writes texts and numbers as that says already. */
export function canonical(what: unknown): string {
  if (Array.isArray(what)) return `[${what.map(canonical).join(",")}]`;
  if (what === null || typeof what !== "object") return JSON.stringify(what);
  const members = Object.entries(what)
    .filter(([, v]) => v !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(",")}}`;
}

/** Only where the browser has WebCrypto: over HTTPS, or from this machine. */
export const possible = (): boolean => typeof crypto !== "undefined" && crypto.subtle !== undefined;

async function under(passphrase: string, salt: Uint8Array<ArrayBuffer>, rounds: number): Promise<CryptoKey> {
  const typed = await crypto.subtle.importKey("raw", utf8(passphrase.normalize("NFC")), "PBKDF2", false, [
    "deriveKey",
  ]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations: rounds };
  const aes = { name: "AES-GCM", length: 256 };
  return crypto.subtle.deriveKey(how, typed, aes, false, ["wrapKey", "unwrapKey"]);
}

/** A new key under a passphrase; kept only once `store` has it. */
export async function make(name: string, passphrase: string): Promise<Card> {
  if (!possible()) throw new KeyTrouble("keyNotHere");
  if (passphrase.length < limits.passphraseMinChars) throw new KeyTrouble("keyShort");
  let pair: CryptoKeyPair;
  try {
    pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  } catch {
    // A browser too old for Ed25519.
    throw new KeyTrouble("keyNotHere");
  }
  const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const lock = await under(passphrase, salt, ROUNDS);
  return {
    name,
    publicKey: base64url(raw),
    operatorId: hex(await crypto.subtle.digest("SHA-256", raw)),
    salt,
    iv,
    rounds: ROUNDS,
    sealed: await crypto.subtle.wrapKey("pkcs8", pair.privateKey, lock, { name: "AES-GCM", iv }),
  };
}

async function opened(card: Card, passphrase: string): Promise<CryptoKey> {
  const lock = await under(passphrase, card.salt, card.rounds);
  try {
    const aes = { name: "AES-GCM", iv: card.iv };
    return await crypto.subtle.unwrapKey("pkcs8", card.sealed, lock, aes, "Ed25519", false, ["sign"]);
  } catch {
    throw new KeyTrouble("keyWrong");
  }
}

export type SignedDecision = Sent<"/proposals/{id}/decision">;

/** The record's text is what the digest is of, and says what the person was shown. */
async function isShown(record: string, p: Proposal): Promise<Record<string, unknown>> {
  const digest = hex(await crypto.subtle.digest("SHA-256", utf8(PROPOSAL + record)));
  const said = JSON.parse(record) as Record<string, unknown>;
  const same =
    digest === p.digest &&
    said.proposalId === p.id &&
    said.executor === p.executor &&
    said.target === p.target &&
    said.operation === p.operation &&
    said.level === p.level &&
    said.expiresAt === p.expiresAt &&
    said.runMs === p.runMs &&
    said.safeState === p.safeState &&
    (said.atNode ?? false) === (p.atNode ?? false) &&
    canonical(said.params) === canonical(p.params) &&
    canonical(said.kind ?? null) === canonical(p.kind ?? null) &&
    canonical(said.gen1 ?? null) === canonical(p.gen1 ?? null);
  if (!same) throw new KeyTrouble("keyOther");
  return said;
}

/** A signature over exactly the proposal that is shown. `record` is its text as the executor signed it. */
export async function decide(
  card: Card,
  passphrase: string,
  asked: {
    p: Proposal;
    record: string;
    verdict: "approve" | "reject";
    at: number;
    note?: string | undefined;
    atNode?: string | undefined;
  },
): Promise<SignedDecision> {
  const { p, record, verdict, at, note, atNode } = asked;
  const said = await isShown(record, p);
  const decision: SignedDecision["decision"] = {
    verdict,
    meshId: String(said.meshId),
    executor: p.executor,
    proposalId: p.id,
    digest: p.digest,
    operatorId: card.operatorId,
    decidedAt: Math.round(at),
    ...(note ? { note } : {}),
    ...(atNode ? { atNode } : {}),
  };
  return { decision, signature: await signed(card, passphrase, DECISION, decision) };
}

async function signed(card: Card, passphrase: string, domain: string, what: unknown): Promise<string> {
  const key = await opened(card, passphrase);
  return base64url(await crypto.subtle.sign("Ed25519", key, utf8(domain + canonical(what))));
}

export type SignedStanding = Sent<"/approvals">;
type Standing = SignedStanding["approval"];

/** A signature over exactly the standing approval that is shown. */
export async function giveStanding(
  card: Card,
  passphrase: string,
  asked: {
    meshId: string;
    at: number;
    wish: Omit<
      Standing,
      "version" | "meshId" | "operatorId" | "validFrom" | "givenAt" | "nonce" | "params"
    > & { params: object };
  },
): Promise<SignedStanding> {
  const { meshId, wish } = asked;
  const at = Math.round(asked.at);
  const approval: Standing = {
    version: 1,
    meshId,
    executor: wish.executor,
    operatorId: card.operatorId,
    target: wish.target,
    operation: wish.operation,
    params: wish.params as Standing["params"],
    // In the order in which the executor writes them.
    askers: (["rules", "person"] as const).filter((a) => wish.askers.includes(a)),
    runMaxMs: wish.runMaxMs,
    usesMax: wish.usesMax,
    validFrom: at,
    validUntil: wish.validUntil,
    givenAt: at,
    nonce: hex(crypto.getRandomValues(new Uint8Array(16)).buffer),
    ...(wish.note ? { note: wish.note } : {}),
  };
  return { approval, signature: await signed(card, passphrase, STANDING, approval) };
}

export type SignedStandingEnd = Sent<"/approvals/{id}/end">;

/** A signature over the end of a standing approval. */
export async function endStanding(
  card: Card,
  passphrase: string,
  asked: { meshId: string; executor: string; id: string; at: number; note?: string },
): Promise<SignedStandingEnd> {
  const end: SignedStandingEnd["end"] = {
    meshId: asked.meshId,
    executor: asked.executor,
    approval: asked.id,
    operatorId: card.operatorId,
    endedAt: Math.round(asked.at),
    ...(asked.note ? { note: asked.note } : {}),
  };
  return { end, signature: await signed(card, passphrase, STANDING_END, end) };
}

const PLACE = "keys";
const OWN = "own";

function place(): Promise<IDBDatabase> {
  return new Promise((done, failed) => {
    const opening = indexedDB.open("clawmesh", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(PLACE);
    opening.onsuccess = () => done(opening.result);
    opening.onerror = () => failed(new KeyTrouble("keyStore"));
  });
}

async function within<T>(mode: IDBTransactionMode, work: (s: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await place();
  try {
    return await new Promise((done, failed) => {
      // Durable before it is said to be kept: a key that is lost is an operator to enrol anew.
      const transaction = db.transaction(PLACE, mode, { durability: "strict" });
      const asked = work(transaction.objectStore(PLACE));
      transaction.oncomplete = () => done(asked.result);
      transaction.onerror = () => failed(new KeyTrouble("keyStore"));
      transaction.onabort = () => failed(new KeyTrouble("keyStore"));
    });
  } finally {
    db.close();
  }
}

export const load = (): Promise<Card | null> =>
  typeof indexedDB === "undefined"
    ? Promise.resolve(null)
    : within<Card | undefined>("readonly", (s) => s.get(OWN)).then((card) => card ?? null);
/** Keeps it; never over another one. */
export const store = async (card: Card): Promise<void> => {
  await within("readwrite", (s) => s.add(card, OWN));
  // Asked so that the browser does not drop it when space runs short.
  await navigator.storage?.persist?.().catch(() => false);
};
export const forget = async (): Promise<void> => {
  await within("readwrite", (s) => s.delete(OWN));
};
