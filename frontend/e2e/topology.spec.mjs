// The graph of five hundred nodes: painted by WebGL in a worker, found, filtered, selected, pinned and read
// as a list; and where there is no WebGL, drawn with boxes instead. The mesh is made up from a real answer.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, lab, loaded } from "./lab.mjs";
import { showMesh } from "./mesh.mjs";

const COUNT = 500;
let l;
let o;
let many;
before(async () => {
  l = await lab({ pace: 0 });
  o = await l.open("/", { scope: "admin", reducedMotion: "reduce" });
  many = await showMesh(o.page, COUNT);
});
after(() => l?.close());

const graph = () => o.page.locator('[data-graph="webgl"][data-settled]');
/** Waits until everything stands; says what is there instead. */
async function ready() {
  await graph()
    .waitFor()
    .catch(async (error) => {
      const is = await o.page.locator("main").innerText();
      throw new Error(`${o.page.url()} shows: ${is.slice(0, 400)}\n${o.errors}\n${error.message}`);
    });
}
const canvas = () => o.page.getByRole("group", { name: new RegExp(`Graph of ${COUNT} nodes`) });
const filter = () => o.page.getByRole("searchbox");
/** The picture, once it has been painted and stands still. */
async function picture() {
  let last;
  for (let same = 0, tries = 0; same < 2 && tries < 60; tries++) {
    await o.page.mouse.move(2, 2);
    const next = await graph().screenshot();
    same = last?.equals(next) ? same + 1 : 0;
    last = next;
  }
  return last;
}
async function changes(what, act) {
  const was = await picture();
  await act();
  for (let tries = 0; tries < 100; tries++) if (!(await picture()).equals(was)) return;
  assert.fail(`${what} changed nothing in the picture`);
}
/** What is said of the thing under the pointer, after the drawing has looked there: it does in its next frame. */
const tip = () =>
  o.page.evaluate(
    () =>
      new Promise((done) => {
        const read = () =>
          done(document.querySelector('[data-graph="webgl"] > [aria-hidden="true"]')?.innerText ?? "");
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(read)));
      }),
  );
/** Moves the pointer over the drawing until it is over something, and says what. */
async function sweep(wanted = /node-|center|field-/) {
  const box = await canvas().boundingBox();
  const fits = (text) => wanted.test(text) && !text.includes(" – ");
  for (let down = 0.5; down < 0.95; down += 0.03)
    for (let across = 0.3; across < 0.9; across += 0.02) {
      const at = { x: box.x + box.width * across, y: box.y + box.height * down };
      await o.page.mouse.move(at.x, at.y);
      const text = await tip();
      // Once more: on a busy machine what is shown may still belong to the place before.
      if (fits(text) && (await tip()) === text) return { ...at, text };
    }
  assert.fail("nothing was under the pointer anywhere");
}

test("it is laid out and painted beside the page, and axe finds nothing", async () => {
  const workers = [];
  o.page.on("worker", (w) => workers.push(w.url()));
  await o.go("/topology");
  await ready();
  await o.page.getByRole("banner").getByText(`/${COUNT}`).waitFor();
  assert.equal(await canvas().locator("canvas").count(), 2);
  for (const name of ["layout", "painter"])
    assert.ok(
      workers.some((url) => url.startsWith(l.base) && url.includes(name)),
      `a worker for ${name} in ${workers}`,
    );
  await accessible(o.page, "500 nodes");
  await o.clean();
});

test("a filter fades the others and moves nothing, and the list has the same", async () => {
  await o.go("/topology");
  await ready();
  await changes("the filter", () => filter().fill("node-12"));
  await o.page.getByText(`10 of ${COUNT}`).waitFor();
  await o.page.getByRole("button", { name: "List" }).click();
  const table = o.page.getByRole("table");
  await table.getByRole("button", { name: "node-123" }).waitFor();
  assert.equal(await table.getByRole("button", { name: /^node-/ }).count(), 10);
  await accessible(o.page, "the list of 500 nodes");
  await table.getByRole("button", { name: "node-123" }).click();
  await o.page.waitForURL(new RegExp(`node=${many.ids[123]}`));
  await filter().fill("");
  await o.page.getByRole("button", { name: "Graph" }).click();
  await ready();
  await o.page.locator("main").getByText(many.ids[123]).first().waitFor();
  await o.clean();
});

test("a node is selected by search and by a press, and the keys move the view", async () => {
  await o.go("/topology");
  await ready();
  await changes("the selection", async () => {
    await o.page.keyboard.press("Control+k");
    await o.page.getByRole("combobox", { name: "Search" }).fill("node-321");
    await o.page.keyboard.press("Enter");
    await o.page.waitForURL(new RegExp(`node=${many.ids[321]}`));
  });
  await o.page.locator("main").getByText(many.ids[321]).first().waitFor();
  const found = await sweep();
  await o.page.mouse.click(found.x, found.y);
  await o.page.waitForURL((url) => !url.href.includes(many.ids[321]) && url.search.includes("node="));
  await canvas().focus();
  for (const key of ["+", "ArrowLeft", "ArrowDown", "-"])
    await changes(key, () => o.page.keyboard.press(key));
  await changes("Home", () => o.page.keyboard.press("Home"));
  await o.clean();
});

test("what is dragged stays where it was put, over a reload, until it is let go", async () => {
  await o.go("/topology");
  await ready();
  const { x, y } = await sweep();
  await o.page.mouse.down();
  await o.page.mouse.move(x + 40, y + 10, { steps: 4 });
  await o.page.mouse.move(x + 90, y + 25, { steps: 4 });
  await o.page.mouse.up();
  const unpin = o.page.getByRole("button", { name: "Unpin all" });
  await unpin.waitFor();
  await o.page.reload();
  await loaded(o.page);
  await ready();
  await unpin.click();
  await unpin.waitFor({ state: "detached" });
  await ready();
  await o.clean();
});

test("on a phone it fits and can be read as a list", async () => {
  const phone = await l.open("/", { scope: "admin", viewport: { width: 390, height: 844 }, hasTouch: true });
  await showMesh(phone.page, COUNT);
  await phone.go("/topology");
  await phone.page.locator('[data-graph="webgl"][data-settled]').waitFor();
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${wide} px wider than the phone`);
  await phone.page.getByRole("button", { name: "List" }).click();
  await phone.page
    .getByRole("table")
    .getByRole("button", { name: /^node-/ })
    .first()
    .waitFor();
  await phone.clean();
  await phone.close();
});

test("without WebGL the boxes are drawn, and it says so", async () => {
  const plain = await l.open("/", { scope: "admin" });
  // A worker cannot be told by the page what it has; a canvas that cannot be given away is painted here.
  await plain.page.addInitScript(() => {
    delete HTMLCanvasElement.prototype.transferControlToOffscreen;
    const get = HTMLCanvasElement.prototype.getContext;
    HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
      return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
    };
  });
  await showMesh(plain.page, 160);
  await plain.go("/topology");
  await plain.page.locator('[data-graph="boxes"][data-settled]').waitFor();
  await plain.page.getByText("This browser has no WebGL").waitFor();
  await plain.page.locator(".react-flow__node").first().waitFor();
  await plain.clean();
  await plain.close();
});
