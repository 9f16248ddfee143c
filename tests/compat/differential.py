#!/usr/bin/env python3
"""Random requests to redis-server 7.0 and to corelane with 1 and 3 lanes; every reply must say the same.

tests/compat/differential.py [--port N] [--requests 100000] [--seed S]; CORELANE names the binary (target/debug/corelane).

Hashes, sets and sorted sets of a few keys each, small ones and such that cross the borders of encodings, keys of other types, every option, words that
are none, wrong numbers of words, numbers at their edges, texts of any bytes. What has no order is sorted; of what is random the shape is compared and the
key is then removed, as random picks differ. Ranges of texts are asked of sorted sets of
one score (x): of others their answer is undefined. Absent: arithmetic where the double of redis-server is not exact and ours is,
what redis-server 7.0 does not know (WITHSCORE of ZRANK, deadlines of fields, the encoding of small
sets), which the cases beside this file hold.
"""
import argparse, os, random, re, signal, socket, subprocess, sys, time

UNORDERED = {"SMEMBERS": 1, "SINTER": 1, "SUNION": 1, "SDIFF": 1, "HKEYS": 1, "HVALS": 1, "HGETALL": 2}
RANDOM = {"SPOP", "SRANDMEMBER", "ZRANDMEMBER", "HRANDFIELD"}


class Fault(bytes):
    """An error, which a text may look like."""


