#!/usr/bin/env python3
"""Two runs at once on one target: by the rules of docs/SAFETY.md the second refuses, or both are in effect. Either way the
first is not disturbed, and afterwards the target is as it was. Each pair has a target of its own."""
import concurrent.futures
import os
import shutil
import subprocess
import sys

import engine
from harness import *
from harness import environment
from safety_targets import Container, Host, Process, Worker

PLAN = """
target: http://127.0.0.1:9
processes: [{processes}]
users: [{{think: constant(200ms), tasks: [{{get: /}}]}}]
load: {{users: 1, for: {seconds}s}}
faults: [{{{fault}, at: 100ms{timing}}}]
"""
HELD = "let that run end first"
ONE_SHOT = ("kill", "restart:", "signal", "remove")
PUMBA = os.environ.get("PUMBA") or shutil.which("pumba")

PROCESS_REFUSED = [
    ("pause: {%(at)s, how: sigstop}", "pause: {%(at)s, how: sigstop}", "is stopped already, by someone else"),
    ("pause: {%(at)s, how: sigstop}", "kill: {%(at)s, restart_after: 100ms}"),
    ("signal: {%(at)s, signal: STOP, recover_signal: CONT, recover_after: 50s}", "stop: {%(at)s, grace: 1s}"),
]
LIMIT_REFUSED = [("fd-exhaustion: {%(at)s}", "fd-exhaustion: {%(at)s}")]
DOCKER_REFUSED = [
    ("pause: {%(at)s}", "kill: {%(at)s, restart_after: 100ms}"), ("limits: {%(at)s, pids: 50}", "limits: {%(at)s, memory: 64MiB}"),
    ("disconnect: {%(at)s}", "pause: {%(at)s}"),
]
PORT_REFUSED = [("http-status: {%(at)s, port: 8080, code: 503}", "http-delay: {%(at)s, port: 8080, delay: 50ms}",
                 "port 8080 is redirected by another fault just now")]
QDISC_REFUSED = [("rate: {%(at)s, port: 9, rate: 1mbit, mechanism: htb}", "rate: {%(at)s, port: 9, rate: 2mbit, mechanism: htb}", "qdisc")]
MACHINE_BOTH = [
    ("cpu: {%(at)s, load: 10%%, workers: 1}", "cpu: {%(at)s, load: 10%%, workers: 1}"),
    ("memory: {%(at)s, size: 4MiB}", "memory: {%(at)s, size: 4MiB}"),
    ("disk-fill: {%(at)s, size: 32MiB, path: /tmp}", "disk-fill: {%(at)s, size: 32MiB, path: /tmp}"),
]
NETWORK_BOTH = [
    ("loss: {%(at)s, port: 9, percent: 30%%, mechanism: nftables}", "partition: {%(at)s, port: 10}"),
    ("dns-error: {%(at)s, patterns: [example.com]}", "dns-spoof: {%(at)s, map: {example.com: 10.0.0.1}}"),
]
PORTS_BOTH = [("http-status: {%(at)s, port: 8080, code: 503}", "http-delay: {%(at)s, port: 8081, delay: 50ms}")]


class Runs:
    """The first one holds its fault until it is told to stop; the second is over soon."""

    def __init__(self, target, tmp):
        self.target, self.tmp, self.state = target, tmp, tmp / "state"
        self.state.mkdir(mode=0o700)
        self.processes = []

    def begin(self, name, fault, seconds):
        text = fault % self.target.words()
        timing = "" if text.startswith(ONE_SHOT) else f", duration: {seconds - 1}s"
        plan, declared = self.tmp / f"{name}.yaml", self.target.declared.partition("=")
        row = f"{{name: {declared[0]}, pid: {declared[2]}}}" if declared[0] else ""
        plan.write_text(PLAN.format(processes=row, fault=text, seconds=seconds, timing=timing))
        argv = self.target.recover_argv([CHAOS_LOAD, "run", str(plan), "--out", str(self.tmp / name)])
        self.processes.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(self.state),
                                               stdin=subprocess.DEVNULL, start_new_session=True))
        return self.processes[-1]

    def result(self, name, process, fault):
        return finish(process, fault, self.tmp / name, 90)

    def marks(self, what):
        """How many runs have that in their journal."""
        return sum(f'"{what}"'.encode() in f.read_bytes() for f in self.state.glob("*.journal"))

    def is_in(self):
        return self.marks("applied")

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def second_of(r, refusal):
    fault = r.result["faults"][0]
    if not refusal:
        r.expect(0)
        assert fault["verified_in"] and fault["verified_out"] and not fault["error"], fault
        return
    r.expect(3)
    assert refusal in fault["error"] and not fault["verified_in"], fault


