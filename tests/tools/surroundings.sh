# Wherever it is started: without HOME or any variable, where nothing can be written, with few files and a small stack, without /proc,
# with a comma in numbers, with any bytes on standard input. The answer is the same, or one line says why there is none.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/err"
    failures=$((failures + 1))
}

# same WHAT COMMAND...: it answers as always.
same() {
    what=$1
    shift
    got=0
    "$@" </dev/null >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = 0 ] || fail "$what: exit code $got"
    cmp -s "$scratch/out" "$scratch/usual" || fail "$what: another answer"
}

# refused CODE DETAIL WHAT COMMAND...: one line on stderr, nothing on stdout.
refused() {
    code=$1
    detail=$2
    what=$3
    shift 3
    got=0
    "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = "$code" ] || fail "$what: exit code $got, not $code"
    { [ "$(wc -l <"$scratch/err")" = 1 ] && grep -q "^error: .* \[$detail\]\$" "$scratch/err"; } || fail "$what: not one line with $detail"
    [ "$(tr -d '[:print:]\n' <"$scratch/err" | wc -c)" = 0 ] || fail "$what: bytes that are not printable"
    [ ! -s "$scratch/out" ] || fail "$what: something on stdout"
}

# Within a shell of its own: limit WHAT -FLAG VALUE.
limit() {
    same "$1" sh -c 'ulimit "$1" "$2" && shift 2 && exec "$@"' sh "$2" "$3" "$HEARTH" run -q --temp 0.75 --seed 3 -n 12 -p ROMEO:
}

set -- "$HEARTH" run -q --temp 0.75 --seed 3 -n 12 -p ROMEO:
"$@" </dev/null >"$scratch/usual"
[ -s "$scratch/usual" ] || fail "no answer at all"

same "an option twice: the last one counts" "$HEARTH" run -q --temp 0 --temp 0.75 --seed 4 --seed 3 -n 1 -n 12 -p x -p ROMEO:
same "no variables" env -i "$@"
same "HOME is nowhere" env HOME=/nowhere/at/all XDG_DATA_HOME= "$@"
same "variables that are not set" env -u HOME -u PATH -u TERM -u LANG "$@"
(cd /proc && same "a folder that nobody writes to" "$@" && [ "$failures" = 0 ]) || failures=$((failures + 1))
limit "8 files" -n 8
limit "256 KiB of stack" -s 256
limit "no core files" -c 0
if [ -z "${HEARTH_SANITIZE-}" ] && unshare -m true 2>/dev/null; then # the sanitizers' runtime needs it; we, to find the bundled model
    # shellcheck disable=SC2016 # the inner shell's
    same "no /proc" unshare -m sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "$@" -m "$HEARTH_SOURCE_DIR/models/hearth-home.Q4_K_M.gguf"
else
    echo "note: /proc stays"
fi

# A comma between the digits of numbers, and an I without a dot whose capital has one.
for locale in de_DE tr_TR; do
    if localedef -i "$locale" -f UTF-8 "$scratch/$locale.UTF-8" >/dev/null 2>&1; then
        same "in $locale" env LOCPATH="$scratch" LC_ALL="$locale.UTF-8" "$@"
        LOCPATH="$scratch" LC_ALL="$locale.UTF-8" "$HEARTH" plan --ram-cap 1G --json >"$scratch/out" 2>"$scratch/err" &&
            "$HEARTH" plan --ram-cap 1G --json | cmp -s - "$scratch/out" || fail "in $locale: another plan"
        refused 2 E_USAGE "a comma in $locale" env LOCPATH="$scratch" LC_ALL="$locale.UTF-8" "$HEARTH" run --temp 0,75 -p x
    else
        echo "note: no locale $locale can be made here"
    fi
done

# Bytes that are no text.
head -c 2000 "$HEARTH" >"$scratch/bytes"
"$HEARTH" run -q --temp 0 -n 4 -c 4096 -f - <"$scratch/bytes" >"$scratch/out" 2>"$scratch/err" || [ $? = 5 ] ||
    fail "bytes as a prompt: exit code $?"
"$HEARTH" tokenize --ids <"$scratch/bytes" >"$scratch/ids" 2>"$scratch/err" || fail "bytes to tokens"
"$HEARTH" tokenize --decode <"$scratch/ids" >"$scratch/back" 2>"$scratch/err" || fail "tokens to bytes"
cmp -s "$scratch/bytes" "$scratch/back" || fail "bytes to tokens and back are others"
refused 2 'E_[A-Z]*' "bytes as messages" "$HEARTH" template --family chatml --messages "$scratch/bytes"
refused 2 'E_[A-Z]*' "bytes as a grammar" "$HEARTH" run --grammar "$scratch/bytes" -p x
refused 2 'E_[A-Z]*' "bytes as a schema" "$HEARTH" run --json-schema "$scratch/bytes" -p x
refused 3 E_MAGIC "bytes as a model" "$HEARTH" run -m "$scratch/bytes" -p x

# The longest argument that the system hands over (128 KiB with its end), as a text, as a name and as a number.
long=$(head -c 131000 /dev/zero | tr '\0' a)
refused 5 E_CONTEXT_FULL "a long prompt" "$HEARTH" run -q -p "$long"
refused 6 'E_[A-Z_]*' "a long name" "$HEARTH" run -q -m "/$long" -p x
refused 2 E_USAGE "a long number" "$HEARTH" run -q -n "1$long" -p x
refused 2 E_USAGE "a long option" "$HEARTH" run "--$long"
refused 2 E_USAGE "a long command" "$HEARTH" "$long"

[ "$failures" = 0 ]
