#!/usr/bin/env python3
"""The longest turn while large lists and hashes grow, are answered, sorted, popped and die: as large_sets.py does it for sets.

bench/large_lists.py [--port N] [--elements 5000000]; CORELANE names another binary. Elements, fields and values have 16 bytes.
"""
import argparse, os, time

from large_sets import Server, quiet, show

MILLION = 1_000_000


def fill_list(server, key, count):
    server.fill(key, 0, count, "RPUSH", lambda i: (b"element:%08d" % i,))


def fill_hash(server, key, count):
    server.fill(key, 0, count, "HSET", lambda i: (b"field:%010d" % i, b"value:%010d" % i))


def deaths(server, what, fill, large):
    for name, kill in [
        ("DEL", lambda: server.call("DEL", "v")),
        ("UNLINK", lambda: server.call("UNLINK", "v")),
        ("RENAME over", lambda: server.call("RENAME", "other", "v")),
        ("expiry", lambda: (server.call("PEXPIRE", "v", 20), time.sleep(0.1))),
    ]:
        fill(server, "v", large)
        server.call("SET", "other", "v")
        show(server, f"{name} of a {what} of {large}", kill)
        server.call("DEL", "v")


def pipelined(server, count, words):
    """The same request so many times in one pipeline."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    one = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
    server.socket.sendall(one * count)
    for _ in range(count):
        server.read()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=22320)
    options.add_argument("--elements", type=int, default=5_000_000)
    options = options.parse_args()
    corelane = os.environ.get("CORELANE", "target/release/corelane")
    server = Server([corelane, "--port", str(options.port), "--lanes", "1", "--save", ""], options.port)
    large = options.elements
    print("| action | seconds | longest turn us | in it |\n|---|--:|--:|---|")
    show(server, f"RPUSH up to {large}", lambda: fill_list(server, "v", large))
    deaths(server, "list", fill_list, large)
    show(server, f"HSET up to {large}", lambda: fill_hash(server, "v", large))
    deaths(server, "hash", fill_hash, large)
    fill_list(server, "l", MILLION)
    server.fill("numbers", 0, MILLION, "RPUSH", lambda i: (b"%d" % (i * 2654435761 % 1000003),))
    fill_hash(server, "h", MILLION)
    for words in [
        ("LRANGE", "l", 0, -1),
        ("SORT", "numbers"),
        ("SORT", "l", "ALPHA", "DESC"),
        ("SORT", "numbers", "STORE", "sorted"),
        ("SORT", "numbers", "LIMIT", 500_000, 10),
        ("HGETALL", "h"),
        ("LMPOP", 1, "l", "LEFT", "COUNT", 500_000),
        ("LPOP", "l", 400_000),
        ("LTRIM", "numbers", 10, -10),
    ]:
        show(server, " ".join(map(str, words)), lambda: server.call(*words))
    fields = [b"field:%010d" % i for i in range(0, 100_000, 1000)]
    at = int((time.time() + 1000) * 1000)
    show(server, "50 HPEXPIREAT of 100 fields in one pipeline",
         lambda: pipelined(server, 50, ("HPEXPIREAT", "h", at, "FIELDS", len(fields), *fields)))
    quiet(server)
    server.stop()


main()
