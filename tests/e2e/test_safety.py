#!/usr/bin/env python3
"""The safety matrix: each fault on each backend is held by a process that dies of SIGKILL at a step of the contract,
alone or together with its guardian. Then the target must be as it was, by itself or after `chaos-load recover`.

The table in docs/SAFETY.md is compared with what comes out; --bless writes it there. --only REGEX runs those rows alone.
What this machine lacks (an engine, Pumba, netem) is said, and those rows of the docs are believed. A new kind needs a row below. FAULT_DRIVER and CAMPAIGN_DRIVER are those of tests/tools.
    CHAOS_SAFETY_ROWS=REGEX      as --only: what takes netem runs in a virtual machine (tests/vm)
    CHAOS_SAFETY_AT_ONCE=N       so many rows at once
    --take FILE                  blesses the rows that stand in FILE, which such a machine printed"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import engine
from harness import CHAOS_LOAD, ROOT, folder, main, run, wait_for
from safety_targets import *

DOCS = ROOT / "docs" / "SAFETY.md"
MARKS = ("<!-- the matrix -->\n", "<!-- end of the matrix -->\n")
STEPS = ("intent", "inject", "hold", "revert")
RANDOM = ("inject", "revert")  # where in them it dies is drawn
HOLD_MS = 150
AT_ONCE = int(os.environ.get("CHAOS_SAFETY_AT_ONCE", "6"))
ITSELF, RECOVER, NOT = "by itself", "recover", "-"
PUMBA = os.environ.get("PUMBA") or shutil.which("pumba")

# ---- the rows: one text for each kind; (text, what the machine must have) where not all have it ----

QUEUED = ["latency: {%(at)s, delay: 50ms}", "corrupt: {%(at)s, percent: 30%%}", "duplicate: {%(at)s, percent: 30%%}",
          "reorder: {%(at)s, percent: 30%%, delay: 20ms}", "tcp-reset: {%(at)s}",
          "loss: {%(at)s, percent: 30%%, mechanism: nftables}", "loss: {%(at)s, percent: 30%%, mechanism: nfqueue}",
          "partition: {%(at)s, mechanism: nftables}", "partition: {%(at)s, mechanism: nfqueue}",
          "rate: {%(at)s, rate: 1mbit, mechanism: nfqueue}", ("rate: {%(at)s, rate: 1mbit, mechanism: htb}", "htb")]
NETEM = [(text, "netem") for text in (
    "latency: {%(at)s, delay: 50ms, mechanism: netem}", "loss: {%(at)s, percent: 30%%, mechanism: netem}",
    "corrupt: {%(at)s, percent: 30%%, mechanism: netem}", "duplicate: {%(at)s, percent: 30%%, mechanism: netem}",
    "reorder: {%(at)s, percent: 30%%, delay: 20ms, mechanism: netem}", "rate: {%(at)s, rate: 1mbit, mechanism: netem}")]
DNS = ["dns-error: {%(at)s, patterns: [example.com], rcode: NXDOMAIN}", "dns-spoof: {%(at)s, map: {example.com: 10.0.0.1}}"]
NETWORK = QUEUED + NETEM + DNS
HTTP = ["http-status: {%(at)s, code: 503}", "http-abort: {%(at)s}", "http-delay: {%(at)s, delay: 50ms}", "http-body: {%(at)s, body: oh}",
        "http-header: {%(at)s, headers: {X-Oh: no}}", "blackhole: {%(at)s}", "slow-close: {%(at)s, delay: 50ms}",
        "slicer: {%(at)s, size: 100B}", "limit-data: {%(at)s, bytes: 100B}", "grpc-status: {%(at)s}"]
PORT = HTTP + ["tcp-refuse: {%(at)s}", "latency: {%(at)s, delay: 50ms, mechanism: proxy}", "rate: {%(at)s, rate: 1mbit, mechanism: proxy}",
               "tcp-reset: {%(at)s, mechanism: proxy}"]
PROXY = ["latency: {%(at)s, delay: 50ms}", "bandwidth: {%(at)s, rate: 1mbit}", "rate: {%(at)s, rate: 1mbit}",
         "loss: {%(at)s, percent: 30%%}", "tcp-reset: {%(at)s}", "tcp-refuse: {%(at)s}"] + HTTP
MACHINE = ["cpu: {%(at)s, load: 20%%, workers: 1}", "memory: {%(at)s, size: 8MiB}", "io: {%(at)s, workers: 1, bytes: 1MiB}",
           "disk-fill: {%(at)s, size: 1MiB, path: /tmp}"]
LIMIT = ["fd-exhaustion: {%(at)s}"]
DOCKER = ["kill: {%(at)s, restart_after: 100ms}", "stop: {%(at)s, grace: 1s}", "restart: {%(at)s, grace: 1s}", "pause: {%(at)s}",
          "disconnect: {%(at)s}", "limits: {%(at)s, cpu: 0.5, memory: 64MiB, pids: 50}",
          "exec: {%(at)s, command: [touch, %(tmp)s], revert: [rm, -f, %(tmp)s], revert_after: 50ms}"]
REMOVE = ["remove: {%(at)s, allow: true}"]
PROCESS = ["kill: {%(at)s, restart_after: 50ms}", "stop: {%(at)s, grace: 1s}", "pause: {%(at)s, how: ptrace}", "pause: {%(at)s, how: sigstop}",
           "restart: {%(at)s, grace: 1s}", "signal: {%(at)s, signal: STOP, recover_signal: CONT, recover_after: 50ms}",
           "exec: {%(at)s, command: [touch, %(tmp)s], revert: [rm, -f, %(tmp)s], revert_after: 50ms}"]
CONFINED = ["limits: {%(at)s, cpu: 0.5, memory: 64MiB, pids: 50}"]
CRASH = ["crash: {%(at)s}"]
OWN_PROCESS = ["clock-skew: {%(at)s, offset: 1h}"]
CLIENT = ["slow-read: {%(at)s, rate: 8kbit}", "slow-send: {%(at)s, rate: 1600bit}", "half-open: {%(at)s, hold: 10s}", "abort: {%(at)s}",
          "tls-stall: {%(at)s, hold: 10s}", "big-headers: {%(at)s, size: 8KiB}", "retry-storm: {%(at)s, retries: 3}"]
PUMBA_RUN = [('pumba: {run: "pause --duration 60s %(name)s"}', "Pumba"),
             ('pumba: {run: "stop --time 1 --restart --duration 60s %(name)s"}', "Pumba")]
PUMBA_WATCH = ["pumba: {watch: true}"]


def needs(row):
    return row if isinstance(row, tuple) else (row, None)


def narrowed(rows, to):
    return [(text.replace("%(at)s", f"%(at)s, {to}"), need) for text, need in map(needs, rows)]


def worlds(docker):
    """(backend, who makes a target, rows)"""
    return [("docker", lambda: Container(docker), DOCKER + NETWORK + narrowed(PORT, "port: 8080") + MACHINE + LIMIT),
            ("docker", lambda: Removable(docker), REMOVE), ("docker", lambda: MortalContainer(docker), CRASH),
            ("process", Confined, CONFINED), ("process", Mortal, CRASH),
            ("process", Process, NETWORK + narrowed(PORT, "port: 8080") + MACHINE + LIMIT), ("process", Worker, PROCESS), ("process", Started, OWN_PROCESS),
            ("host", Host, narrowed(QUEUED + NETEM, "port: 9") + DNS + MACHINE + ["fd-exhaustion: {%(at)s, count: 1000}"]),
            ("proxy", Proxied, PROXY), ("client", Loaded, CLIENT),
            ("pumba", lambda: Container(docker), PUMBA_RUN), ("pumba", lambda: Watched(docker), PUMBA_WATCH)]


def name_of(fault):
    """`loss` by nfqueue: the kind, and which of its ways where it has several."""
    way = re.search(r"(mechanism|how): (\w+)", fault) or re.search(r'()run: "(\w+)', fault) or re.search(r"()(watch)", fault)
    return f"`{fault.split(':')[0]}`" + (f" {way[2]}" if way else "")


def takes_qdisc(kind):
    """Tried where nobody is."""
    done = subprocess.run(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", kind], capture_output=True, check=False)
    return done.returncode == 0


def this_machine_has():
    return {None} | ({"Pumba"} if PUMBA else set()) | {kind for kind in ("htb", "netem") if takes_qdisc(kind)}


# ---- one death ----

class Tagged:
    """All that one driver started: whoever has its folder's name in the environment."""

    def __init__(self, tag):
        self.tag = f"CHAOS_TEST_TAG={tag}".encode()
        self.others = set(os.listdir("/proc"))  # before it began, so not worth a look

    def each(self):
        for pid in set(os.listdir("/proc")) - self.others:
            with contextlib.suppress(OSError):
                if pid.isdigit() and self.tag in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    yield pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()

    def holders(self):
        return sum(b"guardian" not in line for line in self.each())

    def any(self):
        return any(True for _ in self.each())


