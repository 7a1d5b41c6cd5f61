# The plan: its lines are its sum, it depends on what it should, the cap is obeyed, and run uses what plan says.
set -eu
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# number FIELD ARGUMENTS...: a field of the plan.
number() {
    field=$1
    shift
    "$HEARTH" plan --json "$@" | sed -n "s/^ *\"$field\": \([0-9]*\),\{0,1\}\$/\1/p" | head -n 1
}

"$HEARTH" plan --json >"$scratch/plan"
private=$(number private_bytes)
mapped=$(number mapped_bytes)
[ "$(number total_bytes)" = $((private + mapped)) ] || fail "total is not private and mapped"
lines=$(sed -n '/"lines"/,$ s/^ *"bytes": \([0-9]*\)$/\1/p' "$scratch/plan" | awk '{ sum += $1 } END { printf "%.0f", sum }')
[ "$lines" = "$private" ] || fail "the lines add up to $lines, private memory is $private"

[ "$(number private_bytes -c 512)" -ge "$(number private_bytes -c 64)" ] || fail "a longer context takes less"
kv() {
    "$HEARTH" plan --json "$@" | grep -A 1 '"KV cache"' | sed -n 's/^ *"bytes": \([0-9]*\)$/\1/p'
}
[ "$(kv --kv f32)" = $((2 * $(kv --kv f16))) ] || fail "an f32 cache is not twice an f16 cache"
[ "$((64 * $(kv --kv q8_0)))" = $((34 * $(kv --kv f16))) ] || fail "a q8_0 cache does not take 34 bytes for 32 elements"

# The smallest cap that is accepted is the plan, to the byte; a plan that does not fit is shown all the same.
"$HEARTH" plan --ram-cap "$private" >"$scratch/out" || fail "a cap of exactly the plan is refused"
for cap in $((private - 1)) 1M 1; do
    got=0
    "$HEARTH" plan --ram-cap $cap >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = 5 ] || fail "cap $cap: exit code $got, not 5"
    grep -q "weights" "$scratch/out" || fail "cap $cap: the plan is not shown"
    grep -q "$private" "$scratch/err" || fail "cap $cap: the error does not say what is needed"
done
"$HEARTH" run -q --ram-cap "$private" -n 4 -p ROMEO: >"$scratch/out" || fail "run refuses a cap of exactly the plan"
got=0
"$HEARTH" run --ram-cap $((private - 1)) -n 4 -p ROMEO: >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 5 ] && [ ! -s "$scratch/out" ] || fail "run under a cap one byte too small: exit code $got, not 5"
used=$("$HEARTH" run -q --json -n 4 -p ROMEO: | sed 's/.*"plan_bytes": \([0-9]*\).*/\1/')
[ "$used" = "$private" ] || fail "run plans $used, plan says $private"

# Pages: the same sizes whatever the system has, run takes what plan says.
for pages in auto 4k 2m 1g; do
    planned=$(number private_bytes --pages $pages)
    "$HEARTH" run -q --pages $pages --ram-cap "$planned" -n 4 -p ROMEO: >"$scratch/out" 2>"$scratch/err" || fail "pages $pages: refused"
    [ $pages = 4k ] || [ "$planned" = "$private" ] || fail "pages $pages: another plan"
done
# The prefix cache is a line of its own, of the size asked for; one without room for 64 positions is refused.
[ "$(number private_bytes --cache-budget 4M)" = $((private + 4194304)) ] || fail "the plan has not the budget of the cache"
got=0
"$HEARTH" plan --cache-budget 1K >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 2 ] && grep -q 'cache_budget .*got 1024, need [0-9]*' "$scratch/err" || fail "a budget of 1K: exit code $got"
need=$(sed -n 's/.*got 1024, need \([0-9]*\)).*/\1/p' "$scratch/err")
"$HEARTH" plan -q --cache-budget "$need" >"$scratch/out" || fail "the budget that is said to be needed is refused"
[ "$(number private_bytes --pages 4k)" -lt "$private" ] || fail "small pages round as much as large ones"
[ "$failures" = 0 ]
