// A mesh of many nodes as `/topology` would tell it, made up from a real answer: no machine here can run
// five hundred nodes. Ages, latencies and traffic move from read to read as they do in life.
import { createHash } from "node:crypto";

const id = (i) => createHash("sha256").update(`node ${i}`).digest("hex");

export function mesh(count) {
  const ids = Array.from({ length: count }, (_, i) => id(i));
  let round = 0;
  const bytes = new Map();
  /** The answer for one more read: our own node first, and as it is. */
  const next = (real) => {
    round += 1;
    const [own, ...others] = real.nodes;
    const now = real.at;
    const all = [own.deviceId, ...ids.slice(0, count - 1 - others.length)];
    const nodes = all.slice(1).map((deviceId, i) => {
      const away = i % 23 === 5;
      const reportedAt = away ? now - 600_000 : now - ((i * 613 + round * 3_000) % 60_000);
      return {
        deviceId,
        name: `node-${String(i).padStart(3, "0")}`,
        role: i % 90 === 17 ? "standby-planner" : i % 8 === 3 ? "viewer" : "field",
        version: "0.1.0",
        capabilities: ["channel:clawmesh", "sensor:mock", "actuator:mock:valve-1"],
        own: false,
        connected: i % 3 !== 0 && !away,
        trusted: i % 11 !== 3,
        fresh: !away,
        estop: i % 97 === 41,
        startedAt: now - 86_400_000,
        reportedAt,
        ageMs: now - reportedAt,
        signature: "verified",
        effectiveTier: "T1_unverified_observation",
        truncated: false,
      };
    });
    const link = (x, y, i) => {
      const [a, b] = x < y ? [x, y] : [y, x];
      const key = `${a}|${b}`;
      const own = x === all[0] || y === all[0];
      if (own) bytes.set(key, (bytes.get(key) ?? 0) + 900 + ((i * 37) % 4_000));
      return {
        a,
        b,
        posture: i % 9 === 4 ? "plaintext" : "identity-bound",
        label: i % 5 ? "local" : "lora",
        rttMs: 1 + ((i * 7 + round) % 40) / 4,
        skewMs: (i % 13) - 6,
        bytesIn: own ? bytes.get(key) : null,
        own,
        fresh: i % 23 !== 5,
        reportedBy: a,
        reportedAt: now - ((i * 613 + round * 3_000) % 60_000),
      };
    };
    // Gateways know each other and us; each has a place of its own with nodes behind it.
    const links = [];
    for (let i = 1; i < all.length; i++) {
      const gate = i <= 20 ? 0 : 1 + (i % 20);
      links.push(link(all[i], all[gate], i));
      if (i % 6 === 0 && i > 40) links.push(link(all[i], all[i - 20], i + 1_000));
    }
    for (let i = 2; i <= 20; i++) links.push(link(all[i], all[i - 1], i + 2_000));
    return { ...real, nodes: [own, ...others, ...nodes], links: [...real.links, ...links] };
  };
  return { ids, next };
}

/** From now on the page reads a mesh of so many nodes instead of the real one. */
export async function showMesh(page, count) {
  const many = mesh(count);
  await page.route(/\/api\/.*\/topology$/, async (route) => {
    try {
      const real = await (await route.fetch()).json();
      await route.fulfill({ json: many.next(real) });
    } catch (error) {
      // A page that closes takes along the answer that it was waiting for.
      if (!/disposed|has been closed/.test(error.message)) throw error;
    }
  });
  return many;
}
