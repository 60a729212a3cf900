"""Calls of functions listed in banned.txt, and direct use of the heap or of files outside base."""
import re

from .repo import Problem, line_of

LIST = "tools/checks/banned.txt"


def read_list(repo):
    rules = {}
    for line in repo.text(LIST).splitlines():
        words = line.split(None, 2)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 3:
            raise SystemExit(f"{LIST}: no reason given: {line}")
        rules[words[0]] = (words[1].split(","), words[2])
    return rules


def check(repo):
    rules = read_list(repo)
    # A call; no member (x->read, x.read), no part of another word (k_free).
    pattern = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(rules))
    problems = []
    for name in repo.find(r"^src/.*\.(c|h|cc|hh|y|re)$"):
        code, room = repo.code(name), repo.room_of(name)
        for match in pattern.finditer(code):
            function = match.group(1)
            rooms, reason = rules[function]
            if room not in rooms:
                problems.append(Problem(name, line_of(code, match.start()),
                                        f"{function}(): {reason}", function))
    return problems
