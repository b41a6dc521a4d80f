#!/usr/bin/env python3
"""Proxy faults on a port that nobody put a proxy in front of, in network namespaces of the test's own: the load comes from
outside over a veth, or from inside; old connections come back through the fault; nothing is left whoever dies."""
import concurrent.futures
import itertools
import json
import os
import signal
import subprocess
import sys

from harness import *
from harness import TRUTH_SERVER
from test_fault_kinds import Seen

PORT, ENDING_PORT = 8080, 8081
SIDE_BY_SIDE = 6
USERS = 4
SMALL = {"get": "/bytes/1000"}
ONE_BY_ONE = {"get": "/bytes/1001"}  # with a connection for each
numbers = itertools.count()


class Lab:
    """with Lab() as lab: a server in a namespace; lab.run(...) runs chaos-load inside one of the two."""

    def __init__(self):
        number = next(numbers)
        self.server_ns, self.user_ns = f"clrs{number}-{os.getpid()}", f"clru{number}-{os.getpid()}"
        self.servers = []

    def ip(self, *args):
        subprocess.run(["ip", *args], check=True, capture_output=True)

    def inside(self, ns, *args):
        return ["nsenter", f"--net=/run/netns/{ns}", *map(str, args)]

    def __enter__(self):
        try:
            for ns in (self.server_ns, self.user_ns):
                self.ip("netns", "add", ns)
                self.ip("-n", ns, "link", "set", "lo", "up")
            self.ip("link", "add", "eth0", "netns", self.server_ns, "type", "veth", "peer", "name", "eth0", "netns",
                    self.user_ns)
            for ns, last in ((self.server_ns, 2), (self.user_ns, 1)):
                self.ip("-n", ns, "addr", "add", f"10.84.0.{last}/24", "dev", "eth0")
                self.ip("-n", ns, "addr", "add", f"fd84::{last}/64", "dev", "eth0", "nodad")
                self.ip("-n", ns, "link", "set", "eth0", "up")
            for listen in (f"0.0.0.0:{PORT}", f"[fd84::2]:{PORT}"):
                self.servers.append(subprocess.Popen(self.inside(self.server_ns, CHAOS_LOAD, "target", "--listen", listen,
                                                                 "--latency", "0"), stdin=subprocess.DEVNULL,
                                                     start_new_session=True))
            self.servers.append(subprocess.Popen(self.inside(self.server_ns, TRUTH_SERVER, "--port", ENDING_PORT),
                                                 stdout=subprocess.DEVNULL, start_new_session=True))
            for address in ("10.84.0.2", "[fd84::2]"):
                wait_for(lambda: self.get(self.user_ns, f"http://{address}:{PORT}/health") == "200", 20, address)
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.servers:
            p.kill()
            p.wait()
        for ns in (self.server_ns, self.user_ns):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)

    def get(self, ns, url):
        return subprocess.run(self.inside(ns, "curl", "-s", "-g", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}", url),
                              capture_output=True, text=True).stdout

    def ruleset(self):
        return subprocess.run(self.inside(self.server_ns, "nft", "list", "ruleset"), text=True, check=True,
                              capture_output=True).stdout

    def plan(self, tmp, fault, address, seconds=2.5, duration="1s", task=SMALL, port=PORT):
        path = tmp / "plan.yaml"
        path.write_text(f"""
apiVersion: chaos-load/v1
target: http://{address}:{port}
processes:
  - {{name: shop, pid: {self.servers[0].pid}}}
users:
  - {{think: constant(30ms), tasks: [{json.dumps(task)}]}}
load: {{users: {USERS}, for: {seconds}s}}
http: {{timeout: 1500ms, keep_alive: {json.dumps(task is not ONE_BY_ONE)}}}
recover_hold: 500ms
faults:
  - {fault}
    at: 800ms
    duration: {duration}
""")
        return path

    def start(self, ns, tmp, path):
        (tmp / "state").mkdir(exist_ok=True)
        return subprocess.Popen(self.inside(ns, CHAOS_LOAD, "run", path, "--out", tmp / "out"), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
                                env=dict(os.environ, CHAOS_LOAD_STATE=str(tmp / "state")))

    def run(self, ns, fault, address, check, task=SMALL, port=PORT, always_failing=False):
        with folder() as tmp:
            path = self.plan(tmp, fault, address, task=task, port=port)
            done = finish(self.start(ns, tmp, path), ["run", path], tmp / "out").expect(0)
            seen = Seen(done.result)
            assert seen.fault["verified_in"] and seen.fault["verified_out"] and seen.fault["error"] is None, seen.fault
            if not always_failing:
                assert seen.before["totals"]["failures"] <= 12, seen.before["errors"]
                after = seen.after["totals"]
                assert after["requests"] >= 4 and after["failures"] <= 8, seen.after["errors"]
            check(seen)
            assert self.ruleset() == "", self.ruleset()
            assert self.get(self.user_ns, f"http://{address}:{PORT}/health") == "200" or address.startswith("127")


