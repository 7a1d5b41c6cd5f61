# The bundled model's ids and text are those of tests/data/bundled.*, in every clone: the tokenizer, the weights and the sampler end to
# end. bundled.prompts holds one prompt a line, escapes as in -p; bundled.ids their ids; bundled.greedy and bundled.sampled the answers.
set -eu
cd "$HEARTH_SOURCE_DIR"
data=tests/data/bundled
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

while IFS= read -r prompt; do
    printf '%b' "$prompt" | "$HEARTH" tokenize --ids --special >>"$scratch/ids"
    "$HEARTH" run -q -p "$prompt" -n 40 --temp 0 | tr '\n' '|' >>"$scratch/greedy"
    echo >>"$scratch/greedy"
    "$HEARTH" run -q -p "$prompt" -n 40 --seed 42 --temp 0.9 --repeat-penalty 1.1 | tr '\n' '|' >>"$scratch/sampled"
    echo >>"$scratch/sampled"
done <$data.prompts
for kind in ids greedy sampled; do
    diff "$data.$kind" "$scratch/$kind" || {
        echo "FAILED: other $kind"
        exit 1
    }
done
