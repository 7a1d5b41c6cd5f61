# Recursion and stack, read from the machine code of the library: every recursion is in the list below with the check that bounds it,
# and no direct path of calls takes more than the bound. Calls through pointers cannot be seen (kernels, callbacks).
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: sanitizers enlarge the frames; the release build's tests look"
    exit 77
fi
command -v objdump >/dev/null && command -v python3 >/dev/null || {
    echo "SKIPPED: objdump or python3 is not installed"
    exit 77
}
listing=$(mktemp)
trap 'rm -f "$listing"' EXIT
objdump -d --no-show-raw-insn "$HEARTH_LIBRARY" >"$listing"

# One of the functions that call each other = how often each can be on the stack.
#   parse_expression          100 things inside each other (syntax.h) times 9 levels of operators
#   take_alternatives         64 parentheses inside each other (grammar.h)
#   run_stage                 6 stages of a pre-tokenizer (pretokenize.c)
#   the others                256 levels of a template's workspace (workspace.h)
# The sum is what frames would take if every level had the largest; what templates do take is measured (engine/test_template).
cd "$HEARTH_SOURCE_DIR"
python3 tests/tools/stack.py "$listing" $((3 << 20)) parse_expression=909 take_alternatives=65 run_stage=7 \
    hearth_value_equal=257 hearth_value_compare=257 show=257 evaluate=257 write_value=257 read_value=257
