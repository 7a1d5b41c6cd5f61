# The Python binding: its declarations against hearth.h, its tests, the example of its README, and the application's day.
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: the sanitizers' symbols would have to come from python3"
    exit 77
fi
python=/usr/bin/python3
[ -x $python ] || python=$(command -v python3) || {
    echo "SKIPPED: no python3"
    exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$HEARTH_SOURCE_DIR"
export PYTHONDONTWRITEBYTECODE=1 HEARTH_LAYOUT="$scratch/layout"

$python tests/tools/layout.py "$PWD/include/hearth.h" "$HEARTH_CC" >"$scratch/layout"
$python -W error bindings/python/test_hearth.py

# What the README shows.
sed -n '/^```python$/,/^```$/p' bindings/README.md | sed '/^```/d; s/model\.gguf/models\/hearth-home.Q4_K_M.gguf/' >"$scratch/example.py"
PYTHONPATH=bindings/python $python "$scratch/example.py" >"$scratch/said"
[ -s "$scratch/said" ]

# day CAP_MIB A B: several models under one cap, and conversations that go on.
day() {
    rm -rf "$scratch/states"
    PYTHONPATH=bindings/python $python -W error bindings/python/application.py "$@" "$scratch/states" >"$scratch/day" || {
        cat "$scratch/day"
        exit 1
    }
}

# fits_one MODEL: a cap in MiB that has room for it, and not for another beside it.
fits_one() {
    "$HEARTH" plan -m "$1" -c 512 -b 128 --json | sed -n 's/.*"private_bytes": \([0-9]*\).*/\1/p' | awk '{ print int($1 / 1048576) + 1 }'
}

a=models/hearth-home.Q4_K_M.gguf
day 600 $a tests/data/llama-Q4_K_M.gguf
grep -q '^  a: resident' "$scratch/day"
day "$(fits_one $a)" $a tests/data/llama-Q4_K_M.gguf
grep -q '^  a: registered' "$scratch/day"
cat "$scratch/day"
if [ -f "${HEARTH_SHARED-}/models/hearth-home.F16.gguf" ]; then
    a=$HEARTH_SHARED/models/hearth-home.F16.gguf
    day "$(fits_one "$a")" "$a" "$HEARTH_SHARED/models/hearth-home.Q8_0.gguf"
    grep -q '^  a: registered' "$scratch/day"
fi