def sh(argv, state):
    env = dict(os.environ, CHAOS_LOAD_STATE=str(state), CHAOS_TEST_TAG=state.parent.name)
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90, check=False)


def is_well(target, before, tagged):
    return tagged.holders() == 0 and target.look() == before


def becomes_well(target, before, tagged, seconds):
    deadline, pause = time.monotonic() + seconds, 0.03
    while time.monotonic() < deadline:
        if is_well(target, before, tagged):
            return True
        time.sleep(pause)
        pause = min(2 * pause, 0.25)  # to look costs more than to wait
    return False


def mended_by_itself(target, before, tagged, seconds=20.0):
    """When all that could mend it is gone, the kernel gets a moment for the last of it, and no more."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alone = not tagged.any()
        if becomes_well(target, before, tagged, 0.5 if alone else 0.05):
            return True
        if alone:
            return False
    return False


def recovered(argv, state):
    """The dead one's lock may live on for a moment, in a child that has not come to its exec."""
    done = sh(argv, state)
    return None if list(state.glob("*.journal")) and done.returncode == 0 else done


def mend(target, before, tagged, both, state):
    """Who made it well: by itself is the kernel, or the guardian."""
    by_itself = mended_by_itself(target, before, tagged)
    if not both:
        assert by_itself, f"its guardian did not mend it: {target.look()} instead of {before}, {tagged.holders()} holders"
        wait_for(lambda: not list(state.glob("*.journal")), 20, "the end of its journal")
        return ITSELF
    done = wait_for(lambda: recovered(target.recover_argv([CHAOS_LOAD, "recover"]), state), what="recover")
    assert done.returncode in (0, 1), f"recover: exit {done.returncode}: {done.stdout}{done.stderr}"
    assert becomes_well(target, before, tagged, 20), f"recover did not mend it: {target.look()} instead of {before}: {done.stdout}"
    assert not list(state.glob("*.journal")), "its journal is left"
    return ITSELF if by_itself else RECOVER


