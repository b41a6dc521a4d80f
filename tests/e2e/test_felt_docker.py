#!/usr/bin/env python3
"""Every fault of a container as its users feel it: measured by our own load, through the published port and at the
container's own address, while it holds and afterwards. Each scenario has a container of its own; they run side by side."""
import concurrent.futures
import json
import os
import stat
import subprocess

import engine
from harness import *
from test_fault_kinds import Seen

ENGINE = engine.connect()
SIDE_BY_SIDE = 6
USERS = 4
AT, HELD = 1000, 1200
PLAIN = {"get": "/"}
MIB = 1 << 20


class Scene:
    """A container, the load on it, and the run's plan. In `fault`, PORT is where it is published, ADDRESS its own."""

    def __init__(self, fault, check, task=PLAIN, held=HELD, users=USERS, think="20ms", timeout="400ms", keep_alive=True, to="published",
                 seconds=6.5, on="docker", server=("8080",), early=False, **container):
        self.fault, self.check, self.task, self.held, self.users, self.think = fault, check, task, held, users, think
        self.timeout, self.keep_alive, self.to, self.seconds, self.on = timeout, keep_alive, to, seconds, on
        self.server, self.early, self.options = server, early, container

    def __str__(self):
        return f"{self.fault} ({self.to})"

    def plan(self, url, whom, port):
        kind, _, params = self.fault.replace("PORT", str(port)).replace("ADDRESS", whom.address()).partition(" ")
        target = [f"docker: {whom.name}"] if self.on == "docker" else []
        duration = f"    duration: {self.held}ms\n" if self.held else ""
        return f"""
apiVersion: chaos-load/v1
target: {url}
users: [{{think: constant({self.think}), tasks: [{json.dumps(self.task)}]}}]
load: {{users: {self.users}, spawn: 100/s, for: {self.seconds}s}}
http: {{timeout: {self.timeout}, keep_alive: {json.dumps(self.keep_alive)}}}
recover_hold: 500ms
max_lag: 10s
faults:
  - {kind}: {{{", ".join(target + [params] * bool(params))}}}
    at: {AT}ms
{duration}"""

    def play(self):
        port = unused_port()
        host = "::1" if self.to == "published6" else "127.0.0.1"
        with folder() as tmp, ENGINE.container("httpd:1", port=port, host=host, cmd=list(self.server), **self.options) as c:
            url = {"published": f"http://127.0.0.1:{port}", "published6": f"http://[::1]:{port}",
                   "direct": f"http://{c.address()}:8080"}[self.to]
            (tmp / "plan.yaml").write_text(self.plan(url, c, port))
            seen = Seen(run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result)
            seen.scene, seen.container = self, c
            assert seen.fault["verified_in"] and seen.fault["error"] is None, seen.fault
            # What was on its way when it came. An engine may tell of its deed long after it.
            assert self.early or seen.before["totals"]["failures"] <= 2 * self.users, seen.before["errors"]
            self.check(seen)


# ---- what users see ----

def classes(seen):
    return f"{seen.classes} of {seen.sent}; afterwards {seen.after and (seen.after['totals'], seen.after['errors'])}"


def well_again(seen):
    """Nearly all is answered, as fast as before or nearly."""
    assert seen.fault["verified_out"] and seen.fault["ended_by"] == "plan", seen.fault
    assert seen.after, "the load ended before the fault did"
    after = seen.after["totals"]
    assert after["successes"] >= 2 and after["failures"] <= 2 * seen.scene.users, classes(seen)
    before_ms, after_ms = (phase["response_time"]["p50_ms"] for phase in (seen.before, seen.after))
    assert after_ms <= 3 * before_ms + 20, (before_ms, after_ms)


def fails(*names, least=USERS, most_of=0.8, again=well_again):
    """What fails, fails so, but for a rest; and afterwards all is well."""
    def check(seen):
        hits = sum(seen.classes.get(name, 0) for name in names)
        assert hits >= least and hits >= most_of * seen.failed, classes(seen)
        again(seen)
    return check


def back_after(ms, check):
    """What is undone later than asked for is undone when it was healthy, not before."""
    def checked(seen):
        assert seen.held_ms() >= ms, seen.fault
        check(seen)
    return checked


