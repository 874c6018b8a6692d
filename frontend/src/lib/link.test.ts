import { expect, test } from "vitest";
import { isAway, pathOfLink } from "./link";

const CODE = `${"a1_-".repeat(10)}xyz`;

test("a pasted link or code leads to this node and nowhere else", () => {
  const path = `/console/open?code=${CODE}`;
  expect(pathOfLink(` https://field.example:18443${path}\n`)).toBe(path);
  expect(pathOfLink(CODE)).toBe(path);
  expect(pathOfLink(`https://evil.example/x?code=${CODE}&next=//evil.example`)).toBe(path);
  for (const bad of ["", "https://evil.example/", "javascript:alert(1)", `${CODE}/..`, "code=short"])
    expect(pathOfLink(bad)).toBeUndefined();
});

test("a page over https of another name is another machine's", () => {
  expect(isAway({ protocol: "https:", hostname: "field.example" })).toBe(true);
  expect(isAway({ protocol: "https:", hostname: "localhost" })).toBe(false);
  expect(isAway({ protocol: "http:", hostname: "127.0.0.1" })).toBe(false);
});
