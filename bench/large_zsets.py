#!/usr/bin/env python3
"""The longest turn while large sorted sets grow, are answered, combined, popped and die: as large_sets.py does it for sets.

bench/large_zsets.py [--port N] [--members 5000000] [--grown 11000000]; CORELANE names another binary. Members have 16 bytes, scores are spread at random.
"""
import argparse, os, time

from large_sets import Server, quiet, show


def fill(server, key, first, count):
    server.fill(key, first, count, "ZADD", lambda i: (i * 2654435761 % 1000003, b"member:%09d" % i))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=22310)
    options.add_argument("--members", type=int, default=5_000_000)
    options.add_argument("--grown", type=int, default=11_000_000)
    options = options.parse_args()
    corelane = os.environ.get("CORELANE", "target/release/corelane")
    server = Server([corelane, "--port", str(options.port), "--lanes", "1", "--save", ""], options.port)
    large, million = options.members, 1_000_000
    print("| action | seconds | longest turn us | in it |\n|---|--:|--:|---|")
    fill(server, "z", 0, large)
    show(server, f"ZADD from {large} up to {options.grown} members", lambda: fill(server, "z", large, options.grown - large))
    show(server, f"DEL of {options.grown}", lambda: server.call("DEL", "z"))
    for name, kill in [
        ("DEL", lambda: server.call("DEL", "z")),
        ("UNLINK", lambda: server.call("UNLINK", "z")),
        ("RENAME over", lambda: server.call("RENAME", "other", "z")),
        ("expiry", lambda: (server.call("PEXPIRE", "z", 20), time.sleep(0.1))),
    ]:
        fill(server, "z", 0, large)
        server.call("SET", "other", "v")
        show(server, f"{name} of {large}", kill)
        server.call("DEL", "z")
    fill(server, "a", 0, million)
    fill(server, "b", million // 2, million)
    for words in [
        ("ZRANGE", "a", 0, -1),
        ("ZUNIONSTORE", "c", 2, "a", "b"),
        ("ZINTERSTORE", "c", 2, "a", "b"),
        ("ZDIFFSTORE", "c", 2, "a", "b"),
        ("ZRANGESTORE", "c", "a", 0, -1),
        ("ZREMRANGEBYRANK", "b", 0, 500_000),
        ("ZMPOP", 1, "b", "MIN", "COUNT", 200_000),
        ("ZPOPMIN", "b", 200_000),
        ("ZPOPMAX", "a", 1_000_000),
    ]:
        show(server, " ".join(map(str, words)), lambda: server.call(*words))
    quiet(server)
    server.stop()


main()
