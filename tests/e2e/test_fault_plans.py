"""Faults as plans and flags say them: whom they hit, when, in which order, and how a run ends while they are in."""
import concurrent.futures
import contextlib
import http.server
import os
import socketserver
import sys
import threading
import time

from harness import *


@contextlib.contextmanager
def scene():
    """A shop and a folder."""
    shop = Shop()
    try:
        with folder() as tmp:
            yield shop, tmp
    finally:
        shop.stop()


def plan(target, rest, load="{users: 4, for: 3s}", task="{get: /health}"):
    return f"""
apiVersion: chaos-load/v1
target: {target}
users: [{{think: constant(10ms), tasks: [{task}]}}]
load: {load}
recover_hold: 300ms
{rest}"""


def run_plan(tmp, text, *args, exit_code=0):
    (tmp / "plan.yaml").write_text(text)
    done = run("run", tmp / "plan.yaml", *args, out=tmp / "out").expect(exit_code)
    recover = run("recover", state=tmp / "state").expect(0)
    assert "nothing to take back" in recover.stdout and not list((tmp / "state").iterdir()), recover
    return done


def faults_of(done):
    return {f"{f['name']}/{f['activation']}": f for f in done.result["faults"]}


SHORT_PAUSE = "faults: [{pause: {process: shop}, at: 1s, duration: 300ms}]\n"
SHORT_ERROR = "faults: [{http-status: {proxy: front, status: 500}, at: 1s, duration: 300ms}]\n"


def hits(done):
    """The one fault was felt as errors of the status it makes."""
    fault = done.result["faults"][0]
    assert fault["felt"] and fault["verified_out"] and fault["error"] is None, fault
    assert set(done.errors()) == {"status"} and 20 < done.errors()["status"] < 300, done.errors()
    return fault


# ---- whom: every way to name a target ----

def test_processes_are_found_in_every_way():
    with scene() as (shop, tmp):
        (tmp / "shop.pid").write_text(f"{shop.process.pid}\n")
        for way in (f"pid: {shop.process.pid}", f"pidfile: {tmp}/shop.pid", f"command: 'target .*{shop.tag}'"):
            done = run_plan(tmp, plan(shop.url, f"processes: [{{name: shop, {way}}}]\n" + SHORT_PAUSE))
            fault = done.result["faults"][0]
            assert f"(pid {shop.process.pid})" in fault["target"] and fault["felt"], fault


def test_a_child_of_the_plan_is_hit_and_ends_with_the_run():
    with folder() as tmp:
        port = unused_port()
        shop = f"[{os.environ['CHAOS_LOAD']}, target, --listen, '127.0.0.1:{port}', --name, {tmp.name}]"
        done = run_plan(tmp, plan(f"http://127.0.0.1:{port}", f"""
processes: [{{name: shop, run: {shop}, ready: 'http://127.0.0.1:{port}/health'}}]
faults: [{{kill: {{process: shop, restart_after: 300ms}}, at: 1s}}]
"""))
        fault = done.result["faults"][0]
        assert fault["felt"] and 300 <= fault["reverted_ms"] - fault["effective_ms"] <= 1500, fault
        assert not pids_with(tmp.name), "it is left"


def test_the_undeclared_proxy_stands_before_the_target():
    with scene() as (shop, tmp):
        hits(run_plan(tmp, plan(shop.url, SHORT_ERROR)))


def test_a_declared_one_without_a_port_does_too():
    with scene() as (shop, tmp):
        hits(run_plan(tmp, plan(shop.url, f"proxies: [{{name: front, upstream: '127.0.0.1:{shop.port}'}}]\n" + SHORT_ERROR)))


def test_one_that_no_load_goes_through_is_refused():
    with scene() as (shop, tmp):
        done = run_plan(tmp, plan(shop.url, "proxies: [{name: front, upstream: '127.0.0.1:1'}]\n" + SHORT_ERROR), exit_code=3)
        assert "no load goes through it" in done.stderr and f"127.0.0.1:{shop.port}" in done.stderr, done
        assert done.result["totals"]["requests"] == 0, done.result["totals"]


def test_proxies_listen_where_they_are_told():
    with scene() as (shop, tmp):
        port = unused_port()
        for host in ("127.0.0.1", "[::1]"):
            row = f"proxies: [{{name: front, listen: '{host}:{port}', upstream: '127.0.0.1:{shop.port}'}}]\n"
            fault = hits(run_plan(tmp, plan(f"http://{host}:{port}", row + SHORT_ERROR)))
            assert f"{host}:{port}" in fault["target"], fault


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


