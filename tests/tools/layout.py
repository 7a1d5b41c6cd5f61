"""The public header as a compiler sees it, for the bindings to be compared with: layout.py HEADER CC prints, sorted, one a line,

    constant HEARTH_E_MEMORY 2
    field hearth_error.detail 4 i1[20]         offset and kind
    struct hearth_error 432                    size
    callback hearth_text_fn b1 p8 u8 p8        kind of the result, kinds of the arguments
    function hearth_version p8

A kind is i, u, f, b or p (any pointer) with the size in bytes, and v for none. The header is only searched for names; all numbers
and kinds are the compiler's. Each binding prints or checks the same lines about itself (tests/tools/rust.sh, python.sh)."""
import re
import subprocess
import sys
import tempfile

PROGRAM = """#include "%s"
#include <stdio.h>
#define KIND(x) _Generic((x), char: "i1", int8_t: "i1", uint8_t: "u1", int16_t: "i2", uint16_t: "u2", int32_t: "i4", \\
    uint32_t: "u4", int64_t: "i8", uint64_t: "u8", float: "f4", double: "f8", bool: "b1", default: "p8")
#define KIND_OF(type) KIND(*(type *)0)
_Static_assert(sizeof(void *) == 8, "pointers are called p8");
int main(void)
{
%s
}
"""


def kind(text):
    """An expression for the kind of a type or a parameter: what stands before its name."""
    return '"v"' if text.strip() == "void" else "KIND_OF(%s)" % text


def prototype(what, result, name, parameters):
    """A line for a function or a callback."""
    types = [] if parameters.strip() == "void" else [re.fullmatch(r"(.*?)\w+", p.strip()).group(1) for p in parameters.split(",")]
    kinds = ", ".join(kind(t) for t in [result] + types)
    return 'printf("%s %s%s\\n", %s);' % (what, name, " %s" * (1 + len(types)), kinds)


def structure(name, body):
    """Lines for a structure and its fields."""
    yield 'printf("struct %s %%zu\\n", sizeof(%s));' % (name, name)
    for declaration in body.split(";")[:-1]:
        pointer_to_function = re.search(r"\(\*(\w+)\)", declaration)
        for declarator in [pointer_to_function.group(1)] if pointer_to_function else declaration.split(","):
            field, array = re.search(r"(\w+)\s*(\[[^\]]*\])?\s*$", declarator).groups()
            member = "((%s *)0)->%s" % (name, field)
            format_, argument = (' %zu %s[%zu]', "KIND(%s[0]), sizeof %s / sizeof %s[0]" % ((member,) * 3)) if array else (
                " %zu %s", "KIND(%s)" % member)
            yield 'printf("field %s.%s%s\\n", offsetof(%s, %s), %s);' % (name, field, format_, name, field, argument)


def lines(header):
    """The statements that print all of it."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    for name in re.findall(r"^#define (HEARTH_\w+) +[-(\d]", text, flags=re.MULTILINE):
        yield 'printf("constant %s %%lld\\n", (long long)%s);' % (name, name)
    text = re.sub(r'^#.*$|extern "C" \{', "", text, flags=re.MULTILINE)
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, flags=re.DOTALL):
        yield from structure(name, body)
    text = re.sub(r"\{.*?\}", "", text, flags=re.DOTALL)
    for result, name, parameters in re.findall(r"typedef ([\w\s*]+?)(\w+)\(([^()]*)\);", text):
        yield prototype("callback", result, name, parameters)
    for result, name, parameters in re.findall(r"HEARTH_API ([\w\s*]+?)(\w+)\(([^()]*)\);", text):
        yield prototype("function", result, name, parameters)


def main(header, compiler):
    with open(header, encoding="utf-8") as file:
        statements = "\n".join(lines(file.read()))
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/layout.c", "w", encoding="utf-8") as file:
            file.write(PROGRAM % (header, statements))
        subprocess.run([compiler, "-std=c17", "-o", folder + "/layout", folder + "/layout.c"], check=True)
        output = subprocess.run([folder + "/layout"], check=True, stdout=subprocess.PIPE, text=True).stdout
    print("\n".join(sorted(output.splitlines())))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
