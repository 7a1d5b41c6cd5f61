# What can be proved without running: clang's warnings, clang-tidy with the checks of .clang-tidy (clang's analyzer among them), cppcheck,
# functions nobody should call. Each tool that is not installed is skipped aloud. The folder of the build has compile_commands.json.
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: one look at the sources is enough, and the release build's tests take it"
    exit 77
fi
cd "$HEARTH_SOURCE_DIR"
failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
jobs=$(nproc)

# fail WHAT FILE: shows the beginning of what was found.
fail() {
    echo "FAILED: $1"
    head -40 "$2"
    failures=$((failures + 1))
}

have() {
    command -v "$1" >/dev/null || {
        echo "skipped: $1 is not installed"
        return 1
    }
}

# ---- Functions that write without knowing how much room there is, or that share state between threads ------------------

nm "$HEARTH_BUILD_DIR/libhearth.a" "$HEARTH" | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }' | sort -u |
    grep -Ex '(__)?(gets|strcpy|strcat|sprintf|vsprintf|stpcpy|strtok|localtime|gmtime|ctime|asctime|tmpnam|tempnam|mktemp|alloca|scanf|system|popen|getwd|realpath_chk|atoi|atol|atoll|atof|rand|srand|drand48)(_chk)?' \
        >"$scratch/banned" || true
[ ! -s "$scratch/banned" ] || fail "calls of banned functions" "$scratch/banned"

# ---- The tools ----------------------------------------------------------------------------------------------------------

find loader kernels engine quantize bench tools -name '*.c' -exec ls -S {} + >"$scratch/files" # the long ones first: better shared

if have clang; then
    # The commands of the build, with another compiler that only looks. A line of JSON escapes what the shell's line had: \\ and \".
    sed -n 's/^ *"command": "\(.*\)",\{0,1\}$/\1/p' "$HEARTH_BUILD_DIR/compile_commands.json" | sed 's/\\\(.\)/\1/g' | grep -v '/tests/' |
        sed -E 's/^([^ ]*ccache )?[^ ]+/clang -fsyntax-only -Wno-pass-failed/; s/ -o [^ ]+//; s/ -Wstack-usage=[0-9]+//; s/ -Wno-format-truncation//' \
            >"$scratch/commands"
    split -n "r/$jobs" "$scratch/commands" "$scratch/commands."
    (cd "$HEARTH_BUILD_DIR" && for part in "$scratch"/commands.*; do sh "$part" & done && wait) >"$scratch/clang" 2>&1
    [ -s "$scratch/commands" ] || echo "no commands" >"$scratch/clang"
    [ ! -s "$scratch/clang" ] || fail "clang warns" "$scratch/clang"
    echo "clang: $(wc -l <"$scratch/commands") files"
fi
if have clang-tidy; then
    # A third of the analyzer's usual budget of states a function: it is what a few functions with many calls spend most of the time
    # on. tools/scan_build looks with all of it.
    nodes="--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes=75000"
    xargs -P "$jobs" -n 1 clang-tidy -p "$HEARTH_BUILD_DIR" --quiet --extra-arg=-Wno-unknown-warning-option \
        --extra-arg=-Wno-pass-failed $nodes <"$scratch/files" >"$scratch/tidy" 2>"$scratch/tidy.errors" || true
    grep -E '(warning|error):' "$scratch/tidy" | sort -u >"$scratch/tidy.found" || true
    [ ! -s "$scratch/tidy.found" ] || fail "clang-tidy finds" "$scratch/tidy.found"
    echo "clang-tidy: $(wc -l <"$scratch/files") files"
fi
if have cppcheck; then
    cppcheck --project="$HEARTH_BUILD_DIR/compile_commands.json" --enable=warning,performance,portability --std=c11 -q -j "$jobs" \
        --suppressions-list=tests/tools/cppcheck.suppressions --suppress=missingIncludeSystem -i "$HEARTH_SOURCE_DIR/tests" \
        --template='{file}:{line}: {id}: {message}' 2>"$scratch/cppcheck" >/dev/null || true
    [ ! -s "$scratch/cppcheck" ] || fail "cppcheck finds" "$scratch/cppcheck"
    echo "cppcheck: done"
fi
[ "$failures" -eq 0 ]
