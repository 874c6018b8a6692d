import { describe, expect, it } from "vitest";
import { health, overall, type Seen, troubles } from "./condition";
import { alarmWords, setLanguage } from "./i18n";

const node = (over: object = {}) => ({
  deviceId: "0123456789",
  name: "field",
  own: false,
  connected: true,
  fresh: true,
  estop: false,
  trusted: true,
  capabilities: [],
  ...over,
});
const seen = (status: object = {}, more: object = {}) =>
  ({
    status: { problems: [], clockTrusted: true, policy: {}, draftsWaiting: 0, ...status },
    topology: { nodes: [node({ own: true, name: "ops" }), node()], links: [], at: 0 },
    peers: [],
    estop: { latched: false },
    ...more,
  }) as unknown as Seen;
const withNode = (over: object) => seen({}, { topology: { nodes: [node(over)], links: [], at: 0 } });

describe("condition", () => {
  it("calls our own node healthy only when it reports nothing wrong", () => {
    const own = node({ own: true });
    const good = { problems: [], clockTrusted: true, policy: {} };
    // One that needs no link is as well as what is heard of it.
    expect(health(node({ connected: false, onDemand: true, fresh: true }))).toBe("healthy");
    expect(health(node({ connected: false, onDemand: true, fresh: false }))).toBe("offline");
    expect(health(own, good)).toBe("healthy");
    expect(health(own, { ...good, problems: ["disk full"] })).toBe("degraded");
    expect(health(own, { ...good, clockTrusted: false })).toBe("degraded");
    expect(health(own, { ...good, policy: { problem: "line 3" } })).toBe("degraded");
    expect(health(node({ own: true, estop: true }), good)).toBe("stopped");
  });
  it("tells offline from heard by others only", () => {
    expect(health(node({ connected: false, fresh: false }))).toBe("offline");
    expect(health(node({ connected: false }))).toBe("degraded");
  });
  it("is healthy when nothing is wrong, and unknown before anything was read", () => {
    expect(overall("live", seen())).toBe("healthy");
    expect(overall("live", {})).toBe("unknown");
    expect(overall("lost", seen())).toBe("offline");
  });
  it("finds each trouble", () => {
    const what = (s: Seen) => troubles(s).map((x) => x.what);
    expect(what(seen({ problems: ["a", "b"] }))).toEqual(["problem", "problem"]);
    expect(what(seen({ policy: { problem: "bad" }, problems: ["bad"] }))).toEqual(["problem"]);
    expect(what(seen({ policy: { problem: "bad" } }))).toEqual(["policy"]);
    expect(what(seen({ clockTrusted: false }))).toEqual(["clock"]);
    expect(what(withNode({ connected: false, fresh: false }))).toEqual(["away"]);
    expect(what(withNode({ connected: false, fresh: false, trusted: false }))).toEqual([]);
    expect(what(withNode({ estop: true }))).toEqual(["estopOther"]);
    const latched = { estop: { latched: true } };
    expect(what(seen({ problems: ["the emergency stop is latched by A"] }, latched))).toEqual(["estopOwn"]);
    expect(what(seen({}, { clockMs: -60_000 }))).toEqual(["browserClock"]);
    expect(what(seen({}, { peers: [{ deviceId: "x1", state: "refused", reason: "revoked" }] }))).toEqual([
      "refused",
    ]);
    expect(overall("live", withNode({ estop: true }))).toBe("stopped");
    expect(overall("live", seen({ draftsWaiting: 2 }))).toBe("degraded");
  });
  it("tells a standing alarm once, and a critical one as what needs a person", async () => {
    const alarm = {
      kind: "actuator.unsafe",
      severity: "critical",
      subject: "actuator:pump:main",
      since: 1,
      message: "its driver does not answer",
      advice: "Make it safe by hand.",
    };
    const both = { alarms: [alarm], problems: [`${alarm.message}: ${alarm.advice}`, "another"] };
    const list = troubles(seen(both));
    expect(list.map((x) => x.what)).toEqual(["alarm", "problem"]);
    expect(overall("live", seen(both))).toBe("needs");
    const clock = { ...alarm, kind: "clock.untrusted", subject: "" };
    expect(troubles(seen({ alarms: [clock], clockTrusted: false })).map((x) => x.what)).toEqual(["alarm"]);
    expect(alarmWords(alarm)).toEqual({
      title: "NOT SAFE: actuator:pump:main",
      advice: "Make it safe by hand.",
    });
    await setLanguage("de");
    expect(alarmWords(alarm).title).toBe("NICHT SICHER: actuator:pump:main");
    expect(alarmWords(alarm).advice).toMatch(/von Hand/);
    // A kind that this console does not know is told in the node's own words.
    expect(alarmWords({ ...alarm, kind: "new.kind", subject: "" })).toEqual({
      title: "new.kind",
      advice: "Make it safe by hand.",
    });
    await setLanguage("en");
  });
  it("names a few and counts the rest", () => {
    const nodes = Array.from({ length: 40 }, (_, i) =>
      node({ name: `n${i}`, connected: false, fresh: false }),
    );
    const list = troubles(seen({}, { topology: { nodes, links: [], at: 0 } }));
    expect(list.map((x) => x.text)).toEqual(["n0, n1, n2, n3, n4, n5 and 34 more"]);
  });
  it("does not mourn a node that said goodbye", () => {
    const left = {
      ...withNode({ connected: false, fresh: false }),
      peers: [{ deviceId: "0123456789", state: "left" }],
    };
    expect(troubles(left as unknown as Seen)).toEqual([]);
  });
});
