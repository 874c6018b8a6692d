import { describe, expect, it } from "vitest";
import { action, bytes, csv, device, left, span, tier, value, when } from "./format";

describe("format", () => {
  it("shows spans in the largest fitting unit", () => {
    expect([span(400), span(59_000), span(61_000), span(7_200_000), span(200_000_000)]).toEqual([
      "0 s",
      "59 s",
      "1 min",
      "2 h",
      "2 d",
    ]);
  });
  it("is relative under an hour and absolute after", () => {
    const now = new Date("2026-05-05T12:00:00").getTime();
    expect(when(now - 5_000, now)).toBe("5 s ago");
    expect(when(now - 2 * 3_600_000, now)).toBe("10:00:00");
    expect(when(now - 48 * 3_600_000, now)).toBe("3 May 2026, 12:00:00");
  });
  it("never counts below zero", () => {
    expect(left(-5)).toBe("0:00");
    expect(left(61_000)).toBe("1:01");
    expect(left(3_661_000)).toBe("1:01:01");
  });
  it("shows no data as a dash and not as zero", () => {
    expect(value(null, "%")).toBe("–");
    expect(value(0, "%")).toBe("0%");
    expect(value(31.84, "%")).toBe("31.8%");
    expect(value("open")).toBe("open");
    expect(bytes(50_916_126_720)).toBe("47 GiB");
    expect(value(-2048, "bytes/s")).toBe("-2.0 KiB/s");
  });
  it("names actions and devices", () => {
    expect(action("open", "actuator:mock:valve-1", 10_000)).toBe("Open valve-1 for 10 s");
    expect(device("valve")).toBe("valve");
    expect(tier("T2_operational_observation")).toBe("T2");
  });
  it("defuses formulas and quotes in CSV", () => {
    expect(csv([["=1+1", 'a"b', -4, null]])).toBe('\'=1+1,"a""b",-4,\r\n');
  });
});
