"""Faults as a user meets them: on time, felt, measured, and never left behind, whoever dies."""
import concurrent.futures
import http.client
import os
import pathlib
import subprocess
import time
import uuid

from harness import *
from harness import TRUTH_SERVER


class Victim:
    """A foreign process that serves on a fixed port; it may be killed and started again by others."""

    def __init__(self):
        self.tag = uuid.uuid4().hex
        self.port = unused_port()
        self.process = subprocess.Popen([TRUTH_SERVER, "--port", str(self.port), "--tag", self.tag],
                                        stdout=subprocess.DEVNULL, start_new_session=True)
        wait_for(self.is_healthy, what="the victim")

    def is_healthy(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=0.5)
            connection.request("GET", "/ok")
            ok = connection.getresponse().read() == b"ok\n"
            connection.close()
            return ok
        except OSError:
            return False

    def stop(self):
        for pid in pids_with(self.tag):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def plan(victim, faults, seconds=4, more=""):
    return f"""
apiVersion: chaos-load/v1
name: faults on a victim
target: http://127.0.0.1:{victim.port}
processes:
  - {{name: shop, pid: {victim.process.pid}, ready: "tcp:127.0.0.1:{victim.port}"}}
users:
  - {{think: constant(5ms), tasks: [{{get: /delay/1}}]}}
load: {{users: 10, spawn: 100/s, for: {seconds}s}}
http: {{timeout: 1s}}
recover_hold: 1s
faults:
{faults}
{more}
"""


KILL = "  - kill: {process: shop, restart_after: 700ms}\n    at: 1s"
PAUSE = "  - pause: {process: shop}\n    at: 1s\n    duration: 1s"
STOP_SIGSTOP = "  - pause: {process: shop, how: sigstop}\n    at: 1s\n    duration: 1s"
STOP = "  - stop: {process: shop, grace: 500ms}\n    at: 1s\n    duration: 1s"
PROXY = "  - latency: {proxy: front, delay: 100ms}\n    at: 1s\n    duration: 1s"
SIGNAL = "  - signal: {process: shop, signal: STOP, recover_signal: CONT, recover_after: 1s}\n    at: 1s"
EXEC = ("  - exec: {process: shop, command: [kill, -STOP, '{pid}'], revert: [kill, -CONT, '{pid}'], revert_after: 1s}\n"
        "    at: 1s")
REFUSE = "  - tcp-refuse: {proxy: front}\n    at: 1s\n    duration: 1s"


def run_plan(victim, text, tmp, exit_code=0, name="out"):
    path = tmp / "plan.yaml"
    path.write_text(text)
    return run("run", path, out=tmp / name).expect(exit_code).result


def one_fault(faults, **kwargs):
    victim = Victim()
    try:
        with folder() as tmp:
            result = run_plan(victim, plan(victim, faults, **kwargs), tmp)
        assert victim.is_healthy(), "the victim is left broken"
        return result["faults"][0], result
    finally:
        victim.stop()


def test_kill_is_on_time_felt_and_measured():
    def once():
        fault, result = one_fault(KILL.replace("at: 1s", "at: 2s"), seconds=6)  # a baseline long enough to be left and found again
        assert abs(fault["requested_ms"] - fault["planned_ms"]) <= 5, fault
        assert abs(fault["effective_ms"] - fault["planned_ms"]) <= 5, fault
        assert fault["felt"] and fault["requests_lost"] > 0, fault
        down = fault["reverted_ms"] - fault["effective_ms"]
        assert 700 <= down <= 1200, fault
        assert fault["time_to_recover_ms"] is not None, fault
        assert near(fault["time_to_recover_ms"], down, 0.1, 2 * fault["resolution_ms"] + 100), fault
        kinds = [p["kind"] for p in result["phases"]]
        assert kinds == ["baseline", "inject", "recovery"], kinds
        assert result["phases"][0]["totals"]["failures"] <= 10, result["phases"][0]["totals"]
        assert result["phases"][2]["totals"]["failures"] <= 10, result["phases"][2]["totals"]

    attempts(3, once)


