// node-redis (npm "redis"), in RESP2 and in RESP3. argv[2]: the port. Ends with a status other than 0 at the first surprise.
"use strict";
const assert = require("node:assert/strict");
const { createClient, RESP_TYPES } = require("redis");

const port = Number(process.argv[2]);
const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

async function connect(options) {
  const client = createClient({ socket: { port, host: "127.0.0.1", reconnectStrategy: 20 }, ...options });
  client.on("error", () => {}); // what a broken connection does to commands is what the scenarios look at
  await client.connect();
  return client;
}

const scenarios = {
  async strings(client) {
    assert.equal(await client.set("k", "v"), "OK");
    assert.equal(await client.get("k"), "v");
    assert.equal(await client.get("nokey"), null);
    assert.equal(await client.set("k", "w", { condition: "NX" }), null);
    assert.equal(await client.set("k", "w", { GET: true }), "v");
    assert.equal(await client.append("k", "xyz"), 4);
    assert.equal(await client.strLen("k"), 4);
    await client.mSet({ a: "1", b: "2" });
    assert.deepEqual(await client.mGet(["a", "b", "c"]), ["1", "2", null]);
    assert.equal(await client.exists(["a", "b", "c"]), 2);
    assert.equal(await client.del(["a", "b"]), 2);
    assert.equal(await client.incrBy("n", 42), 42);
    assert.equal(await client.decr("n"), 41);
  },

  async expiry(client) {
    await client.set("k", "v", { expiration: { type: "PX", value: 60 } });
    const left = await client.pTTL("k");
    assert.ok(left > 0 && left <= 60, `pttl ${left}`);
    await sleep(90);
    assert.equal(await client.get("k"), null);
    await client.set("k", "v");
    assert.equal(await client.expire("k", 100), 1);
    assert.equal(await client.expire("k", 50, "GT"), 0);
    assert.equal(await client.persist("k"), 1);
    assert.equal(await client.ttl("k"), -1);
  },

  async pipelines(client) {
    const replies = await Promise.all(Array.from({ length: 5000 }, (_, i) => (i % 2 ? client.get("n") : client.incr("n"))));
    replies.forEach((reply, i) => assert.equal(reply, i % 2 ? String((i + 1) / 2) : i / 2 + 1));
  },

  async binary(client) {
    const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await buffers.set(bytes, bytes);
    assert.deepEqual(await buffers.get(bytes), bytes);
    const big = Buffer.alloc(3_000_000, 7);
    await buffers.set("big", big);
    assert.deepEqual(await buffers.get("big"), big);
  },

  async errors(client) {
    await client.set("k", "text");
    await assert.rejects(client.incr("k"), /ERR value is not an integer or out of range/);
    await assert.rejects(client.sendCommand(["NOSUCH"]), /ERR unknown command/);
    assert.equal(await client.ping(), "PONG");
  },

  async hashes(client) {
    assert.equal(await client.hSet("h", { f: "1", g: "two" }), 2);
    assert.deepEqual({ ...(await client.hGetAll("h")) }, { f: "1", g: "two" });
    assert.equal(await client.hIncrBy("h", "f", 4), 5);
    assert.deepEqual(await client.hmGet("h", ["f", "nofield"]), ["5", null]);
  },

  async scanning(client) {
    const keys = Array.from({ length: 1000 }, (_, i) => `scan${i}`);
    await client.mSet(keys.map((key) => [key, "1"]));
    const seen = new Set();
    for await (const batch of client.scanIterator({ MATCH: "scan*", COUNT: 50 })) batch.forEach((key) => seen.add(key));
    assert.deepEqual([...seen].sort(), keys.sort());
  },

  async transactions(client, RESP) {
    const names = Array.from({ length: 20 }, (_, i) => `t${i}`);
    const multi = client.multi();
    names.forEach((name, i) => multi.set(name, String(i)).incr(name));
    assert.deepEqual(await multi.exec(), names.flatMap((_, i) => ["OK", i + 1]));
    const other = await connect({ RESP });
    await client.watch(names);
    await other.set("t7", "conflict");
    await assert.rejects(client.multi().mSet({ t0: "mine", t7: "mine" }).exec(), /watched keys has been changed/);
    assert.deepEqual(await client.mGet(["t0", "t7"]), ["1", "conflict"]);
    await other.close();
  },

  async handshake(_, RESP) {
    const named = await connect({ RESP, name: "me", database: 2 });
    assert.equal(await named.clientGetName(), "me");
    assert.equal((await named.clientInfo()).db, 2);
    await named.close();
  },

  async reconnect(_, RESP) {
    const client = await connect({ RESP });
    await client.set("before", "1");
    const again = new Promise((done) => client.once("ready", done));
    client.sendCommand(["QUIT"]).catch(() => {}); // the server closes: the client must come back by itself
    await again;
    assert.equal(await client.get("before"), "1");
    await client.close();
  },
};

(async () => {
  for (const RESP of [2, 3]) {
    for (const [name, run] of Object.entries(scenarios)) {
      const client = await connect({ RESP });
      await client.flushAll();
      await run(client, RESP);
      await client.close();
      console.log(`ok RESP${RESP} ${name}`);
    }
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
