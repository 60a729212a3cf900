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
from seeded_bugs import MUTATIONS  # noqa: E402

# The quick ones first: the first that fails is enough.
API_TESTS = ["api_source", "api_collect"]  # for mutations of src/api
SERVER_TESTS = ["api_server"]  # of src/api/server*
JOURNAL_TESTS = ["store_journal", "store_journal_full", "store_journal_crash"]  # of src/store/journal*
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


def build(to):
    targets = [f"test_{test}" for test in TESTS + API_TESTS + SERVER_TESTS + JOURNAL_TESTS]
    return subprocess.run(["cmake", "--build", str(to / "build"), "--target", *targets],
                          capture_output=True, text=True)


def tests_of(file):
    if file.startswith("src/api/"):
        return SERVER_TESTS if "/server" in file else API_TESTS
    return JOURNAL_TESTS if "/journal" in file else TESTS


def first_failure(to, tests):
    for test in tests:
        program = to / "build" / "tests" / f"test_{test}"
        environment = {**os.environ, **ENVIRONMENT, "KEEL_SOURCE": str(to)}
        try:
            done = subprocess.run([program], env=environment, timeout=SECONDS, cwd=to,
                                  capture_output=True, text=True, errors="replace")
        except subprocess.TimeoutExpired:
            return f"{test}: no end after {SECONDS} s"
        if done.returncode:
            lines = (done.stdout + done.stderr).splitlines()
            why = [line for line in lines if "ERROR" in line or "assertion failed" in line]
            return f"{test}: {(why or lines or ['no output'])[0].strip()}"
    return None


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


def main():
    words = sys.argv[1:]
    if words == ["--check"]:
        check()
    chosen = [m for m in MUTATIONS if not words or any(word in m[0] for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="keel-mutations-") as folder:
        to = pathlib.Path(folder)
        copy_sources(to)
        subprocess.run(["cmake", "--preset", "dev", "-B", str(to / "build"), "-DKEEL_WERROR=OFF"],
                       cwd=to, check=True, stdout=subprocess.DEVNULL)
        built = build(to)
        if built.returncode:
            sys.exit(f"the sources do not build:\n{built.stdout[-3000:]}")
        failure = first_failure(to, sorted({t for m in chosen for t in tests_of(m[1])}))
        if failure:
            sys.exit(f"a test fails without a mutation: {failure}")
        for name, file, *pairs in chosen:
            begun = time.monotonic()
            original = mutate(to, file, pairs)
            if original is None:
                print(f"STALE    {name}: its text is not in {file} once", flush=True)
                bad += 1
                continue
            built = build(to)
            failure = first_failure(to, tests_of(file)) if built.returncode == 0 else None
            if built.returncode:
                verdict = f"BROKEN   {name}: does not build\n{built.stdout[-1500:]}"
            elif failure:
                verdict = f"caught   {name} ({time.monotonic() - begun:.0f} s)\n         {failure[:160]}"
            else:
                verdict = f"MISSED   {name}"
            bad += failure is None
            print(verdict, flush=True)
            (to / file).write_text(original)
    print(f"{len(chosen)} mutations, {len(chosen) - bad} caught")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
