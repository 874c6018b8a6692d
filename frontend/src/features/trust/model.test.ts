import { expect, it } from "vitest";
import { grants, target, toType } from "./model";

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
