"""What all checks share: the list of files, sources without comments, the exceptions."""
import functools
import re
import subprocess

TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


class Problem(str):
    """A line for the reader, and the words that allowed.txt may name it by."""

    def __new__(cls, path, line, what, subject=""):
        problem = super().__new__(cls, f"{path}:{line}: {what}" if line else f"{path}: {what}")
        problem.path, problem.subject = path, subject
        return problem


class Repo:
    def __init__(self, root, build, paths=()):
        self.root = root
        self.build = root / build
        self.paths = [str((root / p).relative_to(root)) for p in paths]
        lines = (root / "cmake/rooms.txt").read_text().splitlines()
        self.rooms = [line for line in lines if re.match("[a-z]", line)]

    @functools.cached_property
    def files(self):
        """Tracked files and new ones that git does not ignore, as paths relative to the root."""
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root, capture_output=True, text=True)
        if done.returncode == 0:
            names = done.stdout.split("\0")
        else:  # an unpacked archive
            names = [str(p.relative_to(self.root)) for p in self.root.rglob("*")]
            names = [n for n in names if not n.startswith(("build/", ".git/"))]
        return sorted(n for n in names if n and (self.root / n).is_file())

    def find(self, pattern, limit=True):
        wanted = [n for n in self.files if re.search(pattern, n)]
        if limit and self.paths:
            wanted = [n for n in wanted if n.startswith(tuple(self.paths))]
        return wanted

    @functools.lru_cache(maxsize=None)
    def text(self, name):
        return (self.root / name).read_text(errors="replace")

    @functools.lru_cache(maxsize=None)
    def code(self, name, keep_strings=False):
        """The text with comments (and strings) blanked; offsets and line numbers stay."""
        def blank(match):
            token = match.group()
            if token[0] in "\"'":
                return token if keep_strings else token[0] + " " * (len(token) - 2) + token[0]
            return re.sub(r"[^\n]", " ", token)
        return TOKENS.sub(blank, self.text(name))

    def room_of(self, name):
        match = re.match(r"src/([a-z]+)/", name)
        return match.group(1) if match else None

    def without_allowed(self, check, problems):
        """Drops what allowed.txt excuses; an excuse without reason or use is a problem itself."""
        allowed = "tools/checks/allowed.txt"
        left = list(problems)
        for number, line in enumerate(self.text(allowed).splitlines(), 1):
            rule, _, reason = line.partition("#")
            words = rule.split()
            if not words or words[0] != check:
                continue
            if len(words) != 3 or not reason.strip():
                left.append(Problem(allowed, number, "expected: CHECK PATH SUBJECT # reason"))
                continue
            _, path, subject = words
            rest = [p for p in left if (p.path, p.subject) != (path, subject)]
            if len(rest) == len(left) and not self.paths:
                rest.append(Problem(allowed, number, f"excuses nothing any more: {rule.strip()}"))
            left = rest
        return left


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
