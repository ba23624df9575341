#!/usr/bin/env bash
# `make run`: starts build/release/narthex in the foreground on port 9090, or the next free one, with a configuration
# that scrapes the server itself. Further arguments go to the server.
set -eu
cd "$(dirname "$0")/.."

busy() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

port=9090
while busy "$port"; do
    echo "port $port is taken" >&2
    port=$((port + 1))
done
mkdir -p build/run/data
sed "s/@PORT@/$port/" deploy/run/prometheus.yml >build/run/prometheus.yml
echo "narthex serves http://127.0.0.1:$port/  (ctrl-C ends it; data in build/run/data)"
exec build/release/narthex --config.file=build/run/prometheus.yml --storage.tsdb.path=build/run/data \
    --web.listen-address="127.0.0.1:$port" --web.enable-lifecycle --web.enable-remote-write-receiver "$@"