def too_early(seen):
    """Started again, but not serving yet: what wait_healthy is for."""
    assert seen.after and seen.after["totals"]["failures"] > USERS, classes(seen)


def only_silence(seen):
    """The kernel accepts for it, and nobody answers: no connection is refused, open ones go on afterwards."""
    assert set(seen.classes) == {"response-timeout"} and seen.failed >= 2 * seen.scene.users, classes(seen)
    assert seen.held_ms() >= HELD, seen.fault
    well_again(seen)


def gone_for_good(seen):
    assert seen.failed >= USERS and seen.after["totals"]["successes"] == 0, classes(seen)
    try:
        seen.container.look()
    except engine.Refused as why:
        assert why.status == 404, why
    else:
        raise AssertionError("it is still there")


def so_fast(cpu, burn_ms):
    """A quota: no more requests of so much processor time than fit into it; it lends up to a period at either end."""
    def check(seen):
        most = cpu * seen.held_ms() / burn_ms + 2 * cpu * 100 / burn_ms + seen.scene.users
        done = seen.during["totals"]["successes"]
        assert 0 < done <= 1.2 * most, (done, most)
        slower(2)(seen)
    return check


def slower(times, least_ms=0):
    """The phase has a few fast requests at its end, when the helper has gone and is not yet known to have."""
    def check(seen):
        before, during = seen.before["response_time"]["p50_ms"], seen.during["response_time"]["p90_ms"]
        print(f"  {seen.scene}: p50 {before} ms before, p90 {during} ms while it held", flush=True)
        assert during >= times * before and during >= before + least_ms, (before, during)
        assert seen.failed <= 2 * seen.scene.users, classes(seen)
        well_again(seen)
    return check


def unhurt(seen):
    """The hog took the memory, and whoever had some before lives on."""
    assert seen.failed == 0 and not seen.container.look()["State"]["OOMKilled"], classes(seen)
    well_again(seen)


# ---- the scenes ----

