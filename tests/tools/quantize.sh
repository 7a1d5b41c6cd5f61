# hearth quantize as a person meets it: the file runs, every number of threads writes the same one, and what fails leaves nothing.
set -eu
export LC_ALL=C
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

failed() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# The bundled model is quantized already, so one of floats is needed.
if [ -n "${HEARTH_SHARED-}" ]; then
    model=$HEARTH_SHARED/models/hearth-home.F16.gguf
else
    echo "SKIPPED: no HEARTH_SHARED: there is no model of float weights"
    exit 77
fi

# refused CODE DETAIL ARGUMENTS...: one line, that code, and nothing written.
refused() {
    want=$1
    detail=$2
    shift 2
    got=0
    "$HEARTH" quantize "$@" >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = "$want" ] || failed "$*: exit code $got, not $want"
    [ "$(wc -l <"$scratch/err")" = 1 ] && grep -q "^error: .* \[$detail\]\$" "$scratch/err" || failed "$*: $(cat "$scratch/err")"
    [ ! -s "$scratch/out" ] || failed "$*: something on stdout"
    rm -f "$scratch/out" "$scratch/err"
    left=$(ls "$scratch")
    [ "$left" = "$kept" ] || failed "$*: left behind: $left"
}

# ---- Good ends --------------------------------------------------------------------------------------------------------

for threads in 1 2 5; do
    "$HEARTH" quantize -q -t $threads "$model" "$scratch/$threads.gguf" Q4_K_M
    cmp "$scratch/1.gguf" "$scratch/$threads.gguf" || failed "$threads threads write another file"
done
answer=$("$HEARTH" run -q -m "$scratch/1.gguf" --temp 0 -n 24 -p '<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n' 2>"$scratch/err")
case $answer in
*"kitchen light"*) ;;
*) failed "the new file does not answer: $answer $(cat "$scratch/err")" ;;
esac
"$HEARTH" info -m "$scratch/1.gguf" --json >"$scratch/info"
grep -q '"Q6_K"' "$scratch/info" || failed "no tensor in Q6_K"

# A link to a file: the file is replaced as a whole, and the link stays.
mkdir "$scratch/folder"
echo old >"$scratch/folder/new.gguf"
ln -s folder/new.gguf "$scratch/link"
"$HEARTH" quantize -q "$model" "$scratch/link" Q4_K_M
[ -L "$scratch/link" ] || failed "the link was replaced"
cmp "$scratch/1.gguf" "$scratch/folder/new.gguf" || failed "the file behind the link is another"
[ "$(ls "$scratch/folder")" = new.gguf ] || failed "left in the folder: $(ls "$scratch/folder")"
[ "$(stat -c %a "$scratch/5.gguf")" = "$(printf '%o' $((0666 & ~$(umask))))" ] || failed "mode $(stat -c %a "$scratch/5.gguf")"
"$HEARTH" quantize -q "$model" /dev/null Q8_0 || failed "/dev/null"

# ---- Bad ends ---------------------------------------------------------------------------------------------------------

rm -rf "$scratch"/*
cp "$model" "$scratch/in"
ln "$scratch/in" "$scratch/hard"
ln -s in "$scratch/soft"
kept=$(ls "$scratch")
new=$scratch/new
refused 2 E_USAGE
refused 2 E_USAGE "$scratch/in" "$new"
refused 2 E_USAGE "$scratch/in" "$new" Q4_0 more
refused 2 E_USAGE --imatrix
refused 2 E_USAGE -t 0 "$scratch/in" "$new" Q4_0
refused 2 E_CONFIG "$scratch/in" "$new" Q4_9
refused 2 E_CONFIG "$scratch/in" "$new" q4_0
refused 2 E_CONFIG "$scratch/in" "$new" ''
refused 2 E_CONFIG "$scratch/in" "$new" IQ4_XS
refused 2 E_CONFIG "$scratch/in" "$new" Q4_K
for same in in hard soft ./in; do
    refused 2 E_CONFIG "$scratch/in" "$scratch/$same" Q4_0
done
refused 2 E_CONFIG --imatrix "$scratch/hard" "$model" "$scratch/in" Q4_0
refused 6 E_NOT_FOUND "$scratch/nowhere" "$new" Q4_0
refused 6 E_NOT_FOUND "$scratch/in" "$scratch/nowhere/new" Q4_0
refused 6 E_NOT_FOUND --imatrix "$scratch/nowhere" "$scratch/in" "$new" Q4_0
refused 6 E_IO "$scratch/in" "$scratch" Q4_0
refused 6 E_IO "$scratch/in" /dev/full Q4_0
refused 5 E_MEMORY --ram-cap 1M "$scratch/in" "$new" Q4_0
refused 4 E_UNSUPPORTED --imatrix "$scratch/in" "$scratch/in" "$new" Q4_0
refused 4 E_QUANTIZED "$HEARTH_SOURCE_DIR/models/hearth-home.Q4_K_M.gguf" "$new" Q4_0
cmp -s "$model" "$scratch/in" || failed "the input was changed"

# Files may grow to 512 KiB, blocks of 512 bytes or of 1 KiB by shell: the write fails, and neither name nor rest stays.
(
    ulimit -f 512
    refused 6 E_IO "$scratch/in" "$new" Q8_0
    [ "$failures" = 0 ]
) || failed "a file that may not grow"

# A pipe cannot be written at any place; who interrupts finds nothing.
got=0
"$HEARTH" quantize "$scratch/in" /dev/stdout Q4_0 2>/dev/null | cat >/dev/null || got=$?
timeout -s TERM 0.05 "$HEARTH" quantize -q "$scratch/in" "$new" Q4_K_M 2>/dev/null || true
rm -f "$new"
[ "$(ls "$scratch")" = "$kept" ] || failed "interrupted, and left behind: $(ls "$scratch")"

echo "$failures failures"
[ "$failures" = 0 ]
