# Bad input: the right exit code, exactly one line on stderr, nothing on stdout, nothing left behind.
set -eu
export LC_ALL=C
cd "$HEARTH_SOURCE_DIR"
model=models/hearth-home.Q4_K_M.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
cases=0

failed() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/err"
    failures=$((failures + 1))
}

# expect CODE DETAIL ARGUMENTS...: how the program ends, and the name in brackets at the end of its line.
expect() {
    want=$1
    detail=$2
    shift 2
    cases=$((cases + 1))
    got=0
    timeout 60 "$HEARTH" "$@" </dev/null >"$scratch/out" 2>"$scratch/err" || got=$?
    what=$(printf '%.100s' "$*" | tr -c '[:print:]' '?')
    [ "$got" = "$want" ] || failed "$what: exit code $got, not $want"
    [ "$(wc -l <"$scratch/err")" = 1 ] || failed "$what: not one line"
    grep -q "^error: .* \[$detail\]\$" "$scratch/err" || failed "$what: not an error line with $detail"
    [ "$(tr -d '[:print:]\n' <"$scratch/err" | wc -c)" = 0 ] || failed "$what: bytes that are not printable"
    [ ! -s "$scratch/out" ] || failed "$what: something on stdout"
}

# fine ARGUMENTS...: ends well.
fine() {
    cases=$((cases + 1))
    timeout 60 "$HEARTH" "$@" </dev/null >"$scratch/out" 2>"$scratch/err" || failed "$*: exit code $?, not 0"
}

# ---- Command line -----------------------------------------------------------------------------------------------------

expect 2 E_USAGE
expect 2 E_USAGE walk
expect 2 E_USAGE --limits --csv
expect 2 E_USAGE --limits --json more
fine --limits --json
expect 2 E_USAGE --walk
for command in run chat plan info check doctor tokenize logits selftest quantize models; do
    expect 2 E_USAGE $command --walk
    expect 2 E_USAGE $command -W
    case $command in models | check) ;; *) expect 2 E_USAGE $command operand ;; esac
    expect 2 E_USAGE $command --walk -q
    grep -q "got '--walk'" "$scratch/err" || failed "$command --walk -q: another option is blamed"
    fine $command --help
done
for command in plan logits perplexity; do
    fine $command --help
    grep -q -e '--sliding-window' "$scratch/out" || failed "$command --help: no --sliding-window"
