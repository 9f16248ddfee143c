#!/usr/bin/env python3
"""Several lanes beside one lane, redis-server, or another build: interleaved rounds, requests per second of server CPU time.

    bench/lanes.py ROUNDS DEPTHS CASE[,CASE...] [LOAD OPTION...]

The first case is the one that the others are compared with, round by round. A case is KIND[@CONNECTIONS][/CPU+CPU][=BINARY]; the CPUs are
those of the load, one thread on each (default: 50 connections, CPU 1). Kinds:

    local    two lanes, their shard ports, each key asked of its owner
    other    the same, each key asked of the other lane: every request is forwarded
    random   two lanes, one port, random keys: every second request is forwarded
    relaxed  the same with `pipeline-order relaxed`
    one      one lane on CPU 0      one1  one lane on CPU 1
    redis    redis-server on CPU 0
"""
import json
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PORT = 21110
SHARD_PORT = PORT + 2
TWO = ["--lanes", "2", "--port", str(PORT), "--shard-port", str(SHARD_PORT)]
LANES = {
    "local": (TWO, SHARD_PORT, ["--slots", "owner"]),
    "other": (TWO, SHARD_PORT, ["--slots", "other"]),
    "random": (TWO, PORT, []),
    "relaxed": (TWO + ["--pipeline-order", "relaxed"], PORT, []),
    "one": (["--lanes", "1", "--cpus", "0", "--port", str(PORT)], PORT, []),
    "one1": (["--lanes", "1", "--cpus", "1", "--port", str(PORT)], PORT, []),
}


def parse(case):
    case, _, binary = case.partition("=")
    case, _, cpus = case.partition("/")
    kind, _, connections = case.partition("@")
    return kind, connections or "50", (cpus or "1").replace("+", ","), binary or str(ROOT / "target/release/corelane")


def command(kind, binary):
    if kind == "redis":
        return ["taskset", "-c", "0", "redis-server", "--port", str(PORT), "--save", ""], PORT, []
    options, port, load = LANES[kind]
    return [binary, *options], port, load


def run(case, depth, more):
    """Requests per second of server CPU time, in one run."""
    kind, connections, cpus, binary = parse(case)
    server, port, load = command(kind, binary)
    process = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        said = subprocess.run(
            [ROOT / "target/release/corelane-bench", "load", "--port", str(port), "--server-pid", str(process.pid),
             "--connections", connections, "--keys", "100000", "--key-bytes", "16", "--value-bytes", "64", *([] if "--set-ratio" in more else ["--set-ratio", "0"]),
             "--depth", depth, "--cpus", cpus, "--threads", str(cpus.count(",") + 1), "--seconds", "1", "--warm-up", "0.2",
             "--json", "--even-if-invalid", *load, *more],
            capture_output=True, text=True, timeout=60)
        if said.returncode:
            sys.exit(f"{case}: {said.stderr}")
        return json.loads(said.stdout)["requests_per_server_cpu_second"]
    finally:
        process.terminate()
        process.wait()


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    rounds, depths, cases, more = int(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(","), sys.argv[4:]
    found = {(depth, case): [] for depth in depths for case in cases}
    for number in range(rounds):
        for depth in depths:
            for case in cases if number % 2 == 0 else reversed(cases):
                found[depth, case].append(run(case, depth, more))
    show = lambda values, digits: "{:.{d}f} ({:.{d}f}-{:.{d}f})".format(statistics.median(values), min(values), max(values), d=digits)
    for (depth, case), values in found.items():
        ratios = [value / base for value, base in zip(values, found[depth, cases[0]])]
        thousands = [value / 1000 for value in values]
        print(f"depth {depth:>3}  {case.partition('=')[0]:<18} {show(thousands, 0):>22} k/cpu-s   {show(ratios, 3)} x {cases[0]}")


if __name__ == "__main__":
    main()
