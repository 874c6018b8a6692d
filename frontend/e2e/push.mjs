// A push service and a browser's half of Web Push for tests: what a phone with a real one would hear, opened with its keys.
import { execFileSync } from "node:child_process";
import { createDecipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });

/** A certificate for this machine of the authority in `dir` (ca.pem, ca.key). */
function certify(dir) {
  const at = (name) => join(dir, name);
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", ...ec, "-keyout", at("push.key"), "-out", at("push.csr"), "-subj", "/CN=localhost");
  writeFileSync(at("push.names"), "subjectAltName=DNS:localhost\n");
  const signed = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "30"];
  const request = ["-in", at("push.csr"), "-extfile", at("push.names"), "-out", at("push.pem")];
  openssl("x509", "-req", ...signed, ...request);
  return { key: readFileSync(at("push.key")), cert: readFileSync(at("push.pem")) };
}

/** Opens the body of a message (RFC 8291 over RFC 8188, one record). */
function opened(body, ecdh, auth) {
  const [salt, theirs, sealed] = [body.subarray(0, 16), body.subarray(21, 86), body.subarray(86)];
  const info = Buffer.concat([Buffer.from("WebPush: info\0"), ecdh.getPublicKey(), theirs]);
  const ikm = Buffer.from(hkdfSync("sha256", ecdh.computeSecret(theirs), auth, info, 32));
  const part = (name, length) =>
    Buffer.from(hkdfSync("sha256", ikm, salt, Buffer.from(`Content-Encoding: ${name}\0`), length));
  const cipher = createDecipheriv("aes-128-gcm", part("aes128gcm", 16), part("nonce", 12));
  cipher.setAuthTag(sealed.subarray(-16));
  const text = Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
  return JSON.parse(text.subarray(0, text.lastIndexOf(2)).toString());
}

/** The service with one browser, and what that heard. */
export async function pushService(dir) {
  const [ecdh, auth] = [createECDH("prime256v1"), randomBytes(16)];
  ecdh.generateKeys();
  const heard = [];
  const server = createServer(certify(dir), async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    heard.push(opened(Buffer.concat(parts), ecdh, auth));
    response.writeHead(201).end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  return {
    port,
    heard,
    /** What the browser's own push would give the page. */
    subscription: {
      endpoint: `https://localhost:${port}/wpush/secret`,
      keys: { p256dh: ecdh.getPublicKey("base64url"), auth: auth.toString("base64url") },
    },
    close: () => server.close(),
  };
}
