"""Files, functions and their branching stay small enough to read."""
import subprocess

from .repo import Problem

FILE_LINES, FUNCTION_LINES, COMPLEXITY = 1000, 150, 25


def check(repo):
    problems = []
    sources = repo.find(r"^(src|include|tests|bench|tools)/.*\.(c|h|cc|hh|y|re|py|sh)$")
    for name in sources:
        lines = repo.text(name).count("\n")
        if lines > FILE_LINES:
            problems.append(Problem(name, 0, f"{lines} lines, more than {FILE_LINES}: split it", "-"))

    programs = [n for n in sources if n.endswith((".c", ".cc"))]
    if not programs:
        return problems
    out = subprocess.run(["pmccabe", *programs], cwd=repo.root, capture_output=True, text=True).stdout
    for row in out.splitlines():
        # complexity (a switch counts once), the same (each case counts), statements, line, length,
        # FILE(LINE): FUNCTION
        numbers, place = row.split("\t")[:5], row.split("\t")[5]
        complexity, length = int(numbers[0]), int(numbers[4])
        where, _, function = place.partition(": ")
        name, _, line = where.rstrip(")").rpartition("(")
        if length > FUNCTION_LINES:
            problems.append(Problem(name, line, f"{function}() has {length} lines, more than "
                                    f"{FUNCTION_LINES}", function))
        if complexity > COMPLEXITY:
            problems.append(Problem(name, line, f"{function}() has complexity {complexity}, more "
                                    f"than {COMPLEXITY}", function))
    return problems
