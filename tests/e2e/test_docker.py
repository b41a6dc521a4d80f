#!/usr/bin/env python3
"""Faults in containers as users see them: the load measures what the fault did, the engine's events say that it was
true, and a run that is killed leaves nothing behind."""
import json
import os
import statistics
import time
import urllib.parse

import engine
from harness import *
from harness import pids_with

ENGINE = engine.connect()


def plan(folder, port, faults, seconds=8):
    path = folder / "plan.yaml"
    path.write_text(f"target: http://127.0.0.1:{port}\nusers: [{{think: constant(50ms), tasks: [{{get: /}}]}}]\n"
                    f"load: {{users: 4, spawn: 100/s, for: {seconds}s}}\nfaults: [{faults}]\n")
    return path


def deaths(container, since):
    filters = urllib.parse.quote(json.dumps({"container": [container.id], "event": ["die"]}))
    text = ENGINE.call("GET", f"/events?since={since}&until={int(time.time()) + 1}&filters={filters}")
    if isinstance(text, dict):
        return 1
    return sum(1 for line in (text or b"").splitlines() if line.strip())


def hits(run):
    return [t for f in run.result["faults"] for t in f["targets"]]


def lateness(run):
    late = [t["effective_ms"] - f["planned_ms"] for f in run.result["faults"] for t in f["targets"]]
    print(f"  planned to effective: median {statistics.median(late):.1f} ms, max {max(late):.1f} ms", flush=True)
    return late


def test_lab13_with_native_kills():
    port, since = unused_port(), int(time.time())
    text = (ROOT / "examples" / "lab13-docker.yaml").read_text()
    for long, short in (("for: 60s", "for: 36s"), ("at: 20s", "at: 12s"), ("every: 10s", "every: 8s")):
        assert long in text
        text = text.replace(long, short)
    with folder() as f, ENGINE.container("httpd:1", port=port) as shop:
        (f / "lab.yaml").write_text(text)
        os.environ.update(SHOP=shop.name, SHOP_PORT=str(port))
        done = run("run", f / "lab.yaml", out=f / "out").expect(0)
        assert [t["id"] for t in hits(done)] == [shop.id] * 3, hits(done)
        assert all(t["reverted_ms"] > t["effective_ms"] + 2000 for t in hits(done))
        assert deaths(shop, since) == 3
        assert sum(done.errors().values()) > 0
        assert shop.status() == "running"
        late = lateness(done)
        assert min(late) >= 0 and statistics.median(late) <= 50, late


def test_a_killed_run_is_undone_by_its_guardian():
    for fault in ("pause: {docker: NAME}, at: 1s, duration: 60s", "stop: {docker: NAME, grace: 1s}, at: 1s, duration: 60s",
                  "kill: {docker: NAME, restart_after: 60s}, at: 1s"):
        port = unused_port()
        with folder() as f, ENGINE.container("httpd:1", port=port) as shop:
            path = plan(f, port, "{" + fault.replace("NAME", shop.name) + "}", 90)
            process = start(["run", path], f / "out")
            wait_for(lambda: shop.status() in ("paused", "exited"), 60, "the fault")
            process.kill()
            process.communicate()
            wait_for(lambda: shop.status() == "running" and engine.serves(port), 60, "the guardian's undo of " + fault)


def test_recover_undoes_what_a_dead_guardian_left():
    port = unused_port()
    with folder() as f, ENGINE.container("httpd:1", port=port) as shop:
        path = plan(f, port, f"{{pause: {{docker: {shop.name}}}, at: 1s, duration: 60s}}", 90)
        process = start(["run", path], f / "out")
        wait_for(lambda: shop.status() == "paused", 60, "the pause")
        for pid in [p for p in pids_with("guardian") if p in pids_with(str(f))]:
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()
        assert shop.status() == "paused"
        healed = run("recover", state=f / "state")
        assert healed.exit_code == 1 and "undone" in healed.stdout + healed.stderr, healed
        assert shop.status() == "running" and engine.serves(port)
        run("recover", state=f / "state").expect(0)


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
