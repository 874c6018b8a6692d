import { describe, expect, it } from "vitest";
import { EXAMPLE, groupsOf, lineOf, spanOfLine } from "./rules";

describe("the line that a refusal is about", () => {
  it("is the one that the node names", () => {
    expect(lineOf("TOML parse error at line 3, column 5\n  |\n3 | [[", "")).toBe(3);
  });
  it("is where the rule or group of that name stands", () => {
    const text = '[[rule]]\nname = "a"\n\n[[rule]]\nname = "b"\n';
    expect(lineOf('rule "b": there is no group "x"', text)).toBe(5);
    expect(lineOf('two rules are called "a"', '[[rule]]\nname = "a"\n[[rule]]\nname = "a"')).toBe(4);
    expect(lineOf('rule "c": no', text)).toBeUndefined();
  });
  it("is where the test of that number begins", () => {
    const text = '[[test]]\nmessage = "x"\n\n[[test]]\nmessage = "y"\n';
    expect(lineOf('test 2 ("y"): the rule would be none', text)).toBe(4);
    expect(lineOf('test 3 ("z"): no', text)).toBeUndefined();
  });
  it("is none where the refusal names nothing", () => {
    expect(lineOf("version = 2 is not known here; write version = 1", "version = 2")).toBeUndefined();
  });
});

it("offers the names of groups, and of nothing else", () => {
  expect(groupsOf(EXAMPLE)).toEqual(["fast"]);
  expect(groupsOf("[[group]]\nname = 'a b'\n[[rule]]\nname = \"r\"\n# [[group]]\n")).toEqual(["a b"]);
  expect(groupsOf("")).toEqual([]);
});

it("finds a line in a text", () => {
  expect(spanOfLine("ab\ncde\nf", 2)).toEqual([3, 6]);
  expect(spanOfLine("ab", 1)).toEqual([0, 2]);
  expect(spanOfLine("ab", 9)).toEqual([2, 2]);
});
