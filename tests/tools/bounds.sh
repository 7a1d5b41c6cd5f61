# The bounds that SECURITY.md promises are those that the program prints, which are those that are enforced; JSON has the same.
set -eu
export LC_ALL=C.UTF-8
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$HEARTH" --limits >"$scratch/table"
[ "$(wc -l <"$scratch/table")" -gt 20 ] || {
    echo "FAILED: hearth --limits prints hardly anything"
    exit 1
}
sed -n '/^## Bounds/,/^## /{/^|/p}' SECURITY.md | diff - "$scratch/table" || {
    echo "FAILED: the table in SECURITY.md is not what hearth --limits prints"
    exit 1
}
# Every constant of the header has its row.
defined=$(grep -c '^#define HEARTH_[A-Z_]* [^ ]' include/common/limits.h)
[ "$((defined + 2))" = "$(wc -l <"$scratch/table")" ] || {
    echo "FAILED: $defined constants in common/limits.h, $(($(wc -l <"$scratch/table") - 2)) rows"
    exit 1
}
"$HEARTH" --limits --json >"$scratch/json"
sed -n 's/^| .* | *\([0-9,]*\) [a-z]* *|$/\1/p' "$scratch/table" | tr -d , >"$scratch/numbers"
sed -n 's/^ *"at_most": \([0-9]*\),*$/\1/p' "$scratch/json" | diff "$scratch/numbers" - || {
    echo "FAILED: JSON has other numbers"
    exit 1
}
