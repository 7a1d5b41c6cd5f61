# clang's analyzer over everything that is built, with its usual budget (tools/static looks with a third of it): no report at all.
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: one look at the sources is enough, and the release build's tests take it"
    exit 77
fi
command -v scan-build >/dev/null || {
    echo "SKIPPED: scan-build is not installed (Debian: clang-tools)"
    exit 77
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
scan-build --use-cc=clang cmake -S "$HEARTH_SOURCE_DIR" -B "$scratch/build" -D CMAKE_BUILD_TYPE=Release >"$scratch/configured" 2>&1 || {
    tail -20 "$scratch/configured"
    exit 1
}
scan-build --use-cc=clang -o "$scratch/reports" cmake --build "$scratch/build" --parallel "$(nproc)" >"$scratch/built" 2>&1 || {
    tail -20 "$scratch/built"
    exit 1
}
grep -q 'scan-build: Analysis run complete' "$scratch/built" || ! echo "FAILED: scan-build did not end" || exit 1
grep -E '^[^ ]+:[0-9]+:[0-9]+: warning: ' "$scratch/built" | sort -u >"$scratch/found" || true
# What the sources tell clang-tidy to pass over, with its reason, is passed over here: "NOLINT(clang-analyzer-CHECKER)".
known=0
while IFS=: read -r file line rest; do
    checker=${rest##*[}
    if sed -n "$((line - 1)),${line}p" "$file" | grep -q "NOLINT.*clang-analyzer-${checker%]}"; then
        known=$((known + 1))
    else
        echo "$file:$line:$rest" >>"$scratch/new"
    fi
done <"$scratch/found"
[ ! -s "$scratch/new" ] || {
    echo "FAILED: scan-build reports"
    cat "$scratch/new"
    exit 1
}
echo "scan-build: $(grep -c 'Building C object' "$scratch/built") files, nothing but $known reports that the sources answer"
