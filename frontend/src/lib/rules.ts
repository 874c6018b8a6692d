/** What the page of rules reads out of a text by itself: for showing only, the node decides what it means. */

/** The line that a refusal of the node is about, counted from one; none where it names none. */
export function lineOf(refused: string, text: string): number | undefined {
  const said = /\bline (\d+)\b/.exec(refused);
  if (said) return Number(said[1]);
  const lines = text.split("\n");
  const test = /\btest (\d+) \(/.exec(refused);
  if (test) {
    let left = Number(test[1]);
    const at = lines.findIndex((line) => /^\s*\[\[\s*test\s*\]\]/.test(line) && --left === 0);
    return at < 0 ? undefined : at + 1;
  }
  const named = /\b(?:rule|group|called) ("(?:[^"\\]|\\.)*")/.exec(refused);
  if (!named) return undefined;
  const at = lines.findLastIndex((line) => /^\s*name\s*=/.test(line) && line.includes(named[1] ?? ""));
  return at < 0 ? undefined : at + 1;
}

/** The names of the groups in a text of rules, to offer them. */
export function groupsOf(text: string): string[] {
  const names = new Set<string>();
  let inside = false;
  for (const line of text.split("\n")) {
    if (/^\s*\[/.test(line)) inside = /^\s*\[\[\s*group\s*\]\]/.test(line);
    const name = inside ? /^\s*name\s*=\s*(?:"([^"\\]+)"|'([^']+)')/.exec(line) : null;
    const found = name?.[1] ?? name?.[2];
    if (found) names.add(found);
  }
  return [...names];
}

/** Where a line begins and ends in a text, to select it. */
export function spanOfLine(text: string, line: number): [number, number] {
  const lines = text.split("\n");
  const before = lines.slice(0, line - 1).reduce((n, one) => n + one.length + 1, 0);
  return [Math.min(before, text.length), Math.min(before + (lines[line - 1]?.length ?? 0), text.length)];
}

/** Rules to begin with. */
export const EXAMPLE = `version = 1

[[group]]
name = "fast"
node = { tags = ["fast"] }

[[rule]]
name = "long work"
message = { prefix = "/long" }
node = { group = "fast" }
timeout_s = 900

[[test]]
message = "/long sum up the week"
rule = "long work"
`;
