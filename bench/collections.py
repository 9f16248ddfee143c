#!/usr/bin/env python3
"""The commands of lists, hashes, sets, sorted sets and counters one by one beside redis-server, as a table with the median of their ratios.

    bench/collections.py [--rows LPUSH,ZADD] [--rounds 5] [--seconds 0.4] [--keep FILE]

Each row is a `corelane-bench compare` of its own: one lane on CPU 0, the load on CPU 1, 50 connections, 16 requests sent together, a fresh server that is filled for each round, the
servers of a round interleaved. Thousand requests per second of server CPU time: median (least to greatest); the ratio is the median of the rounds' own. Pops are asked of collections
that outlast the run. CORELANE and BENCH name other binaries than those of target/release; --keep adds the rows to a file of JSON lines, and rows that are there are not
measured again, so that a table can be measured in several sittings. Needs Python 3.8 and nothing else.
"""
import argparse, glob, json, os, statistics, subprocess, sys, tempfile

ROWS = {
    "LPUSH": ("lists", "1 any LPUSH jobs {key}", None),
    "RPUSH": ("lists", "1 any RPUSH jobs {key}", None),
    "LPOP": ("lists", "1 any LPOP jobs", 1_200_000),
    "RPOP": ("lists", "1 any RPOP jobs", 1_200_000),
    "SADD": ("sets", "1 :1 SADD tags {new}", None),
    "SPOP": ("sets", "1 any SPOP tags", 1_000_000),
    "HSET": ("hashes", "1 :0 HSET table {key} {value}", None),
    "HGET": ("hashes", "1 value HGET table {key}", None),
    "ZADD": ("zsets", "1 :0 ZADD board {number:1000000} {key}", None),
    "ZPOPMIN": ("zsets", "1 any ZPOPMIN board", 1_000_000),
    "ZRANGE of 10": ("zsets", "1 any ZRANGE board 0 9", None),
    "LRANGE of 100": ("lists", "1 any LRANGE jobs 0 99", None),
    "INCR": ("counter", "1 int INCR {key}", None),
}


def measure(name, options):
    definition, command, keys = ROWS[name]
    corelane, bench = (os.environ.get(at, f"target/release/{file}") for at, file in [("CORELANE", "corelane"), ("BENCH", "corelane-bench")])
    with tempfile.TemporaryDirectory() as results:
        words = [bench, "compare", "--definition", f"bench/definitions/{definition}.toml", "--command", command, "--depths", "16",
                 "--rounds", str(options.rounds), "--seconds", str(options.seconds), "--results", results, "--baseline", "redis",
                 "--server", f"corelane={corelane} --port {{port}} --lanes 1 --cpus 0 --save ''",
                 "--server", "redis=redis-server --port {port} --save '' --appendonly no"]
        words += ["--keys", str(keys)] if keys else []
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=None if options.verbose else subprocess.DEVNULL)
        [record] = glob.glob(os.path.join(results, "**", "*.json"), recursive=True)
        record = json.load(open(record))
    lines = {line["server"]: line for line in record["summary"]}
    return {"row": name, "commit": record["commit"], "rounds": options.rounds, "command": command,
            "corelane": lines["corelane"]["figure"], "redis": lines["redis"]["figure"], "ratio": lines["corelane"]["ratio"]}


def spread(figure):
    return "{:,.0f} ({:,.0f} - {:,.0f})".format(*(figure[at] / 1000 for at in ("median", "min", "max")))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rows", default=",".join(ROWS))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=0.4)
    options.add_argument("--keep")
    options.add_argument("--verbose", action="store_true")
    options = options.parse_args()
    kept = [json.loads(line) for line in open(options.keep)] if options.keep and os.path.exists(options.keep) else []
    done = {row["row"]: row for row in kept}
    for name in options.rows.split(","):
        if name not in done:
            done[name] = measure(name, options)
            if options.keep:
                with open(options.keep, "a") as file:
                    file.write(json.dumps(done[name]) + "\n")
    rows = [done[name] for name in ROWS if name in done]
    print("| command | corelane | redis | ratio |\n|---|--:|--:|--:|")
    for row in rows:
        print("| {} | {} | {} | {:.2f} ({:.2f} - {:.2f}) |".format(
            row["row"], spread(row["corelane"]), spread(row["redis"]), *(row["ratio"][at] for at in ("median", "min", "max"))))
    ratios = [row["ratio"]["median"] for row in rows]
    print(f"\nmedian of the ratios {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())
