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

model=models/hearth-home.Q4_K_M.gguf

"$HEARTH" bench -m $model --pp 16 --tg 4 -r 2 -q --json >"$scratch/bench" || fail "bench -m ends with $?"
for field in build_commit cpu_info model_filename model_type model_size model_n_params n_batch n_threads type_k type_v n_prompt n_gen \
    n_depth test_time avg_ns stddev_ns avg_ts stddev_ts median_ts ms_per_pass samples_ns samples_ts cpu_level probe_read_gbs \
    probe_dot_gmacs probe_fma_gmacs noise noisy bytes_per_token macs_per_token bandwidth_share compute_share joules_per_token \
    energy_source load_seconds plan_bytes peak_private_bytes; do
    [ "$(grep -c "\"$field\": " "$scratch/bench")" = 2 ] || fail "not both rows have $field"
done
grep -Eq '"test_time": "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z"' "$scratch/bench" || fail "test_time"

number() {
    sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}\$/\1/p" "$scratch/bench" | head -n 1
}
# Sanitizers' own memory is no part of the plan.
peak_within_plan() {
    [ -n "${HEARTH_SANITIZE-}" ] || awk "BEGIN { exit !($(number peak_private_bytes) <= $(number plan_bytes)) }"
}
peak_within_plan || fail "the peak is above the plan"
for field in avg_ts probe_read_gbs probe_dot_gmacs probe_fma_gmacs; do
    awk "BEGIN { exit !($(number $field) > 0) }" || fail "$field is not positive"
done

# A header of 4 MiB more: one more key, an array of bytes, whose length keeps the rest aligned. It is gone after loading.
octal() {
    printf '\\%03o' "$1"
}
keys=$(od -An -tu1 -j16 -N1 $model)
{
    head -c 16 $model
    printf "$(octal $((keys + 1)))"
    tail -c +18 $model | head -c 7
    printf '\10\0\0\0\0\0\0\0a.filler\11\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0'
    head -c 4194304 /dev/zero
    tail -c +25 $model
} >"$scratch/large-header.gguf"
"$HEARTH" bench -m "$scratch/large-header.gguf" -p 8 -n 2 -r 1 -q --json >"$scratch/bench" || fail "a large header ends with $?"
peak_within_plan || fail "with a large header the peak is above the plan"

"$HEARTH" bench -m $model -p 8 -n 0 -r 1 -q >"$scratch/table" || fail "the table ends with $?"
grep -q '^| pp8 ' "$scratch/table" || fail "no row for the prompt"
! grep -q '^| tg' "$scratch/table" || fail "a row for a generation that was not asked for"
grep -Eq '^(quiet|NOISY): the probes of this run differ by ' "$scratch/table" || fail "no verdict on noise"

# Lists: each prompt at each depth with each batch, each generation at each depth.
"$HEARTH" bench -m $model -p 2-8*2,5 -n 1,0 -d 0-6+3 -b 1,4 -r 1 -q >"$scratch/table" || fail "lists end with $?"
[ "$(grep -c '^| pp' "$scratch/table")" = 24 ] || fail "not 4 x 3 x 2 rows of prompts"
[ "$(grep -c '^| tg1 ' "$scratch/table")" = 3 ] || fail "not 3 rows of generations"
grep -q '^| pp4 @ d3  *|  *4 |' "$scratch/table" || fail "no row of 4 tokens at depth 3 with batch 4"

# CSV: a line for each test, as many cells as names, quotes inside a name doubled.
cp $model "$scratch/a \"b\", c.gguf"
"$HEARTH" bench -m "$scratch/a \"b\", c.gguf" -p 4 -n 1 -r 1 -q --format csv >"$scratch/csv" || fail "csv ends with $?"
[ "$(wc -l <"$scratch/csv")" = 3 ] || fail "csv: not a line of names and two of values"
head -n 1 "$scratch/csv" | grep -q '^build_commit,cpu_info,' || fail "csv: names"
grep -q '/a ""b"", c.gguf"' "$scratch/csv" || fail "csv: quotes are not doubled"
sed 's/"a*[^"]*\(""[^"]*\)*"/x/g' "$scratch/csv" | awk -F, '{ print NF }' | sort -u >"$scratch/cells"
[ "$(wc -l <"$scratch/cells")" = 1 ] || fail "csv: lines of different lengths"