def test_pause_holds_answers_back():
    for faults in (PAUSE, STOP_SIGSTOP):
        fault, result = one_fault(faults)
        assert fault["felt"], fault
        assert near(fault["reverted_ms"] - fault["effective_ms"], 1000, 0.1, 50), fault
        inject = result["phases"][1]
        assert inject["response_time"]["max_ms"] >= 800, inject["response_time"]


def test_stop_starts_again():
    fault, _ = one_fault(STOP)
    assert fault["felt"] and fault["reverted_ms"] - fault["effective_ms"] >= 950, fault


def test_proxy_latency_is_what_was_asked():
    fault, result = one_fault(PROXY)
    baseline, inject = result["phases"][0], result["phases"][1]
    added = inject["response_time"]["p50_ms"] - baseline["response_time"]["p50_ms"]
    assert near(added, 100, 0.05, 2), added
    assert fault["felt"] and fault["requests_lost"] == 0, fault


def test_proxy_refuses():
    def once():
        fault, result = one_fault(REFUSE.replace("at: 1s", "at: 2s"), seconds=6)
        classes = {e["class"]: e["count"] for e in result["errors"]}
        assert classes.get("refused", 0) > 20, classes
        after = fault["time_to_recover_after_removal_ms"]
        assert fault["felt"] and after is not None and after < 1500, fault

    attempts(3, once)


def test_repeated_kills_each_have_their_phases():
    faults = "  - kill: {process: shop, restart_after: 300ms}\n    at: 1s\n    every: 2s\n    count: 3"
    _, result = one_fault(faults, seconds=8)
    assert [f["activation"] for f in result["faults"]] == [0, 1, 2], result["faults"]
    assert sum(p["kind"] == "inject" for p in result["phases"]) == 3
    assert all(f["felt"] and f["verified_in"] and f["verified_out"] for f in result["faults"]), result["faults"]


def guardians(state):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"guardian" in words and any(str(state).encode() in w for w in words):
            found.append(int(entry.name))
    return found


def killed_at(faults, seconds, also_guardian):
    """SIGKILL of the main process, `seconds` after its start; the victim must come out healthy."""
    victim = Victim()
    try:
        with folder() as tmp:
            state = tmp / "state"
            (tmp / "plan.yaml").write_text(plan(victim, faults))
            args = ["run", tmp / "plan.yaml"]
            process = start(args, tmp / "out", state)
            time.sleep(seconds)
            if also_guardian:
                for pid in guardians(state):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.communicate()
            if also_guardian:
                recover = run("recover", state=state)
                assert recover.exit_code in (0, 1), recover
            wait_for(victim.is_healthy, 5, f"the victim's health after a kill at {seconds} s of {faults}")
            wait_for(lambda: not guardians(state), 5, "the guardian's end")
            again = run("recover", state=state)
            assert again.exit_code == 0, again
    finally:
        victim.stop()


def side_by_side(calls, workers):
    """Most of a killed run is waiting. All are tried; what failed is said together."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        failures = [f.exception() for f in [pool.submit(*call) for call in calls]]
    failures = [str(f) or repr(f) for f in failures if f]
    assert not failures, "\n".join(failures)


def test_sigkill_of_the_main_process_leaves_nothing_broken():
    side_by_side([(killed_at, faults, seconds, also_guardian)
                  for faults in (KILL, PAUSE, STOP_SIGSTOP, STOP, SIGNAL, EXEC)
                  for seconds in (0.7, 1.03, 1.4, 1.71, 2.02)
                  for also_guardian in (False, True)], 6)


def child_killed_at(fault, seconds, also_guardian):
    """The same with a server behind a wrapper that the plan starts: nothing of it may stay alive."""
    tag = "child-" + uuid.uuid4().hex
    port = unused_port()
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{port}
processes:
  - name: shop
    run: [sh, -c, "set -m; {TRUTH_SERVER} --port {port} --tag {tag} & while :; do wait; sleep 1; done"]
    ready: "tcp:127.0.0.1:{port}"
users:
  - {{think: constant(5ms), tasks: [{{get: /ok}}]}}
load: {{users: 4, for: 6s}}
faults:
{fault}
""")
        process = start(["run", tmp / "plan.yaml"], tmp / "out", tmp / "state")
        time.sleep(seconds)
        if also_guardian:
            for pid in guardians(tmp / "state"):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()
        if also_guardian:
            recover = run("recover", state=tmp / "state")
            assert recover.exit_code in (0, 1), recover
        wait_for(lambda: not pids_with(tag), 5, f"the end of all of the child, killed at {seconds} s of {fault}")
        wait_for(lambda: not guardians(tmp / "state"), 5, "the guardian's end")
        run("recover", state=tmp / "state").expect(0)
        assert list((tmp / "state").iterdir()) == [], "a journal is left"


