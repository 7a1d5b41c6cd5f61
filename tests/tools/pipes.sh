# Where the output goes: generated text alone on stdout, a closed pipe is a normal end, a full disk is exit code 6, and an interrupt
# ends in 130.
set -eu
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/err"
    failures=$((failures + 1))
}

prompt='<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n'

# A reader that leaves. The code goes through a file, because that of a pipeline is its last command's.
for arguments in 'run -n 300 --seed 1 -p ROMEO:' 'run --json -n 20 -p ROMEO:' 'info --json' 'plan' 'selftest'; do
    # shellcheck disable=SC2086 # a list of arguments
    {
        got=0
        "$HEARTH" $arguments 2>"$scratch/err" || got=$?
        echo "$got" >"$scratch/code"
    } | :
    [ "$(cat "$scratch/code")" = 0 ] || fail "$arguments into a closed pipe: exit code $(cat "$scratch/code"), not 0"
    if grep -q '^error' "$scratch/err"; then
        fail "$arguments into a closed pipe: says an error"
    fi
done

if [ -w /dev/full ]; then
    for arguments in 'run -n 4 -p ROMEO:' 'run -n 4 --json -p ROMEO:' 'info' 'info --json' 'plan --json' 'selftest' '--help' 'run --help'; do
        got=0
        # shellcheck disable=SC2086
        "$HEARTH" $arguments >/dev/full 2>"$scratch/err" || got=$?
        [ "$got" = 6 ] || fail "$arguments onto a full disk: exit code $got, not 6"
        [ "$(grep -c '^error: ' "$scratch/err")" = 1 ] || fail "$arguments onto a full disk: not one error line"
    done
else
    echo "note: no /dev/full here"
fi

# Nothing but the text on stdout, no newline behind it.
text=$("$HEARTH" run -p "$prompt" -n 24 --temp 0 2>/dev/null && printf .)
[ "$text" = "Okay, the kitchen light is now on.." ] || fail "stdout is not the text alone: '$text'"
# Quiet: nothing on stderr.
"$HEARTH" run -q -p "$prompt" -n 24 --temp 0 >/dev/null 2>"$scratch/err"
[ ! -s "$scratch/err" ] || fail "run -q says something"
# Otherwise the machine, the plan, and speeds at the end with the seed that was drawn.
"$HEARTH" run -n 4 -p ROMEO: >/dev/null 2>"$scratch/err"
grep -q '^prompt [0-9]* tokens, .* t/s; generated 4 tokens, .* t/s; seed [0-9]*; plan .*, peak private ' "$scratch/err" ||
    fail "no closing line of speeds"

# Closed descriptors: stdin is empty, stdout is an error, neither is mistaken for a file.
got=0
"$HEARTH" run -q -n 4 -p ROMEO: <&- >/dev/null 2>"$scratch/err" || got=$?
[ "$got" = 0 ] || fail "closed stdin: exit code $got, not 0"
got=0
"$HEARTH" run -q -n 4 -p ROMEO: >&- 2>"$scratch/err" || got=$?
[ "$got" = 6 ] || fail "closed stdout: exit code $got, not 6"

# An interrupt. The prompt comes through a FIFO, so the program surely waits when the signal arrives; a shell without job control
# starts background commands with SIGINT ignored, hence SIGTERM, which is caught the same way.
mkfifo "$scratch/fifo"
sleep 20 >"$scratch/fifo" &
writer=$!
"$HEARTH" run -q -f "$scratch/fifo" >/dev/null 2>"$scratch/err" &
program=$!
sleep 1
kill -TERM "$program"
got=0
wait "$program" || got=$?
kill "$writer"
[ "$got" = 130 ] || fail "interrupted: exit code $got, not 130"
[ "$(wc -l <"$scratch/err")" = 1 ] || fail "interrupted: not one line"

# An interrupt in a write: the FIFO is full and nobody reads. It is an interrupt, no error of the output.
sleep 20 <"$scratch/fifo" &
reader=$!
{
    head -c 65536 /dev/zero
    "$HEARTH" run -q -p ROMEO: 2>"$scratch/err" &
    echo $! >"$scratch/pid"
    got=0
    wait $! || got=$?
    echo "$got" >"$scratch/exit"
} >"$scratch/fifo" &
program=$!
sleep 2
kill -TERM "$(cat "$scratch/pid")"
wait "$program"
kill "$reader"
[ "$(cat "$scratch/exit")" = 130 ] || fail "interrupted in a write: exit code $(cat "$scratch/exit"), not 130"
[ ! -s "$scratch/err" ] || fail "interrupted in a write: $(cat "$scratch/err")"

[ "$failures" = 0 ]
