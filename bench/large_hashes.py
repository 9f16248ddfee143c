#!/usr/bin/env python3
"""Resident bytes of hashes, sets and sorted sets against redis-server, and the longest turn while large hashes are answered and die.

bench/large_hashes.py [--port N] [--fields 5000000] [--only memory|turns]; CORELANE names another binary. One server, one lane, nobody else asks. A server
for each figure of memory: what it held before is taken off its RSS. Small hashes have 10 fields of 8 + 16 bytes, a large one fields of 12 + 16
bytes, a large set members of 16, a large sorted set members of 16 with scores that differ. Turns are processor time (INFO lane: max_turn_us).
"""
import argparse, os, time
from large_sets import Server, quiet, show

BATCH = 100


def fill(server, requests):
    server.pipeline(requests, 50)


def batches(name, key, count, words):
    for begin in range(0, count, BATCH):
        yield [name, key] + [word for i in range(begin, min(begin + BATCH, count)) for word in words(i)]


def fields(key, count):
    return batches("HSET", key, count, lambda i: (b"field:%06d" % i if i < 10**6 else b"f:%010d" % i, b"value:%010d" % i))


SHAPES = {
    "100,000 hashes of 10 fields": lambda: (["HSET", b"hash:%010d" % i] + [w for f in range(10) for w in (b"field:%02d" % f, b"value%011d" % (i + f))]
                                            for i in range(100_000)),
    "a hash of 1,000,000 fields": lambda: fields("h", 1_000_000),
    "a set of 1,000,000 members": lambda: batches("SADD", "s", 1_000_000, lambda i: (b"member:%09d" % i,)),
    "a sorted set of 1,000,000 members": lambda: batches("ZADD", "z", 1_000_000, lambda i: (i * 7919 % 1_000_003, b"member:%09d" % i)),
}


def memory(corelane, port):
    print("| | corelane | redis-server | ratio |\n|---|--:|--:|--:|", flush=True)
    for name, requests in SHAPES.items():
        bytes_held = []
        for command in (corelane, ["redis-server", "--save", "", "--appendonly", "no"]):
            port += 1
            server = Server(command + ["--port", str(port)], port)
            rss = lambda: int(server.info("memory", "used_memory_rss"))
            before = rss()
            fill(server, requests())
            time.sleep(1)
            bytes_held.append(rss() - before)
            server.stop()
        ours, theirs = bytes_held
        print(f"| {name} | {ours:,} | {theirs:,} | {ours / theirs:.2f} |", flush=True)


def turns(corelane, port, count):
    server = Server(corelane + ["--port", str(port)], port)
    print("| action | seconds | longest turn, us | what |\n|---|--:|--:|---|", flush=True)
    show(server, f"HSET of {count:,} fields", lambda: fill(server, fields("h", count)))

    def again():
        fill(server, fields("h", count))
        quiet(server)

    show(server, "UNLINK", lambda: server.call("UNLINK", "h"))
    again()
    show(server, "DEL", lambda: server.call("DEL", "h"))
    again()
    server.call("SET", "k", "v")
    show(server, "RENAME over it", lambda: server.call("RENAME", "k", "h"))
    again_over = lambda: (server.call("DEL", "h"), again())
    again_over()
    server.call("PEXPIRE", "h", 50)
    show(server, "expiry", lambda: time.sleep(1))
    fill(server, fields("h", 1_000_000))
    show(server, "HGETALL of 1,000,000", lambda: server.call("HGETALL", "h"))
    show(server, "HRANDFIELD of 1,000,000", lambda: server.call("HRANDFIELD", "h", 1_000_000))
    show(server, "COPY of it", lambda: server.call("COPY", "h", "copy"))
    server.call("HSET", "h", "last", "one")
    name = lambda i: b"field:%06d" % i

    def stamp():
        at = int(time.time() * 1000) + 15_000
        fill(server, (["HPEXPIREAT", "h", at + begin // 1000, "FIELDS", BATCH] + [name(i) for i in range(begin, begin + BATCH)]
                      for begin in range(0, 1_000_000, BATCH)))
        return at

    due = []
    show(server, "HPEXPIREAT of 1,000,000, due within a second", lambda: due.append(stamp()), settle=False)

    def wait():
        time.sleep(max(0, due[0] / 1000 + 1.0 - time.time()))
        while server.info("memory", "lazyfree_pending_objects") not in ("0", None) or server.call("HLEN", "h") != b"1":
            time.sleep(0.02)
        print("  left", server.call("HLEN", "h"), "a moment after the last was due:", f"{time.time() - due[0] / 1000 - 1.0:.3f} s", flush=True)

    show(server, "they expire", wait)
    show(server, "DEL of the copy", lambda: server.call("DEL", "copy"))
    server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=22300)
    parser.add_argument("--fields", type=int, default=5_000_000)
    parser.add_argument("--only", choices=["memory", "turns"])
    args = parser.parse_args()
    corelane = [os.environ.get("CORELANE", "target/release/corelane"), "--lanes", "1", "--save", ""]
    if args.only != "turns":
        memory(corelane, args.port)
    if args.only != "memory":
        turns(corelane, args.port + 50, args.fields)


main()
