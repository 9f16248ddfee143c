#!/usr/bin/env bash
# Resident bytes a key (16 + 32 bytes) at four sizes, since tables grow in steps; of many small hashes (10 fields of 8 + 16 bytes); and of one large
# hash (16 + 16 bytes), set (16), sorted set (16, scores with two decimals, at random) and list (64), a million elements each. COLLECTIONS=only leaves the keys out.
# bench/memory.sh [PORT]; CORELANE names another binary. What a server holds before it has keys is taken off; of collections also the buffers that
# any traffic makes resident: 200,000 PINGs come first.
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
# measure SERVER NAME DIVISOR UNIT: what the commands on stdin add.
measure() {
  start "$1" "$port"; yes PING | head -200000 | redis-cli -p "$port" --pipe > /dev/null; before=$(rss "$port")
  redis-cli -p "$port" --pipe > /dev/null
  sleep 1; after=$(rss "$port")
  echo "$1 $2: $(( (after - before) * 10 / $3 ))e-1 bytes $4"
  kill $pid; wait $pid 2> /dev/null; port=$((port + 1))
}
million() { awk "BEGIN { srand(7); for (i = 0; i < 1000000; i++) printf $1 }"; }
sizes="800000 1000000 1300000 2000000"
[ "$COLLECTIONS" != only ] || sizes=
for server in corelane redis; do
  for keys in $sizes; do
    start $server "$port"; before=$(rss "$port")
    target/release/corelane-bench load --port "$port" --keys $keys --key-bytes 16 --value-bytes 32 --connections 10 --depth 16 --seconds 1 > /dev/null
    after=$(rss "$port")
    echo "$server $keys keys: $(( (after - before) * 10 / keys ))e-1 bytes a key"
    kill $pid; wait $pid 2> /dev/null; port=$((port + 1))
  done
  awk 'BEGIN { for (i = 0; i < 200000; i++) { printf "HSET hash:%010d", i; for (f = 0; f < 10; f++) printf " field:%02d value%011d", f, i + f; printf "\r\n" } }' \
    | measure $server "200000 hashes of 10 fields" 200000 "a hash"
  million '"HSET h field:%010d value:%010d\r\n", i, i' | measure $server "a hash of 1000000 fields" 1000000 "a field"
  million '"SADD s member:%09d\r\n", i' | measure $server "a set of 1000000 members" 1000000 "a member"
  million '"ZADD z %.2f member:%09d\r\n", rand() * 1000000, i' | measure $server "a sorted set of 1000000 members" 1000000 "a member"
  million '"RPUSH l %064d\r\n", i' | measure $server "a list of 1000000 elements" 1000000 "an element"
done
