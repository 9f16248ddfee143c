"""Random requests to redis-server 7.0 and to corelane with 1 and 3 lanes: every reply must say the same, in RESP2 and in RESP3.

    python3 tests/compat/differential CORELANE --port N [--requests 100000] [--seed S]          N to N + 2 are used

    grammar.py   ways to ask         server.py   processes and their replies, typed
    words.py     drawn words         same.py     what replies must have in common

Lists, hashes, sets, sorted sets and strings of a few keys each, small ones and such that cross the borders of encodings; every option, in MULTI and out of it; wrong
types, words that are none, wrong numbers of words, numbers at their edges, texts of any bytes; where the keys of each request are. What all keys hold is compared now and
then. Of what is random the shape is compared and the key then removed.

Absent: arithmetic where the double of redis-server is not exact and ours is; what redis-server 7.0 does not know (WITHSCORE of ZRANK, deadlines of fields,
encodings that are of 7.2), which the cases beside this folder hold; waiting, which tests/compat/cases/blocking.case, tests/shard/blocking.rs and tests/sim do.
"""
import argparse, collections, sys
import grammar
from same import leaves_other, shape
from server import Server
from words import EXTREMES, KEYS, Words

EXTREMES = frozenset(EXTREMES)
BATCH = 200
# Batches from one look at the whole keyspace, and from one beginning, to the next.
LOOK, AFRESH = 3, 40
READS = {b"hash": [b"HGETALL"], b"list": [b"LRANGE", b"0", b"-1"], b"set": [b"SMEMBERS"], b"zset": [b"ZRANGE", b"0", b"-1", b"WITHSCORES"], b"string": [b"GET"]}
NAMES = [b"%s%d" % (kind.encode(), i) for kind in "hszlkxn" for i in range(KEYS)] + [b"missing"]


def batch(words):
    """Requests, each with those that its reply is about: of EXEC what was queued."""
    out = []
    while len(out) < BATCH:
        requests = [grammar.request(words) for _ in range(words.rng.choice([1] * 12 + [2, 4]))]
        requests = [done for asked in requests for done in [asked] + [[b"DEL", word] for word in asked[1:] if leaves_other(asked)]]
        fate = words.rng.random()
        if fate < 0.06:
            out.append(([b"MULTI"], None))
            out.extend((asked, None) for asked in requests)
            out.append(([b"EXEC"], requests))
        elif fate < 0.12:
            name = words.rng.choice([b"GETKEYS", b"GETKEYSANDFLAGS"])
            # MOVE deletes since 7.2, as its specification says; of some numbers redis-server makes keys that are none, and one word alone is told off otherwise.
            plain = (asked for asked in requests if asked[0].upper() != b"MOVE" and len(asked) > 1 and not EXTREMES.intersection(asked))
            out.extend(([b"COMMAND", name] + asked, None) for asked in plain)
        else:
            out.extend((asked, None) for asked in requests)
    return out


def said(asked, queued, reply):
    kind, content = reply
    if queued and isinstance(content, list) and len(content) == len(queued):
        return kind, [shape(words, part) for words, part in zip(queued, content)]
    return shape(asked, reply)


class Comparison:
    def __init__(self, servers, told_max, history):
        self.history = history
        self.servers, self.told_max, self.differing, self.done = servers, told_max, 0, 0
        self.before = collections.deque(maxlen=2000)
        infos = servers[0].ask([[b"COMMAND"]])[0][1]
        self.writes = {info[1][0][1] for info in infos if any(flag[1] == b"write" for flag in info[1][2][1])}

    def ask(self, requests):
        """Asks all servers; tells the first difference, as what follows it may come of it. Whether there was none."""
        replies = [server.ask([asked for asked, _ in requests]) for server in self.servers]
        self.done += len(requests)
        for at, (asked, queued) in enumerate(requests):
            self.before.append((asked, replies[0][at]))
            wanted = said(asked, queued, replies[0][at])
            for server, all_said in zip(self.servers[1:], replies[1:]):
                if said(asked, queued, all_said[at]) != wanted:
                    self.tell(asked, queued, replies[0][at], server.name, all_said[at])
                    return False
        return True

    def tell(self, asked, queued, wanted, name, got):
        self.differing += 1
        print(f"{asked!r:.800} {queued or ''!r:.1500}\n  redis-server {wanted!r:.800}\n  {name} {got!r:.800}")
        named = set(asked[1:]) & set(NAMES)
        related = [(words, reply) for words, reply in self.before if named & set(words) and words[0].lower() in self.writes and words is not asked]
        for words, reply in related[-self.history:] if self.history else []:
            print(f"    after {words!r:.300} {reply!r:.100}")
        sys.stdout.flush()

    def look(self):
        """At all that there is. Sets and lists have other encodings since 7.2."""
        types = self.servers[0].ask([[b"TYPE", name] for name in NAMES])
        reads = [[b"TYPE", name] for name in NAMES] + [[b"EXPIRETIME", name] for name in NAMES] + [[b"DBSIZE"]]
        reads += [[b"OBJECT", b"ENCODING", name] for name, (_, kind) in zip(NAMES, types) if kind in (b"hash", b"zset", b"string") and name[:1] not in b"xsln"]
        reads += [READS[kind][:1] + [name] + READS[kind][1:] for name, (_, kind) in zip(NAMES, types) if kind in READS]
        return self.ask([(asked, None) for asked in reads])

    def run(self, count, words):
        number = 0
        while self.done < count and self.differing < self.told_max:
            if number % AFRESH == 0:
                self.ask([([b"FLUSHALL"], None)])
            for server in self.servers:
                server.ask([[b"HELLO", b"3" if number % 2 else b"2"]])
            same = self.ask(batch(words)) and (number % LOOK != 0 or self.look())
            number = number + 1 if same else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corelane")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--told", type=int, default=20, help="differences that are told")
    parser.add_argument("--history", type=int, default=0, help="requests of the same keys that are told with a difference")
    args = parser.parse_args()
    servers = [Server("redis-server", ["redis-server", "--port", str(args.port), "--save", "", "--appendonly", "no"], args.port)]
    for at, lanes in enumerate("13", start=1):
        servers.append(Server(f"{lanes} lanes", [args.corelane, "--port", str(args.port + at), "--lanes", lanes, "--save", ""], args.port + at))
    comparison = Comparison(servers, args.told, args.history)
    comparison.run(args.requests, Words(args.seed))
    for server in servers:
        server.stop()
    print(f"{comparison.done} requests, seed {args.seed}: {comparison.differing} differences")
    sys.exit(comparison.differing > 0)


main()
