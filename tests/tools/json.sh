# The JSON that scripts rely on: it parses, and has the promised fields.
set -eu
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

if command -v python3 >/dev/null; then
    parses() {
        python3 -c 'import json, sys; json.loads(open(sys.argv[1], "rb").read().decode("utf-8", "strict"))' "$1"
    }
elif command -v jq >/dev/null; then
    parses() {
        jq -e . "$1" >/dev/null
    }
else
    echo "note: neither python3 nor jq is here; only the fields are looked for"
    parses() {
        :
    }
fi

# fields FILE NAME...
fields() {
    file=$1
    shift
    for name; do
        grep -q "\"$name\": " "$file" || fail "$file: no field $name"
    done
}

"$HEARTH" run --json -q -n 5 -n 20 --seed 3 -p 'ROMEO:\n' >"$scratch/run"
parses "$scratch/run" || fail "run --json does not parse"
fields "$scratch/run" text ids n_prompt n_gen stop prompt_ts gen_ts plan_bytes peak_private_bytes load_seconds first_token_seconds
[ "$(wc -l <"$scratch/run")" = 1 ] || fail "run --json is not one line"
grep -q '"n_gen": 20, "stop": "length"' "$scratch/run" || fail "run --json: not 20 tokens to the length given last"
[ "$(sed 's/.*"ids": \[\([^]]*\)\].*/\1/' "$scratch/run" | tr ',' '\n' | wc -l)" = 20 ] || fail "run --json: not 20 ids"
plan=$(sed 's/.*"plan_bytes": \([0-9]*\).*/\1/' "$scratch/run")
peak=$(sed 's/.*"peak_private_bytes": \([0-9]*\).*/\1/' "$scratch/run")
if [ -z "${HEARTH_SANITIZE-}" ] && { [ "$peak" -gt "$plan" ] || [ "$peak" = 0 ]; }; then
    fail "run --json: peak private memory $peak, planned $plan"
fi

awk -v load="$(sed 's/.*"load_seconds": \([0-9.e-]*\).*/\1/' "$scratch/run")" \
    -v first="$(sed 's/.*"first_token_seconds": \([0-9.e-]*\).*/\1/' "$scratch/run")" \
    'BEGIN { exit !(load > 0 && first > load) }' || fail "run --json: no first token after loading"

"$HEARTH" run --json -q -n 40 --temp 0 -p '<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n' >"$scratch/end"
grep -q '"text": "Okay, the kitchen light is now on."' "$scratch/end" || fail "run --json: another text"
grep -q '"stop": "end"' "$scratch/end" || fail "run --json: no stop at the end of the answer"
"$HEARTH" run --json -q -n 40 --temp 0 --logprobs 2 -p '<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n' >"$scratch/probs"
parses "$scratch/probs" || fail "run --json --logprobs does not parse"
grep -q '"logprobs": \[{"id": 456, "text": "Okay", "logprob": -1.508197, "top": \[{"id": 456, "text": "Okay", "logprob": -1.508197}, {"id": 475, "text": "Done"' \
    "$scratch/probs" || fail "run --json --logprobs: another first token"
[ "$(grep -o '"top": ' "$scratch/probs" | wc -l)" = "$(sed 's/.*"ids": \[\([^]]*\)\].*/\1/' "$scratch/probs" | tr ',' '\n' | wc -l)" ] ||
    fail "run --json --logprobs: not one entry for each token"
"$HEARTH" run --json -q -n 2 --logprobs 0 -p x >"$scratch/none"
grep -q '"logprobs": \[{.*"top": \[\]}, {.*"top": \[\]}\]' "$scratch/none" || fail "run --json --logprobs 0: likeliest tokens, or none chosen"
"$HEARTH" run --json -q -n 40 --temp 0 --stop 'light' -p '<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n' >"$scratch/stop"
grep -q '"text": "Okay, the kitchen ".*"stop": "string"' "$scratch/stop" || fail "run --json: no stop at the stop string"
"$HEARTH" run --json -q -n 100 --seed 1 -c 16 -p 'ROMEO:\n' >"$scratch/full"
grep -q '"stop": "\(context\|end\)"' "$scratch/full" || fail "run --json: no stop where the context is full"
"$HEARTH" run --json -q -n -1 --temp 0 --ignore-eos -c 64 -p 'ROMEO:\n' >"$scratch/endless"
grep -q '"stop": "context"' "$scratch/endless" || fail "run --json -n -1 --ignore-eos: another end than that of the context"
"$HEARTH" run --json -q -n 40 --temp 0 --keep-special -p '<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n' >"$scratch/special"
grep -q '"text": "Okay, the kitchen light is now on.<|end|>"' "$scratch/special" || fail "run --json --keep-special: no special token"
"$HEARTH" run --json -q -n 0 -p 'ROMEO:\n' >"$scratch/zero"
grep -q '"text": "", "ids": \[\], .*"n_gen": 0.*"first_token_seconds": null' "$scratch/zero" || fail "run --json -n 0 generates something"
# Wild sampling makes bytes that are no UTF-8; the object stays valid.
for seed in 1 2 3; do
    "$HEARTH" run --json -q -n 60 --temp 100 --top-k 0 --top-p 1 --min-p 0 --seed $seed -p 'x' >"$scratch/wild"
    parses "$scratch/wild" || fail "run --json does not parse: temperature 100, seed $seed"
done

"$HEARTH" plan --json >"$scratch/plan"
parses "$scratch/plan" || fail "plan --json does not parse"
fields "$scratch/plan" private_bytes mapped_bytes total_bytes cap_bytes lines name bytes

"$HEARTH" info --json >"$scratch/info"
parses "$scratch/info" || fail "info --json does not parse"
fields "$scratch/info" architecture parameters hparams window tensors tokenizer cpu cpu_level n_threads threads kernels

# Every kernel is of the level asked for or says that it is missing there.
for level in reference avx2 avxvnni avx512; do
    if HEARTH_CPU=$level "$HEARTH" info 2>&1 >/dev/null | grep -q 'does not have the level'; then
        echo "SKIPPED: level $level: not on this CPU"
        continue
    fi
    HEARTH_CPU=$level "$HEARTH" info --json >"$scratch/level"
    used=$(sed -n 's/^  "cpu_level": "\(.*\)",$/\1/p' "$scratch/level")
    [ "$used" = "$level" ] || fail "HEARTH_CPU=$level runs kernels of $used"
    wrong=$(tr -d '\n' <"$scratch/level" | grep -o '"kernel": [^}]*}' | grep -v "\"level\": \"$used\", *\"missing\": false" |
        grep -v '"missing": true' || true)
    [ -z "$wrong" ] || fail "kernels of another level than $used: $wrong"
    [ "$(grep -c '"kernel": ' "$scratch/level")" -ge 40 ] || fail "fewer than 40 kernels at $level"
done
[ "$failures" = 0 ]
