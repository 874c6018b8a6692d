// Messages to agents and the rules by which they find one: written, answered, taken back and sent again on the page.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab } from "./lab.mjs";
import { modelServer } from "./model.mjs";
import { until } from "./nodes.mjs";

const HOSTILE = 'Dry. <img src="x"> [see](http://evil.example) http://evil.example/a';
let server;
let l;
before(async () => {
  server = await modelServer(() => HOSTILE);
  l = await lab({ rules: `[[model]]\nname = "fake/small"\nurl = "${server.url}"\n` });
  await l.connected();
  // The field node has no model: it is known here and answers nothing.
  await until("both nodes are known", async () => (await l.center.api("GET", "/abilities")).length === 2);
});
after(async () => {
  await l?.close();
  await server?.close();
});

const panel = (page, name) => page.getByRole("region", { name, exact: true });
/** Neither the window nor the page in it scrolls to the side. */
const fits = (page) =>
  page.evaluate(() =>
    [document.scrollingElement, document.querySelector("main#page")].every(
      (one) => one.scrollWidth <= one.clientWidth,
    ),
  );
const write = async (page, text) =>
  page.getByRole("textbox", { name: "What should an agent answer?" }).fill(text);

test("a message is sent once by two clicks, and its answer is plain text", async () => {
  const o = await l.open("/messages");
  await o.page.getByText("No message yet.").waitFor();
  await write(o.page, "How is the soil?");
  await o.page.getByRole("button", { name: "Send", exact: true }).dblclick();
  const one = panel(o.page, "One message");
  await one.getByText("An agent has answered it.").waitFor();
  await one.getByText(HOSTILE).waitFor();
  assert.equal(await one.locator("img, a").count(), 0);
  await panel(o.page, "Messages")
    .getByRole("row", { name: /How is the soil\?/ })
    .getByText("answered")
    .waitFor();
  const { messages } = await l.center.api("GET", "/messages");
  assert.deepEqual(
    messages.map((m) => [m.text, m.source, m.state]),
    [["How is the soil?", "console", "answered"]],
  );
  await accessible(o.page, "a message");
  // Its address is its place.
  await o.page.reload();
  await one.getByText(HOSTILE).waitFor();
  await o.clean();
  await o.close();
});

test("one that no node takes says why, is taken back and sent again; dead ones are found", async () => {
  const late = await l.center.api("POST", "/messages", {
    text: "too late",
    node: l.field.id,
    timeoutMs: 1000,
  });
  const o = await l.open("/messages");
  await write(o.page, "who is there?");
  await o.page.getByRole("combobox", { name: "Where to" }).selectOption({ label: l.field.name });
  await o.page.keyboard.press("Tab");
  await o.page.getByRole("button", { name: "Send", exact: true }).click();
  const one = panel(o.page, "One message");
  await one.getByText("It waits for a node that can answer.").waitFor();
  const id = new URL(o.page.url()).searchParams.get("m");
  await until("the page says why it waits", async () => {
    const { why } = await l.center.api("GET", `/messages/${id}`);
    return why && (await one.getByText(why).count());
  });
  await one.getByRole("button", { name: "Take back" }).click();
  await one.getByText("It was taken back.").waitFor();
  assert.equal((await l.center.api("GET", `/messages/${id}`)).state, "cancelled");
  await one.getByRole("button", { name: "Send again" }).click();
  await one.getByText("It waits for a node that can answer.").waitFor();
  await one.getByRole("button", { name: "Take back" }).click();
  await one.getByText("It was taken back.").waitFor();

  await until(
    "its time is over",
    async () => (await l.center.api("GET", `/messages/${late.id}`)).state === "expired",
  );
  const list = panel(o.page, "Messages");
  await list.getByRole("button", { name: /^Not answered/ }).click();
  await list.getByText("None of these is sent again by itself.").waitFor();
  await list.getByRole("button", { name: "too late" }).waitFor();
  await list.getByRole("button", { name: "who is there?" }).waitFor({ state: "detached" });
  await list.getByRole("button", { name: /^All/ }).click();
  await list.getByRole("searchbox").fill("WHO is");
  await list.getByRole("button", { name: "too late" }).waitFor({ state: "detached" });
  await list.getByRole("button", { name: "who is there?" }).waitFor();
  await o.clean();
  await o.close();
});

