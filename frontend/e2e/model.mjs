// A server that speaks as OpenAI's do, with answers that the test writes.
import { createServer } from "node:http";

/** `answer(body)` gives the text of the reply, or `{ status, error }`; pieces of it are streamed. */
export async function modelServer(answer) {
  const asked = [];
  const open = new Set();
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (more) => {
      text += more;
    });
    request.on("end", async () => {
      const body = text ? JSON.parse(text) : {};
      asked.push({ path: request.url, key: request.headers.authorization, body });
      open.add(response);
      response.on("close", () => open.delete(response));
      const said = await answer(body);
      if (said.status) {
        response.writeHead(said.status, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: { message: said.error } }));
        return;
      }
      response.writeHead(200, { "content-type": "text/event-stream" });
      const send = (what) => response.write(`data: ${JSON.stringify(what)}\n\n`);
      for (const piece of said.match(/[\s\S]{1,12}/g) ?? [])
        send({ choices: [{ delta: { content: piece } }] });
      send({
        choices: [{ delta: {}, finish_reason: "stop" }],
        usage: { prompt_tokens: 120, completion_tokens: 8 },
      });
      response.end("data: [DONE]\n\n");
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    asked,
    open,
    url: `http://127.0.0.1:${server.address().port}/v1`,
    close: () => new Promise((done) => server.close(done) && server.closeAllConnections()),
  };
}
