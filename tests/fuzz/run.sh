# make fuzz: run each target for SECONDS from its beginnings and from what earlier runs found worth keeping, and print executions and
# edges covered. What ends a target lies in BUILD/found, named after target and defect; fuzz_SUBJECT of another preset runs it again.
# usage: run.sh BUILD SECONDS [SUBJECT...]
set -eu
build=$1
seconds=$2
shift 2
cd "$(dirname "$0")/../.."
export HEARTH_SOURCE_DIR="$PWD" ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=1:allocator_may_return_null=1"
[ -n "${HEARTH_SHARED-}" ] || [ ! -d ../shared/ref ] || export HEARTH_SHARED="$PWD/../shared"
[ $# -gt 0 ] || set -- $(cd tests/fuzz && printf '%s\n' *.c | sed 's/\.c$//')
mkdir -p "$build/found"
failures=0
printf '%-10s %12s %10s %8s %8s\n' target executions per_second edges inputs
for subject; do
    corpus=$build/corpus/$subject
    log=$build/found/$subject.log
    mkdir -p "$corpus"
    status=0
    HEARTH_FUZZ_SEEDS=$corpus "$build/tests/fuzz_$subject" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
        -reload=0 -print_final_stats=1 -artifact_prefix="$build/found/$subject-" "$corpus" >"$log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-10s %12s %10s %8s %8s\n' "$subject" "${executions:--}" "${rate:--}" "${edges:--}" "$(find "$corpus" -type f | wc -l)"
    if [ "$status" != 0 ]; then
        failures=$((failures + 1))
        grep -E '^FAILED|ERROR: |runtime error|SUMMARY|Test unit written' "$log" | sed 's/^/    /' || tail -n 5 "$log"
    fi
done
[ "$failures" = 0 ] || {
    echo "FAILED: $failures targets; see $build/found"
    exit 1
}
