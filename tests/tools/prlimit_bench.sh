# The plan of a model of 4 GB is what the system has to allow (see prlimit.sh): short and long contexts, both kinds of cache, every
# position computed. The model is made up in memory, so that no file is needed.
set -eu
cd "$HEARTH_SOURCE_DIR"
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: sanitizers take memory of their own"
    exit 77
fi
if ! command -v prlimit >/dev/null; then
    echo "SKIPPED: no prlimit"
    exit 77
fi
if [ "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)" -lt 7500000 ]; then
    echo "SKIPPED: less than 7.5 GB of memory available"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/err"
    failures=$((failures + 1))
}

for kv in f16 q8_0; do
    for context in 512 4096; do
        bench="bench --shape llama-2-7b --quant Q4_K_M --kv $kv -p $context -n 0 -r 1 --json -q"
        # shellcheck disable=SC2086
        plan=$("$HEARTH" $bench --ram-cap 1M 2>&1 | sed -n 's/.*(got [0-9]*, need \([0-9]*\)).*/\1/p')
        # shellcheck disable=SC2086
        prlimit --data="$plan:$plan" "$HEARTH" $bench >"$scratch/out" 2>"$scratch/err" ||
            fail "context $context, $kv: exit code $? under a limit of the plan, $plan"
        grep -q "\"plan_bytes\": $plan," "$scratch/out" || fail "context $context, $kv: another plan than $plan"
        less=$((plan * 97 / 100))
        got=0
        # shellcheck disable=SC2086
        prlimit --data=$less:$less "$HEARTH" $bench >"$scratch/out" 2>"$scratch/err" || got=$?
        [ "$got" = 5 ] && [ ! -s "$scratch/out" ] || fail "context $context, $kv: exit code $got under 97 % of the plan, not 5"
        grep -q "^error: memory plan: does not fit the cap (got [0-9]*, need $plan): " "$scratch/err" ||
            fail "context $context, $kv: another line than that of the plan"
        echo "context $context, $kv: $plan bytes"
    done
done
[ "$failures" = 0 ]
