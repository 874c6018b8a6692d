import { describe, expect, it } from "vitest";
import type { Able } from "@/node/client";
import { agentsOf, bytesOf, chosenPlace, countOf, freshKey, isOpen, Keys, placeOf, shownOf } from "./model";

const able = (deviceId: string, agents: string[]) => ({ deviceId, agents }) as Able;

describe("the list", () => {
  it("counts what a narrowing leaves", () => {
    const counts = { answered: 3, failed: 1, unclear: 2, expired: 4, running: 1 };
    expect(countOf("all", counts)).toBe(11);
    expect(countOf("dead", counts)).toBe(7);
    expect(countOf("open", counts)).toBe(1);
    expect(countOf("cancelled", counts)).toBe(0);
  });
  it("shows all for an address that names no narrowing", () => {
    expect(shownOf("dead")).toBe("dead");
    expect(shownOf("toString")).toBe("all");
    expect(shownOf(undefined)).toBe("all");
  });
  it("knows what is under way", () => {
    expect(isOpen("accepted")).toBe(true);
    expect(isOpen("unclear")).toBe(false);
  });
});

describe("where a message goes", () => {
  it("is nothing where the rules decide", () => {
    expect(placeOf("", "")).toEqual({ node: null, group: null, agent: null });
  });
  it("is a node or a group, whatever their names contain, and an agent", () => {
    expect(placeOf("node:ab12", "home/main")).toEqual({ node: "ab12", group: null, agent: "home/main" });
    expect(placeOf("group:a:b", "")).toEqual({ node: null, group: "a:b", agent: null });
  });
  it("offers the agents of the node that is chosen, each once", () => {
    const all = [able("a", ["model", "home/main"]), able("b", ["model"])];
    expect(agentsOf(all, "")).toEqual(["home/main", "model"]);
    expect(agentsOf(all, "node:b")).toEqual(["model"]);
    expect(agentsOf(all, "node:c")).toEqual([]);
  });
  it("is said in the names that people gave", () => {
    const names = new Map([["a", "shed"]]);
    expect(chosenPlace({ toNode: "a", toAgent: "model" }, names)).toBe("shed · model");
    expect(chosenPlace({ toNode: "z" }, names)).toBe("z");
    expect(chosenPlace({}, names)).toBe("");
  });
});

describe("the key of a message", () => {
  it("stays with a text until it was taken, and is another for another text", () => {
    let n = 0;
    const keys = new Keys(() => `k${++n}`);
    expect([keys.of("a"), keys.of("a")]).toEqual(["k1", "k1"]);
    expect(keys.of("b")).toBe("k2");
    keys.taken();
    expect(keys.of("b")).toBe("k3");
  });
  it("is long and never the same", () => {
    expect(freshKey()).toMatch(/^[0-9a-f]{32}$/);
    expect(freshKey()).not.toBe(freshKey());
  });
});

it("counts bytes, not letters", () => {
  expect(bytesOf("aä€")).toBe(6);
});
