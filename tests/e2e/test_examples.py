#!/usr/bin/env python3
"""Every example is valid, and runs to its own verdict: shortened, and as it stands in what it does.

  test_examples.py CHAOS_LOAD ROOT [NAME...]
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

# Factor on all instants and lengths; what must be true of the result.
EXAMPLES = {
    "demo.yaml": (0.6, {"faults": ["kill", "latency"], "felt": ["kill shop", "latency network"]}),
    "lab13.yaml": (0.5, {"faults": ["kill", "kill", "kill"], "users": 100}),
    "open-load.yaml": (0.5, {"faults": ["pause"]}),
    "stages.yaml": (0.5, {"faults": [], "endpoints": ["log in", "create", "look at it"]}),
    "http-faults.yaml": (0.7, {"faults": ["http-status", "http-delay", "http-abort"]}),
    "process.yaml": (0.6, {"faults": ["pause", "restart"]}),
    "auth.yaml": (0.4, {"faults": [], "endpoints": ["GET /echo"]}),
}
# Those that need more than this machine: run by the test that has it.
ELSEWHERE = {"lab13-pumba-run.yaml": "test_lab13.py", "lab13-pumba-watch.yaml": "test_lab13.py",
             "lab13-compose.yaml": "test_lab13.py", "lab13-docker.yaml": "test_docker.py"}
SECRET = "example-secret-4711"


def shorten(text, factor):
    """Scales what is an instant or a length of the plan; a recovery hold and think times stay."""
    def scaled(m):
        return f"{m.group(1)}{float(m.group(2)) * factor:g}s"
    return re.sub(r"(\b(?:at|every|duration|for): )([0-9.]+)s", scaled, text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(folder):
    env = dict(os.environ, CHAOS_LOAD_STATE=os.path.join(folder, "state"), API_TOKEN=SECRET,
               PORT=str(free_port()))
    env.pop("NO_COLOR", None)
    return env


def check_result(name, want, folder):
    with open(os.path.join(folder, "out", "result.json"), encoding="utf-8") as f:
        text = f.read()
    result = json.loads(text)
    problems = []
    kinds = sorted(f["kind"] for f in result["faults"])
    if kinds != sorted(want["faults"]):
        problems.append(f"faults {kinds} instead of {want['faults']}")
    for fault in result["faults"]:
        if fault["effective_ms"] is None:
            problems.append(f"{fault['name']} never took effect")
    for felt in want.get("felt", []):
        if not any(f["felt"] for f in result["faults"] if f["name"] == felt):
            problems.append(f"{felt} was not felt")
    names = {e["name"] for e in result["endpoints"]}
    for endpoint in want.get("endpoints", []):
        if endpoint not in names:
            problems.append(f"no endpoint '{endpoint}' among {sorted(names)}")
    if result["totals"]["successes"] == 0:
        problems.append("no request was answered")
    if result["exit_code"] != 0:
        problems.append(f"{result['verdict']}: {[t for t in result['thresholds'] if not t['ok']]}")
    if SECRET in text:
        problems.append("the secret is in result.json")
    return problems


def run(binary, args, folder, env):
    return subprocess.run([binary] + args, cwd=folder, env=env, capture_output=True, text=True, timeout=180)


def example(binary, root, name):
    factor, want = EXAMPLES[name]
    path = os.path.join(root, "examples", name)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        env = environment(folder)
        whole = run(binary, ["validate", path], folder, env)
        if whole.returncode != 0:
            problems.append(f"is not valid: {whole.stderr}")
        with open(path, encoding="utf-8") as f:
            short = shorten(f.read(), factor)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(short)
        done = run(binary, ["run", name, "--out", "out", "--plain"], folder, env)
        if done.returncode != 0:
            problems.append(f"exit code {done.returncode}\n{done.stderr}")
        if os.path.exists(os.path.join(folder, "out", "result.json")):
            problems += check_result(name, want, folder)
        if SECRET in done.stderr + done.stdout:
            problems.append("the secret is shown")
        left = os.listdir(os.path.join(folder, "state")) if os.path.isdir(os.path.join(folder, "state")) else []
        if left:
            problems.append(f"journals are left: {left}")
    return problems


def flags_sh(binary, root):
    with tempfile.TemporaryDirectory() as folder:
        env = dict(environment(folder), CHAOS_LOAD=binary, TIME="12s")
        done = subprocess.run([shutil.which("sh"), os.path.join(root, "examples", "flags.sh"), "--out", "out"],
                              cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        problems = [] if done.returncode == 0 else [f"exit code {done.returncode}\n{done.stderr}"]
        if os.path.exists(os.path.join(folder, "out", "result.json")):
            problems += check_result("flags.sh", {"faults": ["kill"], "endpoints": ["POST /items"]}, folder)
        return problems


def main():
    binary, root, only = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    listed = set(EXAMPLES) | set(ELSEWHERE) | {"flags.sh"}
    there = set(os.listdir(os.path.join(root, "examples")))
    failed = []
    for name in sorted(there | listed):
        if only and name not in only:
            continue
        if name not in listed or name not in there:
            problems = ["is there and not tested, or tested and not there"]
        elif name in ELSEWHERE:
            with open(os.path.join(root, "tests", "e2e", ELSEWHERE[name]), encoding="utf-8") as f:
                problems = [] if name in f.read() else [f"{ELSEWHERE[name]} does not run it"]
        elif name == "flags.sh":
            problems = flags_sh(binary, root)
        else:
            problems = example(binary, root, name)
        print(("FAIL " if problems else "ok   ") + name, *problems, sep="\n  " if problems else " ", flush=True)
        failed += [name] if problems else []
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
