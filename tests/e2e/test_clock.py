"""clock-skew: a server that the plan starts tells its own time; we compare it with ours, from outside, while the load runs."""
import contextlib
import http.client
import json
import shutil
import sys
import threading
import time

from harness import *

HOUR = 3600
# Tells both clocks, and how long a wait until an instant took by them. Threads wait by condition variables and semaphores.
SERVER = '''
import http.server, json, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/wait":
            threading.Event().wait(0.05)
            lock = threading.Lock(); lock.acquire(); lock.acquire(timeout=0.05)
        body = json.dumps({"wall": time.time(), "mono": time.monotonic()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
'''


class Watch(threading.Thread):
    """Asks again and again: when, how far ahead each clock is, how long the answer took."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.seen, self.going = port, [], True

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3)
        wall, mono = time.time(), time.monotonic()
        connection.request("GET", path)
        told = json.loads(connection.getresponse().read())
        took = time.monotonic() - mono
        self.seen.append((mono, told["wall"] - wall - took / 2, told["mono"] - mono - took / 2, took, path))

    def run(self):
        while self.going:
            for path in ("/now", "/wait"):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.ask(path)
            time.sleep(0.02)

    def stop(self):
        self.going = False
        self.join()


def plan(port, script, faults, lasts="4s"):
    return f"""
target: http://127.0.0.1:{port}
processes:
  - {{name: clock, run: [{sys.executable}, {script}, "{port}"], ready: "tcp:127.0.0.1:{port}"}}
users: [{{think: constant(20ms), tasks: [{{get: /now}}]}}]
load: {{users: 2, for: {lasts}}}
recover_hold: 200ms
faults:
{faults}"""


@contextlib.contextmanager
def watched_run(tmp, faults, lasts="4s"):
    port = unused_port()
    (tmp / "server.py").write_text(SERVER)
    (tmp / "plan.yaml").write_text(plan(port, tmp / "server.py", faults, lasts))
    watch = Watch(port)
    watch.start()
    args = ["run", tmp / "plan.yaml"]
    process = start(args, out=tmp / "out")
    try:
        yield process, watch, args
    finally:
        process.kill()
        process.wait()
        watch.stop()


def run_watched(faults):
    with folder() as tmp, watched_run(tmp, faults) as (process, watch, args):
        got = finish(process, args, tmp / "out").expect(0)
        watch.stop()
        assert list((tmp / "state").iterdir()) == [], list((tmp / "state").iterdir())
    return got.result, watch.seen


def is_ahead(got, want):
    return abs(got - want) <= 0.25  # an answer may lie on a busy machine for that long


def check_skew(seen, wall, mono):
    """True, then skewed as asked, then true again; and nothing else in between."""
    states = [(is_ahead(w, 0) and is_ahead(m, 0), is_ahead(w, wall) and is_ahead(m, mono)) for _, w, m, took, _ in seen if took < 0.5]
    strange = [s for s, state in zip(seen, states) if not any(state)]
    assert len(strange) <= 1, strange  # one may be asked as it changes
    skewed = [i for i, state in enumerate(states) if state[1]]
    assert len(skewed) >= 10, f"seen skewed {len(skewed)} times of {len(seen)}"
    assert all(state[1] for state in states[skewed[0]:skewed[-1]]), "it came and went"
    assert skewed[0] >= 5 and skewed[-1] < len(states) - 5, (skewed[0], skewed[-1], len(states))


def check_waits(seen):
    waits = [took for _, _, _, took, path in seen if path == "/wait"]
    assert min(waits) >= 0.095, f"a wait of 100 ms took {min(waits)}"
    assert max(waits) < 2, f"a wait of 100 ms took {max(waits)}"


def test_the_date_is_an_hour_ahead_and_comes_back():
    result, seen = run_watched("  - clock-skew: {process: clock, offset: 1h}\n    at: 1s\n    duration: 1500ms\n")
    check_skew(seen, HOUR, 0)
    check_waits(seen)
    fault = result["faults"][0]
    assert fault["verified_in"] and fault["verified_out"] and fault["ended_by"] == "plan", fault
    assert 0 <= fault["effective_ms"] - 1000 <= 50 and near(fault["reverted_ms"] - fault["effective_ms"], 1500, 0, 50), fault
    assert result["totals"]["failures"] == 0, result["totals"]


def test_both_clocks_go_back_and_waits_last_as_long_as_ever():
    _, seen = run_watched("  - clock-skew: {process: clock, offset: -30s, clocks: [realtime, monotonic]}\n    at: 1s\n    duration: 1500ms\n")
    check_skew(seen, -30, -30)
    check_waits(seen)


def test_a_process_brought_back_is_skewed_too():
    _, seen = run_watched("  - clock-skew: {process: clock, offset: +90s}\n    at: 1s\n    duration: 2s\n"
                          "  - kill: {process: clock, restart_after: 200ms}\n    at: 1500ms\n")
    pause = max((b[0] - a[0], b[0]) for a, b in zip(seen, seen[1:]))
    assert pause[0] >= 0.15, "it was not away"
    assert [1 for at, wall, *_ in seen if at > pause[1] and is_ahead(wall, 90)], "the one brought back is not skewed"
    check_skew(seen, 90, 0)


def test_it_dies_with_the_run():
    with folder() as tmp:
        with watched_run(tmp, "  - clock-skew: {process: clock, offset: 1h}\n    at: 500ms\n    duration: 20s\n", "30s") as (process, watch, _):
            wait_for(lambda: any(is_ahead(wall, HOUR) for _, wall, *_ in watch.seen), what="the skew")
            process.kill()
            process.wait()
            wait_for(lambda: not [p for p in pids_with(str(tmp / "server.py"))], what="the end of the process")
        wait_for(lambda: not list((tmp / "state").glob("*.journal")), what="the guardian")
        run("recover", state=tmp / "state").expect(0)
        assert list((tmp / "state").iterdir()) == [], list((tmp / "state").iterdir())


def test_two_at_once_are_refused():
    with folder() as tmp:
        faults = "".join(f"  - clock-skew: {{process: clock, offset: {o}}}\n    at: {at}\n    duration: 1s\n" for o, at in (("1h", "500ms"), ("2h", "1s")))
        with watched_run(tmp, faults, "3s") as (process, watch, args):
            got = finish(process, args, tmp / "out")
        second = got.result["faults"][1]
        assert got.exit_code != 0 and "skewed already by another fault" in second["error"], got
        assert not any(is_ahead(wall, 2 * HOUR) for _, wall, *_ in watch.seen)
        assert got.result["faults"][0]["error"] is None, got.result["faults"][0]


def test_a_static_program_is_refused():
    busybox = shutil.which("busybox")
    if not busybox:
        print("SKIP busybox-static is not there")
        return
    with folder() as tmp, truth_server() as server:
        (tmp / "plan.yaml").write_text(f"""
target: {server.url}
processes: [{{name: still, run: [{busybox}, sleep, "100"]}}]
users: [{{tasks: [{{get: /}}]}}]
load: {{users: 1, for: 1s}}
faults:
  - clock-skew: {{process: still, offset: 1h}}
    at: 500ms
    duration: 200ms
""")
        got = run("run", tmp / "plan.yaml", out=tmp / "out")
    fault = got.result["faults"][0]
    assert got.exit_code != 0 and "cannot be skewed: it is linked statically" in fault["error"], got


if __name__ == "__main__":
    main(globals())
