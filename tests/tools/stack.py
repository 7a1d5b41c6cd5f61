"""Reads `objdump -d` of the library: who calls whom directly, how large each frame is, which functions call themselves, and the
deepest stack below each function. Calls through pointers cannot be seen; the test that measures a small stack stands for them.

usage: stack.py LISTING BOUND [FUNCTION=LEVELS]...    LEVELS: how often the function can be on the stack, by a check in its code
"""
import re
import sys

HEAD = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
EDGE = re.compile(r"\t(call|j[a-z]+) +([0-9a-f]+) <")
SUB = re.compile(r"\tsub +\$0x([0-9a-f]+),%rsp")
LEA = re.compile(r"\tlea +-0x([0-9a-f]+)\(%rsp\),%rsp")
ALIGN = re.compile(r"\tand +\$0xf[0-9a-f]*([0-9a-f]{2}),%rsp")
VARIABLE = re.compile(r"\tsub +%r\w+,%rsp")


def read(path):
    """Name, frame and callees of each function, by address: static functions of two files may share a name."""
    names, frames, edges, at = {}, {}, {}, None
    for line in open(path, encoding="utf-8"):
        if head := HEAD.match(line):
            at = int(head[1], 16)
            names[at], frames[at], edges[at] = head[2].split("@")[0], 8, set()
        elif at is None:
            continue
        elif edge := EDGE.search(line):
            if edge[1] == "call" or int(edge[2], 16) != at:  # a jump to the own beginning is a loop
                edges[at].add(int(edge[2], 16))
        elif m := SUB.search(line) or LEA.search(line):
            bytes_taken = int(m[1], 16)
            frames[at] += min(bytes_taken, 2**64 - bytes_taken)  # sub of -128 makes room for 128
        elif m := ALIGN.search(line):
            frames[at] += 256 - int(m[1], 16)
        elif "\tpush " in line:
            frames[at] += 8
        elif VARIABLE.search(line):
            sys.exit(f"{names[at]}: a frame of no fixed size")
    return names, frames, {f: {t for t in to if t in names} for f, to in edges.items()}


def components(edges):
    """Tarjan's, callees first."""
    index, low, stack, on, out = {}, {}, [], set(), []

    def visit(f):
        index[f] = low[f] = len(index)
        stack.append(f)
        on.add(f)
        for t in edges[f]:
            if t not in index:
                visit(t)
                low[f] = min(low[f], low[t])
            elif t in on:
                low[f] = min(low[f], index[t])
        if low[f] == index[f]:
            group = []
            while not group or group[-1] != f:
                group.append(stack.pop())
                on.discard(group[-1])
            out.append(group)

    for f in edges:
        if f not in index:
            visit(f)
    return out


def main():
    names, frames, edges = read(sys.argv[1])
    bound = int(sys.argv[2])
    allowed = {name: int(levels) for name, levels in (a.split("=") for a in sys.argv[3:])}
    sys.setrecursionlimit(100000)
    deepest, failures, used = {}, 0, set()
    for group in components(edges):
        own, levels = sum(frames[f] for f in group), 1
        if len(group) > 1 or group[0] in edges[group[0]]:
            known = [names[f] for f in group if names[f] in allowed]
            used.update(known)
            levels = max((allowed[n] for n in known), default=0)
            print(f"recursion: {' '.join(sorted(names[f] for f in group))}: {levels} x {own} bytes")
            if not known:
                print("FAILED: recursion of no known depth")
                failures += 1
        inside = set(group)
        below = max((deepest[t] for f in group for t in edges[f] if t not in inside), default=0)
        for f in group:
            deepest[f] = own * levels + below
    public = sorted(((d, names[f]) for f, d in deepest.items() if names[f].startswith("hearth_")), reverse=True)
    for depth, name in public[:12]:
        print(f"{depth:8} {name}")
    for name in allowed.keys() - used:
        print(f"FAILED: {name} calls itself no more")
        failures += 1
    if not public or public[0][0] > bound:
        print(f"FAILED: more than {bound} bytes, or nothing read")
        failures += 1
    print(f"{len(names)} functions")
    return failures != 0


sys.exit(main())