def one_death(target, fault, step, both):
    if isinstance(target, Watched):
        if step != "hold":
            return NOT
        step = "soon"
    with folder() as tmp:
        state = tmp / "state"
        state.mkdir(mode=0o700)
        target.renew()
        tagged, delay = Tagged(tmp.name), 500_000 if step == "soon" else delay_us()
        before = target.look()
        with target.around():
            done = sh(target.argv(state, step, "both" if both else "alone", delay, HOLD_MS, fault % target.words()), state)
        assert done.returncode == -9, f"was not killed: exit {done.returncode}: {done.stderr}"
        try:
            return mend(target, before, tagged, both, state)
        except AssertionError as failure:
            raise AssertionError(f"{delay} us after: {failure}") from None


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
                    raise AssertionError(f"{fault % target.words()}, killed at {step}{' with its guardian' if both else ''}, {failure}")
    finally:
        target.close()
    return verdicts


# ---- the table ----

def line_of(name, backend, verdicts):
    n = len(STEPS)
    return f"| {name} | {backend} | {', '.join(verdicts[:n])} | {', '.join(verdicts[n:])} |\n"


def head():
    steps = ", ".join(STEPS)
    return f"| fault | backend | alone: {steps} | with its guardian: {steps} |\n|---|---|---|---|\n"


