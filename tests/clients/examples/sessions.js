// A session store: who is logged in, as long as they come back in time. node sessions.js PORT
"use strict";
const assert = require("node:assert/strict");
const { randomUUID } = require("node:crypto");
const Redis = require("ioredis");

const redis = new Redis({ host: "127.0.0.1", port: Number(process.argv[2]) });
const IDLE_MS = 300;

const keyOf = (id) => `session:${id}`;
const ofUser = (user) => `sessions:${user}`;

/** Begins a session of a user; its id. */
async function login(user, facts) {
  const id = randomUUID();
  const replies = await redis.multi()
    .hset(keyOf(id), { user, ...facts })
    .pexpire(keyOf(id), IDLE_MS)
    .sadd(ofUser(user), id)
    .exec();
  replies.forEach(([error]) => assert.equal(error, null));
  return id;
}

/** The facts of a session, which lives on from now; null if it is over. */
async function visit(id) {
  const [[, facts], [, lives]] = await redis.multi().hgetall(keyOf(id)).pexpire(keyOf(id), IDLE_MS).exec();
  return lives === 1 ? facts : null;
}

/** Ends a session. */
async function logout(id) {
  const user = await redis.hget(keyOf(id), "user");
  if (user !== null) await redis.multi().del(keyOf(id)).srem(ofUser(user), id).exec();
}

/** Ends all of a user's, as when a password has changed. */
async function logoutEverywhere(user) {
  const ids = await redis.smembers(ofUser(user));
  await redis.del(ofUser(user), ...ids.map(keyOf));
  return ids.length;
}

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

(async () => {
  await redis.flushall();
  const [phone, desk, other] = await Promise.all([
    login("ann", { agent: "phone" }),
    login("ann", { agent: "desk" }),
    login("bob", { agent: "desk" }),
  ]);
  assert.deepEqual(await visit(phone), { user: "ann", agent: "phone" });
  assert.equal(await redis.scard(ofUser("ann")), 2);

  await logout(phone);
  assert.equal(await visit(phone), null);
  assert.deepEqual(await visit(desk), { user: "ann", agent: "desk" });

  assert.equal(await logoutEverywhere("ann"), 1);
  assert.equal(await visit(desk), null);

  // Whoever comes back in time stays; whoever does not is gone.
  for (let i = 0; i < 4; i++) {
    await sleep(IDLE_MS / 3);
    assert.notEqual(await visit(other), null);
  }
  await sleep(IDLE_MS + 100);
  assert.equal(await visit(other), null);
})().then(() => redis.quit(), (error) => {
  console.error(error);
  process.exit(1);
});