test("rules are checked with the line at fault, put in force, explained, and not written over another's", async () => {
  const o = await l.open("/routing", { scope: "admin" });
  const rules = panel(o.page, "Routing");
  await rules.getByText("There are no rules").waitFor();
  const editor = rules.getByRole("textbox", { name: "Rules, as TOML" });
  const good = 'version = 1\n\n[[rule]]\nname = "soil"\nmessage = { words = ["soil"] }\n';
  await editor.fill(`${good}\n[[test]]\nmessage = "the valve"\nrule = "soil"\n`);
  await rules.getByRole("button", { name: "Check only" }).click();
  await rules.getByRole("button", { name: "Go to line 7" }).click();
  const picked = await editor.evaluate((e) => e.value.slice(e.selectionStart, e.selectionEnd));
  assert.equal(picked, "[[test]]");
  await accessible(o.page, "rules at fault");
  assert.equal((await l.center.api("GET", "/routing")).text, "");

  await editor.fill(good);
  await rules.getByRole("button", { name: "Check only" }).click();
  await rules.getByText("Nothing was changed.").waitFor();
  assert.equal((await l.center.api("GET", "/routing")).text, "");
  await rules.getByRole("button", { name: "Put in force" }).click();
  await rules.getByText("Now in force.").waitFor();
  assert.equal((await l.center.api("GET", "/routing")).text, good);

  const explain = panel(o.page, "Where would it go?");
  await explain.getByRole("textbox").fill("is the SOIL dry?");
  await o.page.keyboard.press("Enter");
  await explain.getByText("By the rule soil").waitFor();
  await explain.getByText(`It would go to ${l.center.name} · model`).waitFor();
  await explain
    .getByRole("listitem")
    .filter({ hasText: new RegExp(`^\\s*○ ${l.field.name}: \\S`) })
    .waitFor();
  await accessible(o.page, "rules explained");

  await editor.fill(`${good}# mine\n`);
  await l.center.api("POST", "/routing", { text: `${good}# theirs\n` });
  await rules.getByText("Somebody else has put other rules in force").waitFor();
  assert.equal((await l.center.api("GET", "/routing")).text, `${good}# theirs\n`);
  await rules.getByRole("button", { name: "Keep mine, to replace those" }).click();
  await rules.getByRole("button", { name: "Put in force" }).click();
  await rules.getByText("Now in force.").waitFor();
  assert.equal((await l.center.api("GET", "/routing")).text, `${good}# mine\n`);
  await o.close();
});

test("this node gets a tag and loses it", async () => {
  const o = await l.open("/routing", { scope: "admin" });
  const own = o.page.getByRole("listitem", { name: l.center.name, exact: true });
  await own.getByRole("textbox", { name: "New tag" }).fill("fast");
  await o.page.keyboard.press("Enter");
  const tags = async () => (await l.center.api("GET", "/abilities")).find((one) => one.own).profile.tags;
  await own.getByRole("button", { name: "Take the tag fast away" }).waitFor();
  assert.deepEqual(await tags(), ["fast"]);
  await own.getByRole("button", { name: "Take the tag fast away" }).click();
  await own.getByRole("button", { name: "Take the tag fast away" }).waitFor({ state: "detached" });
  assert.deepEqual(await tags(), []);
  await o.clean();
  await o.close();
});

test("who may only read sees what it is for and no act; on a phone, in German, nothing runs over the edge", async () => {
  const o = await l.open("/messages", { scope: "read" });
  await o.page.getByText("This session may only read.").waitFor();
  assert.equal(await o.page.getByRole("button", { name: "Send", exact: true }).count(), 0);
  await o.go("/routing");
  await o.page.getByText("This session may only read.").waitFor();
  await o.page.getByRole("listitem", { name: l.center.name, exact: true }).waitFor();
  assert.equal(await o.page.locator("main#page").getByRole("textbox").count(), 0);
  await o.clean();
  await o.close();

  const sent = await l.center.api("POST", "/messages", {
    text: "w".repeat(300),
    timeoutMs: 3_600_000,
    node: l.field.id,
  });
  const p = await l.open(`/messages?m=${sent.id}`, { language: "de", viewport: { width: 390, height: 844 } });
  await p.page.getByText("Sie wartet auf einen Knoten").waitFor();
  assert.ok(await fits(p.page));
  await accessible(p.page, "a message on a phone");
  await p.page.getByRole("button", { name: "Zuklappen" }).click();
  await p.page.getByRole("button", { name: "Senden", exact: true }).waitFor();
  assert.ok(await fits(p.page));
  await accessible(p.page, "messages on a phone");
  await p.go("/routing");
  await p.page.getByRole("heading", { name: "Was Knoten können" }).waitFor();
  assert.ok(await fits(p.page));
  await accessible(p.page, "rules on a phone");
  await p.close();
});
