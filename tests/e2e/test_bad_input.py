#!/usr/bin/env python3
"""Broken plans and flags, each with the exact message it gets, from tests/e2e/bad_input.txt.

A case is a line "=== what", then "args: ..." ($PLAN is the plan's file, $DIR its folder), optionally
"env: NAME=value", then "--- plan" with the plan and "--- stderr" with all that is said. Every case
must exit 2, say exactly that, print nothing on standard output and start nothing.

  test_bad_input.py CHAOS_LOAD [--bless]     --bless writes what is said now; read the diff.
"""
import os
import shlex
import subprocess
import sys
import tempfile

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad_input.txt")
CASES_MIN = 80


def parse(text):
    cases, part = [], None
    for line in text.splitlines(keepends=True):
        if line.startswith("=== "):
            cases.append({"what": line[4:].strip(), "args": "", "env": "", "plan": None, "stderr": ""})
            part = None
        elif line.rstrip("\n") in ("--- plan", "--- stderr"):
            part = line.split()[1]
            cases[-1][part] = ""
        elif part:
            cases[-1][part] += line
        elif ": " in line:
            key, value = line.split(": ", 1)
            cases[-1][key] = value.rstrip("\n")
    return cases


def unparse(cases):
    out = []
    for c in cases:
        out.append(f"=== {c['what']}\nargs: {c['args']}\n")
        if c["env"]:
            out.append(f"env: {c['env']}\n")
        if c["plan"] is not None:
            out.append("--- plan\n" + c["plan"])
        out.append("--- stderr\n" + c["stderr"])
    return "".join(out)


def run(binary, case, folder):
    plan = os.path.join(folder, "plan.yaml")
    if case["plan"] is not None:
        with open(plan, "wb") as f:  # \xNN in the table is a byte
            f.write(case["plan"].encode().decode("unicode_escape").encode("latin-1")
                    if "\\x" in case["plan"] else case["plan"].encode())
    args = shlex.split(case["args"].replace("$PLAN", "plan.yaml"))
    env = {"PATH": os.environ["PATH"], "HOME": folder, "CHAOS_LOAD_STATE": folder + "/state"}
    if case["env"]:
        env.update([case["env"].split("=", 1)])
    try:
        done = subprocess.run([binary] + args, cwd=folder, env=env, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "none: it went on", "", ""
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def main():
    binary = os.path.abspath(sys.argv[1])
    bless = "--bless" in sys.argv
    with open(TABLE, encoding="utf-8") as f:
        cases = parse(f.read())
    failures = 0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            code, out, err = run(binary, case, folder)
            left = sorted(set(os.listdir(folder)) - {"plan.yaml"})
        problems = []
        if code != 2:
            problems.append(f"exit code {code} instead of 2")
        if out:
            problems.append(f"standard output: {out!r}")
        if left:
            problems.append(f"left behind: {left}")
        if bless and not problems:
            case["stderr"] = err
        elif err != case["stderr"]:
            problems.append(f"said\n{err}instead of\n{case['stderr']}")
        if problems:
            failures += 1
            print(f"FAIL {case['what']}: " + "; ".join(problems))
    if bless:
        with open(TABLE, "w", encoding="utf-8") as f:
            f.write(unparse(cases))
    if len(cases) < CASES_MIN:
        print(f"FAIL only {len(cases)} cases, at least {CASES_MIN} are wanted")
        failures += 1
    print(f"{len(cases)} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
