# Installs under DESTDIR and builds strangers' programs on what lies there: pkg-config, CMake shared, CMake static.
set -eu
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: a sanitized library is not for installation"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
root=$scratch/root

DESTDIR=$root cmake --install "$HEARTH_BUILD_DIR" >"$scratch/log" || {
    cat "$scratch/log"
    exit 1
}
find "$root" \( -type f -o -type l \) -printf '/%P\n' | sort
header=$(find "$root" -name hearth.h)
prefix=${header%/include/hearth.h}
pc=$(find "$prefix" -name hearth.pc)
libdir=${pc%/pkgconfig/hearth.pc}

# The installed program runs where it lies, and finds the bundled model.
"$prefix/bin/hearth" tokenize --ids </dev/null >/dev/null

cat >"$scratch/main.c" <<'END'
#include <hearth.h>
#include <stdio.h>
int main(void)
{
    return puts(hearth_version()) < 0 || hearth_abi() != HEARTH_ABI;
}
END
cat >"$scratch/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(stranger C)
find_package(Hearth 0.1 REQUIRED COMPONENTS hearth static)
add_executable(shared main.c)
target_link_libraries(shared hearth::hearth)
add_executable(static main.c)
target_link_libraries(static hearth::static)
END

cd "$scratch"
flags=$(PKG_CONFIG_PATH="$libdir/pkgconfig" pkg-config --define-variable=prefix="$prefix" --cflags --libs hearth)
# shellcheck disable=SC2086 # flags
"$HEARTH_CC" main.c -o by_pkg_config $flags
LD_LIBRARY_PATH=$libdir ./by_pkg_config

# The program in README.md, as a newcomer would take it.
sed -n '/^```c$/,/^```$/p' "$HEARTH_SOURCE_DIR/README.md" | grep -v '^```' >newcomer.c
# shellcheck disable=SC2086 # flags
"$HEARTH_CC" -Wall -Wextra -Werror newcomer.c -o newcomer $flags
cp "$(find "$prefix" -name '*.gguf')" model.gguf
[ "$(LD_LIBRARY_PATH=$libdir ./newcomer | wc -c)" -gt 20 ]

# The examples, as their README says.
model=$(find "$prefix" -name '*.gguf')
for example in generate chat two_models conversations cancel; do
    # shellcheck disable=SC2086 # flags
    "$HEARTH_CC" -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -pthread "$HEARTH_SOURCE_DIR/examples/$example.c" \
        -o $example $flags
done
export LD_LIBRARY_PATH="$libdir"
./generate "$model" "The hearth" >generated
[ "$(wc -c <generated)" -gt 20 ]
printf 'Turn on the kitchen light.\nTurn off the kitchen light.\nWho are you?\nTurn on the kitchen light.\n' |
    ./chat "$model" 96 >conversation
grep -q 'kitchen light' conversation
grep -q 'forgotten: message 1' conversation
one=$("$prefix/bin/hearth" plan -c 512 -b 128 --kv q8_0 | awk '/private memory/ { print int($3 / 1048576) + 1 }') # megabytes
for cap in 1000 "$one"; do # room for both, and for one of them at a time
    ./two_models "$cap" states."$cap" "$model" "$model" >talk."$cap"
    ./two_models "$cap" states."$cap" "$model" "$model" >>talk."$cap"
done
cmp talk.1000 talk."$one"
[ "$(grep -c '^\[second, [1-9][0-9]* tokens so far\]' talk.1000)" = 3 ]
code=0
./two_models $((one - 2)) states "$model" "$model" >small 2>&1 || code=$?
[ $code = 5 ] && grep -q 'needs [0-9]* bytes of [0-9]*: memory plan: does not fit the cap' small
./conversations "$model" 200 16 >kept
[ "$(grep -c ': 192 tokens restored, 8 computed' kept)" = 4 ]
./cancel "$model" 5 >cancelled
grep -q '^\[OK\]$' cancelled
unset LD_LIBRARY_PATH

if cmake -S . -B build -D CMAKE_PREFIX_PATH="$prefix" -D CMAKE_C_COMPILER="$HEARTH_CC" >log 2>&1 && cmake --build build >>log 2>&1; then
    ./build/shared
    ./build/static
else
    cat log
    exit 1
fi
