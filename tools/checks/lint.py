"""Checks that other programs make: clang-format, clang-tidy, cppcheck, clang."""
import concurrent.futures
import json
import os
import re
import shlex
import subprocess

from .repo import Problem

OURS = r"^(src|include|tests|bench)/.*\.(c|h|cc|hh)$"
DIAGNOSTIC = re.compile(r"^(?P<path>[^:\n]+):(?P<line>\d+):\d+: (?P<what>.*)$", re.MULTILINE)


def run(repo, *command):
    return subprocess.run(command, cwd=repo.root, capture_output=True, text=True)


def diagnostics(repo, text):
    found = []
    for match in DIAGNOSTIC.finditer(text):
        what, path = match["what"], os.path.relpath(repo.root / match["path"], repo.root)
        if what.startswith("note:") or path.startswith(".."):
            continue
        subject = what.rpartition("[")[2].rstrip("]")
        found.append(Problem(path, int(match["line"]), what, subject))
    return found


def clang_format(repo):
    problems = []
    for name in repo.find(OURS):
        done = run(repo, "clang-format-14", "--dry-run", "-Werror", name)
        if done.returncode != 0:
            lines = sorted({int(n) for n in re.findall(r":(\d+):\d+: error", done.stderr)})
            problems.append(Problem(name, lines[0] if lines else 0,
                                    f"{len(lines)} places not laid out: make format", "-"))
    return problems


def commands(repo):
    """{name: how it is compiled} of our own sources; generated code is left out."""
    path = repo.build / "compile_commands.json"
    if not path.exists():
        return {}
    ours = set(repo.find(OURS))
    entries = ((os.path.relpath(entry["file"], repo.root), entry) for entry in json.loads(path.read_text()))
    return {name: entry for name, entry in sorted(entries, key=lambda pair: pair[0]) if name in ours}


def compiled(repo):
    return list(commands(repo))


def clang_tidy(repo):
    def one(name):
        return run(repo, "clang-tidy-14", "--quiet", "-p", str(repo.build), name).stdout

    sources = compiled(repo)
    if not sources:
        return [Problem(str(repo.build), 0, "not configured: run cmake --preset dev", "-")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [p for text in pool.map(one, sources) for p in diagnostics(repo, text)]
    return sorted(set(found))


def cppcheck(repo):
    sources = [n for n in compiled(repo) if n.startswith("src/")]
    if not sources:
        return []
    done = run(repo, "cppcheck", "--quiet", "--enable=warning,performance,portability",
               "--inline-suppr", "--suppressions-list=tools/checks/cppcheck.txt",
               "--std=c11", "-D_GNU_SOURCE", "-D__x86_64__", "-Isrc", "-Iinclude",
               f"-I{repo.build}/generated", f"-j{os.cpu_count()}",
               "--template={file}:{line}:{column}: {severity}: {message} [{id}]", *sources)
    return sorted(set(diagnostics(repo, done.stderr)))


def clang(repo):
    """gcc builds in every run; this keeps clang without a warning too."""
    def one(entry):
        words = iter(shlex.split(entry["command"]))
        compiler = next(word for word in words if re.search(r"(cc|\+\+)[-0-9.]*$", word))
        command = ["clang++-14" if "++" in compiler else "clang-14", "-fsyntax-only"]
        for word in words:
            if word == "-o":
                next(words)
            elif word != "-c":
                command.append(word)
        return subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True).stderr

    entries = commands(repo).values()
    if not entries:
        return [Problem(str(repo.build), 0, "not configured: run cmake --preset dev", "-")]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [p for text in pool.map(one, entries) for p in diagnostics(repo, text)]
    return sorted(set(found))
