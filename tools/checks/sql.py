"""SQL is written as literals and values are bound: text never becomes a statement."""
import re

from .repo import Problem, line_of

# Functions that take SQL: name -> which argument. A wrapper of sqlite3 is added here.
TAKES_SQL = {
    "sqlite3_exec": 1, "sqlite3_prepare": 1, "sqlite3_prepare_v2": 1, "sqlite3_prepare_v3": 1,
    "sqlite3_get_table": 1, "sql_run": 2, "sql_ask": 3, "sql_number": 4,
    "manifest_run": 1, "manifest_prepare": 1,
}
LITERAL = re.compile(r'\s*("|[A-Z][A-Z0-9_]*\b\s*("|$))')


def arguments(code, start):
    """The arguments of a call whose opening parenthesis is at start."""
    depth, at, found, begin, quoted = 0, start, [], start + 1, False
    while at < len(code):
        c = code[at]
        if quoted:
            if c == "\\":
                at += 1
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return found + [code[begin:at].strip()]
        elif c == "," and depth == 1:
            found.append(code[begin:at].strip())
            begin = at + 1
        at += 1
    return found


def check(repo):
    problems = []
    call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(TAKES_SQL))
    for name in repo.find(r"^src/.*\.(c|h|cc|y)$"):
        code = repo.code(name, keep_strings=True)
        for match in call.finditer(code):
            found = arguments(code, match.end() - 1)
            at = TAKES_SQL[match.group(1)]
            sql = found[at] if at < len(found) else ""
            if re.match(r"(const\s+)?(char|struct)\b", sql):
                continue  # a declaration
            constant = re.fullmatch(r"\w+", sql) and re.search(
                r"static\s+const\s+char\s+%s\s*\[[^\]]*\]\s*=\s*\"" % re.escape(sql), code)
            if not LITERAL.match(sql) and not constant:
                problems.append(Problem(
                    name, line_of(code, match.start()),
                    f"{match.group(1)}({sql}): SQL that is no literal; bind values instead",
                    match.group(1)))
    return problems
