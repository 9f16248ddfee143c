#!/usr/bin/env python3
"""Requests per second of server CPU time with many keys, which `corelane-bench compare` would fill anew for each case.

    bench/many_keys.py [--servers corelane,redis] [--keys 10000000] [--rounds 5] [--seconds 2] [--port 22300] [--record FILE]

Each server is started and filled once and stays; only one is asked at a time. A round asks each at each depth in turn: 16-byte
keys drawn uniformly, 64-byte values, 10 % SET, 50 connections. What a server used of its CPU is read from /proc around the load, warm-up included on
both sides. Servers on CPU 0 (one lane), the load on CPU 1. The ratio is the median of the rounds' own ratios. NAME=COMMAND with {port} is a server
of another kind. CORELANE names another binary than target/release/corelane. Needs Python 3.8 and nothing else.
"""
import argparse, json, os, platform, shlex, statistics, subprocess, sys, time

import tail

DEPTHS = (1, 16, 64)
COMMANDS = {
    "corelane": f"{tail.BINARIES['corelane']} --port {{port}} --lanes 1 --cpus 0 --save ''",
    "redis": "redis-server --port {port} --save '' --appendonly no",
}


class Peer:
    def __init__(self, name, port, keys):
        self.name, _, command = name.partition("=")
        command = command or COMMANDS[name]
        self.port, self.keys = port, keys
        words = [word.replace("{port}", str(port)) for word in shlex.split(command)]
        self.process = subprocess.Popen(["taskset", "-c", "0"] + words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self.client = tail.Client(port)
                break
            except OSError:
                time.sleep(0.05)
        self.load("--depth", "16", "--connections", "10", "--seconds", "1")

    def load(self, *more):
        done = subprocess.run(
            ["taskset", "-c", "1", tail.BENCH, "load", "--port", str(self.port), "--keys", str(self.keys), "--key-bytes", "16", "--value-bytes", "64",
             "--set-ratio", "0.1", "--distribution", "uniform", "--json", *more], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout)

    def cpu_s(self):
        """CPU seconds by the scheduler's nanoseconds of all threads: the ticks of /proc/PID/stat are too coarse."""
        total = 0
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9

    def served(self):
        return int(self.client.info("stats")["total_commands_processed"])

    def rate(self, depth, seconds):
        """Requests per second of server CPU time, counted by the server itself."""
        requests, cpu = self.served(), self.cpu_s()
        self.load("--no-fill", "--depth", str(depth), "--connections", "50", "--warm-up", "0.2", "--seconds", str(seconds))
        return (self.served() - requests) / (self.cpu_s() - cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default="corelane,redis", help="the last one is what ratios are to")
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--port", type=int, default=22300)
    parser.add_argument("--record", help="append a Markdown table to this file")
    options = parser.parse_args()
    peers = []
    try:
        for i, name in enumerate(options.servers.split(",")):
            peers.append(Peer(name, options.port + i, options.keys))
        rates = {(peer.name, depth): [] for depth in DEPTHS for peer in peers}
        for _ in range(options.rounds):
            for depth in DEPTHS:
                for peer in peers:
                    rates[peer.name, depth].append(peer.rate(depth, options.seconds))
        base = peers[-1].name
        rows = []
        for (name, depth), values in rates.items():
            ratio = statistics.median(a / b for a, b in zip(values, rates[base, depth]))
            rows.append(f"| {depth} | {name} | {statistics.median(values):,.0f} | {min(values):,.0f} to {max(values):,.0f} | {ratio:.2f} |")
        print("\n".join(rows))
        if options.record:
            record(options, rows)
    finally:
        for peer in peers:
            peer.process.terminate()
            peer.process.wait()


def record(options, rows):
    commit = subprocess.run(["git", "-C", tail.ROOT, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open(options.record, "a") as out:
        out.write(f"\n`bench/many_keys.py {' '.join(sys.argv[1:])}` at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, commit {commit}, "
                  f"{os.cpu_count()} CPUs, Linux {platform.release()}\n\n")
        out.write("| depth | server | requests per server CPU second | spread | ratio |\n|--:|---|--:|---|--:|\n")
        out.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
