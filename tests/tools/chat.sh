# hearth chat on a pipe: answers alone on standard output, messages of several lines, the commands, failures and what follows them.
set -eu
export LC_ALL=C.UTF-8
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export HOME="$scratch/home" XDG_STATE_HOME="$scratch/state"
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    out: /' "$scratch/out"
    sed 's/^/    err: /' "$scratch/err"
    failures=$((failures + 1))
}

# chat CODE INPUT [VALUE] ARGUMENTS...: INPUT is a format of printf, which VALUE is for where it has a %s.
chat() {
    want=$1
    input=$2
    shift 2
    value=
    case $input in
    *%s*)
        value=$1
        shift
        ;;
    esac
    got=0
    # shellcheck disable=SC2059 # it is a format
    printf "$input" "$value" | timeout 300 "$HEARTH" chat --temp 0 "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = "$want" ] || fail "'$input': exit code $got, not $want"
}

lines() {
    [ "$(wc -l <"$scratch/out")" = "$1" ] || fail "'$input': not $1 lines"
}

says() {
    grep -q -e "$1" "$scratch/err" || fail "'$input': standard error does not say $1"
}

chat 0 'Hello\n'
lines 1
says '^hearth-home.Q4_K_M: context 512, plan .* of '
! grep -q '/help' "$scratch/err" || fail "a pipe is told about /help"
hello=$(cat "$scratch/out")
"$HEARTH" run -q --chat --temp 0 -p Hello >"$scratch/out"
[ "$(cat "$scratch/out")" = "$hello" ] || fail "run --chat answers otherwise"

chat 0 'Hello' # no newline at the end
[ "$(cat "$scratch/out")" = "$hello" ] || fail "a line that ends with the file"
chat 0 'Hello\r\n'
[ "$(cat "$scratch/out")" = "$hello" ] || fail "a carriage return"
chat 0 '' && lines 0
chat 0 '\n\n\n' && lines 0
chat 0 'Hello\n' -q
[ ! -s "$scratch/err" ] || fail "-q says something"

# The same conversation twice, whole and after /regen and /clear.
chat 0 'Hello\nWho are you?\n' && lines 2
cp "$scratch/out" "$scratch/two"
chat 0 'Hello\n/regen\n/clear\nHello\nWho are you?\n' && lines 4
tail -n 2 "$scratch/out" | cmp -s - "$scratch/two" || fail "/clear leaves something"
[ "$(sed -n 2p "$scratch/out")" = "$hello" ] || fail "/regen answers otherwise at temperature 0"
chat 0 'Hello\n/regen\nWho are you?\n'
sed 1d "$scratch/out" | cmp -s - "$scratch/two" || fail "/regen leaves something"
chat 0 'Who are you?\n/clear\n/stats\n' && says '0 messages'

# Messages of several lines are one, and the same however they are written.
chat 0 'one\\\ntwo\n/stats\n' && says '2 messages' && cp "$scratch/out" "$scratch/two"
for input in '"""one\ntwo"""\n' '"""\none\ntwo\n"""\n' '"""one\ntwo\n"""' '"""one\r\ntwo"""\r\n' '"""one\ntwo'; do
    chat 0 "$input" && lines 1
    cmp -s "$scratch/out" "$scratch/two" || fail "'$input' is another message"
done
chat 0 '"""/help"""\n' && lines 1 # no command
chat 0 '/help\\\n\n' && lines 1
chat 0 '""""""\n"""\n"""\n' && lines 0

# Commands.
chat 0 '/help\n' && lines 0
for command in help regen clear system save load switch stats exit; do
    says "^  /$command "
done
for command in $(sed -n 's/^  \/\([a-z]*\) .*/\1/p' "$scratch/err"); do
    grep -q "^\*/$command\*" docs/man/hearth-chat.scd.in || fail "hearth-chat(1) does not have /$command"
done
chat 0 '/exit\nHello\n' && lines 0
chat 0 '/system\n/system Be brief.\n/system\nHello\n/stats\n/system -\n/stats\n' && lines 1
says 'there is no system message'
says '^Be brief.$'
says '3 messages'
says ': 2 messages'
says 'last answer: [0-9]* tokens, [0-9.]* t/s'
says 'memory: plan .*, private now .*, cap .*; seed'
chat 0 '/system\n' --system 'Short.' && says '^Short.$'
chat 0 '/system -\n/clear\n/system\n' --system 'Short.' && says '^Short.$'