def at_once(make, pair, refuses):
    first_fault, second_fault, *refusal = pair
    target = make()
    try:
        with folder() as tmp:
            runs, before = Runs(target, tmp), target.look()
            try:
                first = runs.begin("first", first_fault, 60)
                wait_for(runs.is_in, 30, f"the first fault ({first.poll()})")
                held = target.look()
                second_of(runs.result("second", runs.begin("second", second_fault, 2), second_fault),
                          (refusal or [HELD])[0] if refuses else None)
                assert first.poll() is None and target.look() == held, f"the first is disturbed: {target.look()} instead of {held}"
                first.send_signal(signal.SIGINT)
                fault = runs.result("first", first, first_fault).expect(130).result["faults"][0]
                assert fault["verified_in"] and fault["verified_out"] and fault["ended_by"] == "abort", fault
                wait_for(lambda: target.look() == before, 10, f"the end: {target.look()} instead of {before}")
                assert not list(runs.state.glob("*.journal")), "a journal is left"
            finally:
                runs.end()
    except Exception as failure:
        raise AssertionError(f"{first_fault} and then {second_fault}: {failure}") from failure
    finally:
        target.close()


def all_of(calls):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        failures = [f.exception() for f in [pool.submit(at_once, *call) for call in calls]]
    failures = [str(f) for f in failures if f]
    assert not failures, "\n".join(failures)


def is_root():
    if os.geteuid() == 0 and shutil.which("nsenter") and shutil.which("nft") and shutil.which("tc"):
        return True
    print("SKIP it takes root, nsenter, nft and tc")
    return False


def has_htb():
    return subprocess.run(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "htb"], capture_output=True, check=False).returncode == 0


def test_processes():
    all_of([(Worker, pair, True) for pair in PROCESS_REFUSED] + [(Process, pair, True) for pair in LIMIT_REFUSED if is_root()])


def test_networks():
    if is_root():
        refused = PORT_REFUSED + (QDISC_REFUSED if has_htb() else [])
        all_of([(Process, pair, True) for pair in refused] + [(Process, pair, False) for pair in NETWORK_BOTH + PORTS_BOTH] +
               [(Host, pair, False) for pair in NETWORK_BOTH])


def test_the_machine():
    if is_root():
        all_of([(Host, pair, False) for pair in MACHINE_BOTH] + [(Process, pair, False) for pair in MACHINE_BOTH[:1]])


def test_containers():
    if not is_root():
        return
    docker = engine.connect()
    make = lambda: Container(docker)
    pumba = [('pumba: {run: "pause --duration 90s %(name)s"}', "stop: {%(at)s}")] if PUMBA else []
    try:
        all_of([(make, pair, True) for pair in DOCKER_REFUSED + LIMIT_REFUSED + PORT_REFUSED + pumba] +
               [(make, pair, False) for pair in MACHINE_BOTH[:1] + NETWORK_BOTH[:1]])
    finally:
        docker.remove_all()


def answer_ms(target):
    """How long a refusal takes in its namespace: one packet there, one back."""
    code = ("import socket, time; t = time.monotonic(); s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); "
            "print(1000 * (time.monotonic() - t))")
    done = subprocess.run(["nsenter", "-t", str(target.child.pid), "-n", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_delays_add_up():
    """And each takes away its own alone."""
    if not is_root():
        return
    fault, target = "latency: {%(at)s, port: 9, delay: 100ms}", Process()
    try:
        with folder() as tmp:
            runs, seen = Runs(target, tmp), [answer_ms(target)]
            try:
                first = runs.begin("first", fault, 60)
                wait_for(runs.is_in, 30, "the first")
                seen.append(answer_ms(target))
                second = runs.begin("second", fault, 60)
                wait_for(lambda: runs.marks("applied") == 2, 30, "the second")
                seen.append(answer_ms(target))
                first.send_signal(signal.SIGINT)
                runs.result("first", first, fault).expect(130)
                seen.append(answer_ms(target))
                second.send_signal(signal.SIGINT)
                runs.result("second", second, fault).expect(130)
                seen.append(answer_ms(target))
            finally:
                runs.end()
    finally:
        target.close()
    for got, want in zip(seen, (0, 200, 400, 200, 0)):
        assert want <= got < want + 90, f"{seen} instead of 0, 200, 400, 200, 0 ms"


def test_what_undoes_nothing_hits_what_another_holds():
    """A kill for good needs no undoing; the run that had paused it sees that its target is gone."""
    target = Worker()
    try:
        with folder() as tmp:
            runs = Runs(target, tmp)
            try:
                first = runs.begin("first", "pause: {%(at)s, how: sigstop}", 60)
                wait_for(runs.is_in, 30, "the pause")
                second_of(runs.result("second", runs.begin("second", "kill: {%(at)s}", 2), "kill"), None)
                target.child.wait()
                wait_for(lambda: runs.marks("reverted"), 20, "the end of the first fault")
                first.send_signal(signal.SIGINT)
                fault = runs.result("first", first, "pause").result["faults"][0]
                assert fault["ended_by"] == "target-gone" and fault["verified_out"], fault
            finally:
                runs.end()
    finally:
        target.close()


if __name__ == "__main__":
    main(globals())
