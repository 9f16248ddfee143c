#!/usr/bin/env python3
"""What rewriting the journal costs those who are served meanwhile, and how long loading takes.

    bench/rewrite.py [--server corelane|redis] [--keys 5000000] [--pairs 5] [--rate 20000] [--seconds 8] [--port 21600] [--loading] [--dir DIR]

A server with `appendonly yes`, `appendfsync everysec` is filled. Then pairs, one after the other: an open loop of GET and SET, half each, at random
keys, while nothing else happens, and the same while the journal is rewritten (asked for half a second after it began, and again as soon as that is
over, until the loop ends). Latency counts from the intended start. Extra memory: the most that the resident size, of a forked child its private
part too, was above that before. With `--loading`: the server is ended and started again; how long until it serves. The server runs on CPU 0, one
lane, all load on CPU 1. CORELANE names another binary than target/release/corelane. Needs Python 3.8 and nothing else.
"""
import argparse, json, os, shutil, statistics, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from tail import BENCH, BINARIES, Client


def start(options, directory):
    args = [BINARIES[options.server], "--port", str(options.port), "--save", "", "--appendonly", "yes", "--dir", directory,
            "--auto-aof-rewrite-percentage", "0"]
    if options.server == "corelane":
        args += ["--cpus", "0", "--lanes", "1"]
    began = time.time()
    process = subprocess.Popen(["taskset", "-c", "0"] + args, stdout=subprocess.DEVNULL)
    while True:
        try:
            client = Client(options.port)
            client.call("DBSIZE")
            return process, client, time.time() - began
        except (OSError, RuntimeError, ValueError):
            time.sleep(0.01)


def load(options, *args):
    common = ["taskset", "-c", "1", BENCH, "load", "--port", str(options.port), "--keys", str(options.keys), "--key-bytes", "16",
              "--value-bytes", "32", "--connections", "10"]
    return subprocess.Popen(common + list(args), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def rss(pid):
    """The resident size, and the private part of children."""
    def field(pid, file, name):
        try:
            with open(f"/proc/{pid}/{file}") as lines:
                return next((int(line.split()[1]) << 10 for line in lines if line.startswith(name)), 0)
        except OSError:
            return 0
    children = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = file.read().split()
    except OSError:
        pass
    return field(pid, "status", "VmRSS:") + sum(field(child, "smaps_rollup", "Private_Dirty:") for child in children)


def run(options, process, client, rewrites):
    """One open loop; its p99.9 and what was seen."""
    client.call("CONFIG", "RESETSTAT")
    before, most, times, over = rss(process.pid), [0], [], threading.Event()
    loop = load(options, "--rate", str(options.rate), "--no-fill", "--set-ratio", "0.5", "--distribution", "uniform", "--warm-up", "0.3",
                "--seconds", str(options.seconds), "--json")

    def rewriting():
        other = Client(options.port)
        time.sleep(0.5)
        while rewrites and not over.is_set():
            began = time.time()
            other.call("BGREWRITEAOF")
            while other.info("persistence")["aof_rewrite_in_progress"] == "1" or other.info("persistence")["aof_rewrite_scheduled"] == "1":
                time.sleep(0.05)
            times.append(round(time.time() - began, 2))
            time.sleep(0.2)

    def watching():
        while not over.is_set():
            most[0] = max(most[0], rss(process.pid))
            time.sleep(0.05)
    threads = [threading.Thread(target=work) for work in (rewriting, watching)]
    [thread.start() for thread in threads]
    report = json.loads(loop.communicate()[0])
    over.set()
    [thread.join() for thread in threads]
    latency = report["latency"]
    result = {"p50_us": latency["p50_us"], "p99_us": latency["p99_us"], "p99.9_us": latency["p99_9_us"], "max_us": latency["max_us"]}
    result["extra_mb"] = round((most[0] - before) / 1e6, 1)
    result["rewrites_s"] = times
    if report.get("invalid"):
        result["invalid"] = report["invalid"]
    info = client.info()
    if options.server == "corelane":
        result.update({name: info[name] for name in ("max_turn_us", "max_turn_what", "max_turn_what_us", "max_turn_preempted_us") if name in info})
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="corelane")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--port", type=int, default=21600)
    parser.add_argument("--loading", action="store_true")
    parser.add_argument("--dir")
    options = parser.parse_args()
    directory = tempfile.mkdtemp(dir=options.dir)
    process = None
    try:
        process, client, _ = start(options, directory)
        began = time.time()
        load(options, "--depth", "16", "--seconds", "1").communicate()
        data = rss(process.pid)
        print(f"{options.server}: {client.call('DBSIZE')} keys in {time.time() - began:.1f} s, resident {data / 1e6:.0f} MB", flush=True)
        quiet, busy, extra = [], [], []
        for _ in range(options.pairs):
            for rewrites, kept in ((False, quiet), (True, busy)):
                result = run(options, process, client, rewrites)
                kept.append(result["p99.9_us"])
                if rewrites:
                    extra.append(result["extra_mb"])
                print("rewriting" if rewrites else "quiet    ", result, flush=True)
        if quiet:
            one, other = statistics.median(quiet), statistics.median(busy)
            print(f"median p99.9: quiet {one} us, rewriting {other} us; 1.5 x quiet + 500 is {1.5 * one + 500:.0f}; "
                  f"extra memory at most {max(extra)} MB, {100e6 * max(extra) / data:.1f} % of the resident size", flush=True)
        if options.loading:
            for what in ("log", "base"):
                if what == "base":
                    client.call("BGREWRITEAOF")
                    time.sleep(0.2)
                    while client.info("persistence")["aof_rewrite_in_progress"] == "1":
                        time.sleep(0.05)
                process.terminate()
                process.wait()
                size = sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(directory) for name in names)
                process, client, took = start(options, directory)
                print(f"loading from a {what} of {size / 1e6:.0f} MB: {took:.2f} s, {client.call('DBSIZE')} keys", flush=True)
    finally:
        if process:
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