# What fails is told in a line, and the conversation goes on; the first failure is the exit code.
chat 2 '/walk\nHello\n' && lines 1 && says '^error: /walk: there is no such command (see /help) \[E_USAGE\]$'
chat 2 '/\n/helpme\n/Help\n//\n' && lines 0
[ "$(grep -c '^error: ' "$scratch/err")" = 4 ] || fail "not four errors"
chat 2 '/regen\nHello\n' && lines 1 && says '^error: '
long=$(printf '%03000d' 0)
chat 5 "$long\\nHello\\n/stats\\n" && lines 1 && says 'E_CONTEXT_FULL' && says '2 messages'
{
    printf '"""'
    head -c 3000000 /dev/zero | tr '\0' x
    printf '\nx"""\nHello\n'
    head -c 2000000 /dev/zero | tr '\0' y
    printf '\n/exit\n'
} >"$scratch/huge"
got=0
"$HEARTH" chat --temp 0 <"$scratch/huge" >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 2 ] && [ "$(cat "$scratch/out")" = "$hello" ] && [ "$(grep -c 'too long' "$scratch/err")" = 2 ] || fail "messages too long"
got=0
head -c 20000 /dev/urandom | "$HEARTH" chat --temp 0 -n 4 >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" -lt 8 ] || fail "random bytes: exit code $got"
[ "$(LC_ALL=C tr -d '[:print:]\n\t\200-\377' <"$scratch/err" | wc -c)" = 0 ] || fail "control characters on standard error"
chat 0 'nul \000 in it\n' -n 4
got=0
"$HEARTH" chat </ >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 6 ] && says 'standard input: read' || fail "a folder as standard input: exit code $got"

# A context that fills: the oldest go, by name, or nothing more is taken.
talk='Tell me something.\nAnd more.\nAnd more.\nAnd more.\nAnd more.\nAnd more.\nAnd more.\nAnd more.\n'
chat 0 "$talk/stats\\n" -c 96 --system 'Brief.' && lines 8 && says 'dropped: you, [0-9]* tokens: Tell me something.'
chat 5 "$talk" -c 96 --when-full refuse && says 'E_CONTEXT_FULL'
! grep -q dropped "$scratch/err" || fail "refuse drops"
chat 0 'Hello\n' -n 3 && says 'after 3 tokens'
chat 0 'Hello\n' --stop night && [ "$(cat "$scratch/out")" = "${hello%%night*}" ] || fail "a stop string"

# Saved and gone on with, by name and by path, in the same bits; private.
chat 0 'Hello\nWho are you?\n/stats\n' && cp "$scratch/out" "$scratch/two"
chat 0 'Hello\n/save\n/clear\nTell me something.\n/load\nWho are you?\n'
[ "$(sed -n 3p "$scratch/out")" = "$(sed -n 2p "$scratch/two")" ] || fail "/load goes on otherwise"
says "saved: $scratch/state/hearth/chats/chat.state"
says '^2 messages, [0-9]* of 512 positions'
chat 0 '/load\nWho are you?\n/save evening\n/save %s/here.state\n' "$scratch"
sed -n 2p "$scratch/two" | cmp -s - "$scratch/out" || fail "/load in another process goes on otherwise"
[ -e "$scratch/here.state" ] || fail "/save does not take a path"
[ "$(find "$scratch/state" "$scratch/here.state" -type f ! -perm 600 -o -type d ! -perm 700 | wc -l)" = 0 ] || fail "others can read states"
chat 0 '/load %s/here.state\n/stats\n' "$scratch" && says '^4 messages'
chat 6 '/load nothing\nHello\n' && lines 1
chat 6 '/save %s/none/x.state\n' "$scratch"
chat 2 '/save .hidden\n/load ..\n'
chat 7 '/load\nHello\n' --kv q8_0 && lines 1 && says 'E_STATE\|\[E_[A-Z]*\]'
printf x | dd of="$scratch/here.state" bs=1 seek=1000 conv=notrunc 2>/dev/null
chat 7 'Hello\n/load %s/here.state\nWho are you?\n' "$scratch" && sed 3d "$scratch/two" | cmp -s - "$scratch/out" ||
    fail "a damaged state does not leave the conversation alone"

# Another model, and back: each has its own conversation, whether it stays in memory or not.
mkdir "$scratch/models"
ln -s "$PWD/models/hearth-home.Q4_K_M.gguf" "$scratch/models/other.gguf"
ln -s "$PWD/models/hearth-home.Q4_K_M.gguf" "$scratch/models/s t.gguf"
head -c 100000 models/hearth-home.Q4_K_M.gguf >"$scratch/models/short.gguf"
export HEARTH_MODELS="$scratch/models"
plan=$("$HEARTH" plan --chat --json | sed -n 's/^ *"private_bytes": \([0-9]*\),$/\1/p')
for cap in "$plan" 1G; do
    chat 0 'Hello\n/switch other\nTell me something.\n/stats\n/switch hearth-home.Q4_K_M\nWho are you?\n/switch other\n/stats\n/switch\n' \
        --ram-cap "$cap"
    sed 2d "$scratch/out" | cmp -s - "$scratch/two" || fail "the conversation does not go on after a switch, cap $cap"
    [ "$(grep -c '^other: 2 messages' "$scratch/err")" = 2 ] || fail "the other conversation does not go on, cap $cap"
    says '^other: context 512, plan'
    says '^  other: current, holds'
    [ "$cap" = 1G ] && state=ready || state='to be loaded'
    says "^  hearth-home.Q4_K_M: $state"
