#!/usr/bin/env python3
"""The longest turn while large sets grow, are answered, combined, popped and die.

bench/large_sets.py [--port N] [--members 5000000] [--grown 12000000]; CORELANE names another binary. One server, one lane, nobody else asks: what
is shown is processor time of the server's own turns (INFO lane: max_turn_us, and what was in it), with the time each action took. Members have 16
bytes. Memory: bytes of a set of a million members over what the server held before, by the server's RSS; with --redis of redis-server as well.
"""
import argparse, os, signal, socket, subprocess, time

BATCH = 100


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
        if kind == b"-":
            raise RuntimeError(line)
        if kind == b"$":
            return self.reader.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind in b"*~":
            return [self.read() for _ in range(int(rest))]
        return rest

    def send(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))

    def call(self, *words):
        self.send(*words)
        return self.read()

    def info(self, section, field):
        for line in self.call("INFO", section).decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return None

    def fill(self, key, first, count, command="SADD", words=lambda i: (b"member:%09d" % i,)):
        """Adds members in requests of a hundred; `words` are those of one member."""
        batches = (range(begin, min(begin + BATCH, first + count)) for begin in range(first, first + count, BATCH))
        self.pipeline(([command, key, *(word for i in members for word in words(i))] for members in batches), 20)

    def pipeline(self, requests, most):
        """Sends requests, so many of them under way at a time."""
        pending = 0
        for words in requests:
            self.send(*words)
            pending += 1
            if pending == most:
                for _ in range(pending):
                    self.read()
                pending = 0
        for _ in range(pending):
            self.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def quiet(server):
    while server.info("memory", "lazyfree_pending_objects") not in ("0", None):
        time.sleep(0.05)


def show(server, name, action, settle=True):
    quiet(server)
    server.call("CONFIG", "RESETSTAT")
    begin = time.monotonic()
    action()
    took = time.monotonic() - begin
    if settle:
        quiet(server)
    turn, what = server.info("lane", "max_turn_us"), server.info("lane", "max_turn_what")
    print(f"| {name} | {took:.2f} | {turn} | {what} |", flush=True)


def memory(name, command, port):
    server = Server(command, port)
    rss = lambda: int(server.info("memory", "used_memory_rss"))
    before = rss()
    server.fill("s", 0, 1_000_000)
    time.sleep(1)
    print(f"{name}: a set of 1,000,000 members of 16 bytes: {(rss() - before) / 1e6:.1f} bytes a member", flush=True)
    server.stop()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=22300)
    options.add_argument("--members", type=int, default=5_000_000)
    options.add_argument("--grown", type=int, default=12_000_000)
    options.add_argument("--redis", action="store_true")
    options = options.parse_args()
    corelane = os.environ.get("CORELANE", "target/release/corelane")
    command = lambda port: [corelane, "--port", str(port), "--lanes", "1", "--save", ""]
    memory("corelane", command(options.port), options.port)
    if options.redis:
        memory("redis-server", ["redis-server", "--port", str(options.port + 1), "--save", ""], options.port + 1)
    server = Server(command(options.port + 2), options.port + 2)
    print("| action | seconds | longest turn us | in it |\n|---|--:|--:|---|")
    large, million = options.members, 1_000_000
    show(server, f"SADD up to {options.grown} members", lambda: server.fill("s", 0, options.grown))
    show(server, f"DEL of {options.grown}", lambda: server.call("DEL", "s"))
    for name, kill in [
        ("DEL", lambda: server.call("DEL", "s")),
        ("UNLINK", lambda: server.call("UNLINK", "s")),
        ("SET over", lambda: server.call("SET", "s", "v")),
        ("RENAME over", lambda: server.call("RENAME", "other", "s")),
        ("expiry", lambda: (server.call("PEXPIRE", "s", 20), time.sleep(0.1))),
        ("FLUSHALL", lambda: server.call("FLUSHALL")),
    ]:
        server.fill("s", 0, large)
        server.call("SET", "other", "v")
        show(server, f"{name} of {large}", kill)
        server.call("DEL", "s")
    server.fill("a", 0, million)
    server.fill("b", million // 2, million)
    for words in [
        ("SMEMBERS", "a"),
        ("SUNIONSTORE", "c", "a", "b"),
        ("SINTERSTORE", "c", "a", "b"),
        ("SDIFFSTORE", "c", "a", "b"),
        ("SUNION", "a", "b"),
        ("SINTER", "a", "b"),
        ("SINTERCARD", 2, "a", "b"),
        ("SRANDMEMBER", "a", 100_000),
        ("SRANDMEMBER", "a", 900_000),
        ("SRANDMEMBER", "a", -1_000_000),
        ("SPOP", "b", 500_000),
        ("SPOP", "a", 2_000_000),
    ]:
        show(server, " ".join(map(str, words)), lambda: server.call(*words))
    server.stop()


if __name__ == "__main__":
    main()
