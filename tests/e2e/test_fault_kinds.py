"""Every kind of fault once, through `chaos-load run` against `chaos-load target`: what the load sees is what was asked
for, the instants are right, and nothing stays behind. One row per kind; rows run side by side."""
import concurrent.futures
import json
import os
import re

from harness import *

SIDE_BY_SIDE = 3
USERS = 4
FAULT_AT, HELD = 1000, 1000


# ---- what a row looks at ----

class Seen:
    def __init__(self, result):
        self.result, self.fault = result, result["faults"][0]
        phases = {p["kind"]: p for p in result["phases"]}
        self.before, self.during, self.after = phases["baseline"], phases["inject"], phases.get("recovery")
        self.classes = {e["class"]: e["count"] for e in self.during["errors"]}
        self.sent = self.during["totals"]["requests"]
        self.failed = self.during["totals"]["failures"]

    def added_ms(self):
        return self.during["response_time"]["p50_ms"] - self.before["response_time"]["p50_ms"]

    def held_ms(self):
        return self.fault["reverted_ms"] - self.fault["effective_ms"]


def adds(ms):
    """So much to the median, within 5 % + 1 ms."""
    def check(seen):
        assert near(seen.added_ms(), ms, 0.05, 1), f"{seen.added_ms()} ms were added instead of {ms}"
        assert seen.failed == 0, seen.classes
    return check


def share(name, want):
    """Such a share of the requests fails so, within what chance allows (4.5 deviations: 1 false alarm in 150,000)."""
    def check(seen):
        hits = seen.classes.get(name, 0)
        assert seen.sent >= 60, f"only {seen.sent} draws"
        bound = 4.5 * (want * (1 - want) / seen.sent) ** 0.5 + 2 / seen.sent
        assert abs(hits / seen.sent - want) <= bound, f"{hits} of {seen.sent} is not {want} within {bound:.3f}"
        assert seen.failed - hits <= 2, seen.classes
    return check


def mostly(*names, least=0.8):
    """What fails, fails so, and nearly everything fails."""
    def check(seen):
        hits = sum(seen.classes.get(name, 0) for name in names)
        assert hits >= 4 and hits >= least * seen.sent, f"{seen.classes} of {seen.sent}"
    return check


def every_tenth(seen):
    """limit-data: 10 KiB hold nine answers of about 1,100 bytes, and the tenth comes short."""
    cut = seen.classes.get("short-body", 0)
    assert cut == seen.failed > 0, seen.classes
    assert near(seen.sent / cut, 10, 0.15), f"{cut} of {seen.sent}: {seen.classes}"


def late_ends(seen):
    """slow-close: the end of the stream, which is all the answer there is, comes later."""
    added = seen.during["failed"]["p50_ms"] - seen.before["failed"]["p50_ms"]
    assert near(added, 100, 0.05, 1), added
    assert seen.failed == seen.sent == seen.classes["closed"], seen.classes


def down(least_ms):
    def check(seen):
        assert sum(seen.classes.get(name, 0) for name in ("refused", "reset", "closed")) > 0, seen.classes
        assert least_ms <= seen.held_ms() <= least_ms + 1000, seen.fault
    return check


def silent(seen):
    assert seen.during["response_time"]["max_ms"] >= 0.8 * HELD, seen.during["response_time"]
    assert near(seen.held_ms(), HELD, 0.05, 20), seen.fault


def starved(seen):
    """2 ms of a processor in each 100: answers wait for the next turn."""
    assert seen.added_ms() >= 25, f"{seen.added_ms()} ms were added"


# ---- the rows: kind, its parameters, the task, what must be seen ----

