"""redis-py, in RESP2 and in RESP3. argv[1]: the port. Ends with a status other than 0 at the first surprise."""

import sys
import time

import redis

PORT = int(sys.argv[1])


def connect(protocol, **options):
    return redis.Redis(host="127.0.0.1", port=PORT, protocol=protocol, **options)


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


def text(value):
    """The library decodes some replies in one dialect and not in the other."""
    return value.decode() if isinstance(value, bytes) else value


def strings(r, _):
    equal(r.set("k", "v"), True)
    equal(r.get("k"), b"v")
    equal(r.get("nokey"), None)
    equal(r.set("k", "w", nx=True), None)
    equal(r.set("k", "w", get=True), b"v")
    equal(r.append("k", "xyz"), 4)
    equal(r.strlen("k"), 4)
    equal(r.mset({"a": 1, "b": 2}), True)
    equal(r.mget("a", "b", "c"), [b"1", b"2", None])
    equal(r.exists("a", "b", "c"), 2)
    equal(r.delete("a", "b"), 2)
    equal(r.incr("n", 42), 42)
    equal(r.decr("n"), 41)
    equal(r.incrbyfloat("n", 0.5), 41.5)
    equal(r.echo("\0"), b"\0")


def expiry(r, _):
    r.set("k", "v", px=60)
    left = r.pttl("k")
    equal(0 < left <= 60, True)
    time.sleep(0.09)
    equal(r.get("k"), None)
    r.set("k", "v", ex=100)
    equal(r.expire("k", 50, gt=True), False)
    equal(r.expiretime("k") > time.time(), True)
    equal(r.persist("k"), True)
    equal(r.ttl("k"), -1)


def pipelines(r, _):
    with r.pipeline(transaction=False) as pipe:
        for i in range(5000):
            pipe.set(f"p{i}", i)
            pipe.get(f"p{i}")
        replies = pipe.execute()
    equal(replies, [reply for i in range(5000) for reply in (True, str(i).encode())])


def binary(r, _):
    every = bytes(range(256))
    r.set(every, every)
    equal(r.get(every), every)
    big = b"\7" * 3_000_000
    r.set("big", big)
    equal(r.get("big"), big)


def errors(r, _):
    r.set("k", "text")
    fails(lambda: r.incr("k"), redis.ResponseError, "value is not an integer or out of range")
    fails(lambda: r.execute_command("NOSUCH"), redis.ResponseError, "unknown command")
    fails(lambda: r.hget("k", "f"), redis.ResponseError, "WRONGTYPE")
    equal(r.ping(), True)


def hashes(r, _):
    equal(r.hset("h", mapping={"f": 1, "g": "two"}), 2)
    equal(r.hgetall("h"), {b"f": b"1", b"g": b"two"})
    equal(r.hincrby("h", "f", 4), 5)
    equal(r.hmget("h", "f", "nofield"), [b"5", None])
    equal(dict(r.hscan_iter("h")), {b"f": b"5", b"g": b"two"})


def scanning(r, _):
    keys = {f"scan{i}".encode() for i in range(1000)}
    r.mset({key: 1 for key in keys})
    equal(set(r.scan_iter(match="scan*", count=50)), keys)


def transactions(r, protocol):
    names = [f"t{i}" for i in range(20)]
    with r.pipeline(transaction=True) as pipe:
        for i, name in enumerate(names):
            pipe.set(name, i)
            pipe.incr(name)
        equal(pipe.execute(), [reply for i in range(20) for reply in (True, i + 1)])
    other = connect(protocol)
    with r.pipeline() as pipe:
        pipe.watch(*names)
        other.set("t7", "conflict")
        pipe.multi()
        pipe.mset({"t0": "mine", "t7": "mine"})
        fails(pipe.execute, redis.WatchError, "Watched variable changed")
    equal(r.mget("t0", "t7"), [b"1", b"conflict"])
    # The library's own loop, which tries again.
    equal(r.transaction(lambda pipe: (pipe.multi(), pipe.mset({"t0": "mine", "t7": "mine"})), *names), [True])
    equal(r.mget("t0", "t7"), [b"mine", b"mine"])
    other.close()


def introspection(r, _):
    equal(r.info("server")["redis_version"].count("."), 2)
    equal(r.config_get("databases"), {"databases": "16"})
    equal(r.config_set("timeout", 0), True)
    equal("get" in r.command(), True)
    equal([text(key) for key in r.command_getkeys("MSET", "a", 1, "b", 2)], ["a", "b"])
    seconds, _micros = r.time()
    equal(abs(seconds - time.time()) < 5, True)


def handshake(r, protocol):
    named = connect(protocol, client_name="me", db=2)
    equal(text(named.client_getname()), "me")
    equal(int(named.client_info()["db"]), 2)
    equal(any(client["name"] == "me" for client in r.client_list()), True)
    named.close()


def users(r, protocol):
    equal(r.acl_setuser("alice", enabled=True, reset=True, passwords=["+secret"], commands=["+@read", "+set", "+acl|whoami"], keys=["a*"]), True)
    equal("alice" in [text(name) for name in r.acl_users()], True)
    told = r.acl_getuser("alice")
    equal(("on" in [text(flag) for flag in told["flags"]], told["enabled"]), (True, True))
    alice = connect(protocol, username="alice", password="secret")
    equal(text(alice.acl_whoami()), "alice")
    equal(alice.set("a1", "v"), True)
    equal(alice.get("a1"), b"v")
    fails(lambda: alice.get("b"), redis.exceptions.NoPermissionError, "No permissions to access a key")
    fails(lambda: alice.delete("a1"), redis.exceptions.NoPermissionError, "has no permissions to run the 'del' command")
    wrong = connect(protocol, username="alice", password="wrong")
    fails(wrong.ping, redis.exceptions.AuthenticationError, "invalid username-password pair")
    equal(text(r.acl_log()[0]["reason"]), "auth")
    equal(r.acl_log_reset(), True)
    equal(r.acl_deluser("alice"), 1)
    fails(lambda: alice.get("a1"), redis.exceptions.ConnectionError, "")
    wrong.close()
    alice.close()


def reconnect(r, protocol):
    r.set("before", 1)
    mine = connect(protocol, single_connection_client=True)
    mine.ping()
    mine.connection.disconnect()
    equal(mine.get("before"), b"1")
    mine.close()


SCENARIOS = [
    strings,
    expiry,
    pipelines,
    binary,
    errors,
    hashes,
    scanning,
    transactions,
    introspection,
    handshake,
    users,
    reconnect,
]

for protocol in (2, 3):
    for scenario in SCENARIOS:
        client = connect(protocol)
        client.flushall()
        scenario(client, protocol)
        client.close()
        print(f"ok RESP{protocol} {scenario.__name__}")
