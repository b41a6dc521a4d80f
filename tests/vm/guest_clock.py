#!/usr/bin/env python3
"""The wall clock is set forwards and backwards by an hour while faults are active. Runs in the virtual machine, whose clock
is nobody's: durations, ends, statistics and their order must not feel it."""
import json
import os
import pathlib
import subprocess
import sys
import time

from harness import *

HOUR = 3600
FAULTS = {"latency": "delay: 30ms", "fd-exhaustion": "", "sigstop": "how: sigstop"}
HELD_S = 12


def step(seconds):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def is_stopped(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt"


class World:
    def __init__(self, tmp, faults=FAULTS, held=HELD_S):
        self.tmp, self.state = tmp, tmp / "state"
        self.shop = Shop()
        self.victims = {n: subprocess.Popen(["unshare", "-n", "sh", "-c", "ip link set lo up && exec sleep 1000"]) for n in faults}
        time.sleep(1)
        lines = [f"  - {{{'pause' if told.startswith('how') else n}: {{process: {n}{', ' + told if told else ''}}}, at: 2s, duration: {held}s, "
                 f"name: {n}}}" for n, told in faults.items()]
        rows = ", ".join(f"{{name: {n}, pid: {v.pid}}}" for n, v in self.victims.items())
        (tmp / "plan.yaml").write_text(
            f"target: {self.shop.url}\nprocesses: [{rows}]\nusers: [{{think: constant(50ms), tasks: [{{get: /health}}]}}]\n"
            f"load: {{users: 2, for: {held + 20}s}}\nhttp: {{timeout: 5s}}\nfaults:\n" + "\n".join(lines) + "\n")
        self.args = ["run", tmp / "plan.yaml"]
        self.process = start(self.args, tmp / "out", self.state)
        try:
            wait_for(lambda: self.noted("applied") == len(faults) or self.process.poll() is not None, 60, "all faults")
            assert self.process.poll() is None, finish(self.process, self.args, tmp / "out")
        except BaseException:
            self.close()
            raise

    def noted(self, what):
        return sum(f.read_bytes().count(f'"type":"{what}"'.encode()) for f in self.state.glob("*.journal"))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for v in self.victims.values():
            v.kill()
            v.wait()
        self.shop.stop()


def test_a_run_does_not_feel_a_step_of_the_clock():
    with folder() as tmp:
        w = World(tmp)
        try:
            step(HOUR)
            time.sleep(1)
            assert w.process.poll() is None, finish(w.process, w.args, tmp / "out")
            listed = json.loads(run("status", "--json", state=w.state).expect(0).stdout)["faults"]
            assert len(listed) == len(FAULTS) and all(10_000 < f["overdue_in_ms"] < (HELD_S + 31) * 1000 for f in listed), listed
            assert is_stopped(w.victims["sigstop"].pid), "ended by the step"
            step(-2 * HOUR)
            done = finish(w.process, w.args, tmp / "out")
            check(done, tmp)
            assert not list(w.state.iterdir()), list(w.state.iterdir())
        finally:
            w.close()
            step(HOUR)


def check(done, tmp):
    for f in done.result["faults"]:
        held = f["reverted_ms"] - f["effective_ms"]
        assert f["ended_by"] == "plan" and f["verified_out"] and not f["error"], f
        assert HELD_S * 1000 - 50 <= held <= HELD_S * 1000 + 4000, f
    assert done.exit_code == 0 or "generator was the limit" in done.result["reason"], done  # it is emulated
    duration = done.result["duration_ms"]
    assert (HELD_S + 19) * 1000 < duration < (HELD_S + 35) * 1000, duration
    assert done.result["response_time"]["max_ms"] < 8_000, done.result["response_time"]
    rows = [json.loads(line) for line in (tmp / "out" / "rows.ndjson").read_text().splitlines()]
    times = [r["t_ms"] for r in rows if r["type"] == "second"]
    assert len(times) > 5 and times == sorted(times), (times, rows[:5])


def test_a_guardian_does_not_feel_it_either():
    with folder() as tmp:
        w = World(tmp, {"sigstop": "how: sigstop", "cpu": "load: 10%, workers: 1"}, 60)
        try:
            step(HOUR)
            time.sleep(2)
            assert is_stopped(w.victims["sigstop"].pid), "undone before its time"
            step(-2 * HOUR)
            w.process.kill()
            w.process.communicate()
            wait_for(lambda: not is_stopped(w.victims["sigstop"].pid), 20, "the guardian's undo")
            wait_for(lambda: not list(w.state.glob("*.journal")), 20, "the end of the journal")
            run("recover", state=w.state).expect(0)
        finally:
            w.close()
            step(HOUR)


if __name__ == "__main__":
    if not os.environ.get("CHAOS_VM"):
        print("SKIP it sets the clock, which it does in a virtual machine only")
        sys.exit(77)
    main(globals())
