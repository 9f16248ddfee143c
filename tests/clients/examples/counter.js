// Counters: how often a page was seen, by whom, and a limit of requests in a window of time. node counter.js PORT
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const connect = () => new Redis({ host: "127.0.0.1", port: Number(process.argv[2]) });
const redis = connect();

/** A page was seen by a visitor: counts it, in all and by the hour, and the visitor once. */
async function seen(client, page, visitor, hour) {
  await client.multi()
    .incr(`views:${page}`)
    .hincrby(`views:${page}:hours`, hour, 1)
    .sadd(`visitors:${page}`, visitor)
    .exec();
}

/** What is known of a page. */
async function report(page) {
  const [views, hours, visitors] = await Promise.all([
    redis.get(`views:${page}`),
    redis.hgetall(`views:${page}:hours`),
    redis.scard(`visitors:${page}`),
  ]);
  return { views: Number(views), hours, visitors };
}

/** Whether somebody may have one more request in the present window. */
async function admits(who, limit, windowMs) {
  const key = `limit:${who}`;
  const [[, count]] = await redis.multi().incr(key).pexpire(key, windowMs, "NX").exec();
  return count <= limit;
}

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

(async () => {
  await redis.flushall();
  // Many at once, over several connections: none is lost.
  const clients = Array.from({ length: 5 }, connect);
  const views = Array.from({ length: 1000 }, (_, i) =>
    seen(clients[i % clients.length], "home", `visitor${i % 37}`, String(i % 24)));
  await Promise.all(views);
  const { views: total, hours, visitors } = await report("home");
  assert.equal(total, 1000);
  assert.equal(visitors, 37);
  assert.equal(Object.keys(hours).length, 24);
  assert.equal(Object.values(hours).reduce((sum, count) => sum + Number(count), 0), 1000);

  const tries = await Promise.all(Array.from({ length: 8 }, () => admits("ann", 5, 200)));
  assert.equal(tries.filter(Boolean).length, 5);
  assert.equal(await admits("bob", 5, 200), true);
  await sleep(300);
  assert.equal(await admits("ann", 5, 200), true);

  assert.equal(await redis.incrbyfloat("balance", "10.25"), "10.25");
  assert.equal(await redis.incrbyfloat("balance", "-0.05"), "10.2");
  await Promise.all(clients.map((client) => client.quit()));
})().then(() => redis.quit(), (error) => {
  console.error(error);
  process.exit(1);
});
