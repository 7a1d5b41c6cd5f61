# Files that change while they are used. A loaded model is in memory and talks on as if nothing had happened, whatever becomes of its
# file; a pack cache is mapped, so that cutting it off ends the program, with its word and exit code 6 instead of a crash.
set -eu
export LC_ALL=C.UTF-8
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export HOME="$scratch/home" XDG_STATE_HOME="$scratch/state"
failures=0
bundled=models/hearth-home.Q4_K_M.gguf

fail() {
    echo "FAILED: $1"
    sed 's/^/    out: /' "$scratch/out"
    sed 's/^/    err: /' "$scratch/err"
    failures=$((failures + 1))
}

# converse CHANGE ARGUMENTS...: a message, its answer, CHANGE, a second message. The program waits for lines, so nothing is a race.
# The exit code is in $got, what was said in out and err.
converse() {
    change=$1
    shift
    rm -f "$scratch/in" "$scratch/out" "$scratch/err"
    mkfifo "$scratch/in"
    "$HEARTH" chat --temp 0 -q "$@" <"$scratch/in" >"$scratch/out" 2>"$scratch/err" &
    program=$!
    exec 3>"$scratch/in"
    echo 'Turn on the kitchen light.' >&3
    waited=0
    until [ -s "$scratch/out" ] && [ "$(tail -c 1 "$scratch/out" | od -An -tx1)" = ' 0a' ]; do
        sleep 0.1
        waited=$((waited + 1))
        [ "$waited" -lt 600 ] || break
    done
    eval "$change"
    echo 'Who are you?' >&3
    exec 3>&-
    got=0
    wait "$program" || got=$?
}

fresh() {
    cp "$bundled" "$scratch/model.gguf"
}

fresh
converse : -m "$scratch/model.gguf"
[ "$got" = 0 ] || fail "undisturbed: exit code $got"
[ "$(wc -l <"$scratch/out")" = 2 ] || fail "undisturbed: not two answers"
cp "$scratch/out" "$scratch/undisturbed"

# shellcheck disable=SC2016 # evaluated later
for change in 'cp "$bundled" "$scratch/other"; printf x >>"$scratch/other"; mv "$scratch/other" "$scratch/model.gguf"' \
    'head -c 4000000 /dev/zero | dd of="$scratch/model.gguf" conv=notrunc status=none' \
    ': >"$scratch/model.gguf"' 'rm "$scratch/model.gguf"'; do
    fresh
    converse "$change" -m "$scratch/model.gguf"
    [ "$got" = 0 ] || fail "$change: exit code $got"
    cmp -s "$scratch/out" "$scratch/undisturbed" || fail "$change: other answers"
done

# A pack cache: removed by name, nothing happens; cut off, the end. (One of a model file that is new this second is not written, so this
# takes the file of the clone.)
pack="$scratch/pack"
mkdir -m 700 "$pack"
converse : --pack-cache "$pack"
cmp -s "$scratch/out" "$scratch/undisturbed" || fail "pack cache, written: other answers"
converse 'rm "$pack"/*.pack' --pack-cache "$pack"
cmp -s "$scratch/out" "$scratch/undisturbed" || fail "pack cache, removed: other answers"
converse : --pack-cache "$pack"
converse 'for f in "$pack"/*.pack; do : >"$f"; done' --pack-cache "$pack"
[ "$got" = 6 ] || fail "pack cache, cut off: exit code $got, not 6"
[ "$(grep -c '^error: .*cut off.*\[E_IO\]$' "$scratch/err")" = 1 ] && [ "$(wc -l <"$scratch/err")" = 1 ] ||
    fail "pack cache, cut off: not its one line"
# What is left of it is not used, and made again.
converse : --pack-cache "$pack"
[ "$got" = 0 ] || fail "pack cache, after that: exit code $got"
cmp -s "$scratch/out" "$scratch/undisturbed" || fail "pack cache, after that: other answers"
[ "$failures" -eq 0 ]
