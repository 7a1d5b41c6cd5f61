# The plan is what the system has to allow: with it as the limit on private memory (RLIMIT_DATA) a full context runs; with 97 % of it
# the program refuses with exit code 5, by itself and before a weight is read.
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
model=models/hearth-home.Q4_K_M.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/err"
    failures=$((failures + 1))
}

# limited BYTES ARGUMENTS...: the program under a limit.
limited() {
    bytes=$1
    shift
    prlimit --data="$bytes:$bytes" "$HEARTH" "$@" </dev/null >"$scratch/out" 2>"$scratch/err"
}

# holds PLANNING... -- RUNNING...: what `plan` says is enough for `run`, 97 % of it is refused.
holds() {
    planning=
    while [ "$1" != -- ]; do
        planning="$planning $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    plan=$("$HEARTH" plan --json $planning | sed -n 's/^ *"private_bytes": \([0-9]*\),$/\1/p')
    # shellcheck disable=SC2086
    limited "$plan" run -q --temp 0 $planning "$@" || fail "$planning: a limit of the plan, $plan: exit code $?"
    [ -s "$scratch/out" ] || fail "$planning: no text"
    for command in run plan; do
        got=0
        # shellcheck disable=SC2086
        if [ $command = run ]; then
            limited $((plan * 97 / 100)) run $planning "$@" || got=$?
            [ ! -s "$scratch/out" ] || fail "$planning: text under 97 % of the plan"
        else
            limited $((plan * 97 / 100)) plan $planning || got=$?
        fi
        [ "$got" = 5 ] || fail "$command$planning: exit code $got under 97 % of the plan, not 5"
        grep -q "^error: memory plan: does not fit the cap (got [0-9]*, need $plan): .*\[E_MEMORY\]\$" "$scratch/err" ||
            fail "$command$planning: another line than that of the plan, which needs $plan"
        [ "$(wc -l <"$scratch/err")" = 1 ] || fail "$command$planning: not one line"
    done
}

holds -c 512 -- -n -1 --ignore-eos -p 'ROMEO:'
holds -c 512 --kv q8_0 -t 1 -- -n -1 --ignore-eos --json --logprobs 0 -p 'ROMEO:'
holds -c 64 -b 16 -t 3 -- -n -1 --ignore-eos -p 'ROMEO:'
holds -c 4096 -- -n 40 --ignore-eos -p "$(yes 'To be or not to be, that is the question.' | head -n 200)"

# Weights that cannot be used are found when they are read, and under too low a limit they are not.
head -c 3000000 $model >"$scratch/damaged.gguf"
head -c $(($(wc -c <$model) - 3000000)) /dev/zero | tr '\000' '\377' >>"$scratch/damaged.gguf"
got=0
"$HEARTH" run -q -m "$scratch/damaged.gguf" -n 1 -p x >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 3 ] || fail "damaged weights: exit code $got, not 3"
got=0
limited $((plan * 97 / 100)) run -q -m "$scratch/damaged.gguf" -c 4096 -n 1 -p x || got=$?
[ "$got" = 5 ] || fail "damaged weights under 97 % of the plan: exit code $got, not 5"

# A cap that is given may be lower than the limit, but not higher.
cap=$(prlimit --data=20000000 "$HEARTH" plan --json --ram-cap 1G | sed -n 's/^ *"cap_bytes": \([0-9]*\),$/\1/p')
[ "$cap" -le 20000000 ] && [ "$cap" -gt 18000000 ] || fail "the cap is $cap under a limit of 20000000"
cap=$(prlimit --data=1000000000 "$HEARTH" plan --json --ram-cap 20000000 | sed -n 's/^ *"cap_bytes": \([0-9]*\),$/\1/p')
[ "$cap" = 20000000 ] || fail "the cap is $cap, 20000000 was given"
[ "$failures" = 0 ]
