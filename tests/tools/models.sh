# hearth models lists what lies in folders, -m finds it by its name, and a file that cannot be used is told and no failure.
set -eu
cd "$HEARTH_SOURCE_DIR"
model=$PWD/models/hearth-home.Q4_K_M.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    sed 's/^/    /' "$scratch/out"
    failures=$((failures + 1))
}

# list ARGUMENTS...: into $scratch/out.
list() {
    "$HEARTH" "$@" >"$scratch/out" 2>"$scratch/err" || fail "$*: exit code $?"
}

export HOME="$scratch/home" XDG_DATA_HOME=
unset HEARTH_MODEL HEARTH_MODELS
mkdir -p "$HOME/.local/share/hearth/models" "$scratch/a" "$scratch/b" "$scratch/xdg/hearth/models" "$scratch/none"
ln -s "$model" "$HOME/.local/share/hearth/models/mine.gguf"
ln -s "$model" "$scratch/a/second.gguf"
ln -s "$model" "$scratch/b/third.gguf"
ln -s "$model" "$scratch/xdg/hearth/models/fourth.gguf"

list models
[ "$(awk 'NR > 1 { printf "%s ", $1 }' "$scratch/out")" = "mine hearth-home.Q4_K_M " ] || fail "the user's and the bundled model"
grep -q '^mine  *llama  *[0-9.]* M  Q4_K_M  *3.4 MiB  *512  *[0-9.]* MiB  fits$' "$scratch/out" || fail "a row"
cp "$scratch/out" "$scratch/models"
list list
cmp -s "$scratch/out" "$scratch/models" || fail "list is not models"

HEARTH_MODELS=$scratch/a::$scratch/missing:$scratch/b:$scratch/a list models
[ "$(awk 'NR > 1 { printf "%s ", $1 }' "$scratch/out")" = "second third mine hearth-home.Q4_K_M " ] || fail "HEARTH_MODELS"
XDG_DATA_HOME=$scratch/xdg list models
grep -q '^fourth' "$scratch/out" && ! grep -q '^mine' "$scratch/out" || fail "XDG_DATA_HOME"
XDG_DATA_HOME=relative list models # does not count
grep -q '^mine' "$scratch/out" || fail "a relative XDG_DATA_HOME"
list models "$scratch/b" "$scratch/a"
[ "$(awk 'NR > 1 { printf "%s ", $1 }' "$scratch/out")" = "third second " ] || fail "folders as arguments"
list models "$scratch/none"
[ ! -s "$scratch/out" ] && grep -q 'no models there' "$scratch/err" || fail "an empty folder"
list models -c 64 --ram-cap 1M
[ "$(grep -c 'does not fit$' "$scratch/out")" = 2 ] || fail "a cap"
got=0
"$HEARTH" models "$scratch/missing" >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" = 6 ] && grep -q E_NOT_FOUND "$scratch/err" || fail "a folder that is not there"

# Names.
for name in mine mine.gguf hearth-home.Q4_K_M; do
    list info -m $name
done
HEARTH_MODELS=$scratch/b:$scratch/a HEARTH_MODEL=second list plan
HEARTH_MODELS=$scratch/b list plan -m third
(cd "$scratch/a" && list plan -m second.gguf)
for name in third ./mine mine/ min '*' .. ''; do
    got=0
    "$HEARTH" plan -m "$name" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = 6 ] || fail "-m '$name': exit code $got, not 6"
done

# What is no model, or a damaged one.
mkdir "$scratch/zoo"
ln -s "$model" "$scratch/zoo/big-00001-of-00002.gguf"
ln -s "$model" "$scratch/zoo/big-00002-of-00002.gguf"
ln -s "$model" "$scratch/zoo/.hidden.gguf"
ln -s "$model" "$scratch/zoo/.gguf"
ln -s nowhere "$scratch/zoo/dangling.gguf"
: >"$scratch/zoo/empty.gguf"
: >"$scratch/zoo/README"
mkdir "$scratch/zoo/folder.gguf"
mkfifo "$scratch/zoo/pipe.gguf"
sed 's/llama/lxama/g' "$model" >"$scratch/zoo/other.gguf"
: >"$(printf '%s/zoo/esc\033[2J\n\377.gguf' "$scratch")"
list models "$scratch/zoo"
[ "$(wc -l <"$scratch/out")" = 8 ] || fail "not one line each"
[ "$(LC_ALL=C tr -d '[:print:]\n' <"$scratch/out" | wc -c)" = 0 ] || fail "bytes that are not printable"
grep -q '^big  *llama' "$scratch/out" || fail "the first part"
grep -q '^other  *.*lxama' "$scratch/out" || fail "another architecture"
list models --json "$scratch/zoo"
if command -v python3 >/dev/null; then
    python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))
assert len(rows) == 7, len(rows)
by = {row["name"]: row for row in rows}
big = by["big"]
assert big["fits"] and big["error"] is None and big["plan_bytes"] > big["bytes"] == 3559296 and big["context"] == 512, big
assert by["empty"]["fits"] is False and "empty" in by["empty"]["error"] and by["empty"]["plan_bytes"] is None
' "$scratch/out" || fail "JSON"
fi

# The doctor, on whatever machine this is: a line each, and 1 exactly where something should be changed.
got=0
XDG_STATE_HOME=$scratch/state "$HEARTH" doctor >"$scratch/out" 2>"$scratch/err" || got=$?
[ "$got" -le 1 ] && [ ! -s "$scratch/err" ] || fail "doctor: exit code $got"
[ "$(grep -vcE '^(ok|change) ' "$scratch/out")" = 0 ] || fail "doctor: another line"
changes=$(grep -c '^change' "$scratch/out" || true)
[ "$changes" -gt 0 ] && expected=1 || expected=0
[ "$got" = $expected ] || fail "doctor: exit code $got with $changes changes"
for subject in CPU kernels cores clock memory limits 'huge pages' 'state folder' energy model; do
    grep -qE "^(ok|change) +$subject  " "$scratch/out" || fail "doctor: no $subject"
done
# doctor_finds PATTERN ARGUMENTS...: exit code 1 and a line.
doctor_finds() {
    pattern=$1
    shift
    got=0
    "$HEARTH" doctor -q "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = 1 ] && grep -q "^change *$pattern" "$scratch/out" || fail "doctor $*: not $pattern"
    ! grep -q '^ok' "$scratch/out" || fail "doctor -q: lines that are well"
}
HEARTH_CPU=reference doctor_finds 'CPU .*unset HEARTH_CPU'
HEARTH_CPU=nonsense doctor_finds 'CPU .*unset HEARTH_CPU'
doctor_finds 'model .*does not fit' --ram-cap 1M
doctor_finds 'model .*nowhere' -m nowhere
mkdir -p "$scratch/open/hearth"
chmod 755 "$scratch/open/hearth"
XDG_STATE_HOME=$scratch/open doctor_finds 'state folder .*chmod 700'
HOME='' XDG_STATE_HOME='' doctor_finds 'state folder .*set HOME'
doctor_finds 'pack cache .*no folder' --pack-cache "$model"
got=0
"$HEARTH" doctor --json --ram-cap 1M >"$scratch/out" || got=$?
[ "$got" = 1 ] && grep -q '"advice": ".*does not fit' "$scratch/out" || fail "doctor --json"
[ "$failures" = 0 ]
