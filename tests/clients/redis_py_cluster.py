"""redis-py's RedisCluster against shard ports, in RESP2 and in RESP3. argv[1]: the first of them. Ends with a status other than 0 at the
first surprise."""

import sys
import threading

import redis
from redis.cluster import RedisCluster

PORT = int(sys.argv[1])
NODES = int(sys.argv[2])


def equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"{got!r} is not {wanted!r}")


def fails(run, kind, text):
    try:
        run()
    except kind as error:
        if text not in str(error):
            raise AssertionError(f"{error} does not say {text!r}") from error
    else:
        raise AssertionError(f"no error that says {text!r}")


def topology(r):
    equal(sorted(node.port for node in r.get_primaries()), list(range(PORT, PORT + NODES)))
    equal(len(r.get_replicas()), 0)
    for node in r.get_primaries():
        equal(r.info("cluster", target_nodes=node)["cluster_enabled"], 1)
    equal(r.cluster_info(target_nodes=r.get_random_node())["cluster_state"], "ok")
    equal(len(r.cluster_nodes()), NODES)
    equal(len(r.cluster_shards()), NODES)
    ids = {r.cluster_myid(node) for node in r.get_primaries()}
    equal(len(ids), NODES)
    equal(r.cluster_keyslot("foo"), 12182)


def keys_go_where_they_belong(r):
    for i in range(300):
        equal(r.set(f"k{i}", i), True)
    for i in range(300):
        equal(r.get(f"k{i}"), str(i).encode())
    # What each node counts is its own: the sum is right, and so is what is listed.
    equal(r.dbsize(target_nodes=RedisCluster.PRIMARIES), 300)
    equal(len(r.keys("k*", target_nodes=RedisCluster.PRIMARIES)), 300)
    equal(sorted(r.scan_iter(match="k*", count=20)), sorted(f"k{i}".encode() for i in range(300)))
    equal(r.delete(*[f"k{i}" for i in range(300)]), 300)
    equal(r.dbsize(target_nodes=RedisCluster.PRIMARIES), 0)


def several_keys(r):
    equal(r.mset({"{t}a": 1, "{t}b": 2}), True)
    equal(r.mget("{t}a", "{t}b", "{t}c"), [b"1", b"2", None])
    equal(r.mset_nonatomic({"a": 1, "b": 2, "c": 3})[0], True)
    equal(r.mget_nonatomic("a", "b", "c", "d"), [b"1", b"2", b"3", None])
    equal(r.rename("{t}a", "{t}z"), True)
    fails(lambda: r.mget("a", "b"), redis.RedisClusterException, "the same key slot")


def pipelines(r):
    with r.pipeline() as pipe:
        for i in range(1000):
            pipe.set(f"p{i}", i)
            pipe.get(f"p{i}")
        replies = pipe.execute()
    equal(replies, [reply for i in range(1000) for reply in (True, str(i).encode())])


def transactions(r):
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{t}x", 1)
        pipe.incr("{t}x")
        pipe.get("{t}x")
        equal(pipe.execute()[1:], [2, b"2"])
    # One node's connection, as an application that watches would hold it.
    node = r.get_node_from_key("{t}x")
    one = r.get_redis_connection(node)
    with one.pipeline() as pipe:
        pipe.watch("{t}x")
        r.set("{t}x", "conflict")
        pipe.multi()
        pipe.set("{t}x", "mine")
        fails(pipe.execute, redis.WatchError, "Watched variable changed")
    equal(r.get("{t}x"), b"conflict")


def errors(r):
    r.set("k", "text")
    fails(lambda: r.incr("k"), redis.ResponseError, "value is not an integer or out of range")
    fails(lambda: r.hget("k", "f"), redis.ResponseError, "WRONGTYPE")
    fails(lambda: r.execute_command("SELECT", 1, target_nodes=r.get_random_node()), redis.ResponseError, "not allowed")


def counted_by_many(r):
    def count():
        for i in range(200):
            r.incr(f"count{i % 20}")

    threads = [threading.Thread(target=count) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal([r.get(f"count{i}") for i in range(20)], [b"40"] * 20)


SCENARIOS = [topology, keys_go_where_they_belong, several_keys, pipelines, transactions, errors, counted_by_many]

for protocol in (2, 3):
    for scenario in SCENARIOS:
        client = RedisCluster(host="127.0.0.1", port=PORT, protocol=protocol)
        client.flushall(target_nodes=RedisCluster.PRIMARIES)
        scenario(client)
        client.close()
        print(f"ok RESP{protocol} {scenario.__name__}")