# ---- what users see. Connections that were open are reset once when it begins, and once more when it ends. ----

def share(name, want, others=2 * USERS):
    """Within what chance allows."""
    def check(seen):
        assert seen.sent >= 60, f"only {seen.sent} draws"
        hits = seen.classes.get(name, 0)
        bound = 4.5 * (want * (1 - want) / seen.sent) ** 0.5 + (others + 2) / seen.sent
        assert abs(hits / seen.sent - want) <= bound, f"{seen.classes} of {seen.sent} is not {want} within {bound:.3f}"
        assert seen.failed - hits <= others, seen.classes
    return check


def adds(ms):
    """So much to the median, within 5 % + 1 ms."""
    def check(seen):
        assert near(seen.added_ms(), ms, 0.05, 1), f"{seen.added_ms()} ms were added instead of {ms}"
        assert seen.failed <= 2 * USERS, seen.classes
    return check


def eleven_pauses(seen):
    """slicer: each of them may be a little late, and they add up."""
    assert 109 <= seen.added_ms() <= 150 and seen.failed <= 2 * USERS, (seen.added_ms(), seen.classes)


def mostly(*names, least=0.8):
    def check(seen):
        hits = sum(seen.classes.get(name, 0) for name in names)
        assert hits >= 4 and hits >= least * seen.sent - 2 * USERS, f"{seen.classes} of {seen.sent}"
    return check


def late_ends(seen):
    """slow-close: the end of the stream, which is all the answer there is, comes later."""
    added = seen.during["failed"]["p50_ms"] - seen.before["failed"]["p50_ms"]
    assert near(added, 100, 0.05, 1), added
    assert seen.classes["closed"] >= seen.sent - 2 * USERS, seen.classes


def every_tenth(seen):
    """10 KiB hold nine answers of about 1,100 bytes, and the tenth ends in a reset."""
    cut = seen.classes.get("reset", 0)
    assert cut == seen.failed > 0, seen.classes
    assert near(seen.sent / cut, 10, 0.15, 2 * USERS * 10 / cut), f"{cut} of {seen.sent}: {seen.classes}"


def resets_after(ms):
    def check(seen):
        assert seen.classes.get("reset", 0) >= 2 * USERS and seen.failed == seen.classes["reset"], seen.classes
        assert near(seen.during["failed"]["p50_ms"], ms, 0.05, 5), seen.during["failed"]
    return check


def unhurt(seen):
    assert seen.sent >= 60 and seen.failed == 0, seen.classes


# ---- the rows: kind, its parameters, the task, what must be seen ----

