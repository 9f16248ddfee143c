#!/usr/bin/env python3
"""What holds the server: the longest turn and the open-loop latency while something large happens.

    bench/tail.py [--servers corelane,redis] [--scenarios all] [--keys 10000000] [--port 22100] [--record FILE]

Each scenario starts from a filled server. While it runs, an open loop (`corelane-bench load --rate`) asks for a key 5,000 times a
second on ten connections; its latency counts from the intended start. Of Corelane the longest turn and what was in it is read as well
(INFO, section lane): `max_turn_us` is the lane's own time, `preempted` a turn in which the scheduler took the core away.
The server runs on CPU 0, one lane, all load on CPU 1. CORELANE names another binary than target/release/corelane. Needs Python 3.8 and nothing else.
"""
import argparse, json, os, platform, random, socket, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BENCH = os.path.join(ROOT, "target/release/corelane-bench")
BINARIES = {"corelane": os.environ.get("CORELANE", os.path.join(ROOT, "target/release/corelane")), "redis": "redis-server"}
GB = 1 << 30


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(300)
        self.file = self.socket.makefile("rb", 1 << 20)

    def send(self, *words):
        self.socket.sendall(encode(words))

    def read(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            if int(rest) < 0:
                return None
            body = self.file.read(int(rest) + 2)
            return body[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def call(self, *words):
        self.send(*words)
        return self.read()

    def pipeline(self, requests, batch=500):
        """Sends batches of requests and checks that none is refused."""
        pending = []
        for request in requests:
            pending.append(encode(request))
            if len(pending) == batch:
                self.flush(pending)
        self.flush(pending)

    def flush(self, pending):
        self.socket.sendall(b"".join(pending))
        for _ in pending:
            self.read()
        pending.clear()

    def info(self, section=""):
        text = self.call("INFO", section).decode() if section else self.call("INFO").decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, (bytes, bytearray)) else str(word).encode()
        parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
    return b"".join(parts)


class Server:
    def __init__(self, name, port):
        self.name, self.port = name, port
        args = [BINARIES[name], "--port", str(port), "--save", "", "--appendonly", "no", "--proto-max-bulk-len", str(GB),
                "--client-query-buffer-limit", str(2 * GB)]
        if name == "corelane":
            args += ["--cpus", "0", "--lanes", "1"]
        self.process = subprocess.Popen(["taskset", "-c", "0"] + args, stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.client = Client(port)
                break
            except OSError:
                time.sleep(0.05)
        self.version = self.client.info("server")

    def reset(self):
        self.client.call("CONFIG", "RESETSTAT")

    def stall(self):
        if self.name != "corelane":
            return {}
        lane = self.client.info("lane")
        return {name: lane.get(name, "") for name in lane if name.startswith("max_turn")}

    def rss(self):
        return int(self.client.info("memory")["used_memory_rss"])

    def settle(self, below):
        """Waits until freed memory is back with the kernel; seconds that took."""
        began = time.time()
        while self.rss() > below and time.time() - began < 60:
            time.sleep(0.05)
        return time.time() - began

    def stop(self):
        self.process.terminate()
        self.process.wait()


def fill(server, keys):
    subprocess.run(
        ["taskset", "-c", "1", BENCH, "load", "--port", str(server.port), "--keys", str(keys), "--key-bytes", "16",
         "--value-bytes", "32", "--connections", "10", "--depth", "16", "--seconds", "1"],
        check=True, stdout=subprocess.DEVNULL)


def probed(server, seconds, action):
    """Runs `action` a second after an open loop began; the loop's report."""
    server.client.call("SET", "probe", "x" * 32)
    server.reset()
    load = subprocess.Popen(
        ["taskset", "-c", "1", BENCH, "load", "--port", str(server.port), "--rate", "5000", "--connections", "10", "--no-fill",
         "--command", "1 any GET probe", "--warm-up", "0.3", "--seconds", str(seconds), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(1)
    began = time.time()
    action()
    took = time.time() - began
    out, _ = load.communicate()
    report = json.loads(out)
    latency = report["latency"]
    result = {"action_s": round(took, 3), "p99_us": latency["p99_us"], "p99.9_us": latency["p99_9_us"], "max_us": latency["max_us"]}
    if report.get("invalid"):
        result["invalid"] = report["invalid"]
    result.update(server.stall())
    return result


def quiet(server, keys):
    return probed(server, 4, lambda: None)


def loading(server, keys):
    server.client.call("FLUSHALL")
    server.settle(400 << 20)
    return probed(server, 25 if keys > 5_000_000 else 8, lambda: fill(server, keys))


def keys_all(server, keys):
    if server.client.call("DBSIZE") < keys // 2:
        fill(server, keys)
    other = Client(server.port)
    return probed(server, 10, lambda: other.call("KEYS", "nosuch*"))


def flushall(server, keys):
    if server.client.call("DBSIZE") < keys // 2:
        fill(server, keys)

    def action():
        server.client.call("FLUSHALL")
        probed.settled = server.settle(400 << 20)
    result = probed(server, 10, action)
    result["rss_back_s"] = round(probed.settled, 2)
    return result


def expire(server, keys, count=1_000_000):
    server.client.call("FLUSHALL")
    start = int(time.time() * 1000) + 15_000
    rng = random.Random(1)
    server.client.pipeline(("SET", "e:%012d" % i, "v" * 32, "PXAT", start + rng.randrange(1000)) for i in range(count))
    time.sleep(max(0, start / 1000 - time.time() - 2))
    result = probed(server, 6, lambda: time.sleep(4))
    stats = server.client.info("stats")
    result["expired"] = int(stats["expired_keys"])
    result.update({name: value for name, value in stats.items() if name.startswith("expire_lag")})
    return result


def send_long(client, key, pause=0.0):
    """SET of a gigabyte in pieces: Python need not hold it twice. With a pause after each it takes its time, as over a network."""
    piece = b"x" * (1 << 20)
    client.socket.sendall(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n" % (len(key), key.encode(), GB))
    for _ in range(GB // len(piece)):
        client.socket.sendall(piece)
        if pause:
            time.sleep(pause)
    client.socket.sendall(b"\r\n")
    client.read()


def take_long(client, key):
    """Reads a gigabyte without keeping it."""
    client.send("GET", key)
    left = int(client.file.readline()[1:]) + 2
    while left:
        left -= len(client.file.read(min(left, 1 << 20)))


def long_string(how):
    def scenario(server, keys):
        client = Client(server.port)
        send_long(client, "long")
        server.client.call("SET", "other", "v")
        return probed(server, 5, lambda: how(client, "long"))
    return scenario


def read_and_deleted(client, key):
    """DEL while the reply of GET is on its way: the output is the last to hold the value."""
    client.send("GET", key)
    head = client.file.readline()
    other = Client(client.socket.getpeername()[1])
    other.call("DEL", key)
    left = int(head[1:]) + 2
    while left:
        left -= len(client.file.read(min(left, 1 << 20)))


def set_long_string(pause):
    def scenario(server, keys):
        client = Client(server.port)
        result = probed(server, 8, lambda: send_long(client, "long", pause))
        server.client.call("DEL", "long")
        return result
    return scenario


def big_hash(how):
    def scenario(server, keys, fields=5_000_000):
        client = Client(server.port)
        client.call("DEL", "big")
        client.pipeline((["HSET", "big"] + [w for i in range(base, base + 50) for w in ("field:%08d" % i, "v" * 16)]
                         for base in range(0, fields, 50)), 20)
        server.client.call("SET", "other", "v")
        return probed(server, 5, lambda: how(client, "big"))
    return scenario


DEATHS = {
    "del": lambda client, key: client.call("DEL", key),
    "overwrite": lambda client, key: client.call("SET", key, "v"),
    "rename-over": lambda client, key: client.call("RENAME", "other", key),
}
USES = {**DEATHS, "get": take_long, "get-del": read_and_deleted}
SCENARIOS = {"quiet": quiet, "load": loading, "keys": keys_all, "flushall": flushall, "expire-1m": expire,
             "set-1gb": set_long_string(0), "set-1gb-slowly": set_long_string(0.004)}
SCENARIOS.update({"string-" + name: long_string(how) for name, how in USES.items()})
SCENARIOS.update({"hash-" + name: big_hash(how) for name, how in DEATHS.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="corelane,redis")
    parser.add_argument("--scenarios", default="all")
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--port", type=int, default=22100)
    parser.add_argument("--record", help="append a Markdown table to this file")
    options = parser.parse_args()
    names = list(SCENARIOS) if options.scenarios == "all" else options.scenarios.split(",")
    rows = []
    for i, server_name in enumerate(options.servers.split(",")):
        server = Server(server_name, options.port + i)
        try:
            for name in names:
                try:
                    result = SCENARIOS[name](server, options.keys)
                except RuntimeError as error:
                    print(name, server_name, "failed:", error, flush=True)
                    continue
                rows.append((name, server_name, result))
                print(name, server_name, result, flush=True)
        finally:
            server.stop()
    if options.record:
        record(options, rows)


def record(options, rows):
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open("/proc/cpuinfo") as cpuinfo:
        model = next(line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name"))
    with open(options.record, "a") as out:
        out.write(f"\n`bench/tail.py {' '.join(sys.argv[1:])}` at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, commit {commit}, "
                  f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}, {options.keys} keys of 16 + 32 bytes\n\n")
        out.write("| scenario | server | action s | p99 us | p99.9 us | max us | longest turn us | in it | preempted turn us | more |\n")
        out.write("|---|---|--:|--:|--:|--:|--:|---|--:|---|\n")
        for name, server, result in rows:
            known = {"action_s", "p99_us", "p99.9_us", "max_us", "max_turn_us", "max_turn_what", "max_turn_what_us", "max_turn_preempted_us"}
            more = ", ".join(f"{key} {value}" for key, value in result.items() if key not in known)
            what = f"{result['max_turn_what']} {result.get('max_turn_what_us', '')}" if "max_turn_what" in result else ""
            cells = [name, server, result["action_s"], result["p99_us"], result["p99.9_us"], result["max_us"], result.get("max_turn_us", ""),
                     what, result.get("max_turn_preempted_us", ""), more]
            out.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")


if __name__ == "__main__":
    main()
