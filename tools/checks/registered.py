"""Every test source is a CTest test, and every other file below tests/ has a known use."""
import json
import re
import subprocess

from .repo import Problem

# What may lie below tests/ without being a test itself.
KNOWN = re.compile(r"CMakeLists\.txt$|\.(h|md|test|expected|sql|toml|csv|gz|zst|ndjson|json|py)$"
                   r"|^tests/(support|data|golden|fuzz/corpus)/|^tests/fuzz/regression_driver\.c$")


def expected_name(name):
    match = re.fullmatch(r"tests/fuzz/fuzz_(\w+)\.c", name)
    if match:
        return f"fuzz.{match.group(1)}"
    match = re.fullmatch(r"tests/((?:.*/)?)test_([^/]*)\.(c|sh)", name)
    return (match.group(1) + match.group(2)).replace("/", ".") if match else None


def check(repo):
    if not (repo.build / "CTestTestfile.cmake").exists():
        return [Problem(str(repo.build), 0, "not configured: run cmake --preset dev", "-")]
    done = subprocess.run(["ctest", "--show-only=json-v1"], cwd=repo.build, capture_output=True,
                          text=True)
    registered = {t["name"] for t in json.loads(done.stdout)["tests"]}
    problems = []
    for name in repo.find(r"^tests/"):
        test = expected_name(name)
        if test and test not in registered:
            problems.append(Problem(name, 0, f"is not run by CTest (looked for {test})", "-"))
        elif not test and not KNOWN.search(name):
            problems.append(Problem(
                name, 0, "is no test: name it test_*.c, test_*.sh or fuzz/fuzz_*.c, or move it to "
                "tests/support or tests/data", "-"))
    for corpus in sorted({n.split("/")[3] for n in repo.find(r"^tests/fuzz/corpus/.*/")}):
        if f"fuzz.{corpus}" not in registered:
            problems.append(Problem(f"tests/fuzz/corpus/{corpus}", 0, "no fuzz target reads it", "-"))
    return problems
