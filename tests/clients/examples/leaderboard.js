// A leaderboard: who has how many points, who leads, and who stands around me. node leaderboard.js PORT
"use strict";
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const redis = new Redis({ host: "127.0.0.1", port: Number(process.argv[2]) });
const BOARD = "leaderboard";

/** Adds points to what a player has. */
const score = (player, points) => redis.zincrby(BOARD, points, player);

/** The first `count` players, the best in front. */
async function top(count) {
  const flat = await redis.zrange(BOARD, 0, count - 1, "REV", "WITHSCORES");
  return Array.from({ length: flat.length / 2 }, (_, i) => ({ player: flat[2 * i], points: Number(flat[2 * i + 1]) }));
}

/** A player's place, from 1 on; null of one who has not played. */
async function place(player) {
  const rank = await redis.zrevrank(BOARD, player);
  return rank === null ? null : rank + 1;
}

/** Who stands up to `distance` places before and behind a player. */
async function around(player, distance) {
  const rank = await redis.zrevrank(BOARD, player);
  return redis.zrange(BOARD, Math.max(0, rank - distance), rank + distance, "REV");
}

/** The best of them with their names, which are kept apart. */
const named = (count) => redis.sort(BOARD, "BY", "nosort", "DESC", "LIMIT", 0, count, "GET", "#", "GET", "player:*->name");

(async () => {
  await redis.flushall();
  const games = [["ann", 120], ["bob", 90], ["cid", 150], ["dee", 60], ["ann", 45], ["eve", 90]];
  await Promise.all(games.map(([player, points]) => score(player, points)));
  await Promise.all(["ann", "cid"].map((player) => redis.hset(`player:${player}`, "name", player.toUpperCase())));

  assert.deepEqual(await top(2), [{ player: "ann", points: 165 }, { player: "cid", points: 150 }]);
  assert.equal(await place("cid"), 2);
  assert.equal(await place("dee"), 5);
  assert.equal(await place("nobody"), null);
  assert.deepEqual(await around("eve", 1), ["cid", "eve", "bob"]);
  assert.deepEqual(await named(3), ["ann", "ANN", "cid", "CID", "eve", null]);
  assert.equal(await redis.zcount(BOARD, 100, "+inf"), 2);

  // A new season: the old board keeps its name, and players begin anew.
  await redis.rename(BOARD, "leaderboard:spring");
  assert.equal(await score("dee", 10), "10");
  assert.equal(await place("ann"), null);
  assert.equal(await redis.zscore("leaderboard:spring", "ann"), "165");
})().then(() => redis.quit(), (error) => {
  console.error(error);
  process.exit(1);
});
