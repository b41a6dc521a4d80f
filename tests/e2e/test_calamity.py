#!/usr/bin/env python3
"""What can befall a run and its targets while faults are active: the target ends, the disk is full for the journal, the
run is stopped by Ctrl-C, twice, or stands still by SIGSTOP. Whatever it is, the result tells it and nothing is left."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import time
import uuid

from harness import *

HELD_S = 60
PORT = "port: 8080"

# Kind: what it is told, and what more there is to it on a line of its own.
NETWORK = {
    "latency": "delay: 30ms", "loss": "percent: 30%", "corrupt": "percent: 30%", "duplicate": "percent: 30%",
    "reorder": "percent: 30%, delay: 20ms", "rate": "rate: 1mbit", "partition": "", "tcp-reset": "",
    "dns-error": "patterns: [example.com], rcode: NXDOMAIN", "dns-spoof": "map: {example.com: 10.0.0.1}",
    "http-status": f"{PORT}, code: 503", "http-abort": PORT, "http-delay": f"{PORT}, delay: 50ms", "http-body": f"{PORT}, body: x",
    "http-header": f"{PORT}, headers: {{X-A: b}}", "blackhole": PORT, "slow-close": f"{PORT}, delay: 50ms",
    "slicer": f"{PORT}, size: 100B", "limit-data": f"{PORT}, bytes: 100B",
}
MACHINE = {
    "cpu": "load: 10%, workers: 1", "memory": "size: 4MiB", "io": "workers: 1, bytes: 1MiB", "disk-fill": "size: 1MiB, path: /tmp",
    "fd-exhaustion": "",
}
BY_PID = {
    "signal": f"signal: STOP, recover_signal: CONT, recover_after: {HELD_S}s",
    "exec": f"command: [kill, -STOP, '{{pid}}'], revert: [kill, -CONT, '{{pid}}'], revert_after: {HELD_S}s",
}


def sh(*argv):
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def side_by_side(fn, items, workers=8):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(fn, items))


def noted(state, what):
    return sum(f.read_bytes().count(f'"type":"{what}"'.encode()) for f in state.glob("*.journal"))


def all_of(tag):
    """Processes of a run: each has its tag in the environment."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"CHAOS_TEST_TAG={tag}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass
    return found


def status(state):
    return json.loads(run("status", "--json", state=state).expect(0).stdout)["faults"]


class Campaign:
    """A run whose faults last until something ends them."""

    def __init__(self, tmp, plan):
        self.tmp, self.state, self.tag = tmp, tmp / "state", tmp.name
        (tmp / "plan.yaml").write_text(plan)
        self.args = ["run", tmp / "plan.yaml"]
        os.environ["CHAOS_TEST_TAG"] = self.tag
        self.process = start(self.args, tmp / "out", self.state)

    def wait(self, condition, seconds, what):
        wait_for(lambda: condition() or self.process.poll() is not None, seconds, what)
        assert self.process.poll() is None, self.end()

    def wait_active(self, n, seconds=30):
        self.wait(lambda: noted(self.state, "applied") == n, seconds, f"{n} faults")
        time.sleep(0.3)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, seconds=60):
        return finish(self.process, self.args, self.tmp / "out", seconds)

    def check_nothing_is_left(self):
        wait_for(lambda: not all_of(self.tag), what=f"the end of {all_of(self.tag)}")
        assert not status(self.state), status(self.state)
        run("recover", state=self.state).expect(0)
        assert not list(self.state.iterdir()), list(self.state.iterdir())

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@contextlib.contextmanager
def campaign_in(tmp, faults, processes="[]", url=None, seconds=HELD_S + 3):
    """faults and processes: YAML of lists."""
    with truth_server() as server:
        c = Campaign(tmp, f"target: {url or server.url}\nprocesses: {processes}\n"
                     f"users: [{{think: constant(100ms), tasks: [{{get: /ok}}]}}]\n"
                     f"load: {{users: 1, for: {seconds}s}}\nfaults:\n{faults}\n")
        c.url = server.url
        try:
            yield c
        finally:
            c.close()


@contextlib.contextmanager
def campaign(*args, **kwargs):
    with folder() as tmp, campaign_in(tmp, *args, **kwargs) as c:
        yield c


