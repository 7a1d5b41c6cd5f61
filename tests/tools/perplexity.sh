# hearth perplexity: the same digits at every kernel level, thread count and batch; a model does not diverge from itself; what it
# refuses; and, where the golden data is, the perplexity that established engines measure.
set -eu
export LC_ALL=C
cd "$HEARTH_SOURCE_DIR"
model=models/hearth-home.Q4_K_M.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# same WHAT WANT GOT
same() {
    [ -n "$2" ] && [ "$2" = "$3" ] || fail "$1: want '$2', got '$3'"
}

# within VALUE MOST
within() {
    awk "BEGIN { exit !($1 > 0 && $1 <= $2) }"
}

# field NAME: a number of the last --json output
field() {
    sed -n "s/.*\"$1\": \([-0-9.e+a-z]*\)[,}].*/\1/p" "$scratch/json"
}

text=$scratch/text
for line in $(seq 1 24); do
    echo "The king went to the window of room $line and looked at the rain. What does the light in the kitchen say?"
    echo "Turn it on, she said, and make $line pancakes for my lord."
done >"$text"

measure() {
    "$HEARTH" perplexity -q -m "$model" -f "$text" -c 128 "$@"
}

# ---- The number -----------------------------------------------------------------------------------------------------

unset HEARTH_CPU
want=$(measure)
echo "$want"
printf '%s\n' "$want" | grep -q '^perplexity [0-9]*\.[0-9]* ± [0-9]*\.[0-9]*, [0-9]* tokens scored in [0-9]* windows of 128$' ||
    fail "not the line that was promised: $want"
for level in reference avx2 avxvnni avx512; do
    if HEARTH_CPU=$level "$HEARTH" info 2>&1 >/dev/null | grep -q 'does not have the level'; then
        echo "SKIPPED: level $level: not on this CPU"
        continue
    fi
    same "level $level" "$want" "$(HEARTH_CPU=$level measure)"
done
for threads in 1 2; do
    same "$threads threads" "$want" "$(measure -t $threads)"
done
for batch in 1 7 63 64 128 512; do # also those that end inside, and at the border of, the half that is not scored
    same "batch $batch" "$want" "$(measure -b $batch)"
done
same "standard input" "$want" "$("$HEARTH" perplexity -q -m "$model" -f - -c 128 <"$text")"

measure --json >"$scratch/json"
for name in perplexity stderr n_tokens n_windows ctx prompt_ts model kl_mean kl_max same_top; do
    grep -q "\"$name\": " "$scratch/json" || fail "--json has no $name"
done
same "tokens scored" "$(($(field n_windows) * 63))" "$(field n_tokens)"
same "perplexity in JSON" "$(echo "$want" | sed 's/perplexity \([0-9.]*\).*/\1/')" "$(printf '%.4f' "$(field perplexity)")"
same "no divergence without a second model" "null null null" "$(field kl_mean) $(field kl_max) $(field same_top)"

# ---- Against saved numbers ------------------------------------------------------------------------------------------

saved=$scratch/saved
same "perplexity while saving" "$want" "$(measure --save-logits "$saved")"
same "a divergence of nothing" "KL divergence mean 0.000000, max 0.000000; same top token 100.000 %" \
    "$(measure --against "$saved" | tail -n 1)"
measure --against "$saved" --json >"$scratch/json"
same "the same in JSON" "0.0 0.0 1.0" "$(field kl_mean) $(field kl_max) $(field same_top)"
# Another cache gives slightly other numbers: a small divergence above zero.
measure --against "$saved" --kv f32 --json >"$scratch/json"
within "$(field kl_mean)" 0.01 || fail "the divergence of an F32 cache is $(field kl_mean)"
same "reading and writing one name" "$want" "$(measure --against "$saved" --save-logits "$saved" | head -n 1)"
measure --save-logits /dev/null >/dev/null || fail "saving to /dev/null"