done
fine chat --help-all
fine chat -h
[ "$(wc -l <"$scratch/out")" -le 24 ] || failed "chat -h: longer than a screen"
fine run --help-all
[ "$(grep -c -e '--mirostat' "$scratch/out")" = 3 ] || failed "run --help-all: not every option"
fine run -h
[ "$(wc -l <"$scratch/out")" -le 24 ] || failed "run -h: longer than a screen"
[ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' "$scratch/out")" -le 80 ] || failed "run -h: wider than a screen"
for option in -m -p -f -n -c -b -t --temp --top-k --top-p --min-p --repeat-penalty --seed --stop --ram-cap --kv --float-gemm --pages --pack-cache --grammar --json-schema --logprobs; do
    expect 2 E_USAGE run $option
done
expect 2 E_USAGE run --json=yes
expect 2 E_USAGE run --top 1 # short for two
for value in '' 0 -1 1e3 0x10 ' 5' 5x 99999999999999999999; do
    expect 2 E_USAGE run -c "$value"
    expect 2 E_USAGE run -b "$value"
    expect 2 E_USAGE run -t "$value"
done
expect 2 E_USAGE run -c 1
expect 2 E_USAGE run -n -2
expect 2 E_USAGE run --logprobs 1 # without --json
expect 2 E_USAGE run --json --logprobs 21
expect 2 E_USAGE run --json --logprobs -1
expect 2 E_USAGE run --paranoid 0
expect 2 E_USAGE run --paranoid x
fine run -n 4 --paranoid 1
grep -q '4 tokens.*, 3 of them checked' "$scratch/err" || failed "run --paranoid: does not tell how many"
expect 2 E_USAGE run -t 100000
for value in '' nan inf -1 1e30 0x1p3 1,5 ' 1' 1x .; do
    expect 2 E_USAGE run --temp "$value"
    expect 2 E_USAGE run --repeat-penalty "$value"
done
expect 2 E_USAGE run --repeat-penalty 0
expect 2 E_USAGE run --top-p 1.5
expect 2 E_USAGE run --min-p -0.1
expect 2 E_USAGE run --top-k 1.5
expect 2 E_USAGE run --top-k 4294967296
expect 2 E_USAGE run --seed -1
expect 2 E_USAGE run --seed 18446744073709551616
for option in repeat-last-n frequency-penalty presence-penalty dry-multiplier dry-base dry-allowed-length dry-penalty-last-n typical \
    top-nsigma xtc-probability xtc-threshold dynatemp-range dynatemp-exp mirostat mirostat-ent mirostat-lr min-keep; do
    expect 2 E_USAGE run --$option
    for value in '' nan -101 1e30 4294967296 x; do
        expect 2 E_USAGE run --$option "$value"
    done
done
for value in '' 5 +1 5+ 5++1 5--1 5+inf 5-nan 5+1, ,5+1 4294967296+1 00000000000000000005+1 5+1e39; do
    expect 2 E_USAGE run --logit-bias "$value"
done
expect 2 E_TOKENID run --logit-bias 2048+1
expect 2 E_USAGE run --logit-bias "$(awk 'BEGIN { for (i = 0; i < 257; i++) printf "%s5+1", i ? "," : "" }')"
fine run -n 1 --logit-bias 5+1,6-1.5e1 --logit-bias 7-inf
for value in '' ';' top_k, top_k,,top_p top_k,dry penalties up 'top_k;top_k;top_k;top_k;top_k;top_k;top_k;top_k'; do
    expect 2 E_USAGE run --samplers "$value"
done
fine run -n 1 --samplers 'penalties;dry;temperature,top_n_sigma;typ_p'
expect 2 E_USAGE run --dry-sequence-breaker ''
expect 2 E_USAGE run --dry-sequence-breaker '\x00'
expect 2 E_USAGE run --dry-sequence-breaker "$(printf '%41s' x)"
fine run -n 1 --dry-multiplier 1 --dry-sequence-breaker '\n\n' --dry-sequence-breaker "$(printf '%40s' x)"
fine run -n 1 --dry-multiplier 1 --dry-sequence-breaker none
for value in '' 0 -1 1KK 1P 1.5G K 18446744073709551615K; do
    expect 2 E_USAGE run --ram-cap "$value"
done
for value in '' 0 -1 1KK; do
    expect 2 E_USAGE plan --cache-budget "$value"
done
expect 2 E_USAGE run --kv q4_0
expect 2 E_USAGE run --float-gemm mkl
for value in '' 4 8k 2M huge; do
    expect 2 E_USAGE run --pages "$value"
done
expect 2 E_USAGE run --stop ''
expect 2 E_USAGE run --stop '\x00'
expect 2 E_USAGE run --stop "$(printf '\377')"
expect 2 E_USAGE run --stop "$(printf '%300s' x)"
expect 2 E_USAGE run -m "$(printf 'a\377')"
expect 2 E_USAGE run -p text -f file
for option in --prefix-file --suffix-file; do
    expect 2 E_USAGE run $option
    expect 2 E_USAGE run $option a -p text
    expect 2 E_USAGE run $option a -f a
done
expect 2 E_USAGE run --prefix-file - --suffix-file -
# Switches of others are refused by name, unless they are the value of an option.
for option in '-ngl 33' -ngl --n-gpu-layers=33 '--n-gpu-layers 33' --no-mmap --mlock '-fa on' '-ctk q8_0' '-ub 512' '-hf a/b' -cnv '-q -sp -p x'; do
    # shellcheck disable=SC2086 # several arguments
    expect 2 E_USAGE run $option
    grep -q 'is not taken (' "$scratch/err" || failed "run $option: no reason given"
done
expect 2 E_USAGE bench -ngl 0
fine run -n 1 -p -ngl
fine run -n 1 --prompt --no-mmap
fine run -n 1 --prompt=--no-mmap
# Names that users of other programs type.
fine run --n-predict 1 --ctx-size 64 --batch-size 8 --temperature 0 --reverse-prompt x -r y --typical-p 0.9 --top-n-sigma 1 --special
expect 2 E_USAGE run --grammar x --json-schema y
expect 6 E_NOT_FOUND run --grammar "$scratch/none"
expect 2 E_GRAMMAR run --grammar /dev/null
expect 2 E_CONFIG run --grammar /dev/zero
expect 2 E_CONFIG run --grammar "$model" -p x
expect 2 E_GRAMMAR run --grammar README.md -p x
expect 2 E_SCHEMA run --json-schema /dev/null
printf 'root ::= a\n\na ::= a "x" | "y"\n' >"$scratch/left.gbnf"
expect 2 E_GRAMMAR run --grammar "$scratch/left.gbnf"
grep -q 'left.gbnf: grammar: line 3: ' "$scratch/err" || failed "the line of a left recursion"
printf '{"properties": {"a": {"pattern": "x"}}}' >"$scratch/pattern.json"
expect 2 E_SCHEMA run --json-schema "$scratch/pattern.json"
grep -q "pattern.json: schema #/properties/a: .*'pattern'" "$scratch/err" || failed "the name of a keyword"
rm "$scratch/left.gbnf" "$scratch/pattern.json"
fine run --grammar docs/examples/home.gbnf -p x
fine run --json-schema docs/examples/home.schema.json -c 2048 -n 1000 -p x
expect 6 E_NOT_FOUND models operand
expect 2 E_USAGE models 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17
expect 2 E_USAGE logits --tokens 1
expect 2 E_USAGE logits -o "$scratch/x"
expect 2 E_CONFIG logits --tokens 1,two -o "$scratch/x"
expect 2 E_CONFIG logits --tokens '' -o "$scratch/x"
expect 2 E_CONFIG logits --tokens 4294967297 -o "$scratch/x"

# Sixteen stop strings are allowed.
set -- run -n 1
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
    set -- "$@" --stop "stop $i"
done
fine "$@"
expect 2 E_USAGE "$@" --stop more

# ---- Files ------------------------------------------------------------------------------------------------------------

mkfifo "$scratch/fifo"
mkdir "$scratch/folder"
: >"$scratch/empty"
ln -s nowhere "$scratch/dangling"
ln -s loop "$scratch/loop"
head -c 3559296 /dev/zero >"$scratch/zeros"
head -c 3559295 "$model" >"$scratch/short"
sed 's/llama/lxama/g' "$model" >"$scratch/architecture"
{
    head -c 8 "$model"
    printf '\377\377\377\377\377\377\377\377'
    tail -c +17 "$model"
} >"$scratch/tensors"
{
    head -c 16 "$model"
    printf '\377\377\377\377\377\377\377\177'
    tail -c +25 "$model"
} >"$scratch/keys"

for command in run plan info tokenize; do
    expect 6 E_NOT_FOUND $command -m "$scratch/nowhere"
    expect 6 'E_[A-Z_]*' $command -m "$scratch/folder"
    expect 6 'E_[A-Z_]*' $command -m "$scratch/fifo"
    expect 6 'E_[A-Z_]*' $command -m /dev/zero
    expect 6 'E_[A-Z_]*' $command -m "$scratch/dangling"
    expect 6 'E_[A-Z_]*' $command -m "$scratch/loop"
    expect 3 E_TRUNC $command -m "$scratch/empty"
    expect 3 E_MAGIC $command -m "$scratch/zeros"
    expect 3 'E_[A-Z_]*' $command -m "$scratch/short"
    expect 3 'E_[A-Z_]*' $command -m "$scratch/tensors"
    expect 3 'E_[A-Z_]*' $command -m "$scratch/keys"
done
expect 4 E_ARCH run -m "$scratch/architecture"
expect 4 E_ARCH plan -m "$scratch/architecture"
expect 6 'E_[A-Z_]*' run -m "$(printf 'no\nsuch\033file')"
expect 6 'E_[A-Z_]*' run -m "$(printf '%05000d' 0)"
expect 6 E_NOT_FOUND run -m ''
for size in 1 3 4 7 8 15 16 23 24 25 31 32 33 60 100 1000 10000 30000; do
    head -c $size "$model" >"$scratch/cut"
    expect 3 'E_[A-Z_]*' run -m "$scratch/cut"
    expect 3 'E_[A-Z_]*' info -m "$scratch/cut"
done
expect 6 E_NOT_FOUND run -f "$scratch/nowhere"
expect 6 E_NOT_FOUND run --prefix-file "$scratch/nowhere"
expect 6 E_NOT_FOUND run --prefix-file /dev/null --suffix-file "$scratch/nowhere"
expect 4 E_UNSUPPORTED run --prefix-file /dev/null
grep -q 'tokenizer.ggml.fim_pre_token_id' "$scratch/err" || failed 'run --prefix-file: the missing keys are not named'
expect 6 E_IO run -f "$scratch/folder"
expect 6 E_NOT_FOUND logits --tokens "@$scratch/nowhere" -o "$scratch/x"
expect 6 E_NOT_FOUND logits --tokens 1 -o "$scratch/nowhere/x"
expect 6 'E_[A-Z_]*' logits --tokens 1 -o "$scratch/folder"
expect 2 'E_[A-Z_]*' logits --tokens 1,99999 -o "$scratch/x"

# ---- Chat templates -----------------------------------------------------------------------------------------------------

printf '[{"role": "user", "content": "Hi"}]' >"$scratch/messages"
printf '{}' >"$scratch/object"
printf '{{ raise_exception("no") }}' >"$scratch/refuses"
printf '{%% if 1 %%}' >"$scratch/unclosed"
printf '{{ "a" * 10**9 }}' >"$scratch/endless"
expect 2 E_USAGE template
expect 2 E_USAGE template --walk
expect 2 E_USAGE template operand
expect 2 E_USAGE check
expect 2 E_USAGE check one two
expect 2 E_USAGE check --verify=lazy one
expect 6 E_NOT_FOUND check one
fine template --help
for option in --template --family --messages --variables --bos --eos --now; do
    expect 2 E_USAGE template $option
done
for now in '' 2026 2026-01-15 2026-02-30T00:00:00 2026-13-01T00:00:00 2026-01-15T24:00:00 2026-01-15T12:00:00Z; do
    expect 2 E_USAGE template --family chatml --messages "$scratch/messages" --now "$now"
done
expect 2 E_USAGE template --family none --messages "$scratch/messages"
expect 2 E_USAGE template --family chatml --template "$scratch/refuses" --messages "$scratch/messages"
expect 2 E_CONFIG template --family chatml --messages "$scratch/refuses"
expect 2 E_CONFIG template --family chatml --messages "$scratch/object"
expect 2 E_CONFIG template --family chatml --messages "$scratch/messages" --variables "$scratch/messages"
expect 2 E_REFUSED template --template "$scratch/refuses" --messages "$scratch/messages"
expect 3 E_TEMPLATE template --template "$scratch/unclosed" --messages "$scratch/messages"
expect 4 E_LIMIT template --template "$scratch/endless" --messages "$scratch/messages"
expect 6 E_NOT_FOUND template --template "$scratch/nowhere" --messages "$scratch/messages"
expect 6 E_NOT_FOUND template --family chatml --messages "$scratch/nowhere"
expect 3 E_TRUNC template -m "$scratch/empty" --messages "$scratch/messages"
fine template --family chatml --messages "$scratch/messages"
[ "$(cat "$scratch/out")" = "$(printf '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n')" ] || failed "template: another text"
fine template --messages "$scratch/messages" # the bundled model's
[ "$(cat "$scratch/out")" = "$(printf '<s><|user|>\nHi<|end|>\n<|assistant|>\n')" ] || failed "template: another text of the bundled model"
fine template --messages "$scratch/messages" --variables "$scratch/object" --no-generation-prompt
[ "$(cat "$scratch/out")" = "$(printf '<s><|user|>\nHi<|end|>\n')" ] || failed "template: another text without a generation prompt"

for option in --system --family --template --when-full -n --stop; do
    expect 2 E_USAGE chat $option
done
expect 2 E_USAGE chat --when-full later
expect 2 E_USAGE chat --family none
expect 2 E_USAGE chat -p x
expect 6 E_NOT_FOUND chat -m "$scratch/nowhere"
expect 6 E_NOT_FOUND chat --template "$scratch/nowhere"
expect 3 E_TRUNC chat -m "$scratch/empty"
expect 3 E_TEMPLATE chat --template "$scratch/unclosed"
expect 5 E_MEMORY chat --ram-cap 1
fine chat
fine chat --when-full drop -n 1
expect 2 E_USAGE run --system x -p y
expect 2 E_USAGE run --family chatml -p y
expect 2 E_USAGE run --chat --family none -p y
expect 6 E_NOT_FOUND run --chat -m "$scratch/nowhere" -p y
fine run --chat -n 1 -p 'Hi'
fine run --chat -n 1 --system 'Be brief.' -p '' --family chatml
fine run --chat -n 1 -p "$(printf 'caf\351 \377')"

# ---- What does not fit, and what is no error --------------------------------------------------------------------------

long=$(printf '%0600d' 0)
expect 5 E_CONTEXT_FULL run -c 16 -p "$long"
expect 2 E_USAGE run --pack-cache ''
expect 2 E_USAGE run --verify perhaps
# The last numbers of the model are none: told before a token, or by the token that meets them.
bundled=$HEARTH_SOURCE_DIR/models/hearth-home.Q4_K_M.gguf
cp "$bundled" "$scratch/nan.gguf"
head -c 4096 /dev/zero | tr '\000' '\377' | dd of="$scratch/nan.gguf" bs=1 conv=notrunc status=none seek=$(($(stat -c %s "$bundled") - 4096))
expect 3 E_NUM run -q -m "$scratch/nan.gguf" -n 8 -p x
expect 3 E_NUM run -q --verify lazy -m "$scratch/nan.gguf" -n 8 -p x
expect 8 E_NUM run -q --verify off -m "$scratch/nan.gguf" -n 8 -p x
rm "$scratch/nan.gguf"
fine run --verify off -n 1 -p x
expect 5 E_MEMORY run --ram-cap 1
expect 5 E_MEMORY run --ram-cap 4M
fine run -n 1 -p "$(printf 'caf\351 \377\376')"
fine run -n 1 -p ''
fine run -n 0 -p 'x'
fine run -n 1 -p '\x00'

for name in "$scratch"/*; do
    case ${name##*/} in
    architecture | cut | dangling | empty | err | fifo | folder | keys | loop | out | short | tensors | zeros) ;;
    messages | object | refuses | unclosed | endless) ;;
    *) failed "left behind: $name" ;;
    esac
done
echo "$cases cases, $failures failures"
[ "$failures" = 0 ]
