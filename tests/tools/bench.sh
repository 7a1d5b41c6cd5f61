# hearth bench measures what it says: rows for prompt and generation, with limits, shares, plan and peak. No time is judged.
set -eu
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

"$HEARTH" bench -m models/hearth-home.Q4_K_M.gguf --pp 16 --tg 4 -r 2 -q --json >"$scratch/bench" || fail "bench -m ends with $?"
for field in model_filename model_size model_n_params n_batch n_threads type_k n_prompt n_gen avg_ts stddev_ts samples_ts cpu_level \
    probe_read_gbs probe_dot_gmacs bandwidth_share compute_share plan_bytes peak_private_bytes; do
    [ "$(grep -c "\"$field\": " "$scratch/bench")" = 2 ] || fail "not both rows have $field"
done

number() {
    sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}\$/\1/p" "$scratch/bench" | head -n 1
}
# Sanitizers' own memory is no part of the plan.
if [ -z "${HEARTH_SANITIZE-}" ]; then
    awk "BEGIN { exit !($(number peak_private_bytes) <= $(number plan_bytes)) }" || fail "the peak is above the plan"
fi
for field in avg_ts probe_read_gbs probe_dot_gmacs; do
    awk "BEGIN { exit !($(number $field) > 0) }" || fail "$field is not positive"
done

"$HEARTH" bench -m models/hearth-home.Q4_K_M.gguf -p 8 -n 0 -r 1 -q >"$scratch/table" || fail "the table ends with $?"
grep -q '^| pp8 ' "$scratch/table" || fail "no row for the prompt"
! grep -q '^| tg' "$scratch/table" || fail "a row for a generation that was not asked for"

# exits CODE ARGUMENTS...: exit code and one line of error.
exits() {
    code=$1
    shift
    got=0
    "$HEARTH" bench "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = "$code" ] || fail "bench $*: exit code $got, not $code"
    [ "$(grep -c '^error: ' "$scratch/err")" = 1 ] || fail "bench $*: not one line of error"
}
exits 2 --shape no-such-model
exits 2 --shape llama-2-7b --quant Q9_9
exits 2 -r 0
exits 2 --format xml
exits 5 --shape llama-2-7b --ram-cap 1G
exits 6 -m no-such-file.gguf

[ "$failures" = 0 ]
