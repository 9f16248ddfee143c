#!/bin/sh
# Remakes results/: builds, and runs every ready workload on corelane with one and two lanes, redis-server, valkey-server where
# there is one, and memcached. Words after it go to `corelane-bench all`, such as `--only cache,counter`, `--rounds 20` or `--minutes 25`.
# PEERS names the folder that bench/peers.sh filled: then its valkey takes part.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --workspace
if [ -x "${PEERS:-}/valkey9" ]; then
    set -- --server corelane --server corelane2 --server redis --server memcached \
        --server "valkey=$PEERS/valkey9 --port {port} --bind 127.0.0.1 --save '' --appendonly no" "$@"
fi
exec target/release/corelane-bench all "$@"
