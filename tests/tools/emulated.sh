# An older CPU, emulated, gives the host's text: no stray instruction, the same bits. HEARTH_QEMU_CPU names the CPU.
set -eu
if ! command -v qemu-x86_64 >/dev/null; then
    echo "SKIPPED: qemu-x86_64 is not installed (package qemu-user)"
    exit 77
fi
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: sanitizers do not run under emulation"
    exit 77
fi

prompt='<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n'
want=$("$HEARTH" run -p "$prompt" -n 24 --temp 0 2>/dev/null)
got=$(qemu-x86_64 -cpu "${HEARTH_QEMU_CPU:-Haswell}" "$HEARTH" run -p "$prompt" -n 24 --temp 0)
printf 'host:     %s\nemulated: %s\n' "$want" "$got"
[ -n "$want" ] && [ "$want" = "$got" ]
