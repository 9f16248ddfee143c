#!/bin/sh
# Remakes results/: builds, and runs every ready workload on corelane with one and two lanes, redis-server, valkey-server where
# there is one, and memcached. Words after it go to `corelane-bench all`, such as `--only cache,counter` or `--rounds 20`.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --workspace
exec target/release/corelane-bench all "$@"
