// ioredis, as an application uses it. argv[2]: the port. Ends with a status other than 0 at the first surprise.
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const connect = (options) => new Redis({ port, host: "127.0.0.1", ...options });
const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

const scenarios = {
  async strings(redis) {
    assert.equal(await redis.set("k", "v"), "OK");
    assert.equal(await redis.get("k"), "v");
    assert.equal(await redis.get("nokey"), null);
    assert.equal(await redis.set("k", "w", "NX"), null);
    assert.equal(await redis.set("k", "w", "GET"), "v");
    assert.equal(await redis.append("k", "xyz"), 4);
    assert.equal(await redis.strlen("k"), 4);
    assert.deepEqual(await redis.mset({ a: 1, b: 2 }), "OK");
    assert.deepEqual(await redis.mget("a", "b", "c"), ["1", "2", null]);
    assert.equal(await redis.exists("a", "b", "c"), 2);
    assert.equal(await redis.del("a", "b"), 2);
    assert.equal(await redis.incr("n"), 1);
    assert.equal(await redis.incrby("n", 41), 42);
    assert.equal(await redis.incrbyfloat("n", 0.5), "42.5");
  },

  async expiry(redis) {
    await redis.set("k", "v", "PX", 60);
    assert.equal(await redis.expire("nokey", 5), 0);
    const left = await redis.pttl("k");
    assert.ok(left > 0 && left <= 60, `pttl ${left}`);
    await sleep(90);
    assert.equal(await redis.get("k"), null);
    await redis.set("k", "v", "EX", 100);
    assert.equal(await redis.persist("k"), 1);
    assert.equal(await redis.ttl("k"), -1);
  },

  async pipelines(redis) {
    const pipeline = redis.pipeline();
    for (let i = 0; i < 5000; i++) pipeline.set(`p${i}`, i).get(`p${i}`);
    const replies = await pipeline.exec();
    assert.equal(replies.length, 10000);
    replies.forEach(([error, reply], i) => {
      assert.equal(error, null);
      assert.equal(reply, i % 2 ? String((i - 1) / 2) : "OK");
    });
    const many = await Promise.all(Array.from({ length: 2000 }, () => redis.incr("together")));
    assert.deepEqual(many, Array.from({ length: 2000 }, (_, i) => i + 1));
  },

  async binary(redis) {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    await redis.set(bytes, bytes);
    assert.deepEqual(await redis.getBuffer(bytes), bytes);
    const big = Buffer.alloc(3_000_000, 7);
    await redis.set("big", big);
    assert.deepEqual(await redis.getBuffer("big"), big);
  },

  async errors(redis) {
    await redis.set("k", "text");
    await assert.rejects(redis.incr("k"), /ERR value is not an integer or out of range/);
    await assert.rejects(redis.call("NOSUCH", "a"), /ERR unknown command/);
    await assert.rejects(redis.call("GET"), /wrong number of arguments/);
    assert.equal(await redis.ping(), "PONG");
  },

  async hashes(redis) {
    assert.equal(await redis.hset("h", { f: 1, g: "two" }), 2);
    assert.deepEqual(await redis.hgetall("h"), { f: "1", g: "two" });
    assert.equal(await redis.hincrby("h", "f", 4), 5);
    assert.deepEqual(await redis.hmget("h", "f", "nofield"), ["5", null]);
  },

  async scanning(redis) {
    const keys = Array.from({ length: 1000 }, (_, i) => `scan${i}`);
    await redis.mset(...keys.flatMap((key) => [key, 1]));
    const seen = new Set();
    for await (const batch of redis.scanStream({ match: "scan*", count: 50 })) batch.forEach((key) => seen.add(key));
    assert.deepEqual([...seen].sort(), keys.sort());
  },

  async transactions(redis) {
    const names = Array.from({ length: 20 }, (_, i) => `t${i}`);
    const multi = redis.multi();
    names.forEach((name, i) => multi.set(name, i).incr(name));
    const replies = await multi.exec();
    assert.deepEqual(replies, names.flatMap((_, i) => [[null, "OK"], [null, i + 1]]));
    const other = connect();
    await redis.watch(...names);
    await other.set("t7", "conflict");
    assert.equal(await redis.multi().mset({ t0: "mine", t7: "mine" }).exec(), null);
    assert.deepEqual(await redis.mget("t0", "t7"), ["1", "conflict"]);
    await redis.watch(...names);
    assert.deepEqual(await redis.multi().mset({ t0: "mine", t7: "mine" }).exec(), [[null, "OK"]]);
    await other.quit();
  },

  async handshake() {
    const named = connect({ connectionName: "me", db: 2 });
    assert.equal(await named.client("GETNAME"), "me");
    await named.set("only2", 1);
    await named.quit();
    const plain = connect();
    assert.equal(await plain.get("only2"), null);
    await plain.quit();
  },

  async users(redis) {
    await redis.acl("SETUSER", "alice", "reset", "on", ">secret", "~a*", "+@read", "+set", "+info", "+client");
    const alice = connect({ username: "alice", password: "secret" });
    assert.equal(await alice.set("a1", "v"), "OK");
    assert.equal(await alice.get("a1"), "v");
    await assert.rejects(alice.get("b"), /NOPERM No permissions to access a key/);
    await assert.rejects(alice.del("a1"), /NOPERM User alice has no permissions to run the 'del' command/);
    const wrong = connect({ username: "alice", password: "wrong", retryStrategy: () => null });
    wrong.on("error", () => {});
    await assert.rejects(wrong.get("a1"), /WRONGPASS|Connection is closed|NOPERM|NOAUTH/);
    wrong.disconnect();
    const gone = new Promise((done) => alice.once("close", done));
    alice.on("error", () => {});
    assert.equal(await redis.acl("DELUSER", "alice"), 1);
    await gone;
    alice.disconnect();
  },

  async reconnect() {
    const redis = connect({ retryStrategy: () => 20 });
    await redis.set("before", "1");
    const again = new Promise((done) => redis.once("reconnecting", done));
    redis.stream.destroy();
    await again;
    assert.equal(await redis.get("before"), "1");
    await redis.quit();
  },
};

(async () => {
  for (const [name, run] of Object.entries(scenarios)) {
    const redis = connect();
    await redis.flushall();
    await run(redis);
    await redis.quit();
    console.log(`ok ${name}`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