SMALL = {"get": "/bytes/1000"}
HELD_KINDS = [
    ("latency", "delay: 100ms", SMALL, adds(100)),
    ("latency", "delay: 50ms, direction: both", SMALL, adds(100)),
    ("latency", "delay: 80ms, direction: request", {"post": "/echo", "body": "x"}, adds(80)),
    ("bandwidth", "rate: 4mbit", {"get": "/bytes/100000"}, adds(200.3)),
    ("rate", "rate: 4mbit, direction: request", {"post": "/echo", "body": "x" * 50000}, adds(100.3)),
    ("loss", "percent: 20%", {"get": "/bytes/1000", "expect": {"max_time": "150ms"}}, share("expectation", 0.2)),
    ("tcp-reset", "", SMALL, mostly("reset")),
    ("tcp-refuse", "", SMALL, mostly("refused")),
    ("blackhole", "", {"get": "/bytes/1000", "timeout": "300ms"}, mostly("response-timeout", least=0.6)),
    ("slow-close", "delay: 100ms", {"get": "/close"}, late_ends),
    ("slicer", "size: 100B, delay: 10ms", SMALL, adds(110)),
    ("limit-data", "bytes: 10KiB", SMALL, every_tenth),
    ("http-status", "status: 503, percent: 25%", SMALL, share("status", 0.25)),
    ("http-abort", "percent: 25%", SMALL, share("reset", 0.25)),
    ("http-delay", "delay: 100ms, match: {path: '/bytes/*'}", SMALL, adds(100)),
    ("http-body", "body: changed, percent: 30%", {"get": "/bytes/1000", "expect": {"body_not_contains": ["changed"]}},
     share("expectation", 0.3)),
    ("http-header", "headers: {X-Fault: here}, percent: 70%",
     {"get": "/bytes/1000", "expect": {"headers": {"X-Fault": "here"}}}, share("expectation", 0.3)),
    ("pause", "how: ptrace", SMALL, silent),
    ("pause", "how: sigstop", SMALL, silent),
    ("stop", "grace: 300ms", SMALL, down(HELD)),
    ("limits", "cpu: 0.02, pids: 500", {"get": "/bytes/1000000"}, starved),
]
AT_ONCE_KINDS = [
    ("kill", "restart_after: 500ms", SMALL, down(500)),
    ("restart", "grace: 500ms", SMALL, down(0)),
    ("signal", "signal: STOP, recover_signal: CONT, recover_after: 1s", SMALL, silent),
    ("exec", "command: [kill, -STOP, '{pid}'], revert: [kill, -CONT, '{pid}'], revert_after: 1s", SMALL, silent),
]
PROCESS_KINDS = {"pause", "stop", "kill", "restart", "signal", "exec", "limits"}
NEEDS_ROOT = {"limits"}
# Their requests fail without the fault, too: what is judged is what the fault changes.
ALWAYS_FAILING = {"http-header", "slow-close"}


def plan(shop, port, kind, params, task, held):
    to = f"process: {shop.tag}" if kind in PROCESS_KINDS else "proxy: front"
    duration = f"    duration: {HELD}ms\n" if held else ""
    ready = f'"tcp:127.0.0.1:{shop.port}"'
    return f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{port}
processes:
  - {{name: {shop.tag}, pid: {shop.process.pid}, ready: {ready}}}
users:
  - {{think: constant(10ms), tasks: [{json.dumps(task)}]}}
