#!/usr/bin/env python3
"""The safety matrix: each fault on each backend is held by a process that dies of SIGKILL at a step of the contract,
alone or together with its guardian. Then the target must be as it was, by itself or after `chaos-load recover`.

Prints the table that docs/SAFETY.md keeps. FAULT_DRIVER is tests/tools/fault_driver."""
import concurrent.futures
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import threading
import time

import engine
from harness import CHAOS_LOAD, folder, main, wait_for

DRIVER = os.environ.get("FAULT_DRIVER", "build/dev/tests/e2e/fault_driver")
STEPS = ("inject", "hold", "revert")
HOLD_MS = 400

NETWORK = ["latency: {%s, delay: 50ms}", "loss: {%s, percent: 30%%}", "corrupt: {%s, percent: 30%%}",
           "duplicate: {%s, percent: 30%%}", "reorder: {%s, percent: 30%%, delay: 20ms}", "rate: {%s, rate: 1mbit}",
           "partition: {%s}", "tcp-reset: {%s}", "dns-error: {%s, patterns: [example.com], rcode: NXDOMAIN}",
           "dns-spoof: {%s, map: {example.com: 10.0.0.1}}", "http-status: {%s, port: 8080, code: 503}",
           "blackhole: {%s, port: 8080}", "slicer: {%s, port: 8080, size: 100B}",
           "grpc-status: {%s, port: 8080}"]
MACHINE = ["cpu: {%s, load: 20%%, workers: 1}", "memory: {%s, size: 8MiB}", "io: {%s, workers: 1, bytes: 1MiB}",
           "disk-fill: {%s, size: 1MiB, path: /tmp}"]
DESCRIPTORS = "fd-exhaustion: {%s}"
HOST = ["latency: {%s, port: 9, delay: 50ms}", "loss: {%s, percent: 30%%, port: 9}", "partition: {%s, port: 9}",
        "fd-exhaustion: {%s, count: 1000}"]
DOCKER = ["kill: {%s, restart_after: 300ms}", "stop: {%s, grace: 1s}", "pause: {%s}", "disconnect: {%s}",
          "limits: {%s, cpu: 0.5, memory: 64MiB, pids: 50}"]