DEATH = ("refused", "reset", "closed", "connect-timeout")
SLOW_START = ("8080", "700")  # it listens so many ms after its start
SCENES = [
    Scene("kill restart_after: 1s", back_after(1000, fails("refused", "reset", "closed")), held=0),
    Scene("kill restart_after: 1s", back_after(1000, fails("refused", "reset", "closed")), held=0, to="published6"),
    Scene("kill restart_after: 1s", back_after(1000, fails(*DEATH)), held=0, to="direct"),
    Scene("stop grace: 1s", back_after(HELD, fails("refused", "reset", "closed"))),
    Scene("stop grace: 1s", back_after(HELD, fails(*DEATH)), to="direct"),
    Scene("pause", only_silence, seconds=4.5),
    Scene("pause", only_silence, seconds=4.5, to="published6", keep_alive=False),
    Scene("pause", only_silence, seconds=4.5, to="direct", keep_alive=False),
    Scene("restart grace: 1s", fails(*DEATH, "response-timeout"), held=0),
    Scene("restart grace: 1s", fails(*DEATH, "response-timeout"), held=0, to="direct"),
    Scene("disconnect", fails("refused", "reset", "response-timeout"), early=True),
    Scene("disconnect", fails("refused", "connect-timeout", "response-timeout"), to="direct", early=True),
    Scene("remove allow: true", gone_for_good, held=0, seconds=3),
    Scene("remove allow: true", gone_for_good, held=0, seconds=3, to="direct"),
    Scene("kill restart_after: 200ms", too_early, held=0, server=SLOW_START),
    Scene("kill restart_after: 200ms, wait_healthy: true", back_after(900, fails("refused", "reset", "closed", most_of=0.7)), held=0,
          seconds=9, server=SLOW_START, health=["/httpd", "--check", "8080"]),
    Scene("kill restart_after: 200ms, wait_healthy: 'http://127.0.0.1:PORT/'",
          back_after(900, fails("refused", "reset", "closed", most_of=0.7)), held=0, server=SLOW_START),
    Scene("limits cpu: 0.03", so_fast(0.03, 3), task={"get": "/burn/3000"}, held=2000, users=2, timeout="3s", early=True),
    Scene("limits memory: 24MiB", fails("status", least=1), task={"get": "/hold/32000000"}, users=1,
          think="1300ms", timeout="3s", held=2500, seconds=8),  # its memory is its own at the instant at which the limit comes
    Scene("limits pids: 4", fails("closed", "reset", "response-timeout"), task={"get": "/burn/5000"}, keep_alive=False, users=8,
          timeout="1s", early=True),
    Scene("cpu load: 80%, workers: 2", slower(2), task={"get": "/burn/2000"}, users=1, timeout="3s", seconds=4.5, NanoCpus=250_000_000),
    Scene("memory percent: 60%", unhurt, task={"get": "/hold/4000000"}, users=1, timeout="3s", seconds=9, Memory=32 * MIB,
          MemorySwap=32 * MIB),
    Scene("disk-fill path: /data, keep_free: 0B", fails("status"), task={"get": "/write/65536"}, timeout="3s", seconds=4.5,
          Tmpfs={"/data": "size=8m"}),
    Scene("fd-exhaustion", fails("response-timeout", least=2), users=1, think="150ms", keep_alive=False, held=2000, seconds=5.5),
    Scene("rate rate: 1mbit", slower(2, 60), task={"get": "/bytes/10000"}, users=1, timeout="2s", to="direct", seconds=4),
    # By a proxy in its namespace; connections that are open are reset once.
    Scene("http-abort port: 8080", fails("reset", "closed"), seconds=4),
    Scene("http-delay port: 8080, delay: 100ms", slower(2, 95), seconds=4),
    Scene("http-body port: 8080, body: changed", fails("expectation", most_of=0.6), seconds=4,
          task={"get": "/", "expect": {"body_contains": ["ok"]}}),
    Scene("http-header port: 8080, headers: {Content-Type: text/other}", fails("expectation", most_of=0.6), seconds=4,
          task={"get": "/", "expect": {"headers": {"Content-Type": "text/plain"}}}),
    Scene("blackhole port: 8080", fails("response-timeout", most_of=0.5), seconds=4),
    Scene("slicer port: 8080, size: 20B, delay: 10ms", slower(2, 25), seconds=4),
    Scene("limit-data port: 8080, bytes: 30B", fails("short-body", "closed", "bad-response", "reset"), seconds=4),
    Scene("tcp-refuse port: 8080", fails("refused"), to="direct", seconds=4),
    Scene("tcp-reset port: 8080, after_bytes: 10B", fails("reset"), to="direct", seconds=4),
    Scene("latency port: 8080, mechanism: proxy, delay: 50ms", slower(2, 45), seconds=4),
    Scene("rate port: 8080, mechanism: proxy, rate: 800kbit", slower(2, 80), task={"get": "/bytes/10000"}, seconds=4),
    Scene("latency host: any, dst: ADDRESS, delay: 50ms", slower(2, 49), to="direct", on="host", seconds=4),
    Scene("partition host: any, peers: ADDRESS", fails("connect-timeout", "response-timeout"), to="direct", on="host", seconds=4),
]


def disk():
    """The device that the engine's volumes are on."""
    at = ENGINE.call("GET", "/info")["DockerRootDir"]
    name = subprocess.run(["df", "--output=source", at], capture_output=True, text=True).stdout.split()[-1]
    return name if os.path.exists(name) and stat.S_ISBLK(os.stat(name).st_mode) else None


def io_scene():
    """A container whose disk writes 2 MB a second, which its server and the hog share."""
    device = disk()
    if not device:
        print("  SKIP io: the engine's volumes are on no device of their own")
        return []
    return [Scene("io path: /data, bytes: 256KiB, workers: 1", slower(2), task={"get": "/write/65536"}, users=1, timeout="3s", seconds=4.5,
                  Mounts=[{"Type": "volume", "Target": "/data"}], BlkioDeviceWriteBps=[{"Path": device, "Rate": 2_000_000}])]


def test_users_feel_each_fault_of_their_container():
    failures = []

    def judged(scene):
        try:
            attempts(3, scene.play)
        except AssertionError as why:
            failures.append(f"{scene}: {why}")

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done in [pool.submit(judged, scene) for scene in SCENES + io_scene()]:
            done.result()
    assert not failures, "\n".join(failures)


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
