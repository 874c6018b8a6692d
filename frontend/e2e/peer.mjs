// A peer that says what no honest node would: the wire protocol by hand, as much as a liar needs.
// It is a device with a key of its own which the node under test was told to trust.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
} from "node:crypto";
import { connect } from "node:net";

const [TEXT, PING, PONG] = [0x1, 0x9, 0xa];

/** A frame of a client (RFC 6455), masked as it must be. */
function encoded(content, opcode = TEXT) {
  const body = Buffer.from(content);
  const size = body.length < 126 ? 0 : body.length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + size);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (size === 0 ? body.length : size === 2 ? 126 : 127);
  if (size === 2) head.writeUInt16BE(body.length, 2);
  if (size === 8) head.writeBigUInt64BE(BigInt(body.length), 2);
  const mask = randomBytes(4);
  for (let i = 0; i < body.length; i++) body[i] ^= mask[i & 3];
  return Buffer.concat([head, mask, body]);
}

export class Peer {
  constructor() {
    const { privateKey } = generateKeyPairSync("ed25519");
    this.key = createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" }));
    const raw = createPublicKey(this.key).export({ type: "spki", format: "der" }).subarray(-32);
    this.publicKey = raw.toString("base64url");
    this.id = createHash("sha256").update(raw).digest("hex");
    this.answers = new Map();
    this.asked = 0;
  }

  /** Connects to a node and proves its key, calling itself `name`. */
  async join(port, mesh, name, role = "viewer") {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("error", () => undefined);
    await new Promise((done, failed) => this.socket.once("connect", done).once("error", failed));
    const nonce = randomBytes(16).toString("base64");
    this.socket.write(
      `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    await new Promise((open, failed) => {
      let data = Buffer.alloc(0);
      let upgraded = false;
      this.socket.once("close", () => failed(new Error("the node closed the link")));
      this.socket.on("data", (chunk) => {
        data = Buffer.concat([data, chunk]);
        if (!upgraded) {
          const end = data.indexOf("\r\n\r\n");
          if (end < 0) return;
          if (!data.subarray(0, end).toString().startsWith("HTTP/1.1 101"))
            return failed(new Error(data.toString()));
          upgraded = true;
          data = data.subarray(end + 4);
          open();
        }
        data = this.read(data);
      });
    });
    const { nonce: challenge } = await this.ask("mesh.challenge", {});
    const signedAtMs = Date.now();
    const parts = [this.id, String(signedAtMs), challenge, mesh, role].map(encodeURIComponent);
    await this.ask("mesh.connect", {
      version: 2,
      deviceId: this.id,
      publicKey: this.publicKey,
      signature: sign(null, Buffer.from(`mesh.connect|v2|${parts.join("|")}`), this.key).toString(
        "base64url",
      ),
      signedAtMs,
      nonce: challenge,
      clientNonce: randomBytes(16).toString("hex"),
      displayName: name,
      capabilities: ["channel:probe"],
      meshId: mesh,
      role,
    });
    return this;
  }

  /** Takes whole messages off `data`; gives back what is left. The node never masks. */
  read(data) {
    for (;;) {
      if (data.length < 2) return data;
      const short = data[1] & 0x7f;
      const from = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (data.length < from) return data;
      const size =
        short < 126 ? short : short === 126 ? data.readUInt16BE(2) : Number(data.readBigUInt64BE(2));
      if (data.length < from + size) return data;
      const [opcode, content] = [data[0] & 0x0f, data.subarray(from, from + size)];
      if (opcode === TEXT) this.heard(JSON.parse(content.toString()));
      // Whoever does not answer pings has gone.
      if (opcode === PING) this.socket.write(encoded(content, PONG));
      data = data.subarray(from + size);
    }
  }

  heard(message) {
    if (message.type !== "res") return;
    const waiting = this.answers.get(message.id);
    this.answers.delete(message.id);
    if (message.ok) waiting?.done(message.payload);
    else waiting?.failed(new Error(JSON.stringify(message.error)));
  }

  ask(method, params) {
    const id = `p${++this.asked}`;
    this.socket.write(encoded(JSON.stringify({ type: "req", id, method, params })));
    return new Promise((done, failed) => this.answers.set(id, { done, failed }));
  }

  /** Says something about the world; whether the node takes it is the node's business. */
  say(frame) {
    const payload = {
      gen: 1,
      frameId: `f-${randomBytes(8).toString("hex")}`,
      sourceDeviceId: this.id,
      sourceDisplayName: "probe",
      timestamp: Date.now(),
      hops: 0,
      trust: { evidence_sources: ["sensor"], evidence_trust_tier: "T3_verified_action_evidence" },
      ...frame,
    };
    this.socket.write(encoded(JSON.stringify({ type: "event", event: "context.frame", payload })));
    return payload.frameId;
  }

  leave() {
    this.socket?.destroy();
  }
}
