#!/usr/bin/env bash
# All tests, in three builds: everything as a developer builds it, then under address and undefined behaviour sanitizers
# (without the peers', the long tests and those of memory), then the threaded floors under the thread sanitizer. The last line adds up.
set -u
cd "$(dirname "$0")/.."

passed=0
failed=0
broken=()

# count <junit file> <attribute>
count() {
    grep -o -m1 "$2=\"[0-9]*\"" "$1" | grep -o '[0-9]*'
}

# stage <preset> <targets> <prefix command> [ctest arguments]: builds, runs, adds up.
stage() {
    local preset=$1 targets=$2 prefix=$3 report jobs=3 # Many of them mostly wait.
    [ "$preset" = tsan ] && jobs=2
    shift 3
    echo "== $preset"
    # shellcheck disable=SC2086
    if ! cmake --preset "$preset" >build/"$preset".configure.log 2>&1; then
        cat build/"$preset".configure.log
        broken+=("configure $preset")
        return
    fi
    # shellcheck disable=SC2086
    if ! ninja -C build/"$preset" $targets >build/"$preset".build.log 2>&1; then
        grep -v '^\[' build/"$preset".build.log | head -100
        broken+=("build $preset")
        return
    fi
    report=$PWD/build/$preset.junit.xml
    rm -f "$report"
    # shellcheck disable=SC2086
    $prefix ctest --test-dir build/"$preset" -j"$jobs" --output-on-failure --output-junit "$report" "$@" ||
        echo "ctest of $preset failed"
    if [ ! -s "$report" ]; then
        broken+=("ctest $preset")
        return
    fi
    local tests failures
    tests=$(count "$report" tests)
    failures=$(count "$report" failures)
    passed=$((passed + tests - failures - $(count "$report" skipped) - $(count "$report" disabled)))
    failed=$((failed + failures))
}

mkdir -p build
# The thread sanitizer of gcc 12 cannot live with wide address space randomisation.
fixed_addresses="setarch -R"
$fixed_addresses true 2>/dev/null || fixed_addresses=

stage dev "" ""
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
stage asan "" "" -R '^(unit|fuzz|e2e)/' -E '^e2e/test_(kill|retention|exporters|side_by_side|residency)$'
tsan_targets=$(cmake --preset tsan >/dev/null 2>&1 && ninja -C build/tsan -t targets all |
    sed -n 's#^\(tests/unit_\(base\|net\|storage\)_[a-z0-9_]*\): .*#\1#p' | tr '\n' ' ')
# Not those that are long and have one thread.
stage tsan "$tsan_targets" "$fixed_addresses" -R '^unit/(base|net|storage)/' -E '^unit/storage/test_(bundle|disk_index|disk_index_match|limits|sim|sim_wide)$'

for what in "${broken[@]+"${broken[@]}"}"; do
    echo "$what failed"
    failed=$((failed + 1))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
