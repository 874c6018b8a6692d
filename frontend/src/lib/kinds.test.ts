import { describe, expect, it } from "vitest";
import { kindLine, kindName } from "./kinds";

describe("a kind of action", () => {
  it("says for each kind what it is, its limits and what it ends with", () => {
    expect(kindLine(undefined, 600_000, "close")).toBe("It ends with “close” after 10 min whatever happens.");
    expect(kindLine({ name: "pulse" }, 500, "quiet")).toBe(
      "A pulse of 500 ms, as the policy has it; then “quiet”.",
    );
    expect(kindLine({ name: "held", leaseMs: 5_000 }, 600_000, "stop")).toBe(
      "Held: it runs while somebody keeps it, ends with “stop” 5 s after they were last heard, and after 10 min in any case.",
    );
    expect(
      kindLine(
        { name: "set", minIntervalMs: 60_000, maxStep: { percent: 10, speed: 2.5 } },
        86_400_000,
        "off",
      ),
    ).toBe(
      "A setting: it stays until another takes its place, for 24 h at most, then “off”. It may change by at most 10 (percent) and 2.5 (speed) at once. It may not change again within 1 min.",
    );
    expect(kindLine({ name: "set", minIntervalMs: 0 }, 1_000, "off")).toBe(
      "A setting: it stays until another takes its place, for 1 s at most, then “off”.",
    );
  });
  it("has a word for each, and leaves one that it does not know as it is", () => {
    expect(kindName(null)).toBe("timed");
    expect(kindName({ name: "held", leaseMs: 1 })).toBe("held");
    expect(kindName({ name: "novel" } as never)).toBe("novel");
  });
});
