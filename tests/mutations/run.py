#!/usr/bin/env python3
"""Proves that the tests notice bugs: builds Keel with each of seeded_bugs.py in turn, in a copy, and
requires that a test fails.

    tests/mutations/run.py             all of them
    tests/mutations/run.py WORD ...    those whose name contains a word
    tests/mutations/run.py --check     builds nothing: does each of them still apply?
Exit status 1: a bug went unnoticed, or a mutation does not apply any more.

The copy and its build stay in build/mutations/: a second run compiles what has changed since. While
one is built the tests of those before it run, as many at a time as there are processors (KEEL_JOBS).
"""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
COPY = SOURCE / "build" / "mutations"
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from seeded_bugs import MUTATIONS, NOTICED_BY  # noqa: E402

# Where the test of NOTICED_BY does not notice, or there is none: by the first of these that the
# file begins with, the quick tests first; the first that fails is enough.
TESTS = [
    ("src/api/server/", ["api_server"]),
    ("src/api/", ["api_source", "api_collect"]),
    ("src/reach/", ["reach_webhook"]),
    ("src/query/live/", ["query_live_parts", "query_live"]),
    ("src/store/journal/", ["store_journal_full", "store_journal", "customer_backup", "store_journal_crash"]),
    ("", ["customer_background", "customer_ingest", "customer_db", "customer_identity_index",
          "customer_concurrent", "store_part", "customer_backup", "customer_power", "customer_failing",
          "customer_crash"]),
]
SECONDS = 900
WAITING = 4  # programs a processor that are built and not yet done
ENVIRONMENT = {"KEEL_ROUNDS": "40", "KEEL_EVERY": "3"}  # fewer kills and crash states than the campaign


def refresh_copy():
    """Makes COPY the sources as they are; what has not changed keeps its time, and is not built again."""
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=SOURCE, check=True, capture_output=True).stdout
    wanted = {name for name in filter(None, names.decode().split("\0")) if (SOURCE / name).is_file()}
    for name in wanted:
        to, text = COPY / name, (SOURCE / name).read_bytes()
        if not to.is_file() or to.read_bytes() != text:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, to)
            os.utime(to)  # newer than what was built of a mutated one
    for path in [path for path in COPY.rglob("*") if path.is_file()]:
        name = path.relative_to(COPY)
        if name.parts[0] != "build" and "node_modules" not in name.parts and str(name) not in wanted:
            path.unlink()
    (COPY / "build").mkdir(exist_ok=True)
    if not (COPY / "build" / "web").exists():  # the screens as they are built already
        (COPY / "build" / "web").symlink_to(SOURCE / "build" / "web")


def configure():
    subprocess.run(["cmake", "--preset", "dev", "-DKEEL_WERROR=OFF"], cwd=COPY, check=True,
                   stdout=subprocess.DEVNULL)


def build(test):
    """None, or why not."""
    done = subprocess.run(["cmake", "--build", str(COPY / "build/dev"), "--target", f"test_{test}"],
                          capture_output=True, text=True)
    return done.stdout[-1500:] if done.returncode else None


def tests_of(file, first):
    tests = next(tests for prefix, tests in TESTS if file.startswith(prefix))
    return [first] * bool(first) + [test for test in tests if test != first]


def failure_of(program):
    environment = {**os.environ, **ENVIRONMENT, "KEEL_SOURCE": str(COPY)}
    try:
        done = subprocess.run([program], env=environment, timeout=SECONDS, cwd=COPY,
                              capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return f"no end after {SECONDS} s"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).splitlines()
    why = [line for line in lines if "ERROR" in line or "assertion failed" in line]
    return (why or lines or ["no output"])[0].strip()


def built(test, folder):
    """(the test's program, moved to the folder, None), or (None, why it does not build)."""
    broken = build(test)
    if broken:
        return None, broken
    program = pathlib.Path(folder) / f"{test}-{time.monotonic_ns()}"
    (COPY / "build/dev/tests" / f"test_{test}").rename(program)  # the linker makes another one
    return program, None


def run_once(program):
    try:
        return failure_of(program)
    finally:
        program.unlink()


def mutated(text, pairs):
    """None if it does not apply."""
    for old, new in zip(pairs[::2], pairs[1::2]):
        if text.count(old) != 1:
            return None
        text = text.replace(old, new)
    return text


