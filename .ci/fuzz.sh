#!/usr/bin/env bash
# Each fuzz target for FUZZ_SECONDS (60) seconds, from its corpus; what is new stays under build/fuzz/found.
set -eu
cd "$(dirname "$0")/.."

cmake --preset fuzz >/dev/null
ninja -C build/fuzz $(ninja -C build/fuzz -t targets all | sed -n 's#^\(tests/fuzz/fuzz_[a-z0-9_]*\): .*#\1#p')
failed=0
for program in build/fuzz/tests/fuzz/fuzz_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=${program##*/fuzz_}
    mkdir -p "build/fuzz/found/$name" "build/fuzz/crashes"
    echo "== $name"
    "$program" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/crashes/$name-" "build/fuzz/found/$name" "tests/fuzz/corpus/$name" \
        2>"build/fuzz/$name.log" || {
        failed=1
        tail -50 "build/fuzz/$name.log"
    }
    grep -E '^stat::(number_of_executed_units|new_units_added)' "build/fuzz/$name.log" || true
done
exit $failed