ROWS = [
    ("http-status", "code: 503, percent: 50%", SMALL, share("status", 0.5)),
    ("http-abort", "percent: 30%", SMALL, share("reset", 0.3)),
    ("http-delay", "delay: 100ms", SMALL, adds(100)),
    ("http-body", "body: changed, percent: 30%", {"get": "/bytes/1000", "expect": {"body_not_contains": ["changed"]}},
     share("expectation", 0.3)),
    ("http-header", "headers: {Content-Type: text/other}, percent: 30%",
     {"get": "/", "expect": {"headers": {"Content-Type": "text/html"}}}, share("expectation", 0.3)),
    ("slicer", "size: 100B, delay: 10ms", SMALL, eleven_pauses),
    ("limit-data", "bytes: 500B", SMALL, mostly("short-body", "closed", "bad-response", least=0.5)),
    ("blackhole", "", {"get": "/bytes/1000", "timeout": "300ms"}, mostly("response-timeout", least=0.5)),
    ("tcp-refuse", "", SMALL, mostly("refused")),
    ("tcp-reset", "after_bytes: 10KiB, direction: response", SMALL, every_tenth),
    ("tcp-reset", "after: 150ms", {"get": "/slow?ms=500"}, resets_after(150)),
    ("tcp-reset", "after_bytes: 500B, percent: 40%", ONE_BY_ONE, share("reset", 0.4)),
    ("latency", "mechanism: proxy, delay: 100ms", SMALL, adds(100)),
    ("latency", "mechanism: proxy, delay: 60ms, direction: both", SMALL, adds(120)),
    ("rate", "mechanism: proxy, rate: 4mbit", {"get": "/bytes/100000"}, adds(200.3)),
]


def test_every_kind_at_a_port_that_nobody_configured():
    """From outside over IPv4 and IPv6, and one from inside; rows run side by side, each in namespaces of its own."""
    failures = []

    def judged(row):
        kind, params, task, check = row
        fault = f"{kind}: {{process: shop, port: {PORT}{', ' if params else ''}{params}}}"
        try:
            with Lab() as lab:
                for address in ("10.84.0.2", "[fd84::2]"):
                    attempts(3, lambda: lab.run(lab.user_ns, fault, address, check, task))
        except AssertionError as why:
            failures.append(f"{fault}: {why}")

    def inside(fault, check, task=SMALL, port=PORT, always_failing=False):
        try:
            with Lab() as lab:
                attempts(3, lambda: lab.run(lab.server_ns, fault, "127.0.0.1", check, task, port, always_failing))
        except AssertionError as why:
            failures.append(f"{fault} from inside: {why}")

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        jobs = [pool.submit(judged, row) for row in ROWS]
        jobs.append(pool.submit(inside, f"http-status: {{process: shop, port: {PORT}, code: 503, percent: 50%}}",
                                share("status", 0.5)))
        jobs.append(pool.submit(inside, f"slow-close: {{process: shop, port: {ENDING_PORT}, delay: 100ms}}", late_ends,
                                {"get": "/close"}, ENDING_PORT, True))
        # All users are connected before: nobody notices.
        jobs.append(pool.submit(inside, f"http-status: {{process: shop, port: {PORT}, reset_open: false}}", unhurt))
        for job in jobs:
            job.result()
    assert not failures, "\n".join(failures)


def test_a_death_ends_it_at_once():
    with Lab() as lab:
        for whom in ("run", "helper"):
            with folder() as tmp:
                path = lab.plan(tmp, f"http-status: {{process: shop, port: {PORT}}}", "10.84.0.2", 20, "15s")
                process = lab.start(lab.user_ns, tmp, path)
                url = f"http://10.84.0.2:{PORT}/health"
                wait_for(lambda: lab.get(lab.user_ns, url) == "503", 20, "the fault")
                helpers = [p for p in pids_with("helper") if f"PPid:\t{process.pid}\n" in open(f"/proc/{p}/status").read()]
                assert len(helpers) == 1, helpers
                os.kill(process.pid if whom == "run" else helpers[0], signal.SIGKILL)
                wait_for(lambda: not os.path.exists(f"/proc/{helpers[0]}") or
                         "State:\tZ" in open(f"/proc/{helpers[0]}/status").read(), 10, "the helper's end")
                wait_for(lambda: lab.get(lab.user_ns, url) == "200", 10, "a healthy answer")
                assert lab.ruleset() == "", lab.ruleset()
                if whom == "helper":
                    process.send_signal(signal.SIGINT)
                finish(process, ["run"], tmp / "out")


def why_not():
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft", "nsenter", "curl"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            return f"{tool} is missing"
    name = f"clrp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made.stderr.strip() if made.returncode else None


if __name__ == "__main__":
    reason = why_not()
    if reason:
        print("SKIP", reason)
        sys.exit(77)
    main(globals())
