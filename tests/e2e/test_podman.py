"""Faults in containers of Podman, by its compatible socket: what differs from Docker's is taken care of. A Podman of the
tests' own (tests/tools/podman.sh)."""
import contextlib
import os
import re
import subprocess
import sys
import threading
import time

import engine
from harness import *

# Podman gives each container its own limits, which a machine without CAP_SYS_RESOURCE may not raise: so they are said.
LIMITS = [{"Name": "nofile", "Soft": 1024, "Hard": 1024}, {"Name": "nproc", "Soft": 1000, "Hard": 1000}]
TOOL = ROOT / "tests/tools/podman.sh"
PLACE = f"/tmp/chaos-load-p{os.getpid()}"


@contextlib.contextmanager
def containers(*names, **more):
    """(container, url) of each."""
    podman = engine.Engine(os.environ["DOCKER_HOST"].removeprefix("unix://"))
    made, net = [], re.search(r'"subnet": "([0-9.]+)\.0/24"', open(f"{PLACE}/cni/87-podman.conflist").read())[1]
    try:
        for i, name in enumerate(names):
            made.append(podman.container("httpd:1", name=name, address=("podman", f"{net}.{10 + i}"), Ulimits=LIMITS, **more))
        yield [(c, f"http://{c.address()}:8080") for c in made]
    finally:
        podman.remove_all()


def run_plan(url, faults, seconds=8, more=""):
    with folder() as f:
        path = f / "plan.yaml"
        path.write_text(f"target: {url}\nusers:\n  - tasks: [{{get: /}}]\n    think: between(20ms, 60ms)\n"
                        f"load: {{users: 5, for: {seconds}s}}\nrecover_hold: 1s\nhttp: {{timeout: 1s}}\n{more}faults:\n{faults}")
        return run("run", path, out=f / "out")


def test_each_kind_in_one_run():
    with containers("web") as [(web, url)]:
        before = web.look()["State"]["StartedAt"]
        r = run_plan(url, "  - kill: {docker: web, restart_after: 1s}\n    at: 2s\n"
                          "  - pause: {docker: web}\n    at: 8s\n    duration: 1s\n"
                          "  - stop: {docker: web, grace: 1s}\n    at: 12s\n    duration: 1s\n"
                          "  - restart: {docker: web, grace: 1s}\n    at: 18s\n"
                          "  - latency: {docker: web, delay: 100ms}\n    at: 24s\n    duration: 2s\n", 28).expect(0)
        assert web.status() == "running" and web.look()["State"]["StartedAt"] != before
    faults = r.result["faults"]
    assert [f["kind"] for f in faults] == ["kill", "pause", "stop", "restart", "latency"], faults
    for f in faults:
        assert f["verified_in"] and f["verified_out"] and f["felt"] and [t["name"] for t in f["targets"]] == ["web"], f
        assert 0 <= f["effective_ms"] - f["planned_ms"] < 1000, f
    assert near(faults[1]["reverted_ms"] - faults[1]["effective_ms"], 1000, 0.0, 500), faults[1]


def test_selection_takes_paused_ones_too():
    """Podman's list leaves them out unless it is asked for all."""
    with containers("web", "db", labels={"app": "shop"}) as [(web, url), (db, _)]:
        db.do("pause")
        r = run_plan(url, "  - kill: {docker: {label: app=shop, mode: all}}\n    at: 1s\n", 4).expect(0)
        assert sorted(t["name"] for t in r.result["faults"][0]["targets"]) == ["db", "web"], r.result["faults"]
        assert (web.status(), db.status()) == ("exited", "exited"), r.result["faults"]


def test_a_watch_sees_what_others_break():

    with containers("web") as [(web, url)]:
        def work():
            for seconds, verb in [(7, "kill"), (1.5, "start"), (1.5, "pause"), (1, "unpause")]:  # its /info takes seconds
                time.sleep(seconds)
                web.do(verb)
        hand = threading.Thread(target=work)
        hand.start()
        r = run_plan(url, "  - pumba: {watch: true, match: '^web$'}\n", 14).expect(0)
        hand.join()
    assert [f["kind"] for f in r.result["faults"]] == ["kill", "pause"], r.result["faults"]
    assert all(f["reverted_ms"] is not None for f in r.result["faults"]), r.result["faults"]


def test_a_sigkill_of_ours_is_undone():
    with containers("web") as [(web, url)], folder() as f:
        (f / "plan.yaml").write_text(f"target: {url}\nusers: [{{tasks: [{{get: /}}]}}]\nload: {{users: 1, for: 30s}}\n"
                                     f"faults:\n  - pause: {{docker: web}}\n    at: 500ms\n    duration: 60s\n")
        p = start(["run", f / "plan.yaml"], out=f / "out")
        wait_for(lambda: web.status() == "paused", 30, "the pause")
        p.kill()
        p.wait()
        wait_for(lambda: web.status() == "running", 60, "the end of the pause")


def with_podman():
    started = subprocess.run([TOOL, "start", PLACE, os.environ["MINI_HTTP"]], stdout=subprocess.PIPE, text=True)
    print(started.stdout, end="", flush=True)
    if started.returncode:
        sys.exit(started.returncode)
    os.environ["DOCKER_HOST"] = started.stdout.split()[-1]
    try:
        main(globals())
    finally:
        subprocess.run([TOOL, "stop", PLACE], check=True)


with_podman()