# Energy: a made-up tree whose counter stands still.
mkdir -p "$scratch/power/intel-rapl:0"
echo package-0 >"$scratch/power/intel-rapl:0/name"
echo 1234567 >"$scratch/power/intel-rapl:0/energy_uj"
echo 262143328850 >"$scratch/power/intel-rapl:0/max_energy_range_uj"
HEARTH_POWERCAP="$scratch/power" "$HEARTH" bench -m $model -p 4 -n 0 -r 1 -q --json >"$scratch/bench" || fail "energy"
grep -q '"joules_per_token": 0.0' "$scratch/bench" || fail "no energy from powercap"
HEARTH_POWERCAP="$scratch/power" "$HEARTH" bench -m $model -p 4 -n 0 -r 1 -q >"$scratch/table"
grep -q 'J/token |$' "$scratch/table" || fail "no column of energy"
HEARTH_POWERCAP="$scratch/nowhere" "$HEARTH" bench -m $model -p 4 -n 0 -r 1 -q --json >"$scratch/bench" || fail "no energy"
grep -q '"joules_per_token": null' "$scratch/bench" || fail "energy from nowhere"
grep -q '"energy_source": "absent"' "$scratch/bench" || fail "no reason why there is no energy"

# Kernels by name and number of tokens.
"$HEARTH" bench --kernel q4_K -p 1,3 -t 1 -q >"$scratch/table" || fail "--kernel ends with $?"
[ "$(grep -c '^| matmul' "$scratch/table")" = 2 ] || fail "--kernel: not two rows"
[ "$(grep -c '^| matmul_q4_K_' "$scratch/table")" = 2 ] || fail "--kernel: another kernel"

# A picture: bars for single tests, lines for lists; no number that is none.
"$HEARTH" bench -m $model -p 8 -n 2 -r 2 -q --svg "$scratch/bars.svg" >/dev/null || fail "--svg ends with $?"
"$HEARTH" bench -m $model -p 8 -n 2 -d 16,0,8 -b 2,8 -r 1 -q --svg "$scratch/lines.svg" >/dev/null || fail "--svg ends with $?"
for name in bars lines; do
    head -n 1 "$scratch/$name.svg" | grep -q '^<svg xmlns="http://www.w3.org/2000/svg" width="800" height="[0-9]*"' || fail "$name: begin"
    tail -n 1 "$scratch/$name.svg" | grep -q '^</svg>$' || fail "$name: end"
    grep -q 'prefers-color-scheme:dark' "$scratch/$name.svg" || fail "$name: nothing for dark screens"
    ! grep -Eq '(nan|inf)[",]' "$scratch/$name.svg" || fail "$name: a number that is none"