def check():
    stale = 0
    for name, file, *pairs in MUTATIONS:
        path = SOURCE / file
        text = path.read_text() if path.is_file() else ""
        if len(pairs) % 2 or mutated(text, pairs) in (None, text):
            print(f"STALE    {name}: its text is not in {file} once")
            stale += 1
    unknown = set(NOTICED_BY) - {m[0] for m in MUTATIONS}
    for name in sorted(unknown):
        print(f"UNKNOWN  {name}: NOTICED_BY names it, MUTATIONS does not")
    for name in [m[0] for m in MUTATIONS if m[0] not in NOTICED_BY]:
        print(f"UNTRIED  {name}: NOTICED_BY does not say which test notices it")
        stale += 1
    print(f"{len(MUTATIONS)} mutations, {len(MUTATIONS) - stale} apply")
    sys.exit(1 if stale or unknown else 0)


def mutant(mutation, test, folder):
    """(program, None) of the test with the bug in it, or (None, why not)."""
    _, file, *pairs = mutation
    path = COPY / file
    original = path.read_text()
    changed = mutated(original, pairs)
    if changed is None:
        return None, f"STALE: its text is not in {file} once"
    path.write_text(changed)
    try:
        return built(test, folder)
    finally:
        path.write_text(original)


def verdict_of(mutation, test, why):
    expected = NOTICED_BY.get(mutation[0])
    other = f" (not by {expected})" if expected and test != expected else ""
    return f"caught   {mutation[0]}: {test}{other}\n         {why[:160]}"


def try_others(mutation, tried, folder):
    """The tests of its room one by one, until one notices."""
    for test in tests_of(mutation[1], None):
        if test == tried:
            continue
        program, broken = mutant(mutation, test, folder)
        why = broken or run_once(program)
        if broken:
            return f"BROKEN   {mutation[0]}: {broken}"
        if why:
            return verdict_of(mutation, test, why)
    return f"MISSED   {mutation[0]}"


def check_unmutated(tests, pool, folder):
    programs = [(test, *built(test, folder)) for test in tests]
    broken = [f"{test}: {why}" for test, _, why in programs if why]
    failed = [] if broken else [f"{test}: {why}" for (test, _, _), why in
                                zip(programs, pool.map(run_once, [p for _, p, _ in programs])) if why]
    if broken or failed:
        sys.exit("without a mutation:\n" + "\n".join(broken + failed))


def try_all(chosen, pool, jobs, folder):
    """Prints the verdicts; how many were noticed."""
    running, noticed = [], 0

    def report(most):
        """Of those that run: until so many are left, and all at the front that have ended."""
        told = 0
        while running and (len(running) > most or not running[0][3] or running[0][3].done()):
            mutation, test, broken, future = running.pop(0)
            why = future.result() if future else None
            if why:
                said = verdict_of(mutation, test, why)
            else:
                said = f"BROKEN   {mutation[0]}: {broken}" if broken else try_others(mutation, test, folder)
            told += said.startswith("caught")
            print(said, flush=True)
        return told

    for mutation in chosen:
        test = tests_of(mutation[1], NOTICED_BY.get(mutation[0]))[0]
        program, broken = mutant(mutation, test, folder)
        running.append((mutation, test, broken, pool.submit(run_once, program) if program else None))
        noticed += report(WAITING * jobs)
    return noticed + report(0)


def main():
    words = sys.argv[1:]
    if words == ["--check"]:
        check()
    begun = time.monotonic()
    chosen = [m for m in MUTATIONS if not words or any(word in m[0] for word in words)]
    jobs = int(os.environ.get("KEEL_JOBS", os.cpu_count()))
    refresh_copy()
    configure()
    with tempfile.TemporaryDirectory(dir=COPY / "build") as folder, \
            concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        needed = sorted({tests_of(m[1], NOTICED_BY.get(m[0]))[0] for m in chosen})
        check_unmutated(needed, pool, folder)
        print(f"without a mutation they pass: {', '.join(needed)}", flush=True)
        noticed = try_all(chosen, pool, jobs, folder)
    print(f"{len(chosen)} mutations, {noticed} caught, {time.monotonic() - begun:.0f} s")
    sys.exit(0 if noticed == len(chosen) else 1)


if __name__ == "__main__":
    main()
