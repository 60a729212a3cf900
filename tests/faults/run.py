#!/usr/bin/env python3
"""The fault campaign: every test that breaks something on purpose, with what each of them tried.

    tests/faults/run.py [--seed 1] [--cycles 1000] [--jobs N] [--build build/dev] [--results FILE] [WORD ...]

WORD: only layers whose name contains one. --seed is KEEL_SEED of all tests that take one, --cycles
how often api.collectors_crash kills a loaded server. It runs what CTest would run from --build, N at
a time (as many as there are processors) but for those that want to be alone, and goes on where one
fails. What the tests print of their work is the report: on the screen and, behind a whole run, in
FILE (build/faults.md).
Exit status 1: a test failed; its output stands on the screen.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
SKIPPED = 77

# What is broken -> the tests that break it. "fuzz." stands for all of tests/fuzz.
LAYERS = [
    ("the model disk: a power cut behind every call",
     ["store.journal_crash", "store.journal_holes", "customer.power"]),
    ("every call and every allocation fails once",
     ["store.journal", "customer.failing", "customer.background", "customer.ingest"]),
    ("kill -9 under load, with a ledger of what was answered",
     ["customer.crash", "customer.backup", "reach.webhook", "api.collectors_crash"]),
    ("damage: flipped bits, cuts, right checksums around wrong content",
     ["store.part", "store.codec", "customer.identity_index"]),
    ("requests and files that nobody sends in good faith", ["fuzz."]),
    ("no room, no descriptors, no memory",
     ["store.journal_full", "api.full_disk", "api.collect", "api.serve"]),
    ("slow, broken and many clients", ["api.server", "api.collectors", "customer.concurrent"]),
]
FIGURES_MAX = 40  # lines of one test
PATIENCE = 5  # times the limit that CTest has: a long run meets a busy machine, and looks for no slowness


def registered(build):
    """{name: test} as CTest has them: command, environment, limit."""
    told = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, check=True, capture_output=True,
                          text=True).stdout
    tests = {}
    for test in json.loads(told)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        tests[test["name"]] = {
            "command": test["command"], "folder": properties.get("WORKING_DIRECTORY", str(build)),
            "environment": dict(pair.split("=", 1) for pair in properties.get("ENVIRONMENT", [])),
            "seconds": properties.get("TIMEOUT", 600), "alone": properties.get("RUN_SERIAL", False)}
    return tests


def figures(output):
    """What a test says of its work; not CMocka's and unittest's own lines, but for a count of tests."""
    said, passed, unit = [], 0, None
    for line in map(str.strip, output.splitlines()):
        if line.startswith("[       OK ]"):
            passed += 1
        elif line.startswith("Ran "):
            unit = line
        elif re.search(r"\d", line) and not re.match(r"\[|KEEL_SEED=\d+$|test_|-+$|\(|#\d|seed \d+", line):
            said.append(line)
    merged = []  # the same line of many rounds is said once
    for line in said:
        if merged and merged[-1][0] == line:
            merged[-1][1] += 1
        else:
            merged.append([line, 1])
    texts = [text if n == 1 else f"{text} ({n} times)" for text, n in merged][-FIGURES_MAX:]
    return [unit or f"{passed} tests"] * bool(unit or passed) + texts


def run(name, test, options):
    """{name, verdict, seconds, figures}; prints the end of what a failed test said."""
    seconds = PATIENCE * max(test["seconds"], options.cycles if name == "api.collectors_crash" else 0)
    environment = {**os.environ, **test["environment"], "KEEL_SEED": str(options.seed),
                   "KEEL_CYCLES": str(options.cycles)}
    begun = time.monotonic()
    try:
        done = subprocess.run(test["command"], cwd=test["folder"], env=environment, timeout=seconds,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        output = done.stdout
        verdict = {0: "passed", SKIPPED: "skipped"}.get(done.returncode, f"FAILED ({done.returncode})")
    except subprocess.TimeoutExpired as late:
        output, verdict = (late.stdout or b"").decode(errors="replace"), f"FAILED (no end after {seconds:.0f} s)"
    took = time.monotonic() - begun
    said = [f"  {name}: {verdict}, {took:.0f} s"]
    if verdict.startswith("FAILED"):
        said += output.splitlines()[-60:]
        said.append(f"again: KEEL_SEED={options.seed} KEEL_CYCLES={options.cycles} "
                    f"ctest --test-dir {options.build} -R '^{name}$' -V")
    else:
        said += [f"      {line}" for line in figures(output)]
    print("\n".join(said), flush=True)
    return {"name": name, "verdict": verdict, "seconds": took, "figures": figures(output)}


def run_all(tests, names, options):
    """{name: result}"""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda name: run(name, tests[name], options),
                             [name for name in names if not tests[name]["alone"]]))
    done += [run(name, tests[name], options) for name in names if tests[name]["alone"]]
    return {result["name"]: result for result in done}


def tests_of(names, tests):
    missing = [n for n in names if not n.endswith(".") and n not in tests]
    if missing:
        sys.exit(f"no such test: {', '.join(missing)}; is everything built?")
    return sorted(t for t in tests for n in names if t == n or (n.endswith(".") and t.startswith(n)))


def write(path, options, begun, took, layers):
    revision = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=SOURCE, capture_output=True,
                              text=True).stdout.strip()
    load = os.getloadavg()[0]
    lines = ["# The fault campaign, as it ran last", "",
             "Written by `make faults`; what it is: tests/faults/README.md.", "",
             f"{begun:%Y-%m-%d %H:%M} UTC, revision {revision or 'unknown'}, seed {options.seed}, "
             f"{options.cycles} kills; {took / 60:.0f} minutes on",
             f"{os.cpu_count()} processors with a load average of {load:.1f} at the end.", ""]
    for layer, results in layers:
        lines += [f"## {layer[0].upper()}{layer[1:]}", "", "| test | | s | |", "|---|---|---|---|"]
        for r in results:
            said = "<br>".join(line.replace("|", "\\|") for line in r["figures"])
            lines.append(f"| {r['name']} | {r['verdict']} | {r['seconds']:.0f} | {said} |")
        lines.append("")
    path.write_text("\n".join(lines[:-1]) + "\n")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--cycles", type=int, default=1000)
    options.add_argument("--jobs", type=int, default=os.cpu_count())
    options.add_argument("--build", type=pathlib.Path, default=SOURCE / "build/dev")
    options.add_argument("--results", type=pathlib.Path, default=SOURCE / "build/faults.md")
    options.add_argument("words", nargs="*")
    options = options.parse_args()
    tests = registered(options.build)
    chosen = [(layer, tests_of(names, tests)) for layer, names in LAYERS
              if not options.words or any(word in layer for word in options.words)]
    begun, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    done = run_all(tests, [name for _, names in chosen for name in names], options)
    layers = [(layer, [done[name] for name in names]) for layer, names in chosen]
    took = time.monotonic() - clock
    results = [r for _, of in layers for r in of]
    failed = [r["name"] for r in results if r["verdict"].startswith("FAILED")]
    if not options.words:
        write(options.results, options, begun, took, layers)
    print(f"{len(results)} tests, {len(failed)} failed, {took / 60:.0f} minutes, seed {options.seed}")
    print("".join(f"FAILED   {name}\n" for name in failed), end="")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
