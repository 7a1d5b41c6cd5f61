# The manual and the completion have every option of every command; pages render without a warning; the completion works in bash.
set -eu
export LC_ALL=C.UTF-8
manual=$HEARTH_BUILD_DIR/manual
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

"$HEARTH_BUILD_DIR/tools/hearth_manual" --list >"$scratch/options"
[ "$(wc -l <"$scratch/options")" -gt 200 ] || fail "the list of options is short"
# What the list is made of is what the program takes: every option that help shows is in it.
for command in $("$HEARTH" --help | awk '/^  [a-z]+ +[a-z]/ && $1 != "hearth" { print $1 }'); do
    "$HEARTH" "$command" --help-all >"$scratch/help" 2>/dev/null || "$HEARTH" "$command" --help >"$scratch/help"
    grep -oE '^ +(-[a-z], )?--[a-z-]+|^ +-[a-z]' "$scratch/help" | tr -d ' ' | tr ',' '\n' >"$scratch/shown"
    [ "$(grep -c . "$scratch/shown")" -ge 2 ] || fail "$command --help shows no options"
    while read -r option; do
        grep -qxF -e "$command $option" "$scratch/options" || fail "$command $option is not in the list"
    done <"$scratch/shown"
    grep -q "^\*hearth-$command\*(1)" "$manual/hearth.1.scd" || fail "hearth(1) does not name $command"
done

# ---- Pages ------------------------------------------------------------------------------------------------------------

if command -v man >/dev/null && [ -e "$manual/hearth.1" ]; then
    for page in "$manual"/*.1; do
        name=$(basename "$page")
        MANWIDTH=200 MANROFFSEQ='' man --warnings -l "$page" >"$scratch/$name" 2>"$scratch/warnings" || fail "man $name: exit code $?"
        [ ! -s "$scratch/warnings" ] || {
            fail "$name: warnings"
            head -n 5 "$scratch/warnings"
        }
        grep -q '^NAME' "$scratch/$name" && grep -q '^SYNOPSIS' "$scratch/$name" || fail "$name: no name or synopsis"
    done
    while read -r command option; do
        page=$scratch/hearth-$command.1
        [ -e "$page" ] || page=$scratch/hearth-models.1 # its other name
        grep -qE -e "^ +(-.*)?(^|[ ,])$option( |,|\$)" "$page" || fail "hearth-$command(1) does not have $option"
    done <"$scratch/options"
    for page in "$manual"/hearth-*.1; do
        [ "$(grep -cE '^ +(-|\[?[A-Z]).*' "$scratch/$(basename "$page")")" -gt 0 ] || fail "$page: no options"
    done
else
    echo "note: no scdoc or no man; pages were not rendered"
fi

# ---- Completion -------------------------------------------------------------------------------------------------------

if ! command -v bash >/dev/null; then
    echo "note: no bash; completion was not tried"
    [ "$failures" = 0 ]
    exit
fi
cat >"$scratch/complete.bash" <<'BASH'
# complete WORD...: what is offered for the last word.
set -u
. "$1"
shift
COMP_WORDS=(hearth "$@")
COMP_CWORD=$#
_hearth
printf '%s\n' "${COMPREPLY[@]}"
BASH
offers() {
    (cd "$scratch" && bash "$scratch/complete.bash" "$manual/hearth.bash" "$@") 2>"$scratch/warnings"
    [ ! -s "$scratch/warnings" ] || {
        cat "$scratch/warnings" >&2
        fail "completion of $*: warnings"
    }
}
# expect OFFERED WORD...: the whole of what is offered, sorted.
expect() {
    expected=$1
    shift
    got=$(offers "$@" | sort | tr '\n' ' ')
    [ "$got" = "$expected" ] || fail "completion of '$*': offers '$got', not '$expected'"
}
bash -n "$manual/hearth.bash" || fail "the completion is no bash"
[ "$(bash -c '. "$1"; complete -p hearth' bash "$manual/hearth.bash")" = "complete -F _hearth hearth" ] || fail "complete -p"
for command in $(cut -d ' ' -f 1 "$scratch/options" | sort -u); do
    offers "$command" '' >"$scratch/offered"
    offers "$command" - >>"$scratch/offered"
    sed -n "s/^$command //p" "$scratch/options" >"$scratch/wanted"
    while read -r option; do
        grep -qxF -e "$option" "$scratch/offered" || fail "completion of $command does not offer $option"
    done <"$scratch/wanted"
done
mkdir "$scratch/in the way" "$scratch/models"
: >"$scratch/in the file"
expect 'run ' ru
expect 'perplexity plan ' p
expect '--help --limits --version ' --
expect '--mirostat --mirostat-ent --mirostat-lr ' run --miro
expect ' ' run --temp ''
expect ' ' run --temp = ''
expect 'in the file in the way ' run -m 'in'
expect 'in the file in the way ' run --model = 'in'
expect 'in the way models ' run --pack-cache ''
expect 'models ' run --pack-cache =  m
expect 'models ' quantize m
expect '--pure ' quantize --pu
expect 'in the file in the way ' bench --compare in
expect ' ' nonsense ''
offers >"$scratch/offered" # the cursor on the name of the program: nothing to say, and no complaint
[ "$failures" = 0 ]
