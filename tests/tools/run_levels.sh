# The same greedy text whatever the kernels, threads, batch and chunks; and the same sampled text for the same seed.
set -eu
cd "$HEARTH_SOURCE_DIR"
prompt='<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n'
failures=0

# same WHAT WANT GOT
same() {
    if [ -n "$2" ] && [ "$2" = "$3" ]; then
        return
    fi
    printf 'FAILED: %s\n    want: %s\n    got:  %s\n' "$1" "$2" "$3"
    failures=$((failures + 1))
}

greedy() {
    "$HEARTH" run -q -p "$prompt" -n 24 --temp 0 "$@"
}

unset HEARTH_CPU
want=$(greedy)
echo "$want"
case $want in
*kitchen\ light*) ;;
*) same "the answer is about the kitchen light" "... kitchen light ..." "$want" ;;
esac
for level in reference avx2 avxvnni avx512; do
    if HEARTH_CPU=$level "$HEARTH" info 2>&1 >/dev/null | grep -q 'does not have the level'; then
        echo "SKIPPED: level $level: not on this CPU"
        continue
    fi
    same "level $level" "$want" "$(HEARTH_CPU=$level greedy)"
done
for threads in 1 2 3; do
    same "$threads threads" "$want" "$(greedy -t $threads)"
done
for batch in 1 7 512; do
    same "batch $batch" "$want" "$(greedy -b $batch)"
done
same "prompt from a file" "$want" "$(printf "$prompt" | "$HEARTH" run -q -f - -n 24 --temp 0)"
same "prompt from standard input" "$want" "$(printf "$prompt" | "$HEARTH" run -q -n 24 --temp 0)"
lines='<|user|>
Turn on the kitchen light.<|end|>
<|assistant|>
'
same "line ends written as they are" "$want" "$("$HEARTH" run -q --no-escape -p "$lines" -n 24 --temp 0)"

sampled() {
    "$HEARTH" run -q -p 'ROMEO:\n' -n 40 --seed "$@"
}
want=$(sampled 7)
same "seed 7, reference kernels" "$want" "$(HEARTH_CPU=reference sampled 7)"
same "seed 7, one thread" "$want" "$(sampled 7 -t 1)"
[ "$want" != "$(sampled 8)" ] || same "seeds 7 and 8 differ" "other text" "$want"

# Every sampler, on any kernels and threads.
for more in '--mirostat 1' '--mirostat 2 --dynatemp-range 0.5' \
    '--top-k 0 --temp 1.3 --typical 0.9 --top-nsigma 2 --xtc-probability 0.5 --dynatemp-range 0.5 --dry-multiplier 1 --frequency-penalty 0.2'; do
    # shellcheck disable=SC2086 # several arguments
    want=$(sampled 7 $more)
    # shellcheck disable=SC2086
    same "$more, reference kernels" "$want" "$(HEARTH_CPU=reference sampled 7 $more)"
    # shellcheck disable=SC2086
    same "$more, one thread" "$want" "$(sampled 7 $more -t 1)"
done

# The text ends before a stop string.
same "stop string" "Okay, the |" "$(greedy --stop 'kitchen light')|"

if HEARTH_CPU=walnut "$HEARTH" run -q -n 1 </dev/null >/dev/null 2>&1; then
    same "an unknown level" "is refused" "was taken"
fi
[ "$failures" = 0 ]