def rows_in(text):
    """{(name, backend): verdicts}"""
    cells = [[c.strip() for c in line.strip("|\n").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {(c[0], c[1]): c[2].split(", ") + c[3].split(", ") for c in cells}


def documented():
    return rows_in(DOCS.read_text().split(MARKS[0])[1].split(MARKS[1])[0])


def differs(told, seen):
    """What may be needed is not always: instants are drawn, and a helper may come to clean up before it dies, too."""
    return len(told) != len(seen) or any(t != s and (t, s) != (RECOVER, ITSELF) for t, s in zip(told, seen))


def worst(told, seen):
    """What is needed while it is held may be needed while it is put in or taken out."""
    out = list(seen)
    for i, verdict in enumerate(seen):
        if STEPS[i % len(STEPS)] in RANDOM:
            hold = seen[i - i % len(STEPS) + STEPS.index("hold")]
            out[i] = RECOVER if RECOVER in (verdict, hold, (told or seen)[i]) else verdict
    return out


def bless(rows):
    old = documented()
    table = {**old, **{key: worst(old.get(key), seen) for key, seen in rows.items()}}
    before, rest = DOCS.read_text().split(MARKS[0])
    lines = [line_of(*key, verdicts) for key, verdicts in sorted(table.items(), key=lambda item: item[0][::-1])]
    DOCS.write_text(before + MARKS[0] + head() + "".join(lines) + MARKS[1] + rest.split(MARKS[1])[1])


def compare(rows, exempt, all_of_it):
    old = documented()
    wrong = [f"{key}: the docs say {old.get(key)}, it was {seen}" for key, seen in rows.items() if differs(old.get(key) or [], seen)]
    wrong += [f"{key}: the docs have it, and it is no row" for key in old if all_of_it and key not in rows and key not in exempt]
    assert not wrong, "docs/SAFETY.md is out of date (--bless):\n" + "\n".join(wrong)


def matrix(todo):
    """Most of it is waiting, and each has a target of its own."""
    failed, rows = [], {}
    print(head(), end="", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = {pool.submit(row, make, fault): (name_of(fault), backend) for backend, make, fault in todo}
        for job in concurrent.futures.as_completed(jobs):
            key = jobs[job]
            try:
                rows[key] = job.result()
                print(line_of(*key, rows[key]), end="", flush=True)
            except Exception as failure:
                failed.append(f"{key[0]} on {key[1]}: {failure}")
                print(f"FAIL {failed[-1]}", flush=True)
    assert not failed, "\n".join(failed)
    return rows


ONLY = os.environ.get("CHAOS_SAFETY_ROWS")
BLESS = False


def test_every_kind_has_a_row():
    """What the program can do is what its schema says."""
    schema = json.loads(run("schema").expect(0).stdout)
    known = {tuple(m.groups("")) for m in map(re.compile(r"fault_([^_]+)_([^_]+)(?:_([^_]+))?$").match, schema["$defs"]) if m}
    assert len(known) > 100, known
    rows = {(fault.split(":")[0], backend, "proxy" if "mechanism: proxy" in fault else "")
            for backend, _, rows in worlds(None) for fault, _ in map(needs, rows)}
    assert known - rows == set(), f"kinds without a row in the safety matrix: {sorted(known - rows)}"
    assert rows - known == set(), f"rows of no kind: {sorted(rows - known)}"


def test_no_fault_outlives_its_injector():
    if os.geteuid() != 0 or not shutil.which("nsenter") or not shutil.which("nft") or not shutil.which("tc"):
        print("SKIP it takes root, nsenter, nft and tc")
        sys.exit(77)
    docker = engine.connect() if engine.is_there() else None
    has, todo, exempt = this_machine_has(), [], {}
    for backend, make, rows in worlds(docker):
        for fault, need in map(needs, rows):
            lacks = "container engine" if backend in ("docker", "pumba") and not docker else need if need not in has else None
            if lacks:
                exempt[name_of(fault), backend] = lacks
            elif not ONLY or re.search(ONLY, f"{backend} {fault}"):
                todo.append((backend, make, fault))
    for lacks in sorted(set(exempt.values())):
        print(f"not run, there is no {lacks} here:", ", ".join(" on ".join(key) for key, what in exempt.items() if what == lacks))
    began = time.monotonic()
    try:
        rows = matrix(todo)
    finally:
        if docker:
            docker.remove_all()
    print(f"{len(rows)} rows, {len(rows) * 2 * len(STEPS)} deaths in {time.monotonic() - began:.0f} s")
    if BLESS:
        bless(rows)
    compare(rows, exempt, not ONLY)


if __name__ == "__main__":
    if "--only" in sys.argv:
        ONLY = sys.argv.pop(sys.argv.index("--only") + 1)
        sys.argv.remove("--only")
    if "--take" in sys.argv:
        bless(rows_in(pathlib.Path(sys.argv[sys.argv.index("--take") + 1]).read_text()))
        sys.exit(0)
    if "--bless" in sys.argv:
        BLESS = True
        sys.argv.remove("--bless")
    main(globals())
