#!/usr/bin/env python3
"""What can befall containers and their engine while faults are active: a container is restarted or removed, the engine is
restarted, killed, or stays away, the run is stopped by Ctrl-C or stands still. One run holds a fault of every kind, each in
a container of its own, so that all of them meet the calamity at once."""
import os
import re
import resource
import subprocess
import sys
import time

import engine
from harness import *
from test_calamity import HELD_S, MACHINE, NETWORK, by_name, campaign, needs_root, noted, sh, side_by_side, status, told

# Kinds of the engine itself; what becomes of each when its container is restarted: nothing is left of it, or it stays.
ENGINE_KINDS = {"pause": "", "stop": "grace: 1s", "kill": f"restart_after: {HELD_S}s", "limits": "cpu: 0.5, memory: 64MiB, pids: 50",
                "disconnect": ""}
STAYS = {"limits", "disconnect"}
KINDS = {**ENGINE_KINDS, **NETWORK, **MACHINE}


def memory_of(docker):
    return docker.call("GET", "/info")["MemTotal"]


def state_of(container):
    """All that a fault may change of it."""
    seen = container.look()
    limits, state = seen["HostConfig"], seen["State"]
    pid = state["Pid"]
    inside = ("nsenter", "-t", str(pid), "-n")
    running = pid and (resource.prlimit(pid, resource.RLIMIT_NOFILE), sh(*inside, "nft", "list", "ruleset"),
                       re.sub(r"dev eth\d", "dev eth", sh(*inside, "tc", "qdisc", "show")))
    return (state["Status"], max(limits["CpuQuota"], 0), limits["Memory"] % memory_of(container.engine), max(limits["PidsLimit"] or 0, 0),
            sorted((name, bool(n["NetworkID"])) for name, n in seen["NetworkSettings"]["Networks"].items()), running)


def on_containers(victims, held=HELD_S):
    return "\n".join(f"  - {{{kind}: {{docker: {c.name}{', ' + KINDS[kind] if KINDS[kind] else ''}}}, at: 2s, name: {kind}"
                     f"{'' if kind == 'kill' else f', duration: {held}s'}}}" for kind, c in victims.items())


def make(docker, kinds):
    return dict(zip(kinds, side_by_side(lambda k: docker.container("bb:1"), kinds)))


def states(victims):
    return dict(zip(victims, side_by_side(state_of, victims.values())))


def check(done, victims, before, fates):
    """fates: kind to the ways in which its fault may end. The containers must be as they were."""
    after = states(victims) if before else {}
    wrong = [f"{k}: {f}\n  before {before.get(k)}\n  after  {after.get(k)}" for k, f in by_name(done).items()
             if not any(told(f, fate) for fate in fates(k)) or after.get(k) != before.get(k)]
    assert not wrong, "\n".join(wrong)


# ---- the container ----

def test_containers_are_restarted_under_their_faults():
    victims = make(ENGINE, KINDS)
    before = states(victims)
    with campaign(on_containers(victims)) as c:
        c.wait_active(len(KINDS))
        side_by_side(lambda v: v.do("restart?t=0"), victims.values())
        c.wait(lambda: noted(c.state, "reverted") == len(KINDS) - len(STAYS), 30, "the end of what has gone")
        c.signal(signal.SIGINT)
        done = c.end().expect(130)
        check(done, victims, before, lambda k: ["abort" if k in STAYS else "target-gone"])
        c.check_nothing_is_left()


def test_containers_are_removed_under_their_faults():
    victims = make(ENGINE, KINDS)
    with campaign(on_containers(victims)) as c:
        c.wait_active(len(KINDS))
        side_by_side(lambda v: v.remove(), victims.values())
        c.wait(lambda: noted(c.state, "reverted") == len(KINDS), 30, "the end of what has gone")
        c.signal(signal.SIGINT)
        check(c.end().expect(130), victims, {}, lambda k: ["target-gone"])
        c.check_nothing_is_left()


# ---- the run ----

def ctrl_c_twice():
    victims = make(ENGINE, KINDS)
    before = states(victims)
    with campaign(on_containers(victims)) as c:
        c.wait_active(len(KINDS))
        c.signal(signal.SIGINT)
        time.sleep(0.2)
        c.signal(signal.SIGTERM)
        check(c.end(30).expect(130), victims, before, lambda k: ["abort"])
        c.check_nothing_is_left()


def relieved():
    kinds = [k for k in ENGINE_KINDS if k != "kill"]
    victims = make(ENGINE, kinds)
    before = states(victims)
    with campaign(on_containers(victims, held=4)) as c:
        c.wait_active(len(kinds))
        c.signal(signal.SIGSTOP)
        wait_for(lambda: states(victims) == before, 50, "the guardian's mercy")
        c.signal(signal.SIGCONT)
        done = c.end().expect(3)
        assert "stood still" in done.result["reason"], done.result["reason"]
        assert all(f["verified_out"] for f in done.result["faults"]), done.result["faults"]
        c.check_nothing_is_left()


