#!/usr/bin/env bash
# Resident bytes a key (16 + 32 bytes) at four sizes, since tables grow in steps; and of many small hashes (10 fields of 8 + 16 bytes).
# bench/memory.sh [PORT]; CORELANE names another binary. What a server holds before it has keys is taken off.
cd "$(dirname "$0")/.." || exit 1
port=${1:-22200}
corelane=${CORELANE:-target/release/corelane}
rss() { redis-cli -p "$1" info memory | tr -d '\r' | sed -n 's/^used_memory_rss://p'; }
start() {
  case $1 in
    corelane) "$corelane" --port "$2" --lanes 1 --save '' > /dev/null 2>&1 & ;;
    redis) redis-server --port "$2" --save '' --appendonly no > /dev/null 2>&1 & ;;
  esac
  pid=$!
  until redis-cli -p "$2" ping > /dev/null 2>&1; do sleep 0.05; done
}
for server in corelane redis; do
  for keys in 800000 1000000 1300000 2000000; do
    start $server "$port"; before=$(rss "$port")
    target/release/corelane-bench load --port "$port" --keys $keys --key-bytes 16 --value-bytes 32 --connections 10 --depth 16 --seconds 1 > /dev/null
    after=$(rss "$port")
    echo "$server $keys keys: $(( (after - before) * 10 / keys ))e-1 bytes a key"
    kill $pid; wait $pid 2> /dev/null; port=$((port + 1))
  done
  start $server "$port"; before=$(rss "$port")
  awk 'BEGIN { for (i = 0; i < 200000; i++) { printf "HSET hash:%010d", i; for (f = 0; f < 10; f++) printf " field:%02d value%011d", f, i + f; printf "\r\n" } }' \
    | redis-cli -p "$port" --pipe > /dev/null
  after=$(rss "$port")
  echo "$server 200000 hashes of 10 fields: $(( (after - before) / 200000 )) bytes a hash"
  kill $pid; wait $pid 2> /dev/null; port=$((port + 1))
done
