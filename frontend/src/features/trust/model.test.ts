import { expect, it } from "vitest";
import type { Operator } from "@/node/client";
import { grants, namesake, persons, target, toType, usageOf } from "./model";

it("shows every grant, held or not, and one it does not know", () => {
  const list = grants(["observe:T1", "relay", "fly:high"]);
  expect(list.filter((g) => g.on).map((g) => g.id)).toEqual(["observe:T1", "relay", "fly:high"]);
  expect(list.find((g) => g.name === "admin")).toMatchObject({ on: false, far: true });
  expect(grants([]).find((g) => g.name === "observe")?.id).toBe("observe:T2");
});
it("asks for a name that can be typed, else for the id", () => {
  expect(toType("field-1", "0123456789")).toBe("field-1");
  expect(toType("fi\u202eeld", "0123456789")).toBe("01234567");
  expect(toType("поле", "0123456789")).toBe("01234567");
  expect(toType(null, "0123456789")).toBe("01234567");
});
it("takes links, URLs and bare addresses, and nothing else", () => {
  expect(target(" 192.168.1.7:18789 ")).toEqual({ ok: true, text: "ws://192.168.1.7:18789" });
  expect(target("[fe80::1]:1").ok).toBe(true);
  expect(target("wss://field.local:18789").ok).toBe(true);
  expect(target("clawmesh://pair?a=b&c=d").ok).toBe(true);
  for (const bad of ["", "field", "http://x", "javascript:alert(1)", "clawmesh://pair?a b"])
    expect(target(bad).ok).toBe(false);
});

const key = (id: string, over: Partial<Operator> = {}): Operator => ({
  operatorId: id,
  publicKey: `pub-${id}`,
  name: "ada",
  person: "p-ada",
  maxLevel: "L2",
  issuer: "d1",
  counts: true,
  issuedAt: 1,
  expiresAt: 100,
  revokedAt: null,
  ...over,
});
it("shows the keys of one person together, those who decide first", () => {
  const list = persons(
    [
      key("old", { revokedAt: 5 }),
      key("zed", { name: "zed", person: "p-zed", counts: false }),
      key("phone", { issuedAt: 9 }),
      key("laptop", { issuedAt: 3 }),
      key("eve", { name: "eve", person: "p-eve", expiresAt: 10 }),
    ],
    50,
  );
  expect(list.map((p) => p.name)).toEqual(["ada", "eve", "zed"]);
  expect(list[0]?.keys.map((k) => k.operatorId)).toEqual(["laptop", "phone", "old"]);
  expect(list.map((p) => p.counts)).toEqual([true, false, false]);
});
it("finds who has a name already, and takes nobody who no longer counts", () => {
  const known = persons(
    [key("a", { name: "Ada Lovelace" }), key("z", { name: "zed", person: "z", counts: false })],
    1,
  );
  for (const same of ["ada lovelace", " ADA-Lovelace ", "Adá Lovelace"])
    expect(namesake(same, known)?.id).toBe("p-ada");
  for (const other of ["ada", "zed", "", " "]) expect(namesake(other, known)).toBeUndefined();
});
it("tells when a device is close to a share or was refused", () => {
  const share = (used: number, refused = 0) => ({ kind: "facts", used, limit: 100, refused });
  expect(usageOf([share(0), share(40)])).toEqual({ most: 0.4, refused: 0, look: false });
  expect(usageOf([share(95)]).look).toBe(true);
  expect(usageOf([share(1, 3)])).toMatchObject({ refused: 3, look: true });
  expect(usageOf([]).look).toBe(false);
});
