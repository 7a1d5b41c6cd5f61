# The Rust bindings: declarations against hearth.h, tests, documentation, examples; offline, with Debian's rustc where there is one.
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: the sanitizers' symbols would have to come from Rust programs"
    exit 77
fi
PATH=/usr/bin:/bin:$PATH
for tool in cargo rustc rustdoc python3; do
    command -v $tool >/dev/null || {
        echo "SKIPPED: no $tool"
        exit 77
    }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$HEARTH_SOURCE_DIR"
LD_LIBRARY_PATH=$(dirname "$HEARTH_LIBRARY")
export LD_LIBRARY_PATH HEARTH_LIB_DIR="$LD_LIBRARY_PATH" HEARTH_LAYOUT="$scratch/layout"
export CARGO_HOME="$scratch/cargo" CARGO_TARGET_DIR="$HEARTH_BUILD_DIR/rust" CARGO_TERM_COLOR=never
export RUSTFLAGS='-D warnings' RUSTDOCFLAGS='-D warnings' RUST_BACKTRACE=0

python3 tests/tools/layout.py "$PWD/include/hearth.h" "$HEARTH_CC" >"$scratch/layout"
rustc --version
cd bindings/rust
cargo test --quiet --offline --locked -- --include-ignored
cargo doc --quiet --offline --locked --no-deps

prompt='<|user|>
Turn on the kitchen light.<|end|>
<|assistant|>
'
said=$(cargo run --quiet --offline --locked --example from_async -- "$HEARTH_SOURCE_DIR/models/hearth-home.Q4_K_M.gguf" "$prompt")
[ "$said" = 'Okay, the kitchen light is now on.
[10 tokens, End]' ] || {
    echo "FAILED: from_async said: $said"
    exit 1
}

# day CAP_MIB A B: several models under one cap, and conversations that go on.
day() {
    rm -rf "$scratch/states"
    cargo run --quiet --offline --locked --example application -- "$@" "$scratch/states" >"$scratch/day" || {
        cat "$scratch/day"
        exit 1
    }
}

a=$HEARTH_SOURCE_DIR/models/hearth-home.Q4_K_M.gguf
b=$HEARTH_SOURCE_DIR/tests/data/llama-Q4_K_M.gguf
day 600 "$a" "$b"
grep -q '^  a: Resident' "$scratch/day"
fits_one=$("$HEARTH" plan -m "$a" -c 512 -b 128 --json | sed -n 's/.*"private_bytes": \([0-9]*\).*/\1/p' |
    awk '{ print int($1 / 1048576) + 1 }')
day "$fits_one" "$a" "$b"
grep -q '^  a: Registered' "$scratch/day"
cat "$scratch/day"
