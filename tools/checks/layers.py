"""A room of src/ knows only the rooms above it in cmake/rooms.txt: in includes and in calls."""
import re
import subprocess

from .repo import Problem, line_of

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def includes(repo):
    problems = []
    for name in repo.find(r"^src/.*\.(c|h|cc|hh|y|re|def)$"):
        room, text = repo.room_of(name), repo.code(name, keep_strings=True)
        if room not in repo.rooms:
            problems.append(Problem(name, 0, "is in no room of cmake/rooms.txt", "-"))
            continue
        for match in INCLUDE.finditer(text):
            included, line = match.group(1), line_of(text, match.start(1))
            other = included.split("/")[0] if "/" in included else None
            if other in repo.rooms and repo.rooms.index(other) > repo.rooms.index(room):
                problems.append(Problem(
                    name, line, f"{room} includes {included}: {other} is below {room}; "
                    "turn the dependency round or pass a callback", included))
            elif other is None and not included.startswith("keel_version"):
                problems.append(Problem(
                    name, line, f'write the room too: #include "{room}/{included}"', included))
            elif ".." in included:
                problems.append(Problem(name, line, "include from the root of src/", included))
    return problems


def calls(repo):
    """The same for symbols: catches a prototype written by hand instead of an include."""
    defined, wanted = {}, {}
    for room in repo.rooms:
        archive = repo.build / f"libkeel_{room}.a"
        if not archive.exists():
            continue
        out = subprocess.run(["nm", "-A", archive], capture_output=True, text=True).stdout
        for line in out.splitlines():
            where, _, rest = line.rpartition(":")
            parts = rest.split()
            if len(parts) < 2:
                continue
            kind, symbol = parts[-2:]
            if kind == "U":
                wanted.setdefault(room, {}).setdefault(symbol, where.rpartition(":")[2])
            elif kind in "TDBRC":
                defined.setdefault(symbol, set()).add(room)
    problems = []
    for room, symbols in wanted.items():
        for symbol, member in sorted(symbols.items()):
            homes = defined.get(symbol, set())
            if homes and all(repo.rooms.index(h) > repo.rooms.index(room) for h in homes):
                problems.append(Problem(f"src/{room}", 0, f"{member} calls {symbol} of "
                                        f"{min(homes)}, a room below", symbol))
    for symbol, homes in sorted(defined.items()):
        if len(homes) > 1:
            problems.append(Problem("src", 0, f"{symbol} is defined in {' and '.join(sorted(homes))}",
                                    symbol))
    return problems
