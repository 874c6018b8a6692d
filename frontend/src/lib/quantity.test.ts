import { afterEach, describe, expect, it } from "vitest";
import { value } from "./format";
import { chooseUnits, shown, units } from "./quantity";

afterEach(() => {
  chooseUnits({ temperature: "reported", volume: "reported" });
});

describe("units", () => {
  it("are those of the node until somebody chooses, by their signs", () => {
    expect(units()).toEqual({ temperature: "reported", volume: "reported" });
    expect(value(21.5, "Cel")).toBe("21.5 °C");
    expect(value(70.7, "[degF]")).toBe("70.7 °F");
    expect(value(12, "[gal_us]/min")).toBe("12 gal/min");
    expect(value(3, "lx")).toBe("3 lx");
    expect(value(31.84, "%")).toBe("31.8%");
  });
  it("are converted once one is chosen, wherever the value comes from", () => {
    chooseUnits({ temperature: "fahrenheit", volume: "gallon" });
    expect(value(100, "Cel")).toBe("212 °F");
    expect(value(-40, "[degF]")).toBe("-40 °F");
    expect(value(273.15, "K")).toBe("32 °F");
    expect(value(3.785411784, "L")).toBe("1 gal");
    expect(shown(1, "m3/h")).toEqual({ v: 1000 / 3.785411784, unit: "gal/h" });
    chooseUnits({ temperature: "celsius", volume: "litre" });
    expect(value(212, "[degF]")).toBe("100 °C");
    expect(value(2, "[gal_us]/min")).toBe("7.57 L/min");
  });
  it("convert nothing that only looks alike", () => {
    chooseUnits({ temperature: "fahrenheit", volume: "gallon" });
    // A change of temperature, a concentration, text and what has no unit.
    expect(shown(2, "Cel/h")).toEqual({ v: 2, unit: "°C/h" });
    expect(value(5, "mg/L")).toBe("5 mg/L");
    expect(value("open", "Cel")).toBe("open");
    expect(value(5, "constructor")).toBe("5 constructor");
    expect(value(5)).toBe("5");
    expect(value(null, "Cel")).toBe("–");
  });
});