class Victim:
    """Sleeps in a network namespace of its own, as a session of its own."""

    def __init__(self, name):
        self.name = name
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && exec sleep 1000"], start_new_session=True)
        wait_for(lambda: b"sleep" in pathlib.Path(f"/proc/{self.process.pid}/cmdline").read_bytes().split(b"\0")[0], what="its namespace")
        self.pid = self.process.pid

    def look(self):
        state = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state in "SR", sh("nsenter", "-t", str(self.pid), "-n", "nft", "list", "ruleset"), resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def end(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def victims(names):
    made = {}
    try:
        for name in names:
            made[name] = Victim(name)
        yield made
    finally:
        for v in made.values():
            v.end()


def on_process(kind, told, name=None, held=HELD_S):
    """A line of faults; kinds in BY_PID say themselves how long they last."""
    name = name or kind
    lasts = "" if kind in BY_PID else f", duration: {held}s"
    return f"  - {{{kind}: {{process: {name}{', ' + told if told else ''}}}, at: 1s, name: {name}{lasts}}}"


def declared(victims_by_name):
    return "[" + ", ".join(f"{{name: {n}, pid: {v.pid}}}" for n, v in victims_by_name.items()) + "]"


def on_processes():
    lines = {k: on_process(k, told) for k, told in {**NETWORK, **MACHINE, **BY_PID}.items()}
    for how in ("ptrace", "sigstop"):
        lines[how] = on_process("pause", f"how: {how}", how)
    return lines


def told(fault, ended_by):
    return fault["verified_in"] and fault["verified_out"] and not fault["error"] and fault["ended_by"] == ended_by


def by_name(done):
    return {f["name"]: f for f in done.result["faults"]}


def needs_root():
    if os.geteuid() != 0 or not all(map(shutil.which, ("nsenter", "unshare", "nft", "ip"))):
        print("SKIP it takes root, nsenter, unshare, ip and nft")
        sys.exit(77)


# ---- the target ends ----

def test_processes_end_under_their_faults():
    lines = on_processes()
    with victims(lines) as v, campaign("\n".join(lines.values()), declared(v)) as c:
        c.wait_active(len(lines))
        for one in v.values():
            one.end()
        c.wait(lambda: noted(c.state, "reverted") == len(lines), 20, "the end of what has gone")
        c.signal(signal.SIGINT)
        done = c.end().expect(130)
        wrong = [f"{n}: {f}" for n, f in by_name(done).items() if not told(f, "target-gone")]
        assert not wrong, "\n".join(wrong)
        c.check_nothing_is_left()


# ---- the run stands still ----

def relieved():
    """Ten seconds past their end by the helpers, thirty by the guardian, the run being stopped all the time."""
    lines = {k: on_process(k, told, held=5) for k, told in {**NETWORK, **MACHINE}.items()}
    lines["signal"] = on_process("signal", BY_PID["signal"].replace(f"{HELD_S}s", "5s"))
    lines["sigstop"] = on_process("pause", "how: sigstop", "sigstop", 5)
    with victims(lines) as v, campaign("\n".join(lines.values()), declared(v)) as c:
        before = {n: one.look() for n, one in v.items() if n not in ("signal", "sigstop")}
        c.wait_active(len(lines))
        c.signal(signal.SIGSTOP)
        began = time.monotonic()
        helpers = [p for p in all_of(c.tag) if " helper " in p]
        assert len(helpers) >= len(NETWORK) + len(MACHINE) - 1, helpers
        wait_for(lambda: not [p for p in all_of(c.tag) if " helper " in p], 25, "the end of the helpers")
        assert time.monotonic() - began > 4
        wait_for(lambda: all(one.look()[0] for one in v.values()), 45, "the guardian's mercy")
        wait_for(lambda: all(v[n].look() == look for n, look in before.items()), 15, "all as it was")
        c.signal(signal.SIGCONT)
        done = c.end().expect(3)
        wrong = [f"{n}: {f}" for n, f in by_name(done).items() if "stood still" not in (f["error"] or "") or not f["verified_out"]]
        assert not wrong, "\n".join(wrong)
        assert "stood still" in done.result["reason"], done.result["reason"]
        c.check_nothing_is_left()


def woken():
    """What is held by ptrace cannot be let go by anybody else, short of killing the run."""
    lines = {how: on_process("pause", f"how: {how}", how, 3) for how in ("ptrace", "auto")}
    with victims(lines) as v, campaign("\n".join(lines.values()), declared(v)) as c:
        c.wait_active(len(lines))
        c.signal(signal.SIGSTOP)
        wait_for(lambda: all(one.look()[0] for one in v.values()), 50, "the end of the pauses")
        done = c.end().expect(3)
        assert "stood still" in done.result["reason"], done.result["reason"]
        c.check_nothing_is_left()


def test_a_run_that_stands_still_is_relieved_of_its_faults():
    side_by_side(lambda test: test(), (relieved, woken))


# ---- the disk is full ----

@contextlib.contextmanager
def small_disk(tmp, options):
    """The state folder of a run is a file system of its own."""
    state = tmp / "state"
    state.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", state], check=True)
    try:
        yield state
    finally:
        subprocess.run(["umount", "-l", state], check=False)


def test_no_fault_without_a_journal():
    for options, why in (("nr_inodes=1", "No space left on device"), ("ro", "Read-only file system")):
        with victims(["fd-exhaustion"]) as v, folder() as tmp, truth_server() as server, small_disk(tmp, options) as state:
            before = v["fd-exhaustion"].look()
            args = ["run", "-H", server.url, "-u", 1, "-t", "3s", "--task", "GET /ok", "--process", f"fd-exhaustion=pid:{v['fd-exhaustion'].pid}",
                    "--fault", "fd-exhaustion process=fd-exhaustion at=200ms duration=2s"]
            done = run(*args, out=tmp / "out", state=state).expect(3)
            assert str(state) in done.stderr and why in done.stderr, done
            assert v["fd-exhaustion"].look() == before


COUNTS = "import signal, sys\nn = 0\n" \
         "def count(*_):\n    global n\n    n += 1\n    print(n, flush=True)\n" \
         "signal.signal(signal.SIGUSR1, count)\nprint(0, flush=True)\nwhile True: signal.pause()"


def test_a_disk_that_gets_full_ends_the_run_and_its_faults():
    """One page of disk holds some records; the faults whose record it does not hold are not made."""
    counter = subprocess.Popen([sys.executable, "-c", COUNTS], stdout=subprocess.PIPE, text=True)
    assert counter.stdout.readline() == "0\n"
    try:
        with victims(["frozen"]) as v, folder() as tmp, truth_server() as server, small_disk(tmp, "size=4k") as state:
            (tmp / "plan.yaml").write_text(
                f"target: {server.url}\nprocesses: [{{name: frozen, pid: {v['frozen'].pid}}}, {{name: counter, pid: {counter.pid}}}]\n"
                f"users: [{{think: constant(100ms), tasks: [{{get: /ok}}]}}]\nload: {{users: 1, for: 60s}}\nfaults:\n"
                f"  - {{pause: {{process: frozen, how: sigstop}}, at: 200ms, duration: 60s}}\n"
                f"  - {{signal: {{process: counter, signal: USR1}}, at: 500ms, every: 200ms, count: 200, name: count}}\n")
            done = run("run", tmp / "plan.yaml", out=tmp / "out", state=state).expect(3)
            made = [f for f in done.result["faults"] if f["name"] == "count" and f["requested_ms"] is not None]
            counter.terminate()
            seen = counter.stdout.read().split()
            assert made and len(seen) == len(made), (seen, made)
            why = done.result["reason"]
            assert str(state) in why and "No space left" in why and "is not injected" in why, why
            frozen = done.result["faults"][0]
            assert frozen["verified_out"] and frozen["ended_by"] == "abort" and not frozen["error"], frozen
            assert v["frozen"].look()[0] and not list(state.iterdir()), list(state.iterdir())
    finally:
        counter.kill()
        counter.wait()


def test_a_killed_run_is_undone_on_a_full_disk():
    for also_guardian in (False, True):
        with victims(["frozen"]) as v, folder() as tmp, small_disk(tmp, "size=64k") as state:
            (tmp / "plan.yaml").write_text("")
            with campaign_in(tmp, on_process("pause", "how: sigstop", "frozen"), declared(v)) as c:
                c.wait_active(1)
                try:
                    (state / "filler").write_bytes(bytes(65536))
                except OSError:
                    pass
                if also_guardian:
                    for pid in [p for p in pids_with("guardian") if p in pids_with(str(state))]:
                        os.kill(pid, signal.SIGKILL)
                c.process.kill()
                c.process.communicate()
                if also_guardian:
                    assert not v["frozen"].look()[0]
                    run("recover", state=state).expect(1)
                wait_for(lambda: v["frozen"].look()[0], what="the end of the pause")
                wait_for(lambda: not list(state.glob("*.journal")), what="the end of the journal")
                run("recover", state=state).expect(0)


# ---- Ctrl-C ----

def interrupted(faults, n, pids="[]", times=1, number=signal.SIGINT, within=10, ended_by=("abort",), ready=None):
    """Ctrl-C so many times, some time apart. Returns the run."""
    with campaign(faults, pids) as c:
        if ready:
            c.wait(ready, 30, "the moment")
        else:
            c.wait_active(n)
        for _ in range(times):
            c.signal(number)
            time.sleep(0.1)
        began = time.monotonic()
        done = c.end().expect(130)
        took = time.monotonic() - began
        assert took < within, f"took {took:.1f} s"
        assert done.result["verdict"] == "Stopped" and done.result["totals"]["requests"] > 0, done.result["verdict"]
        wrong = [f"{n}: {f}" for n, f in by_name(done).items() if not f["verified_out"] or f["error"] or f["ended_by"] not in ended_by]
        assert not wrong, "\n".join(wrong)
        c.check_nothing_is_left()
        return done


def test_ctrl_c_once_twice_and_thrice():
    lines = on_processes()
    lines["client"] = f"  - {{half-open: {{client: any, hold: 60s}}, at: 1s, duration: {HELD_S}s, name: client}}"
    for times, number in ((1, signal.SIGINT), (2, signal.SIGINT), (3, signal.SIGTERM)):
        with victims(lines) as v:
            before = {n: one.look() for n, one in v.items()}
            interrupted("\n".join(lines.values()), len(lines), declared(v), times, number)
            assert {n: one.look() for n, one in v.items()} == before


DEAF = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(1000)"


@contextlib.contextmanager
def deaf():
    """Ignores SIGTERM. Yields its tag, by which those that were started again are found, too."""
    tag = "deaf-" + uuid.uuid4().hex[:12]
    process = subprocess.Popen([sys.executable, "-c", DEAF, tag], stdout=subprocess.PIPE, text=True, start_new_session=True)
    process.stdout.readline()
    try:
        yield process.pid, tag
    finally:
        for pid in pids_with(tag):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def moment(fault, ready, times, within):
    """Ctrl-C at a moment of a fault in a process that is deaf, and may never be ready again."""
    with deaf() as (pid, tag):
        declare = f"[{{name: deaf, pid: {pid}, ready: 'tcp:127.0.0.1:{unused_port()}', ready_timeout: 60s}}]"
        with campaign(f"  - {{{fault}, at: 500ms, name: deaf}}", declare) as c:
            c.wait(lambda: noted(c.state, ready), 30, f"'{ready}' of {fault}")
            time.sleep(0.7)
            for _ in range(times):
                c.signal(signal.SIGINT)
                time.sleep(0.2)
            began = time.monotonic()
            done = c.end().expect(130)
            assert time.monotonic() - began < within, f"{fault}: took {time.monotonic() - began:.1f} s"
            f = done.result["faults"][0]
            assert f["verified_out"] and f["reverted_ms"] and not f["error"] and f["ended_by"] in ("abort", "plan"), f
            c.check_nothing_is_left()
        assert len(pids_with(tag)) == 1, pids_with(tag)


def test_ctrl_c_in_the_middle_of_a_fault():
    cases = [  # while it waits for the end of a process, for it to be ready again, for a command that reverts
        ("stop: {process: deaf, grace: 30s, wait_ready: false}, duration: 30s", "intent", 1, 6),
        ("stop: {process: deaf, grace: 30s}, duration: 30s", "intent", 2, 6),
        ("kill: {process: deaf, restart_after: 100ms}", "reverting", 2, 6),
        ("exec: {process: deaf, command: ['true'], revert: [sleep, '4'], revert_after: 100ms}", "reverting", 2, 8),
        ("exec: {process: deaf, command: [sleep, '3'], revert: ['true'], revert_after: 20s}", "intent", 1, 6),
    ]
    side_by_side(lambda case: moment(*case), cases)


if __name__ == "__main__":
    needs_root()
    main(globals())