load: {{users: {USERS}, for: 3s}}
http: {{timeout: 1500ms}}
recover_hold: 500ms
faults:
  - {kind}: {{{to}{", " if params else ""}{params}}}
    at: {FAULT_AT}ms
{duration}"""


def check_instants(fault):
    assert fault["verified_in"] and fault["verified_out"] and fault["error"] is None, fault
    assert fault["ended_by"] == "plan", fault
    assert 0 <= fault["requested_ms"] - FAULT_AT <= 5, fault
    if fault["kind"] not in PROCESS_KINDS:  # those take as long as a process takes to end or a command to run
        assert 0 <= fault["effective_ms"] - FAULT_AT <= 5, fault
    assert fault["reverted_ms"] >= fault["revert_requested_ms"] >= fault["effective_ms"], fault
    if not fault["one_shot"]:
        assert near(fault["revert_requested_ms"] - fault["effective_ms"], HELD, 0, 20), fault


def check_nothing_left(tmp, shop):
    assert shop.is_healthy(), "the shop is left broken"
    assert list((tmp / "state").iterdir()) == [], list((tmp / "state").iterdir())
    recover = run("recover", state=tmp / "state").expect(0)
    assert "nothing to take back" in recover.stdout, recover
    assert not [p for p in pids_with(str(tmp)) if p != os.getpid()], "a process of the run is left"


def one(row, held):
    kind, params, task, check = row
    shop = Shop()
    try:
        with folder() as tmp, truth_server() as closing:
            port = closing.port if kind == "slow-close" else shop.port
            (tmp / "plan.yaml").write_text(plan(shop, port, kind, params, task, held))
            result = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result
            seen = Seen(result)
            lost = seen.before["totals"]["failures"]  # what was on its way when the fault came
            assert lost <= USERS or kind in ALWAYS_FAILING, seen.before["errors"]
            check_instants(seen.fault)
            check(seen)
            check_nothing_left(tmp, shop)
    finally:
        shop.stop()


def test_every_kind_does_what_it_says():
    rows = [(row, True) for row in HELD_KINDS if os.geteuid() == 0 or row[0] not in NEEDS_ROOT] + [(row, False) for row in AT_ONCE_KINDS]
    failures = []

    def judged(row, held):
        try:
            attempts(3, lambda: one(row, held))
        except AssertionError as why:
            failures.append(f"{row[0]} {{{row[1]}}}: {why}")

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done in [pool.submit(judged, *row) for row in rows]:
            done.result()
    assert not failures, "\n".join(failures)


def kinds_of_the_catalogue():
    """{("latency", "docker, by proxy"), ...}"""
    found = set()
    for name in json.loads(run("schema").expect(0).stdout)["$defs"]:
        if name.startswith("fault_"):
            kind, backend, *way = name.removeprefix("fault_").split("_")
            found.add((kind, backend + (", by proxy" if way else "")))
    return found


def shown():
    """The table of docs/FAULTS.md: {(kind, target): [test files]}"""
    text = (ROOT / "docs" / "FAULTS.md").read_text()
    table = text.split("<!-- shown by: a test compares -->")[1].split("<!-- end of shown by -->")[0]
    rows = {}
    for line in table.strip().splitlines()[2:]:
        kinds, targets, tests = [cell.strip() for cell in line.strip("|").split("|")]
        for target in [targets] if ", by " in targets else targets.split():
            for kind in kinds.replace("`", "").split():
                assert (kind, target) not in rows, f"twice: {kind} on {target}"
                rows[kind, target] = re.findall(r"`(test_\w+\.py)`", tests)
    return rows


def test_no_kind_is_without_a_test():
    known, rows = kinds_of_the_catalogue(), shown()
    assert len(known) >= 80, known
    missing = known - set(rows)
    assert not missing, f"docs/FAULTS.md, Shown by: nothing shows {sorted(missing)}"
    assert not set(rows) - known, f"docs/FAULTS.md, Shown by: no such faults: {sorted(set(rows) - known)}"
    for (kind, target), tests in rows.items():
        assert tests, f"{kind} on {target} names no test"
        for test in tests:
            path = ROOT / "tests" / "e2e" / test
            assert path.exists() and re.search(rf"\b{kind}\b", path.read_text()), f"{test} does not speak of {kind}"
            registered = any(test.removesuffix(".py") in f.read_text() for f in path.parent.glob("*.cmake"))
            assert registered, f"{test} is not run"


def test_no_kind_of_proxy_or_process_is_missing_here():
    here = {row[0] for row in HELD_KINDS + AT_ONCE_KINDS}
    for (kind, target), tests in shown().items():
        assert "test_fault_kinds.py" not in tests or kind in here, f"{kind} on {target} is not here"


if __name__ == "__main__":
    main(globals())
