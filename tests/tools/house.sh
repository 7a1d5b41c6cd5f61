# The rules of the house that a compiler does not see: exported and imported symbols, the public header, tabs, stray calls.
set -eu
export LC_ALL=C.UTF-8
cd "$HEARTH_SOURCE_DIR"
cc=${HEARTH_CC:-cc}
failures=0

# fail WHAT LINES: one line each on what was found.
fail() {
    echo "FAILED: $1"
    printf '%s\n' "$2" | sed 's/^/    /'
    failures=$((failures + 1))
}

# none WHAT LINES: fails unless LINES is empty.
none() {
    [ -z "$2" ] || fail "$1" "$2"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ---- The shared library ---------------------------------------------------------------------------------------------

exports=$(nm -D --defined-only "$HEARTH_LIBRARY" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort)
declared=$(grep -o 'HEARTH_API [^(]*hearth_[a-z0-9_]*(' include/hearth.h | grep -o 'hearth_[a-z0-9_]*($' | tr -d '(' | sort)
printf '%s\n' "$exports" >"$scratch/exports"
printf '%s\n' "$declared" >"$scratch/declared"
none "exported but not in hearth.h" "$(comm -23 "$scratch/exports" "$scratch/declared")"
none "in hearth.h but not exported" "$(comm -13 "$scratch/exports" "$scratch/declared")"
none "SONAME is not libhearth.so.1" "$(readelf -d "$HEARTH_LIBRARY" | grep SONAME | grep -v '\[libhearth\.so\.1\]' || true)"
none "run path" "$(readelf -d "$HEARTH_LIBRARY" "$HEARTH" | grep -E 'RPATH|RUNPATH' || true)"
none "text relocations" "$(readelf -d "$HEARTH_LIBRARY" | grep TEXTREL || true)"
none "executable stack" "$(readelf -lW "$HEARTH_LIBRARY" | grep GNU_STACK | grep RWE || true)"
none "needs a BLAS" "$(readelf -d "$HEARTH_LIBRARY" | grep NEEDED | grep -i blas || true)"

if [ -z "${HEARTH_SANITIZE-}" ]; then
    none "writable globals" "$(objdump -t "$HEARTH_BUILD_DIR/libhearth.a" |
        awk 'NF > 3 && $(NF - 2) ~ /^\.(data|bss|tdata|tbss)/ && $(NF - 2) !~ /^\.data\.rel\.ro/ && $(NF - 1) !~ /^0+$/ { print $NF }')"
    # Functions that end the process, print, or take over signals; and every function of libm but those that IEEE 754 defines exactly.
    imports=$(nm -D --undefined-only "$HEARTH_LIBRARY" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u)
    none "imports that a library must not have" "$(printf '%s\n' "$imports" |
        grep -Ex '(_?_?exit|_Exit|quick_exit|abort|__assert_fail|raise|kill|signal|sigaction|v?f?printf|__v?f?printf_chk|puts|fputs|putchar|perror|std(out|err)|fwrite|fork|system|popen|atexit|setlocale|setenv|putenv|rand|srand)' || true)"
    libm=$(ldd "$HEARTH_LIBRARY" | awk '$1 == "libm.so.6" { print $3 }')
    if [ -n "$libm" ]; then
        nm -D --defined-only "$libm" | awk '{ sub(/@.*/, "", $NF); print $NF }' | sort -u >"$scratch/libm"
        none "imports from libm" "$(printf '%s\n' "$imports" | comm -12 - "$scratch/libm" | grep -Exv 'fmaf?|sqrtf?' || true)"
    fi
fi

# ---- Headers --------------------------------------------------------------------------------------------------------

printf '#include "hearth.h"\nint main(void) { return hearth_abi() == HEARTH_ABI ? 0 : 1; }\n' >"$scratch/user.c"
cp "$scratch/user.c" "$scratch/user.cc"
for standard in c99 c11 c17; do
    "$cc" -std=$standard -pedantic-errors -Wall -Wextra -Werror -Iinclude -fsyntax-only "$scratch/user.c" || fail "hearth.h as $standard" ""
done
if command -v c++ >/dev/null; then
    for standard in c++11 c++17; do
        c++ -std=$standard -pedantic-errors -Wall -Wextra -Werror -Iinclude -fsyntax-only "$scratch/user.cc" ||
            fail "hearth.h as $standard" ""
    done
else
    echo "note: no C++ compiler; hearth.h was not compiled as C++"
fi
# Each header stands alone. (Templates are bodies for a file that has set the stage.)
for header in include/common/*.h loader/*.h kernels/*.h kernels/encode/*.h engine/*.h engine/template/*.h quantize/*.h; do
    [ -e "$header" ] || continue
    "$cc" -std=c17 -D_GNU_SOURCE -march=x86-64-v2 -Wall -Wextra -Werror -Wno-unused-function -Iinclude -Iloader -Ikernels -Iengine -Iquantize \
        -fsyntax-only -include "$header" -x c /dev/null || fail "$header does not stand alone" ""
done

# ---- Text -----------------------------------------------------------------------------------------------------------

sources=$(find include loader kernels engine quantize tools bench examples tests -name '*.[ch]')
library=$(find loader kernels engine quantize -name '*.[ch]')
foreign=$(find bindings tests/tools -name '*.rs' -o -name '*.py')
# shellcheck disable=SC2086 # lists of names without spaces
{
    none "tabs" "$(grep -lP '\t' $sources $foreign || true)"
    none "trailing blanks" "$(grep -nP '[ \t]+$' $sources $foreign || true)"
    none "lines longer than 132" "$(grep -nP '^.{133,}$' $sources $foreign || true)"
    none "unfinished" "$(grep -nwE 'TODO|FIXME|XXX|HACK' $sources $foreign || true)"
    none "printing or ending the process in the library" \
        "$(grep -nE '(^|[^_a-zA-Z0-9])(v?f?printf|puts|perror|abort|exit|_exit|signal|sigaction) *\(' $library | grep -v 'format(printf' || true)"
    # (The users of a template are a few lines that say it all.)
    none "no comment at the top" "$(for file in $sources; do
        head -c 2 "$file" | grep -q '/\*' || [ "$(wc -l <"$file")" -lt 8 ] || echo "$file"
    done)"
    none "an instruction set chosen by the preprocessor" \
        "$(grep -nE '^ *# *if.*__(AVX|FMA|F16C|BMI|SSE)' $library || true)"
    none "engine/ or loader/ seen from kernels/" \
        "$(grep -nE '#include "(gguf|file|hparams|vocab|pool|plan|arena|session)\.h"' kernels/*.[ch] kernels/*/*.[ch] 2>/dev/null || true)"
}

if [ "$failures" -gt 0 ]; then
    exit 1
fi
echo "the house is in order: $(printf '%s\n' "$exports" | wc -l) exported functions"
