# The Python binding: its declarations against hearth.h, its tests, and the example of its README.
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
