// A job queue: workers wait for jobs, what a worker dies with is done again, and what is for later comes when it is due. node jobs.js PORT
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const connect = () => new Redis({ host: "127.0.0.1", port: Number(process.argv[2]) });
const redis = connect();

const QUEUE = "jobs";
const LATER = "jobs:later";
const workingOn = (worker) => `jobs:at:${worker}`;

const add = (job) => redis.lpush(QUEUE, JSON.stringify(job));
const addLater = (job, dueMs) => redis.zadd(LATER, dueMs, JSON.stringify(job));

/** Takes the oldest job into the worker's own list, or waits for one; null when there was none for so long. */
const take = (client, worker, seconds) => client.blmove(QUEUE, workingOn(worker), "RIGHT", "LEFT", seconds);

/** A job is done: nobody need do it again. */
const done = (client, worker, job) => client.lrem(workingOn(worker), 1, job);

/** Puts what a worker that is gone was working on back in front; how many that was. */
async function recover(worker) {
  let count = 0;
  while ((await redis.lmove(workingOn(worker), QUEUE, "LEFT", "RIGHT")) !== null) count++;
  return count;
}

/** Moves what is due by now into the queue, each job once whoever else does the same. */
async function promote(nowMs) {
  const due = await redis.zrange(LATER, "-inf", nowMs, "BYSCORE");
  for (const job of due) if ((await redis.zrem(LATER, job)) === 1) await redis.lpush(QUEUE, job);
}

/** Works until nothing has come for half a second. */
async function work(worker, handle) {
  const client = connect();
  for (let job; (job = await take(client, worker, 0.5)) !== null; ) {
    await handle(JSON.parse(job));
    await done(client, worker, job);
  }
  await client.quit();
}

(async () => {
  await redis.flushall();

  // Three workers wait before there is anything to do; all of it is done once.
  const handled = [];
  const workers = ["w1", "w2", "w3"].map((name) => work(name, async (job) => handled.push(job.id)));
  for (let id = 0; id < 100; id++) await add({ id });
  await Promise.all(workers);
  assert.deepEqual(handled.sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  assert.equal(await redis.exists(QUEUE, workingOn("w1"), workingOn("w2"), workingOn("w3")), 0);

  // First come, first served.
  for (let id = 0; id < 5; id++) await add({ id });
  const order = [];
  await work("w1", async (job) => order.push(job.id));
  assert.deepEqual(order, [0, 1, 2, 3, 4]);

  // A worker dies with a job: another does it.
  await add({ id: "fragile" });
  const dying = connect();
  assert.equal(await take(dying, "w4", 1), '{"id":"fragile"}');
  dying.disconnect();
  assert.equal(await redis.llen(QUEUE), 0);
  assert.equal(await recover("w4"), 1);
  await work("w1", async (job) => order.push(job.id));
  assert.equal(order.at(-1), "fragile");

  // For later: it comes when it is due, and not before.
  await addLater({ id: "late" }, 2000);
  await addLater({ id: "early" }, 1000);
  await promote(1500);
  assert.deepEqual(await redis.lrange(QUEUE, 0, -1), ['{"id":"early"}']);
  await promote(2500);
  assert.equal(await redis.llen(QUEUE), 2);
  assert.equal(await redis.zcard(LATER), 0);
})().then(() => redis.quit(), (error) => {
  console.error(error);
  process.exit(1);
});