done
[ "$(grep -c 'class="bar"' "$scratch/bars.svg")" = 2 ] || fail "not two bars"
[ "$(grep -c '<polyline class="line' "$scratch/lines.svg")" = 3 ] || fail "not three lines"
[ "$(grep -c '<polyline class="dash' "$scratch/lines.svg")" = 3 ] || fail "not three limits"
for x in 60.0 415.0 770.0; do
    echo "$x"
done >"$scratch/places"
sed -n 's/^<polyline class="line s0" points="\([0-9.]*\),[0-9.]* \([0-9.]*\),[0-9.]* \([0-9.]*\),.*/\1\n\2\n\3/p' "$scratch/lines.svg" |
    head -n 3 | cmp - "$scratch/places" || fail "a line does not go from left to right"
if command -v xmllint >/dev/null; then
    xmllint --noout "$scratch/bars.svg" "$scratch/lines.svg" || fail "the picture is no XML"
fi

# The machine: rows of every kind, nothing at zero.
"$HEARTH" bench --probe -t 1 -q --json >"$scratch/probe" || fail "--probe ends with $?"
for kind in loop read waiting clock; do
    grep -q "\"probe\": \"$kind\"" "$scratch/probe" || fail "--probe: nothing of $kind"
done
[ "$(grep -c '"probe": "read"' "$scratch/probe")" = 15 ] || fail "--probe: not 3 x 5 variants of reading"
for field in name cpu_level n_threads streams prefetch prefetch_steps unit instructions_per_cycle work_per_cycle \
    giga_per_second clock_ghz ns; do
    [ "$(grep -c "\"$field\": " "$scratch/probe")" = "$(grep -c '"probe"' "$scratch/probe")" ] || fail "--probe: $field is missing"
done

[ "$("$HEARTH" bench --help | wc -l)" -le 30 ] || fail "the help is longer than a screen"

# Two results: equal, slower, faster, slower only because the machine was; and without a second sample nothing can be said.
result() { # rate, deviation, share, its deviation, samples
    cat <<END
[{"model_type": "m", "n_prompt": 32, "n_gen": 0, "n_depth": 0, "n_batch": 512, "n_threads": 2, "type_k": "f16", "avg_ts": $1,
  "median_ts": $1, "stddev_ts": $2, "samples_ts": [$5], "compute_share": $3, "compute_share_stddev": $4, "bandwidth_share": 0.1,
  "bandwidth_share_stddev": 0.001},
 {"model_type": "m", "n_prompt": 0, "n_gen": 8, "n_depth": 64, "n_batch": 1, "n_threads": 2, "type_k": "f16", "avg_ts": 5,
  "stddev_ts": 0.1, "samples_ts": [5, 5]}]
END
}
result 100 2 0.6 0.006 98,102 >"$scratch/old.json"
compares() { # exit code, verdict on the rate, verdict on the share, result...
    want="$1 $2 $3"
    shift 3
    result "$@" >"$scratch/new.json"
    code=0
    "$HEARTH" bench --compare "$scratch/old.json" "$scratch/new.json" --json >"$scratch/verdict" || code=$?
    got="$code $(sed -n 's/^ *"verdict": "\(.*\)",$/\1/p' "$scratch/verdict" | head -n 1)"
    got="$got $(sed -n 's/^ *"share_verdict": "\(.*\)".*$/\1/p' "$scratch/verdict" | head -n 1)"
    [ "$got" = "$want" ] || fail "compare $*: $got, not $want"
}
compares 0 same same 102 2 0.605 0.006 101,103
compares 0 faster faster 110 2 0.66 0.006 109,111
compares 1 slower slower 90 2 0.54 0.006 89,91
compares 0 slower same 90 2 0.601 0.006 89,91
compares 0 '?' '?' 50 0 0.3 0 50
"$HEARTH" bench --compare "$scratch/old.json" "$scratch/old.json" >"$scratch/table" || fail "compare ends with $?"
[ "$(grep -c '^| \(pp32\|tg8 @ d64\) ' "$scratch/table")" = 2 ] || fail "compare: not two rows"
grep -q '^2 of 2 tests compared; 0 slower' "$scratch/table" || fail "compare: no summary"
"$HEARTH" bench -m $model -p 4 -n 1 -r 2 -q --json >"$scratch/new.json"
code=0
"$HEARTH" bench --compare "$scratch/new.json" "$scratch/new.json" >"$scratch/table" || code=$?
[ "$code" = 0 ] || fail "compare with itself ends with $code"
sed 's/"n_threads": 2/"n_threads": 3/' "$scratch/old.json" >"$scratch/other.json"
echo '{"avg_ts": 1}' >"$scratch/object.json"
echo '[{"avg_ts": 1' >"$scratch/broken.json"
echo '[]' >"$scratch/nothing.json"

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
exits 2 --quant Q4_K_M
exits 2 --shape llama-2-7b -m $model
for option in --blas '-n 4' '-d 4' '-b 4'; do
    # shellcheck disable=SC2086 # an option and its value
    exits 2 $option
done
exits 2 -r 0
for list in '' , 1, ,1 1-  -1 2-1 1-4* 1-4*1 1-4+0 0-4*2 1--4 1x 2000000 1-1000; do
    exits 2 -p "$list"
done
exits 2 -b 0
exits 2 -m $model -p 0 -n 0
exits 2 -m $model --kernel q4
exits 2 --kernel no-such-kernel
exits 2 --kernel q4_K -p 0
exits 2 operand
exits 2 --svg "$scratch/x.svg"
exits 6 -m $model --svg "$scratch/nowhere/x.svg"
exits 6 -m $model -p 1 -n 0 -r 64 --svg ""
grep -q repeat "$scratch/err" && fail "--svg without a name is noticed after the measuring"
exits 2 --probe -m $model
exits 2 --probe --kernel q4
exits 2 --format xml
exits 2 --compare
exits 2 --compare "$scratch/old.json"
exits 2 --compare "$scratch/old.json" "$scratch/other.json"
exits 2 --compare "$scratch/old.json" "$scratch/old.json" "$scratch/old.json"
for bad in object broken nothing; do
    exits 2 --compare "$scratch/old.json" "$scratch/$bad.json"
    exits 2 --compare "$scratch/$bad.json" "$scratch/old.json"
done
exits 6 --compare "$scratch/old.json" "$scratch/nowhere.json"
exits 5 --shape llama-2-7b --ram-cap 1G
exits 6 -m no-such-file.gguf

[ "$failures" = 0 ]
