"""Objects compiled for one instruction set share no code with the others.

A weak symbol (an inline C++ function, a template) exists in many objects and the linker keeps one of
them for all: if that is the one with AVX-512, an older CPU dies in code that looks harmless.
"""
import subprocess

from .repo import Problem

PATTERNS = ("*_avx2.c.o", "*_avx512.c.o", "*_westmere.cc.o", "*_haswell.cc.o", "*_icelake.cc.o")


def check(repo):
    problems = []
    for pattern in PATTERNS:
        for file in sorted((repo.build / "CMakeFiles").glob(f"keel_*.dir/**/{pattern}")):
            out = subprocess.run(["nm", "-C", "--defined-only", file], capture_output=True, text=True)
            weak = [line.split(None, 2)[2] for line in out.stdout.splitlines()
                    if line.split(None, 2)[1] in "WVu" and "DW.ref." not in line]
            source = "src/" + str(file).partition(".dir/src/")[2].removesuffix(".o")
            if weak:
                problems.append(Problem(source, 0, f"{len(weak)} shared symbols, such as {weak[0]}",
                                        "-"))
    return problems
