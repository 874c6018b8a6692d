// What a model says comes into the window while it says it, and stopping ends its work.
import assert from "node:assert/strict";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { Lab, until } from "./lab.mjs";

/** A server as OpenAI's clients know it that says what the test tells it to, when the test says so. */
async function modelServer() {
  const asked = [];
  const server = createServer((request, answer) => {
    request.resume();
    request.on("end", () => {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      answer.flushHeaders();
      const reply = { gone: false };
      answer.on("close", () => (reply.gone = true));
      reply.say = (content) =>
        answer.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
      reply.end = () => answer.end("data: [DONE]\n\n");
      asked.push(reply);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { asked, url: `http://127.0.0.1:${server.address().port}/v1`, close: () => server.closeAllConnections() ?? server.close() };
}

test("an answer comes into the window piece by piece, and Stop ends it at the model", async () => {
  const lab = await Lab.open();
  const model = await modelServer();
  try {
    const dir = lab.fresh("answers");
    appendFileSync(join(dir, "config.toml"), `[[model]]\nname = "ollama/x"\nurl = "${model.url}"\n`);
    const window = await lab.window(dir);
    await window.press(() => window.button("owner-only files"));
    await window.sees(/First steps|Needs you/);
    await window.js("history.pushState({}, '', '/command'); dispatchEvent(new PopStateEvent('popstate'))");
    await window.sees(/ollama\/x/);
    const ask = async (text) => {
      const before = model.asked.length;
      const field = "return document.querySelector('form input[maxlength]')";
      await window.write(await window.find("the field", field), text);
      await window.press(() => window.button("Send"));
      return until("the model is asked", () => model.asked[before]);
    };

    const first = await ask("how is the soil");
    first.say('{"step": "answer", "text": "The soil is dry in the north bed');
    await window.sees(/The soil is dry in the north/);
    await lab.shot("desktop-answer-comes");
    assert.doesNotMatch(await window.text(), /south bed/, "the rest has not been said");
    first.say(' and wet in the south bed.", "cites": []}');
    first.end();
    await window.sees(/wet in the south bed[^]*ollama\/x/);
    await lab.shot("desktop-answer-whole");

    const second = await ask("and tomorrow");
    second.say('{"step": "answer", "text": "Tomorrow nobody can say what');
    await window.sees(/Tomorrow nobody can say/);
    await window.press(() => window.button("Stop"));
    await until("the model's work ends", () => second.gone);
    await until("the line is free", async () => !/Tomorrow nobody/.test(await window.text()));
    await lab.shot("desktop-answer-stopped");
  } catch (error) {
    await lab.shot("desktop-answer-failed");
    throw error;
  } finally {
    model.close();
    await lab.close();
  }
});
