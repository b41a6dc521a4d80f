"""What users feel of a command inside of a container, and of a crash that others mend: the engine's restart policy, or a
supervisor. The instants are the engine's own."""
import json
import os
import signal
import subprocess
import time
import urllib.parse

import engine
from harness import CHAOS_LOAD, attempts, folder, main, pids_with, run, unused_port, wait_for

d = engine.connect()
SITE = ["sh", "-c", "mkdir /www && echo ok >/www/index.html && exec httpd -f -p 8080 -h /www"]


def felt(f, port, fault, seconds=5):
    """Ten users; the run's result, and what the engine told meanwhile."""
    plan = f / "plan.yaml"
    plan.write_text(f"apiVersion: chaos-load/v1\ntarget: http://127.0.0.1:{port}\nusers: [{{tasks: [{{get: /}}], think: constant(20ms)}}]\n"
                    f"load: {{users: 10, for: {seconds}s}}\nhttp: {{timeout: 1s}}\nrecover_hold: 500ms\nfaults:\n{fault}")
    began = time.time()
    got = run("run", plan, out=f / "out")
    query = urllib.parse.urlencode({"since": f"{began:.9f}", "until": f"{time.time():.9f}"})
    return got, events(query)


def events(query):
    text = d.call("GET", f"/events?{query}")
    lines = text.splitlines() if isinstance(text, (bytes, str)) else [json.dumps(text)]
    return [e for e in map(json.loads, filter(None, lines)) if e["Type"] == "container"]


def check_recovered(result):
    phases = {p["kind"]: p for p in result["phases"]}
    assert phases["baseline"]["totals"]["failures"] <= 10, phases["baseline"]["errors"]
    assert phases["recovery"]["totals"]["requests"] > 20, phases["recovery"]["totals"]
    return phases


def test_a_crash_is_mended_by_the_restart_policy():
    def once():
        port = unused_port()
        with folder() as f, d.container("httpd:1", port=port, RestartPolicy={"Name": "always"}) as c:
            got, told = felt(f, port, f"  - crash: {{docker: {c.name}, wait_healthy: 'http://127.0.0.1:{port}/'}}\n    at: 1500ms\n")
            fault = got.expect(0).result["faults"][0]
            seen = c.look()
            assert seen["State"]["Running"] and seen["RestartCount"] == 1, seen["State"]
        check_recovered(got.result)
        assert fault["felt"] and fault["requests_lost"] > 0 and fault["verified_in"] and fault["verified_out"], fault
        assert fault["mechanism"] == "SIGKILL from the host; restart policy: always", fault
        mine = {e["Action"]: e["timeNano"] / 1e6 for e in told if e["Actor"]["ID"] == c.id}
        assert "kill" not in mine and {"die", "start"} <= set(mine), mine  # it was nobody's order
        # The death comes some time before the engine tells of it, and users are served some time after its start.
        down = fault["reverted_ms"] - fault["effective_ms"]
        assert mine["start"] - mine["die"] - 5 <= down <= mine["start"] - mine["die"] + 1500, (down, mine)
        assert fault["effective_ms"] - fault["requested_ms"] < 200, fault

    attempts(3, once)


def test_without_a_policy_it_stays_down():
    port = unused_port()
    with folder() as f, d.container("httpd:1", port=port) as c:
        got, _ = felt(f, port, f"  - crash: {{docker: {c.name}}}\n    at: 1s\n", 2)
        fault = got.result["faults"][0]
        assert fault["mechanism"].endswith("restart policy: no") and fault["reverted_ms"] is None, fault
        assert c.status() == "exited", c.look()["State"]


def test_a_crash_is_refused_from_elsewhere():
    """By TCP nobody knows whose processes those are."""
    from test_docker_plans import before_the_engine
    with d.container("bb:1") as c, before_the_engine() as port, folder() as f:
        got = run("run", "-H", "http://127.0.0.1:9", "-t", "2s", "--docker-host", f"tcp://127.0.0.1:{port}", "--fault",
                  f"crash docker={c.name} at=500ms", out=f / "out")
        assert "is not on this machine, so nothing here can signal its processes" in got.stdout + got.stderr, got
        assert c.status() == "running", c.look()["State"]