class Server:
    def __init__(self, command, port):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
        self.reader = self.socket.makefile("rb", buffering=1 << 20)

    def read(self):
        line = self.reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.reader.read(int(rest) + 2)[:-2]
        if kind in b"*~":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return [self.read() for _ in range(2 * int(rest))]
        return Fault(line[:-2]) if kind == b"-" else line[:-2]

    def send(self, requests):
        out = []
        for words in requests:
            out.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        self.socket.sendall(b"".join(out))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Draw:
    """Words of requests, drawn at random."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def key(self, kind):
        if kind != "x" and self.rng.random() < 0.04:
            kind = self.rng.choice("hszkl")
        if self.rng.random() < 0.02:
            return b"missing"
        return b"%s%d" % (kind.encode(), self.rng.randrange(6))

    def text(self):
        r = self.rng.random()
        if r < 0.6:
            return b"m%d" % self.rng.randrange(40)
        if r < 0.8:
            return b"%d" % self.rng.randrange(-30, 30)
        return self.rng.choice([b"", b"\x00", b"\xff\xfe\r\n", b"x" * 65, b"x" * 600, b"9223372036854775807", b"-9223372036854775808",
                                b"9223372036854775808", b"007", b"-0", b"+1", b" 1", b"1 ", b"3.0", b"nan", b"inf", b"a" * 64])

    def score(self):
        r = self.rng.random()
        if r < 0.6:
            return b"%d" % self.rng.randrange(-5, 6)
        if r < 0.8:
            return b"%.3f" % self.rng.uniform(-3, 3)
        return self.rng.choice([b"inf", b"-inf", b"+inf", b"nan", b"Infinity", b"1e308", b"-1e308", b"1e-320", b"0x10", b"1e3", b"", b"one", b"1.5x", b" 1",
                                b"-0", b"0.1", b"9007199254740993", b"1e400", b"3.0e+2", b"123456789012345678"])

    def integer(self):
        if self.rng.random() < 0.75:
            return b"%d" % self.rng.randrange(-6, 12)
        return self.rng.choice([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"-9223372036854775807", b"4611686018427387904",
                                b"-4611686018427387905", b"1.0", b"", b"a", b"+1", b" 1", b"01", b"-0", b"1000000000000"])

    def count(self):
        """Of a random choice: not so large that it answers gigabytes."""
        if self.rng.random() < 0.85:
            return b"%d" % self.rng.randrange(-300, 300)
        return self.rng.choice([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"1.0", b"", b"a", b"4611686018427387904"])

    def bound(self):
        return self.rng.choice([b"", b"", b"", b"("]) + self.score()

    def lex(self):
        return self.rng.choice([b"-", b"+", b"[" + self.text(), b"(" + self.text(), self.text(), b"[", b"("])

    def case(self, word):
        return self.rng.choice([word, word.lower()]).encode()

    def maybe(self, chance, *words):
        return list(words) if self.rng.random() < chance else []

    def several(self, make, most=6):
        many = self.rng.random() < 0.02
        return [part for _ in range(self.rng.randrange(100, 200) if many else self.rng.randrange(1, most)) for part in make()]

    def limit(self, chance):
        return self.maybe(chance, self.case("LIMIT"), self.integer(), self.integer())

    def keys(self, kind):
        keys = [self.key(kind) for _ in range(self.rng.randrange(1, 4))]
        count = b"%d" % len(keys) if self.rng.random() < 0.93 else self.integer()
        return [count] + keys

    def request(self):
        r, key, text, score, integer = self.rng, self.key, self.text, self.score, self.integer
        long_text = lambda: [b"field:%d" % r.randrange(400)] if r.random() < 0.1 else [text()]
        made = {
            "HSET": lambda: [key("h")] + self.several(lambda: long_text() + [text()]),
            "HMSET": lambda: [key("h")] + self.several(lambda: [text(), text()]),
            "HSETNX": lambda: [key("h"), text(), text()],
            "HGET": lambda: [key("h"), text()],
            "HMGET": lambda: [key("h")] + self.several(lambda: [text()]),
            "HDEL": lambda: [key("h")] + self.several(long_text),
            "HLEN": lambda: [key("h")],
            "HSTRLEN": lambda: [key("h"), text()],
            "HEXISTS": lambda: [key("h"), text()],
            "HKEYS": lambda: [key("h")],
            "HVALS": lambda: [key("h")],
            "HGETALL": lambda: [key("h")],
            "HINCRBY": lambda: [key("h"), text(), integer()],
            "HINCRBYFLOAT": lambda: [key("h"), b"f%d" % r.randrange(3) if r.random() < 0.9 else b"x", r.choice([b"0.5", b"-1", b"1e2", b"nan", b"inf", b"x", b"", b"3.25", b"5.0e3", b" 1"])],
            "HRANDFIELD": lambda: [key("h")] + self.maybe(0.8, self.count()) + self.maybe(0.3, self.case("WITHVALUES")),
            "SADD": lambda: [key("s") if r.random() < 0.5 else b"s%d" % r.randrange(6)] + self.several(lambda: [b"%d" % r.randrange(1000)] if r.random() < 0.4 else [text()]),
            "SREM": lambda: [key("s")] + self.several(lambda: [text()]),
            "SCARD": lambda: [key("s")],
            "SISMEMBER": lambda: [key("s"), text()],
            "SMISMEMBER": lambda: [key("s")] + self.several(lambda: [text()]),
            "SMEMBERS": lambda: [key("s")],
            "SMOVE": lambda: [key("s"), key("s"), text()],
            "SPOP": lambda: [key("s")] + self.maybe(0.7, self.count()),
            "SRANDMEMBER": lambda: [key("s")] + self.maybe(0.7, self.count()),
            "SINTER": lambda: [key("s") for _ in range(r.randrange(1, 4))],
            "SUNION": lambda: [key("s") for _ in range(r.randrange(1, 4))],
            "SDIFF": lambda: [key("s") for _ in range(r.randrange(1, 4))],
            "SINTERSTORE": lambda: [b"s%d" % r.randrange(6)] + [key("s") for _ in range(r.randrange(1, 4))],
            "SUNIONSTORE": lambda: [b"s%d" % r.randrange(6)] + [key("s") for _ in range(r.randrange(1, 4))],
            "SDIFFSTORE": lambda: [b"s%d" % r.randrange(6)] + [key("s") for _ in range(r.randrange(1, 4))],
            "SINTERCARD": lambda: self.keys("s") + self.maybe(0.4, self.case("LIMIT"), integer()),
            "ZADD": lambda: [key("z")] + self.maybe(0.15, self.case("NX")) + self.maybe(0.15, self.case("XX")) + self.maybe(0.1, self.case("GT"))
            + self.maybe(0.1, self.case("LT")) + self.maybe(0.2, self.case("CH")) + self.maybe(0.15, self.case("INCR")) + self.several(lambda: [score(), text()]),
            "ZINCRBY": lambda: [key("z"), score(), text()],
            "zadd": lambda: [b"x%d" % r.randrange(6)] + self.several(lambda: [b"0", text()]),
            "ZREM": lambda: [key("z")] + self.several(lambda: [text()]),
            "ZCARD": lambda: [key("z")],
            "ZSCORE": lambda: [key("z"), text()],
            "ZMSCORE": lambda: [key("z")] + self.several(lambda: [text()]),
            "ZRANK": lambda: [key("z"), text()],
            "ZREVRANK": lambda: [key("z"), text()],
            "ZCOUNT": lambda: [key("z"), self.bound(), self.bound()],
            "ZLEXCOUNT": lambda: [key("x"), self.lex(), self.lex()],
            "ZRANGE": self.zrange,
            "ZRANGESTORE": lambda: [key("z")] + self.zrange(),
            "ZREVRANGE": lambda: [key("z"), integer(), integer()] + self.maybe(0.3, self.case("WITHSCORES")),
            "ZRANGEBYSCORE": lambda: [key("z"), self.bound(), self.bound()] + self.maybe(0.3, self.case("WITHSCORES")) + self.limit(0.3),
            "ZREVRANGEBYSCORE": lambda: [key("z"), self.bound(), self.bound()] + self.maybe(0.3, self.case("WITHSCORES")) + self.limit(0.3),
            "ZRANGEBYLEX": lambda: [key("x"), self.lex(), self.lex()] + self.limit(0.3),
            "ZREVRANGEBYLEX": lambda: [key("x"), self.lex(), self.lex()] + self.limit(0.3),
            "ZREMRANGEBYSCORE": lambda: [key("z"), self.bound(), self.bound()],
            "ZREMRANGEBYRANK": lambda: [key("z"), integer(), integer()],
            "ZREMRANGEBYLEX": lambda: [key("x"), self.lex(), self.lex()],
            "ZPOPMIN": lambda: [key("z")] + self.maybe(0.5, integer()),
            "ZPOPMAX": lambda: [key("z")] + self.maybe(0.5, integer()),
            "ZMPOP": lambda: self.keys("z") + [self.case(r.choice(["MIN", "MAX", "MIN", "MAX", "MID"]))] + self.maybe(0.4, self.case("COUNT"), integer()),
            "ZRANDMEMBER": lambda: [key("z")] + self.maybe(0.8, self.count()) + self.maybe(0.3, self.case("WITHSCORES")),
            "ZUNION": lambda: self.mix(), "ZINTER": lambda: self.mix(),
            "ZDIFF": lambda: self.keys("z") + self.maybe(0.3, self.case("WITHSCORES")),
            "ZUNIONSTORE": lambda: [key("z")] + self.mix(), "ZINTERSTORE": lambda: [key("z")] + self.mix(),
            "ZDIFFSTORE": lambda: [key("z")] + self.keys("z"),
            "ZINTERCARD": lambda: self.keys("z") + self.maybe(0.4, self.case("LIMIT"), integer()),
            "HSCAN": lambda: [key("h"), b"0", self.case("COUNT"), r.choice([b"1000", b"1000", b"0", b"a"])] + self.maybe(0.3, self.case("MATCH"), b"m1*"),
            "SSCAN": lambda: [key("s"), r.choice([b"0", b"0", b"0", b"x"]), self.case("COUNT"), b"1000"] + self.maybe(0.3, self.case("MATCH"), b"*1*"),
            "ZSCAN": lambda: [key("z"), b"0", self.case("COUNT"), b"1000"] + self.maybe(0.3, self.case("MATCH"), b"*1*"),
            "DEL": lambda: [key(r.choice("hsz"))],
            "TYPE": lambda: [key(r.choice("hszkl"))],
            "EXISTS": lambda: [key(r.choice("hsz"))],
            "RENAME": lambda: (lambda kind: [key(kind), key(kind)])(r.choice("hsz")),
            "COPY": lambda: (lambda kind: [key(kind), key(kind)] + self.maybe(0.5, self.case("REPLACE")))(r.choice("hsz")),
            "SET": lambda: [b"k%d" % r.randrange(6), text()],
            "OBJECT": lambda: [self.case("ENCODING"), b"%s%d" % (r.choice([b"h", b"z"]), r.randrange(6))],
        }
        name = r.choice(list(made))
        words = made[name]()
        if r.random() < 0.02 and words:
            words.pop(r.randrange(len(words)))
        # ZRANK takes WITHSCORE since 7.2.
        if r.random() < 0.02 and name not in ("ZRANK", "ZREVRANK"):
            words.insert(r.randrange(len(words) + 1), r.choice([b"NX", b"WITHSCORES", b"COUNT", b"LIMIT", text()]))
        return [self.case(name)] + words

    def zrange(self):
        by = self.rng.choice(["", "", "BYSCORE", "BYLEX"])
        bound = {"": self.integer, "BYSCORE": self.bound, "BYLEX": self.lex}[by]
        return [self.key("x" if by == "BYLEX" else "z"), bound(), bound()] + ([self.case(by)] if by else []) + self.maybe(0.4, self.case("REV")) + self.limit(0.3) \
            + self.maybe(0.3, self.case("WITHSCORES"))

    def mix(self):
        keys = self.keys(self.rng.choice("zzs"))
        weights = self.maybe(0.3, self.case("WEIGHTS"), *[self.score() for _ in keys[1:]])
        aggregate = self.maybe(0.4, self.case("AGGREGATE"), self.case(self.rng.choice(["SUM", "MIN", "MAX", "AVG"])))
        return keys + weights + aggregate + self.maybe(0.3, self.case("WITHSCORES"))


def chunks(items, each):
    return sorted(map(repr, (items[i:i + each] for i in range(0, len(items), each))))


def spelt(reply):
    """Redis 7.2 spells a score by its shortest name, 7.0 by seventeen digits."""
    if isinstance(reply, list):
        return [spelt(item) for item in reply]
    if isinstance(reply, bytes) and re.fullmatch(rb"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", reply) and len(reply) > 3:
        return repr(float(reply)).encode()
    return reply


def shape(words, reply):
    """What two replies must have in common."""
    name = words[0].decode().upper()
    if isinstance(reply, Fault):
        return b"error", bytes(reply)
    if name in RANDOM:
        return len(reply) if isinstance(reply, list) else reply is None
    if name == "OBJECT" and words[2].startswith(b"z") and reply == b"hashtable":
        # A set that was renamed to here; those of a few members are listpacks since 7.2.
        return b"listpack"
    if name.startswith("Z") or name == "HINCRBYFLOAT":
        reply = spelt(reply)
    if name in UNORDERED and isinstance(reply, list):
        return chunks(reply, UNORDERED[name])
    if name in ("HSCAN", "SSCAN", "ZSCAN") and isinstance(reply, list):
        return [reply[0]] + chunks(reply[1], 1 if name == "SSCAN" else 2)
    return reply


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=21550)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--told", type=int, default=20, help="differences that are told")
    args = parser.parse_args()
    corelane = os.environ.get("CORELANE", "target/debug/corelane")
    commands = [("redis-server", ["redis-server", "--port", str(args.port), "--save", "", "--appendonly", "no"])]
    for lanes in (1, 3):
        port = args.port + 10 * lanes
        commands.append((f"{lanes} lanes", [corelane, "--port", str(port), "--lanes", str(lanes), "--save", ""]))
    servers = [(name, Server(command, int(command[command.index("--port") + 1]))) for name, command in commands]
    draw, differing, done = Draw(args.seed), 0, 0
    while done < args.requests and differing < args.told:
        batch = []
        while len(batch) < 200:
            words = draw.request()
            batch.append(words)
            if words[0].upper() == b"SPOP" and len(words) > 1:
                batch.append([b"DEL", words[1]])
        replies = []
        for _, server in servers:
            server.send(batch)
            replies.append([server.read() for _ in batch])
        for at, words in enumerate(batch):
            wanted = shape(words, replies[0][at])
            for (name, _), said in zip(servers[1:], replies[1:]):
                if shape(words, said[at]) != wanted and differing < args.told:
                    differing += 1
                    print(f"{done + at}: {words!r:.600}\n  redis-server {replies[0][at]!r:.600}\n  {name} {said[at]!r:.600}", flush=True)
        done += len(batch)
    for _, server in servers:
        server.stop()
    print(f"{done} requests, seed {args.seed}: {differing} differences")
    sys.exit(differing > 0)


main()