def test_nothing_of_a_child_outlives_a_killed_run():
    side_by_side([(child_killed_at, faults, seconds, also_guardian)
                  for faults in (KILL, STOP, PAUSE)
                  for seconds in (0.8, 1.2, 1.9)
                  for also_guardian in (False, True)], 6)


def test_two_runs_do_not_hit_one_process():
    victim = Victim()
    try:
        with folder() as tmp:
            (tmp / "plan.yaml").write_text(plan(victim, STOP_SIGSTOP.replace("duration: 1s", "duration: 2s"), seconds=4))
            (tmp / "kill.yaml").write_text(plan(victim, KILL, seconds=2))
            args = ["run", tmp / "plan.yaml"]
            first = start(args, tmp / "first", tmp / "state")
            wait_for(lambda: any(b"intent" in f.read_bytes() for f in (tmp / "state").glob("*.journal")), 10, "a fault")
            second = run("run", tmp / "kill.yaml", out=tmp / "second", state=tmp / "state").expect(3)
            assert "let that run end first" in second.result["faults"][0]["error"], second.result["faults"][0]
            assert finish(first, args, tmp / "first").expect(0).result["faults"][0]["verified_out"]
            assert victim.is_healthy(), "the victim is left broken"
    finally:
        victim.stop()


def test_sigint_reverts_and_reports():
    victim = Victim()
    try:
        with folder() as tmp:
            (tmp / "plan.yaml").write_text(plan(victim, STOP_SIGSTOP.replace("duration: 1s", "duration: 30s"), seconds=60))
            args = ["run", tmp / "plan.yaml"]
            process = start(args, tmp / "out")
            time.sleep(2)
            process.send_signal(signal.SIGINT)
            result = finish(process, args, tmp / "out", 20).expect(130).result
            assert victim.is_healthy(), "still stopped"
            assert result["verdict"] == "Stopped"
            assert result["faults"][0]["reverted_ms"] is not None, result["faults"][0]
            assert (tmp / "out" / "report.html").stat().st_size > 10000
    finally:
        victim.stop()


def test_empty_and_wide_selections_are_errors():
    with truth_server() as server, folder() as tmp:
        args = ["-H", server.url, "-u", 2, "-t", "5s", "--task", "GET /ok", "--think", "constant(10ms)"]
        r = run("run", *args, "--fault", f"kill process=no-such-{uuid.uuid4().hex} at=1s", out=tmp / "out").expect(3)
        assert "no-such-" in r.stderr + r.result["reason"], r
        assert r.result["verdict"] == "Error", r.result["verdict"]


def test_a_killed_run_can_be_reported():
    with truth_server() as server, folder() as tmp:
        args = ["run", "-H", server.url, "-u", 5, "-r", 100, "-t", "60s", "--task", "GET /delay/2"]
        process = start(args, tmp / "out")
        time.sleep(4)
        process.kill()
        process.communicate()
        served = server.truth()["requests"]
        run("report", tmp / "out" / "rows.ndjson", "--out", tmp / "again").expect(0)
        import json
        again = json.loads((tmp / "again" / "result.json").read_text())
        lost = served - again["totals"]["requests"]
        assert again["totals"]["requests"] > 0 and lost <= served / 4 * 1.5 + 50, (served, again["totals"])


if __name__ == "__main__":
    main(globals())