def test_a_command_breaks_what_the_server_reads():
    def once():
        port = unused_port()
        with folder() as f, d.container("bb:1", cmd=SITE, port=port) as c:
            got, told = felt(f, port, f"  - exec: {{docker: {c.name}, command: [mv, /www/index.html, /www/off], "
                                      f"revert: [mv, /www/off, /www/index.html], revert_after: 1500ms}}\n    at: 1s\n")
            fault = got.expect(0).result["faults"][0]
            assert engine.serves(port)
        phases = check_recovered(got.result)
        assert fault["felt"] and fault["error"] is None, fault
        classes = {e["class"]: e["count"] for e in phases["inject"]["errors"]}
        sent = phases["inject"]["totals"]["requests"]
        assert classes.get("status", 0) >= 0.8 * sent and sent > 50, (classes, sent)
        assert phases["recovery"]["totals"]["failures"] <= 0.2 * phases["recovery"]["totals"]["requests"], phases["recovery"]
        ends = [e["timeNano"] / 1e6 for e in told if e["Actor"]["ID"] == c.id and e["Action"] == "exec_die"]
        assert len(ends) == 2, told
        held = fault["reverted_ms"] - fault["effective_ms"]
        assert abs(held - (ends[1] - ends[0])) < 150 and held >= 1500, (held, ends)

    attempts(3, once)


def test_a_killed_run_is_mended_in_the_container():
    """By its guardian, which asks the engine."""
    with folder() as f, d.container("bb:1", cmd=SITE) as c:
        (f / "state").mkdir(mode=0o700)
        plan = f / "plan.yaml"
        plan.write_text("apiVersion: chaos-load/v1\ntarget: http://127.0.0.1:9\nusers: [{tasks: [{get: /}], think: constant(1s)}]\nload: {users: 1, for: 60s}\n"
                        f"faults:\n  - exec: {{docker: {c.name}, command: [mv, /www/index.html, /www/off], "
                        "revert: [mv, /www/off, /www/index.html], revert_after: 50s}\n    at: 500ms\n")
        env = dict(os.environ, CHAOS_LOAD_STATE=str(f / "state"))
        p = subprocess.Popen([CHAOS_LOAD, "run", plan], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             stdin=subprocess.DEVNULL, start_new_session=True)
        broken = lambda: any(x["Path"] == "/www/off" for x in d.call("GET", f"/containers/{c.id}/changes"))
        wait_for(broken, 20, "the command")
        p.send_signal(signal.SIGKILL)
        p.wait()
        wait_for(lambda: not broken(), 30, "the guardian")
        wait_for(lambda: not list((f / "state").glob("*.journal")), 30, "its journal's end")


def test_a_supervisor_is_watched():
    """A loop that starts the shop again after a second; the fault lasts until it answers."""
    with folder() as f:
        port = unused_port()
        tag = f"crash-shop-{port}"
        shop = f"'{CHAOS_LOAD}' target --listen 127.0.0.1:{port} --latency 0 --name {tag}"
        loop = subprocess.Popen(["sh", "-c", f"while :; do {shop} & echo $! >{f}/new; mv {f}/new {f}/pid; wait $!; sleep 1; done"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_for(lambda: engine.serves(port), 20, "the shop")
            plan = f / "plan.yaml"
            plan.write_text(f"apiVersion: chaos-load/v1\ntarget: http://127.0.0.1:{port}\nprocesses:\n  - {{name: shop, pidfile: {f}/pid, ready: 'tcp:127.0.0.1:{port}'}}\n"
                            "users: [{tasks: [{get: /}], think: constant(20ms)}]\nload: {users: 5, for: 5s}\nrecover_hold: 500ms\n"
                            "faults:\n  - crash: {process: shop, returns_within: 20s}\n    at: 1s\n")
            got = run("run", plan, out=f / "out").expect(0)
        finally:
            loop.kill()
            loop.wait()
            for pid in pids_with(tag):
                os.kill(pid, signal.SIGKILL)
    fault = got.result["faults"][0]
    assert fault["felt"] and fault["verified_out"] and fault["reverted_ms"] - fault["effective_ms"] >= 1000, fault
    check_recovered(got.result)


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        d.remove_all()