# ---- What is refused ------------------------------------------------------------------------------------------------

# refused CODE DETAIL ARGUMENTS...: exit code, one line of error, nothing on standard output.
refused() {
    code=$1
    detail=$2
    shift 2
    got=0
    "$HEARTH" perplexity -q -m "$model" "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = "$code" ] || fail "$*: exit code $got, not $code"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "$*: not one line"
    grep -q "^error: .* \[$detail\]\$" "$scratch/err" || fail "$*: $(cat "$scratch/err")"
    [ ! -s "$scratch/out" ] || fail "$*: something on standard output"
}

echo 'Too short.' >"$scratch/short"
: >"$scratch/empty"
refused 2 E_USAGE -c 128
refused 2 E_CONFIG -f "$text" -c 4
refused 2 E_CONFIG -f "$scratch/short" -c 128
grep -q 'got [0-9]* tokens, need at least 128' "$scratch/err" || fail "a short text: no numbers"
refused 2 E_CONFIG -f "$scratch/empty" -c 128
refused 6 E_NOT_FOUND -f "$scratch/nowhere"
refused 6 E_IO -f "$scratch"
refused 5 E_MEMORY -f "$text" --ram-cap 4M
refused 6 E_NOT_FOUND -f "$text" -c 128 --save-logits "$scratch/nowhere/x"
refused 6 E_NOT_FOUND -f "$text" -c 128 --against "$scratch/nowhere"
refused 6 E_IO -f "$text" -c 128 --against "$scratch"
refused 3 E_TRUNC -f "$text" -c 128 --against "$scratch/empty"
refused 3 E_MAGIC -f "$text" -c 128 --against "$text"
refused 3 E_MISMATCH -f "$text" -c 64 --against "$saved"
sed 's/pancakes/potatoes/' "$text" >"$scratch/other"
refused 3 E_MISMATCH -f "$scratch/other" -c 128 --against "$saved"
size=$(wc -c <"$saved")
head -c $((size - 4)) "$saved" >"$scratch/damaged"
refused 3 E_MISMATCH -f "$text" -c 128 --against "$scratch/damaged"
(cat "$saved" && printf 'more') >"$scratch/damaged"
refused 3 E_MISMATCH -f "$text" -c 128 --against "$scratch/damaged"
# damage OFFSET BYTES...: overwrites some.
damage() {
    cp "$saved" "$scratch/damaged"
    printf "$2" | dd of="$scratch/damaged" bs=1 seek="$1" conv=notrunc 2>/dev/null
}
damage 8 '\002' # version
refused 3 E_MISMATCH -f "$text" -c 128 --against "$scratch/damaged"
damage $((size - 4)) '\000\000\300\177' # NaN
refused 3 E_DAMAGED -f "$text" -c 128 --against "$scratch/damaged"
damage $((size - 4)) '\000\000\000\000' # probability 1
refused 3 E_DAMAGED -f "$text" -c 128 --against "$scratch/damaged" --save-logits "$scratch/unfinished"
damage $((size - 4)) '\000\000\200\177' # infinity
refused 3 E_DAMAGED -f "$text" -c 128 --against "$scratch/damaged"
for name in "$scratch"/unfinished*; do
    [ ! -e "$name" ] || fail "left behind: $name"
done

# ---- Beside established engines -------------------------------------------------------------------------------------

if [ -n "${HEARTH_SHARED-}" ]; then
    "$HEARTH" perplexity -q --json -m "$HEARTH_SHARED/models/hearth-home.Q4_K_M.gguf" -f "$HEARTH_SHARED/models/test.txt" -c 256 \
        >"$scratch/json"
    echo "held-out text: $(field perplexity)"
    within "$(field perplexity)" 59.5079*1.001 || fail "the perplexity is $(field perplexity), more than 59.5079 + 0.1 %"
else
    echo "SKIPPED: no HEARTH_SHARED: not compared with established engines"
fi
[ "$failures" = 0 ]
