#!/usr/bin/env python3
"""Proves that the tests of the store and of the collectors notice bugs: builds it with each of seeded_bugs.py in turn,
in a copy, and requires that a test fails.

    tests/mutations/run.py             all of them
    tests/mutations/run.py WORD ...    those whose name contains a word
    tests/mutations/run.py --check     builds nothing: does each of them still apply?
Exit status 1: a bug went unnoticed, or a mutation does not apply any more.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from seeded_bugs import MUTATIONS, NOTICED_BY  # noqa: E402

# Where NOTICED_BY does not say which test notices it: the quick ones first, the first that fails is enough.
API_TESTS = ["api_source", "api_collect"]  # for mutations of src/api
SERVER_TESTS = ["api_server"]  # of src/api/server/
JOURNAL_TESTS = ["store_journal", "store_journal_full", "store_journal_crash"]  # of src/store/journal/
TESTS = ["customer_db", "customer_background", "customer_ingest", "store_part",
         "customer_concurrent", "customer_power", "customer_failing", "customer_crash"]
SECONDS = 900
ENVIRONMENT = {"KEEL_ROUNDS": "40"}


def copy_sources(to):
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=SOURCE, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if not (SOURCE / name).is_file():
            continue
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(SOURCE / name, to / name)


def configure(to):
    """Through ccache, if there is one: a second run compiles nothing that the first one did."""
    environment = {**os.environ, "CCACHE_BASEDIR": str(to), "CCACHE_NOHASHDIR": "1"}
    launcher = []
    if shutil.which("ccache"):
        launcher = [f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache" for language in ("C", "CXX")]
    subprocess.run(["cmake", "--preset", "dev", "-B", str(to / "build"), "-DKEEL_WERROR=OFF", *launcher],
                   cwd=to, check=True, stdout=subprocess.DEVNULL)
    return environment


def build(to, test, environment):
    """None, or why not."""
    done = subprocess.run(["cmake", "--build", str(to / "build"), "--target", f"test_{test}"],
                          env=environment, capture_output=True, text=True)
    return done.stdout[-1500:] if done.returncode else None


def tests_of(file, first):
    if file.startswith("src/api/"):
        tests = SERVER_TESTS if "/server" in file else API_TESTS
    else:
        tests = JOURNAL_TESTS if "/journal" in file else TESTS
    return [first] + [test for test in tests if test != first] if first else tests


def failure_of(to, test):
    program = to / "build" / "tests" / f"test_{test}"
    environment = {**os.environ, **ENVIRONMENT, "KEEL_SOURCE": str(to)}
    try:
        done = subprocess.run([program], env=environment, timeout=SECONDS, cwd=to,
                              capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).splitlines()
    why = [line for line in lines if "ERROR" in line or "assertion failed" in line]
    return (why or lines or ["no output"])[0].strip()


def first_failure(to, tests, environment):
    """(test, why), (None, None), or (None, why it does not build)."""
    for test in tests:
        broken = build(to, test, environment)
        if broken:
            return None, broken
        why = failure_of(to, test)
        if why:
            return test, why
    return None, None


def mutated(text, pairs):
    """None if it does not apply."""
    for old, new in zip(pairs[::2], pairs[1::2]):
        if text.count(old) != 1:
            return None
        text = text.replace(old, new)
    return text


def mutate(to, file, pairs):
    """Writes the mutated file; returns the original text, or None if it does not apply."""
    path = to / file
    text = path.read_text()
    changed = mutated(text, pairs)
    if changed is None:
        return None
    path.write_text(changed)
    return text


def check():
    stale = 0
    for name, file, *pairs in MUTATIONS:
        path = SOURCE / file
        text = path.read_text() if path.is_file() else ""
        if len(pairs) % 2 or mutated(text, pairs) in (None, text):
            print(f"STALE    {name}: its text is not in {file} once")
            stale += 1
    print(f"{len(MUTATIONS)} mutations, {len(MUTATIONS) - stale} apply")
    sys.exit(1 if stale else 0)


def try_one(to, mutation, environment):
    """The verdict, and whether a test noticed."""
    name, file, *pairs = mutation
    expected = NOTICED_BY.get(name)
    begun = time.monotonic()
    original = mutate(to, file, pairs)
    if original is None:
        return f"STALE    {name}: its text is not in {file} once", False
    test, why = first_failure(to, tests_of(file, expected), environment)
    (to / file).write_text(original)
    if test is None and why:
        return f"BROKEN   {name}: does not build\n{why}", False
    if test is None:
        return f"MISSED   {name}", False
    other = f" (not by {expected})" if expected and test != expected else ""
    return (f"caught   {name}: {test}{other}, {time.monotonic() - begun:.0f} s\n"
            f"         {why[:160]}"), True


def main():
    words = sys.argv[1:]
    if words == ["--check"]:
        check()
    begun = time.monotonic()
    chosen = [m for m in MUTATIONS if not words or any(word in m[0] for word in words)]
    noticed = 0
    with tempfile.TemporaryDirectory(prefix="keel-mutations-") as folder:
        to = pathlib.Path(folder)
        copy_sources(to)
        environment = configure(to)
        needed = sorted({test for m in chosen
                         for test in ([NOTICED_BY[m[0]]] if m[0] in NOTICED_BY else tests_of(m[1], None))})
        test, why = first_failure(to, needed, environment)
        if why:
            sys.exit(f"without a mutation, {test or 'the sources do not build'}: {why}")
        for mutation in chosen:
            verdict, good = try_one(to, mutation, environment)
            noticed += good
            print(verdict, flush=True)
    print(f"{len(chosen)} mutations, {noticed} caught, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if noticed == len(chosen) else 1)


if __name__ == "__main__":
    main()
