# Text to ids and back, on the bundled model, and to the id on the golden vocabularies where they are.
set -eu
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# back FILE ARGUMENTS...: ids and back gives the same bytes.
back() {
    file=$1
    shift
    "$HEARTH" tokenize "$@" --ids <"$file" >"$scratch/ids"
    "$HEARTH" tokenize "$@" --decode <"$scratch/ids" >"$scratch/back"
    cmp -s "$file" "$scratch/back" || fail "$file: other bytes come back ($*)"
}

printf 'Turn on the kitchen light.' >"$scratch/plain"
printf '  two  spaces\n\n\tand a tab \n' >"$scratch/spaces"
printf 'gr\303\274n \346\227\245\346\234\254\350\252\236 \360\237\224\245' >"$scratch/utf8"
printf '\377\376 broken \303 bytes \000 and a NUL' >"$scratch/bytes"
: >"$scratch/empty"
for name in plain spaces utf8 bytes empty; do
    back "$scratch/$name"
    back "$scratch/$name" --no-bos
done
# Any bytes, but U+2581: in these vocabularies it is the space, and comes back as one.
tail -c 200000 models/hearth-home.Q4_K_M.gguf >"$scratch/binary"
back "$scratch/binary"

ids=$("$HEARTH" tokenize --ids <"$scratch/plain")
without=$("$HEARTH" tokenize --ids --no-bos <"$scratch/plain")
[ "$ids" = "1 $without" ] || fail "--no-bos: '$without' beside '$ids'"
[ "$("$HEARTH" tokenize <"$scratch/plain" | awk '{ printf "%s%s", (NR > 1 ? " " : ""), $1 }')" = "$ids" ] || fail "a line each: other ids"
[ "$(printf '1, 516\n516' | "$HEARTH" tokenize --decode)" = "$(printf '1 516 516' | "$HEARTH" tokenize --decode)" ] ||
    fail "--decode: commas and spaces differ"

# Special tokens are recognised only when asked.
plain=$(printf '<|user|>' | "$HEARTH" tokenize --no-bos --ids | wc -w)
special=$(printf '<|user|>' | "$HEARTH" tokenize --no-bos --ids --special | wc -w)
[ "$special" = 1 ] || fail "--special gives $special tokens for one"
[ "$plain" -gt 1 ] || fail "a special token was recognised without being asked for"

for ids in x '1 -2' 1.5 '1;2' 99999 4294967297; do
    got=0
    printf '%s' "$ids" | "$HEARTH" tokenize --decode >"$scratch/out" 2>"$scratch/err" || got=$?
    [ "$got" = 2 ] || fail "--decode of '$ids': exit code $got, not 2"
    [ "$(wc -l <"$scratch/err")" = 1 ] || fail "--decode of '$ids': not one line"
done

# Golden vocabularies: NAME.inp holds texts parted by a line, NAME.out a line of ids for each, without BOS.
if [ -n "${HEARTH_SHARED-}" ] && [ -d "$HEARTH_SHARED/vocab" ]; then
    for name in llama-spm phi-3 gpt-2 deepseek-llm; do
        model=$HEARTH_SHARED/vocab/ggml-vocab-$name.gguf
        awk -v folder="$scratch" -v RS='\n__ggml_vocab_test__\n' '{ printf "%s", $0 > (folder "/text" NR) }' "$model.inp"
        n=0
        while read -r want; do
            n=$((n + 1))
            [ -e "$scratch/text$n" ] || : >"$scratch/text$n"
            got=$("$HEARTH" tokenize -m "$model" --no-bos --ids <"$scratch/text$n")
            "$HEARTH" tokenize -m "$model" --no-bos --ids <"$scratch/text$n" | "$HEARTH" tokenize -m "$model" --decode >"$scratch/back"
            cmp -s "$scratch/text$n" "$scratch/back" || fail "$name, text $n: other bytes come back"
            [ "$(echo $got)" = "$(echo $want)" ] || fail "$name, text $n: got '$got', want '$want'"
        done <"$model.out"
        [ "$n" -ge 40 ] || fail "$name: only $n texts"
        rm -f "$scratch"/text*
    done
else
    echo "note: no golden vocabularies here"
fi
[ "$failures" = 0 ]