done
chat 6 'Hello\n/switch nowhere\nWho are you?\n' && cmp -s "$scratch/out" "$scratch/two" || fail "after a switch to nothing"
chat 3 'Hello\n/switch short\nWho are you?\n/switch\n' && cmp -s "$scratch/out" "$scratch/two" || fail "after a damaged model"
[ "$(grep -c '^  ' "$scratch/err")" = 1 ] || fail "a damaged model stays registered"
chat 0 '/switch s t\n/switch %s/s t.gguf\n/switch s_t\n/switch\n' "$scratch/models" && says '^  s_t: current'
[ "$(grep -c '^  ' "$scratch/err")" = 2 ] || fail "one model under two names"
chat 0 '/switch %s\n/switch\n' "$PWD/models/./hearth-home.Q4_K_M.gguf" && says '^  hearth-home.Q4_K_M-2: current'
if [ -n "${HEARTH_SHARED-}" ]; then
    chat 5 "Hello\n/switch $HEARTH_SHARED/models/hearth-home.F16.gguf\nWho are you?\n" --ram-cap "$plan" && says 'E_MEMORY'
    cmp -s "$scratch/out" "$scratch/two" || fail "a switch that is refused"
fi

# What is left behind is what was saved. Conversations of a process that was killed go; those of one that runs stay.
[ "$(find "$scratch/state" -name 'switch-*' | wc -l)" = 0 ] || fail "folders of switches are left"
mkdir "$scratch/state/hearth/switch-new" "$scratch/state/hearth/switch-old" "$scratch/state/hearth/switch-run"
: >"$scratch/state/hearth/switch-old/a.state"
touch -d '1 hour ago' "$scratch/state/hearth/switch-old" "$scratch/state/hearth/switch-run"
if command -v flock >/dev/null; then
    flock "$scratch/state/hearth/switch-run" "$HEARTH" chat </dev/null 2>"$scratch/err"
else
    "$HEARTH" chat </dev/null 2>"$scratch/err"
    mkdir -p "$scratch/state/hearth/switch-run"
fi
[ ! -e "$scratch/state/hearth/switch-old" ] && [ -e "$scratch/state/hearth/switch-new" ] && [ -e "$scratch/state/hearth/switch-run" ] ||
    fail "abandoned folders"
got=0
printf 'Hello\n' | HOME='' XDG_STATE_HOME='' "$HEARTH" chat -q --temp 0 >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 0 ] && [ "$(cat "$scratch/out")" = "$hello" ] || fail "without a home: exit code $got"

# Formats.
chat 0 'Hi\n' --family chatml -n 4
printf '{%% for m in messages %%}{{ m.content }}|{%% endfor %%}' >"$scratch/template"
chat 0 'Hi\n' --template "$scratch/template" -n 4
got=0
"$HEARTH" chat --template "$scratch/none" </dev/null >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 6 ] && [ "$(wc -l <"$scratch/err")" = 1 ] || fail "a template that is not there"

# Interrupted while nothing is typed; a reader that went away; standard output that is full.
got=0
mkfifo "$scratch/fifo"
"$HEARTH" chat <"$scratch/fifo" >"$scratch/out" 2>"$scratch/err" &
pid=$!
exec 5>"$scratch/fifo"
sleep 0.5
kill -TERM $pid
wait $pid || got=$?
[ "$got" = 130 ] || fail "SIGTERM: exit code $got"
exec 5>&-
printf 'Hello\nHello\nHello\n' | "$HEARTH" chat -q 2>"$scratch/err" | head -c 1 >"$scratch/out"
[ ! -s "$scratch/err" ] || fail "a reader that goes away"
if [ -e /dev/full ]; then
    got=0
    printf 'Hello\n' | "$HEARTH" chat -q >/dev/full 2>"$scratch/err" || got=$?
    [ "$got" = 6 ] || fail "a full disk: exit code $got"
fi
[ ! -e "$scratch/state/hearth/history" ] && [ ! -e "$scratch/home" ] || fail "a pipe leaves a history"
[ "$failures" = 0 ]
