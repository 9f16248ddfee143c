// ioredis's Cluster against shard ports. argv[2]: the first of them, argv[3]: how many. Ends with a status other than 0 at the first surprise.
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const nodes = Number(process.argv[3]);

const scenarios = {
  async topology(cluster) {
    const ports = cluster.nodes("master").map((node) => node.options.port);
    assert.deepEqual(ports.sort(), Array.from({ length: nodes }, (_, i) => port + i));
    assert.equal(cluster.nodes("slave").length, 0);
    assert.match(await cluster.cluster("INFO"), /cluster_state:ok/);
  },

  async keys(cluster) {
    const names = Array.from({ length: 300 }, (_, i) => `k${i}`);
    await Promise.all(names.map((name, i) => cluster.set(name, i)));
    assert.deepEqual(await Promise.all(names.map((name) => cluster.get(name))), names.map((_, i) => String(i)));
    const masters = cluster.nodes("master");
    const sizes = await Promise.all(masters.map((node) => node.dbsize()));
    assert.equal(sizes.reduce((sum, size) => sum + size), 300);
    assert.ok(sizes.every((size) => size > 0), `each node has some: ${sizes}`);
    const seen = [];
    for (const node of masters) {
      for await (const batch of node.scanStream({ match: "k*", count: 20 })) seen.push(...batch);
    }
    assert.deepEqual(seen.sort(), names.sort());
  },

  async several(cluster) {
    assert.equal(await cluster.mset({ "{t}a": 1, "{t}b": 2 }), "OK");
    assert.deepEqual(await cluster.mget("{t}a", "{t}b", "{t}c"), ["1", "2", null]);
    // Keys of several lanes in one command, which a Redis cluster would refuse.
    assert.equal(await cluster.mset({ a: 1, b: 2, c: 3, d: 4 }), "OK");
    assert.deepEqual(await cluster.mget("a", "b", "c", "d"), ["1", "2", "3", "4"]);
    assert.equal(await cluster.del("a", "b", "c", "d"), 4);
  },

  async pipelines(cluster) {
    const pipeline = cluster.pipeline();
    for (let i = 0; i < 500; i++) pipeline.set(`{p}${i}`, i).get(`{p}${i}`);
    const replies = await pipeline.exec();
    replies.forEach(([error, reply], i) => {
      assert.equal(error, null);
      assert.equal(reply, i % 2 ? String((i - 1) / 2) : "OK");
    });
    const many = await Promise.all(Array.from({ length: 1000 }, () => cluster.incr("together")));
    assert.deepEqual(many, Array.from({ length: 1000 }, (_, i) => i + 1));
  },

  async transactions(cluster) {
    const replies = await cluster.multi().set("{t}x", 1).incr("{t}x").get("{t}x").exec();
    assert.deepEqual(replies, [[null, "OK"], [null, 2], [null, "2"]]);
    const one = new Redis({ port, host: "127.0.0.1" });
    await one.watch("{t}x");
    await cluster.set("{t}x", "conflict");
    assert.equal(await one.multi().set("{t}x", "mine").exec(), null);
    assert.equal(await cluster.get("{t}x"), "conflict");
    await one.quit();
  },

  async errors(cluster) {
    await cluster.set("k", "text");
    await assert.rejects(cluster.incr("k"), /ERR value is not an integer or out of range/);
    await assert.rejects(cluster.hget("k", "f"), /WRONGTYPE/);
  },
};

(async () => {
  for (const [name, run] of Object.entries(scenarios)) {
    const cluster = new Redis.Cluster([{ port, host: "127.0.0.1" }]);
    await cluster.ping();
    await Promise.all(cluster.nodes("master").map((node) => node.flushall()));
    await run(cluster);
    await cluster.quit();
    console.log(`ok ${name}`);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