def sh(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def network_of(pid):
    """What netfilter and the queueing disciplines of its namespace hold."""
    inside = ("nsenter", "-t", str(pid), "-n")
    # Docker names an interface anew when it connects a network again.
    return sh(*inside, "nft", "list", "ruleset"), re.sub(r"dev eth\d", "dev eth", sh(*inside, "tc", "qdisc", "show"))


def rlimit_of(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


class Holders:
    """Helpers and hogs of one driver: whoever has its state folder's name in the environment."""

    def __init__(self, tag):
        self.tag = f"CHAOS_TEST_TAG={tag}".encode()

    def count(self):
        n = 0
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.tag in (entry / "environ").read_bytes().split(b"\0"):
                    n += b"guardian" not in (entry / "cmdline").read_bytes()
            except OSError:
                pass
        return n


class Process:
    """Sleeps in a network namespace of its own."""
    key = "process: victim"

    def __init__(self):
        self.child = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && exec sleep 1000"], start_new_session=True)
        wait_for(lambda: b"sleep" in pathlib.Path(f"/proc/{self.child.pid}/cmdline").read_bytes().split(b"\0")[0], what="its namespace")
        self.declared = f"victim={self.child.pid}"

    def look(self):
        state = pathlib.Path(f"/proc/{self.child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state in "SR", network_of(self.child.pid), rlimit_of(self.child.pid)

    def close(self):
        self.child.kill()
        self.child.wait()


class Host:
    """There is one: a fault at a time."""
    key = "host: any"
    declared = ""
    lock = threading.Lock()

    def __init__(self):
        self.lock.acquire()

    def look(self):
        return sh("nft", "list", "ruleset"), rlimit_of(os.getpid())

    def close(self):
        self.lock.release()


class Container:
    declared = ""

    def __init__(self, docker):
        self.container = docker.container("bb:1")
        self.key = f"docker: {self.container.name}"
        self.memory = docker.call("GET", "/info")["MemTotal"]

    def look(self):
        seen = self.container.look()
        limits, state = seen["HostConfig"], seen["State"]
        pid = state["Pid"]
        quota = limits["CpuQuota"] or limits["NanoCpus"]
        return (state["Status"], max(quota, 0), limits["Memory"] % self.memory, max(limits["PidsLimit"] or 0, 0),
                sorted((name, bool(n["IPAddress"])) for name, n in seen["NetworkSettings"]["Networks"].items()),
                (network_of(pid), rlimit_of(pid)) if pid else None)

    def close(self):
        self.container.remove()


def drive(target, fault, step, both, state):
    env = dict(os.environ, CHAOS_LOAD_STATE=str(state), CHAOS_TEST_TAG=state.parent.name)
    argv = [DRIVER, str(state), step, "both" if both else "alone", str(HOLD_MS), fault % target.key]
    return subprocess.run(argv + ([target.declared] if target.declared else []), env=env, capture_output=True, text=True,
                          timeout=90, check=False)


def is_well(target, before, holders):
    return target.look() == before and holders.count() == 0


def becomes_well(target, before, holders, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_well(target, before, holders):
            return True
        time.sleep(0.05)
    return False


def mend(target, before, holders, both, state):
    """Who made it well: 'by itself' (the kernel, or the guardian) or 'recover'."""
    by_itself = becomes_well(target, before, holders, 3 if both else 20)
    assert by_itself or both, f"its guardian did not mend it: {target.look()} instead of {before}, {holders.count()} holders"
    done = wait_for(lambda: recovered(state), what="recover")
    assert done.returncode in (0, 1), f"recover: exit {done.returncode}: {done.stdout}{done.stderr}"
    assert becomes_well(target, before, holders, 20), f"recover did not mend it: {target.look()} instead of {before}"
    assert not list(state.glob("*.journal")), "its journal is left"
    return "by itself" if by_itself else "recover"


def recovered(state):
    done = subprocess.run([CHAOS_LOAD, "recover"], env=dict(os.environ, CHAOS_LOAD_STATE=str(state)), capture_output=True,
                          text=True, timeout=90, check=False)
    return None if list(state.glob("*.journal")) and done.returncode == 0 else done


def one_death(target, fault, step, both):
    with folder() as tmp:
        state = tmp / "state"
        state.mkdir(mode=0o700)
        holders = Holders(tmp.name)
        before = target.look()
        done = drive(target, fault, step, both, state)
        assert done.returncode == -9, f"was not killed at '{step}': exit {done.returncode}: {done.stderr}"
        return mend(target, before, holders, both, state)


def row(make, fault):
    """A verdict for each death; the first that is not well ends it."""
    target = make()
    verdicts = []
    try:
        for both in (False, True):
            for step in STEPS:
                try:
                    verdicts.append(one_death(target, fault, step, both))
                except Exception as failure:
                    raise AssertionError(f"{fault % target.key}, killed at {step}{' with its guardian' if both else ''}: {failure}")
    finally:
        target.close()
    return verdicts


LOCK = threading.Lock()


def matrix(worlds):
    """Two at a time: most of it is waiting."""
    failed = []
    print(f"| fault | backend | alone: {', '.join(STEPS)} | with its guardian: {', '.join(STEPS)} |\n|---|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = {pool.submit(row, make, fault): (fault, backend) for backend, make, faults in worlds for fault in faults}
        for job in concurrent.futures.as_completed(jobs):
            fault, backend = jobs[job]
            name = fault.split(":")[0]
            try:
                v = job.result()
                with LOCK:
                    print(f"| `{name}` | {backend} | {', '.join(v[:3])} | {', '.join(v[3:])} |", flush=True)
            except Exception as failure:
                failed.append(f"{name} on {backend}: {failure}")
    assert not failed, "\n".join(failed)


def test_no_fault_outlives_its_injector():
    if os.geteuid() != 0 or not shutil.which("nsenter") or not shutil.which("nft"):
        print("SKIP it takes root, nsenter and nft")
        sys.exit(77)
    docker = engine.connect()
    try:
        matrix([("docker", lambda: Container(docker), DOCKER + NETWORK + MACHINE + [DESCRIPTORS]),
                ("process", Process, NETWORK + MACHINE + [DESCRIPTORS]), ("host", Host, HOST + MACHINE)])
    finally:
        docker.remove_all()


if __name__ == "__main__":
    main(globals())