def test_runs_are_interrupted_or_stand_still():
    side_by_side(lambda test: test(), (ctrl_c_twice, relieved))


# ---- the engine ----

class Own:
    """An engine that may be restarted without disturbing anybody."""

    def __init__(self, options=""):
        self.folder = f"/tmp/chaos-load-own-{os.getpid()}"
        self.env = dict(os.environ, CHAOS_ENGINE_OPTIONS=options)

    def tell(self, *words):
        return subprocess.run([ROOT / "tests/tools/engine.sh", *words], env=self.env, capture_output=True, text=True, check=False)

    def __enter__(self):
        made = self.tell("start", self.folder, os.environ.get("MINI_HTTP", "build/dev/tests/mini_http"))
        if made.returncode:
            self.tell("stop", self.folder)
            raise AssertionError(made.stdout + made.stderr)
        self.engine = engine.Engine(self.folder + "/docker.sock")
        self.shared, os.environ["DOCKER_HOST"] = os.environ["DOCKER_HOST"], f"unix://{self.folder}/docker.sock"
        return self

    def __exit__(self, *unused):
        os.environ["DOCKER_HOST"] = self.shared
        self.tell("stop", self.folder)

    def pid(self):
        with open(self.folder + "/docker.pid", encoding="ascii") as f:
            return int(f.read())

    def halt(self):
        self.tell("halt", self.folder)

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}") or open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z",
                 what="the engine's end")

    def resume(self):
        done = self.tell("resume", self.folder)
        assert done.returncode == 0, done


MET = [*ENGINE_KINDS, "latency", "http-status", "cpu"]


def test_engine_is_restarted_and_its_containers_live_on():
    with Own("--live-restore") as own:
        for end in (own.halt, own.kill):
            victims = make(own.engine, MET)
            before = states(victims)
            with campaign(on_containers(victims)) as c:
                c.wait_active(len(MET))
                end()
                own.resume()
                time.sleep(1.5)
                assert victims["pause"].status() == "paused"
                c.signal(signal.SIGINT)
                check(c.end().expect(130), victims, before, lambda k: ["abort"])
                c.check_nothing_is_left()
            side_by_side(lambda v: v.remove(), victims.values())


def test_engine_is_restarted_and_its_containers_end():
    with Own() as own:
        for end in (own.halt, own.kill):
            ended_with_their_engine(own, end)


def ended_with_their_engine(own, end):
    ours = {"stop", "kill"}
    victims = make(own.engine, MET)
    before = states(victims)
    with campaign(on_containers(victims)) as c:
        c.wait_active(len(MET))
        end()
        own.resume()
        c.wait(lambda: noted(c.state, "reverted") == len(MET) - len(ours | STAYS), 20, "the end of what has gone")
        c.signal(signal.SIGINT)
        done = c.end().expect(130)
        wrong = [f for f in done.result["faults"] if not told(f, "abort" if f["name"] in STAYS | ours else "target-gone")]
        assert not wrong, wrong
        c.check_nothing_is_left()
    # Of those that we did not take down the engine alone knows why they do not run.
    side_by_side(lambda kind: kind in ours or victims[kind].do("start"), victims)
    after = states(victims)
    assert after == before, f"{after} instead of {before}"
    side_by_side(lambda v: v.remove(), victims.values())


def test_engine_stays_away():
    with Own("--live-restore") as own:
        victims = make(own.engine, ENGINE_KINDS)
        before = states(victims)
        with campaign(on_containers(victims)) as c:
            c.wait_active(len(ENGINE_KINDS))
            own.halt()
            c.signal(signal.SIGINT)
            time.sleep(1)
            c.signal(signal.SIGINT)
            done = c.end(20).expect(3)
            assert own.folder in done.result["reason"] and "chaos-load recover" in done.result["reason"], done.result["reason"]
            for f in done.result["faults"]:
                assert not f["verified_out"] and f["ended_by"] == "error" and "could not be reverted" in f["error"], f
            assert "COULD NOT BE UNDONE" in run("recover", state=c.state).expect(2).stdout
            assert len(status(c.state)) == len(ENGINE_KINDS), status(c.state)
            again = run("run", "-H", c.url, "-u", 1, "-t", "1s", "--task", "GET /ok", "--fault",
                        "memory host=any size=1MiB at=100ms duration=200ms", state=c.state).expect(3)
            assert "could not be undone" in again.stderr, again
            own.resume()
            run("recover", state=c.state).expect(1)
            after = states(victims)
            assert after == before, f"{after} instead of {before}"
            c.check_nothing_is_left()


if __name__ == "__main__":
    needs_root()
    ENGINE = engine.connect()
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
