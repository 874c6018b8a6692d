// The console as a web app on a phone: installable, and there to say so while its node cannot be reached. What the node says
// is never answered from what the browser keeps.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { lab, loaded } from "./lab.mjs";
import { until } from "./nodes.mjs";

let l;
before(async () => {
  l = await lab({ pace: 0 });
});
after(() => l?.close());

const keptFiles = (page) =>
  page.evaluate(async () => {
    const kept = await caches.open("clawmesh-pages");
    return (await kept.keys()).map((request) => new URL(request.url).pathname);
  });

test("a browser is offered to install it: a manifest with icons that are there", async () => {
  const o = await l.open("/");
  await loaded(o.page);
  const manifest = await o.page.evaluate(async () => {
    const link = document.querySelector('link[rel="manifest"]');
    const answer = await fetch(link.href);
    return { kind: answer.headers.get("content-type"), said: await answer.json() };
  });
  assert.equal(manifest.kind, "application/manifest+json");
  assert.equal(manifest.said.display, "standalone");
  for (const icon of manifest.said.icons) {
    const answer = await o.page.request.get(new URL(icon.src, o.page.url()).href);
    assert.deepEqual([answer.status(), answer.headers()["content-type"]], [200, icon.type], icon.src);
  }
  const session = await o.context.newCDPSession(o.page);
  const { errors } = await session.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // A context of the test is a private window, in which nothing is installed.
  assert.deepEqual(
    installabilityErrors.map((e) => e.errorId).filter((e) => e !== "in-incognito"),
    [],
  );
  await o.close();
});

test("its pages open while the node is away and say so; nothing of the node is kept, and the node is asked again once it is back", async () => {
  const o = await l.open("/");
  await loaded(o.page);
  await until("the files are kept", async () => {
    const kept = await keptFiles(o.page);
    const listed = await o.page.evaluate(async () => (await fetch("/shell.json")).json());
    return listed.files.length > 20 && listed.files.every((file) => kept.includes(file));
  });
  const controlled = () => o.page.evaluate(() => navigator.serviceWorker.controller !== null);
  await until("the worker serves the page", controlled);
  assert.deepEqual(
    (await keptFiles(o.page)).filter((path) => /^\/(api|console|v1|healthz|metrics)/.test(path)),
    [],
  );
  await l.center.kill("SIGKILL");
  // Any page of it, also one that was not open before.
  await o.page.goto(new URL("/world", o.page.url()).href);
  await o.page
    .getByText(/cannot be reached|Not connected to the node/)
    .first()
    .waitFor();
  assert.equal(
    await o.page.evaluate(() =>
      fetch("/api/operator/v1/status").then(
        () => "answered",
        () => "failed",
      ),
    ),
    "failed",
  );
  await l.center.start();
  await l.connected();
  // A session ends with the run of its node: that is said, and nothing is shown in its place.
  await o.page.getByText("This console is not open").waitFor();
  await o.close();
});