def test_upstreams_may_be_unix_sockets():
    with folder() as tmp, UnixServer(str(tmp / "shop.sock"), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = unused_port()
        row = f"proxies: [{{name: front, listen: '127.0.0.1:{port}', upstream: 'unix:{tmp}/shop.sock'}}]\n"
        hits(run_plan(tmp, plan(f"unix:{tmp}/shop.sock", SHORT_ERROR)))
        hits(run_plan(tmp, plan(f"http://127.0.0.1:{port}", row + SHORT_ERROR)))
        server.shutdown()


def test_flags_say_the_same():
    with scene() as (shop, tmp):
        done = run("run", "-H", shop.url, "-u", 4, "-r", 100, "-t", "3s", "--task", "GET /health", "--think", "constant(10ms)",
                   "--fault", "http-status proxy=front status=500 at=1s duration=300ms match.path=/health*", out=tmp / "out")
        hits(done.expect(0))


# ---- when ----

def test_instants_order_and_overlap():
    with scene() as (shop, tmp):
        f = faults_of(run_plan(tmp, plan(shop.url, f"""
processes: [{{name: shop, pid: {shop.process.pid}}}]
faults:
  - {{name: drawn, pause: {{process: shop}}, at: 'between(500ms, 900ms)', duration: 200ms}}
  - {{name: follower, latency: {{proxy: front, delay: 20ms}}, after: drawn, at: 100ms, duration: 200ms}}
  - {{name: rep, http-status: {{proxy: front, status: 500}}, at: 1400ms, every: 400ms, count: 3, duration: 100ms}}
  - {{name: overlaps, latency: {{proxy: front, delay: 10ms}}, at: 1300ms, duration: 500ms}}
  - {{name: polite, http-abort: {{proxy: front}}, at: 1400ms, duration: 100ms, serial: true}}
  - {{name: outlasts, latency: {{proxy: front, delay: 10ms}}, at: 2800ms, duration: 3s}}
"""), "--seed", 7))
        assert len(f) == 8, f.keys()
        assert all(x["verified_in"] and x["verified_out"] and x["error"] is None for x in f.values()), f
        assert 500 <= f["drawn/0"]["planned_ms"] <= 900, f["drawn/0"]
        assert near(f["follower/0"]["planned_ms"], f["drawn/0"]["reverted_ms"] + 100, 0, 20), f["follower/0"]
        assert [f[f"rep/{i}"]["planned_ms"] for i in range(3)] == [1400, 1800, 2200]
        assert f["rep/0"]["effective_ms"] < f["overlaps/0"]["reverted_ms"], "they did not overlap"
        for name, x in f.items():
            others = [y for other, y in f.items() if other != name]
            if name == "polite/0":  # nothing else was in when it came
                assert not any(y["effective_ms"] < x["effective_ms"] < y["reverted_ms"] for y in others), x
            else:
                assert 0 <= x["effective_ms"] - x["planned_ms"] <= 50, x
        assert f["outlasts/0"]["reverted_ms"] <= 3500, "a fault outlasted the load"


def test_a_seed_draws_the_same_instant():
    with scene() as (shop, tmp):
        drawn = [run("explain", "-H", shop.url, "-u", 1, "-t", "60s", "--task", "GET /", "--seed", seed,
                     "--fault", "latency proxy=front delay=1ms at='between(1s, 50s)' duration=1s").expect(0).stdout
                 for seed in (7, 7, 8)]
        assert drawn[0] == drawn[1] != drawn[2], drawn


# ---- what does not happen ----

def test_a_dry_run_says_whom_and_touches_nobody():
    with scene() as (shop, tmp):
        text = plan(shop.url, f"processes: [{{name: shop, pid: {shop.process.pid}}}]\nfaults: [{{kill: {{process: shop}}, at: 1s}}]\n")
        done = run_plan(tmp, text, "--dry-run")
        assert f"process shop (pid {shop.process.pid})" in done.stdout and shop.process.poll() is None, done
        nobody = run_plan(tmp, text.replace("kill: {process: shop}", f"kill: {{process: no-{tmp.name}}}"), "--dry-run", exit_code=3)
        assert "nothing would be hit" in nobody.stdout, nobody


# ---- how it ends ----

HELD = """
processes: [{{name: shop, pid: {pid}}}]
http: {{timeout: 20s}}
faults:
  - {{latency: {{proxy: front, delay: 50ms}}, at: 300ms, duration: 30s}}
  - {{pause: {{process: shop, how: sigstop}}, at: 500ms, duration: 30s}}
"""


def interrupted(times):
    with scene() as (shop, tmp):
        (tmp / "plan.yaml").write_text(plan(shop.url, HELD.format(pid=shop.process.pid), load="{users: 4, for: 60s}"))
        args = ["run", tmp / "plan.yaml"]
        process = start(args, tmp / "out")
        time.sleep(1.5)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        asked = time.monotonic()
        done = finish(process, args, tmp / "out", 20).expect(130)
        assert time.monotonic() - asked < 8, "it took its time"
        assert done.result["verdict"] == "Stopped" and shop.is_healthy(), done
        for fault in done.result["faults"]:
            assert fault["ended_by"] == "abort" and fault["verified_out"] and fault["reverted_ms"] < 5000, fault
        assert not list((tmp / "state").iterdir())


def test_ctrl_c_once_and_twice():
    interrupted(1)
    interrupted(2)


def test_a_target_that_dies_in_mid_fault_ends_it():
    for how in ("ptrace", "sigstop"):
        with scene() as (shop, tmp):
            done = run_plan(tmp, plan(shop.url, f"""
processes: [{{name: shop, pid: {shop.process.pid}}}]
faults:
  - {{pause: {{process: shop, how: {how}}}, at: 1s, duration: 1500ms}}
  - {{exec: {{command: [kill, -KILL, '{shop.process.pid}']}}, at: 1400ms}}
"""))
            paused = done.result["faults"][0]
            assert paused["ended_by"] == "target-gone" and paused["error"] is None, paused
            assert 1400 <= paused["reverted_ms"] < 2300, paused


def side_by_side(namespace):
    """Each is a run of 3 s that mostly waits."""
    tests = {name: test for name, test in namespace.items() if name.startswith("test_")}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = {name: pool.submit(attempts, 2, test) for name, test in tests.items()}
    return {name: future.result for name, future in waiting.items()}


if __name__ == "__main__":
    main(side_by_side(globals()) if len(sys.argv) == 1 else globals())
