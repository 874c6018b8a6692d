import { describe, expect, it } from "vitest";
import type { Proposal } from "@/node/client";
import { type Card, canonical, decide, endStanding, giveStanding, hex, KeyTrouble, make } from "./key";

const digest = async (text: string) =>
  hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
const bytes = (text: string) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

const gen1 = {
  deviceId: "far",
  action: { target: "actuator:valve:1", operation: "open", params: {} },
};
const record = canonical({
  meshId: "m",
  proposalId: "p-1",
  executor: "e",
  target: "actuator:mock:valve-1",
  operation: "open",
  level: "L2",
  params: { durationSec: 5 },
  runMs: 5_000,
  safeState: "close",
  gen1,
  expiresAt: 9,
});
const shown = async (): Promise<Proposal> =>
  ({
    id: "p-1",
    executor: "e",
    target: "actuator:mock:valve-1",
    operation: "open",
    level: "L2",
    params: { durationSec: 5 },
    runMs: 5_000,
    safeState: "close",
    gen1,
    expiresAt: 9,
    digest: await digest(`clawmesh/proposal/v1\n${record}`),
  }) as Proposal;
const why = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  return error instanceof KeyTrouble ? error.why : error;
};

describe("the key of this browser", () => {
  let card: Card;
  it("is made under a passphrase, with the id that nodes give it", async () => {
    expect(await why(make("ada", "short"))).toBe("keyShort");
    card = await make("ada", "correct horse");
    const raw = bytes(card.publicKey);
    expect(raw.length).toBe(32);
    expect(card.operatorId).toBe(hex(await crypto.subtle.digest("SHA-256", raw)));
    // Nothing that is kept is the secret in the clear: PKCS #8 of Ed25519 has this start.
    expect(hex(card.sealed)).not.toContain("302e020100300506032b6570");
  });

  it("signs the canonical decision, which its public half proves", async () => {
    const p = await shown();
    const signed = await decide(card, "correct horse", {
      p,
      record,
      verdict: "approve",
      at: 5.4,
      note: "ok",
    });
    expect(signed.decision).toEqual({
      verdict: "approve",
      meshId: "m",
      executor: "e",
      proposalId: "p-1",
      digest: p.digest,
      operatorId: card.operatorId,
      decidedAt: 5,
      note: "ok",
    });
    const key = await crypto.subtle.importKey("raw", bytes(card.publicKey), "Ed25519", false, ["verify"]);
    const message = new TextEncoder().encode(`clawmesh/decision/v1\n${canonical(signed.decision)}`);
    expect(await crypto.subtle.verify("Ed25519", key, bytes(signed.signature), message)).toBe(true);
  });

  it("signs nothing under a wrong passphrase, and nothing that is not what is shown", async () => {
    const p = await shown();
    const asked = { p, record, verdict: "approve" as const, at: 5 };
    expect(await why(decide(card, "wrong horse", asked))).toBe("keyWrong");
    for (const other of [
      { operation: "close" },
      { params: { durationSec: 9999 } },
      { runMs: 1_000 },
      { safeState: "open" },
      { kind: { name: "pulse" as const } },
      { gen1: undefined },
      { gen1: { ...gen1, deviceId: "near" } },
      { id: "p-2" },
      { digest: "0" },
    ])
      expect(await why(decide(card, "correct horse", { ...asked, p: { ...p, ...other } }))).toBe("keyOther");
    const altered = record.replace("open", "fill");
    expect(await why(decide(card, "correct horse", { ...asked, record: altered }))).toBe("keyOther");
  });

  it("writes JSON as RFC 8785 says", () => {
    expect(canonical({ b: [1, 1e21, 0.1], a: "é\n", "\ufb33": null, "\u{1f600}": true })).toBe(
      '{"a":"é\\n","b":[1,1e+21,0.1],"\u{1f600}":true,"\ufb33":null}',
    );
  });

  it("signs a standing approval and its end, each under a name of its own", async () => {
    const key = await crypto.subtle.importKey("raw", bytes(card.publicKey), "Ed25519", false, ["verify"]);
    const proves = (signature: string, domain: string, what: unknown) =>
      crypto.subtle.verify(
        "Ed25519",
        key,
        bytes(signature),
        new TextEncoder().encode(domain + canonical(what)),
      );
    const wish = {
      executor: "e",
      target: "actuator:mock:pump-1",
      operation: "start",
      params: { durationSec: { min: 60, max: 600 } },
      askers: ["person" as const, "rules" as const],
      runMaxMs: 600_000,
      usesMax: 3,
      validUntil: 99,
    };
    const asked = { meshId: "m", wish, at: 5.4 };
    const given = await giveStanding(card, "correct horse", asked);
    expect(given.approval).toEqual({
      ...wish,
      version: 1,
      meshId: "m",
      operatorId: card.operatorId,
      askers: ["rules", "person"],
      validFrom: 5,
      givenAt: 5,
      nonce: given.approval.nonce,
    });
    expect(given.approval.nonce).toMatch(/^[0-9a-f]{32}$/);
    expect((await giveStanding(card, "correct horse", asked)).approval.nonce).not.toBe(given.approval.nonce);
    expect(await proves(given.signature, "clawmesh/standing-approval/v1\n", given.approval)).toBe(true);
    expect(await proves(given.signature, "clawmesh/decision/v1\n", given.approval)).toBe(false);
    const ended = await endStanding(card, "correct horse", { meshId: "m", executor: "e", id: "ab", at: 7 });
    expect(ended.end).toEqual({
      meshId: "m",
      executor: "e",
      approval: "ab",
      operatorId: card.operatorId,
      endedAt: 7,
    });
    expect(await proves(ended.signature, "clawmesh/standing-approval-end/v1\n", ended.end)).toBe(true);
    expect(await why(giveStanding(card, "wrong", asked))).toBe("keyWrong");
  });
});
