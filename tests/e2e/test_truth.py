"""The numbers, against servers whose behaviour is known."""
import json
import time

from harness import *


def measured(*args, exit_code=0, **kwargs):
    with folder() as tmp:
        return run("run", *args, out=tmp / "out", **kwargs).expect(exit_code)


def test_frozen_server_under_open_load():
    """100/s for 20 s, frozen from 5 s to 7 s: 200 of 2000 arrivals wait 2 s .. 0 s, evenly."""

    def once():
        with truth_server("--freeze-at", 5000, "--freeze-for", 2000) as server:
            r = measured("-H", server.url, "--arrivals", "100/s", "-t", "20s", "--task", "GET /ok", "--seed", 1).result
        assert r["totals"]["requests"] == 2000, r["totals"]
        figures = r["response_time"]
        for name, want in (("p95_ms", 1000), ("p99_ms", 1800), ("p999_ms", 1980), ("max_ms", 2000)):
            assert near(figures[name], want, 0.02, 5), f"{name} is {figures[name]}, not {want}"
        assert figures["p50_ms"] < 20, figures
        # the service time of those that were sent into the freeze is the same: nothing was held back
        assert near(r["service_time"]["p99_ms"], 1800, 0.02, 5), r["service_time"]

    attempts(3, once)


def test_known_latency():
    """What the client says is what the server did, within 0.1 ms + 1 %."""

    def once():
        with truth_server() as server:
            r = measured("-H", server.url, "-u", 10, "-r", "100", "-t", "6s", "--task", "GET /delay/20").result
            truth = server.truth()
        for figure, want in (("p50_ms", truth["p50_us"] / 1000), ("p99_ms", truth["p99_us"] / 1000)):
            got = r["service_time"][figure]
            assert near(got, want, 0.01, 0.1), f"{figure} is {got}, the server saw {want}"
        assert r["totals"]["requests"] == truth["requests"], (r["totals"], truth)

    attempts(5, once)


CLASSES = [
    ("GET /reset", "reset", []),
    ("GET /close", "closed", []),
    ("GET /short", "short-body", []),
    ("GET /garbage", "malformed", []),
    ("GET /hang", "response-timeout", ["--timeout", "300ms"]),
    ("GET /drip", "transfer-timeout", ["--timeout", "300ms"]),
    ("GET /status/503", "status", []),
]


def test_failures_get_their_class():
    with truth_server() as server:
        for task, name, options in CLASSES:
            r = measured("-H", server.url, "-i", 20, "-u", 2, "-r", 10, "-t", "20s", "--task", task, *options).result
            assert r["totals"]["failures"] == 20, (task, r["totals"])
            assert {e["class"]: e["count"] for e in r["errors"]} == {name: 20}, (task, r["errors"])


def test_refused():
    r = measured("-H", f"http://127.0.0.1:{unused_port()}", "-i", 20, "-u", 2, "-r", 10, "-t", "20s", "--task", "GET /").result
    assert {e["class"]: e["count"] for e in r["errors"]} == {"refused": 20}, r["errors"]
    assert r["response_time"]["count"] == 0, r["response_time"]
    assert r["failed"]["count"] == 20, r["failed"]


def test_fast_failures_do_not_make_latency_better():
    with truth_server() as server:
        tasks = ["--task", "GET /delay/50 1", "--task", "GET /reset 9"]
        r = measured("-H", server.url, "-i", 300, "-u", 10, "-r", 100, "-t", "30s", *tasks, "--seed", 3).result
    assert r["totals"]["failures"] > 200, r["totals"]
    assert r["response_time"]["count"] == r["totals"]["successes"], r["response_time"]
    assert r["response_time"]["min_ms"] >= 50, r["response_time"]


def test_timeouts_stay_in_the_tail():
    with truth_server() as server:
        tasks = ["--task", "GET /ok 1", "--task", "GET /hang 1"]
        r = measured("-H", server.url, "-i", 60, "-u", 6, "-r", 100, "-t", "30s", "--timeout", "400ms", *tasks).result
    timeouts = {e["class"]: e["count"] for e in r["errors"]}["response-timeout"]
    assert r["response_time"]["count"] == r["totals"]["successes"] + timeouts, r["response_time"]
    assert r["response_time"]["p99_ms"] >= 399, r["response_time"]


def test_rows_sum_to_the_totals():
    with truth_server() as server, folder() as tmp:
        tasks = ["--task", "GET /delay/3 2", "--task", "GET /status/500 1", "--task", "GET /ok 3"]
        a = run("run", "-H", server.url, "-u", 20, "-r", 50, "-t", "5s", "--think", "between(1ms, 30ms)", *tasks,
                out=tmp / "out").expect(0).result
        run("report", tmp / "out" / "rows.ndjson", "--out", tmp / "again").expect(0)
        b = json.loads((tmp / "again" / "result.json").read_text())
    for key in ("totals", "response_time", "service_time", "schedule_lag", "failed", "errors"):
        assert a[key] == b[key], (key, a[key], b[key])
    assert [e["totals"] for e in a["endpoints"]] == [e["totals"] for e in b["endpoints"]]
    assert sum(e["totals"]["requests"] for e in a["endpoints"]) == a["totals"]["requests"]
    assert sum(p["totals"]["requests"] for p in a["phases"]) == a["totals"]["requests"]


def agree(result):
    """However it is cut, it is the same requests."""
    for key in ("requests", "successes", "failures", "dropped"):
        total = result["totals"][key]
        for name in ("phases", "endpoints"):
            assert sum(x["totals"][key] for x in result[name]) == total, (key, name, total)
        by_endpoint = [e["totals"][key] for p in result["phases"] for e in p["endpoints"]]
        assert sum(by_endpoint) == total, (key, total, by_endpoint)
    assert sum(r["successes"] for r in result["rows"]) == result["totals"]["successes"]
    assert sum(r["failures"] for r in result["rows"]) == result["totals"]["failures"]
    assert sum(e["count"] for e in result["errors"]) == result["totals"]["failures"], result["errors"]
    for figures in ("response_time", "service_time", "failed"):
        assert sum(p[figures]["count"] for p in result["phases"]) == result[figures]["count"], figures
    # Each has a response time, or is a failure of which nothing is known but when it ended; dropped ones beside those.
    assert result["response_time"]["count"] + result["failed"]["count"] == result["totals"]["requests"], result["totals"]


ENDS = {  # how it ends: options, exit code, class of the failures
    "by itself": (["-t", "2s"], 0, {}),
    "by itself, in flight cut": (["-t", "1s", "--stop-timeout", "100ms"], 0, {"interrupted"}),
    "by Ctrl-C": (["-t", "60s"], 130, {"interrupted"}),
    "by a threshold": (["-t", "60s", "--threshold", "{on: requests, is: 'count < 100', abort: true}"], 1, {"interrupted"}),
}


def test_every_request_is_accounted_for_however_it_ends():
    for how, (options, exit_code, classes) in ENDS.items():
        for load in (["-u", 40, "-r", 1000], ["--arrivals", "100/s"]):
            with truth_server() as server, folder() as tmp:
                args = ["run", "-H", server.url, *load, "--task", "GET /delay/300", "--task", "GET /ok?2", *options]
                if load[0] == "-u":
                    args += ["--think", "between(10ms, 50ms)"]
                process = start(args, tmp / "out")
                if how == "by Ctrl-C":
                    wait_for(lambda: server.truth()["requests"] > 150, what="load")
                    process.send_signal(signal.SIGINT)
                r = finish(process, args, tmp / "out").expect(exit_code)
                seen = server.truth()["requests"]
            total = r.result["totals"]["requests"] - r.result["totals"]["dropped"]
            # What was cut before it was sent is ours alone; nothing that was sent is forgotten.
            assert seen <= total <= seen + r.errors().get("interrupted", 0), (how, load, total, seen)
            assert set(r.errors()) <= set(classes), (how, load, r.errors())
            agree(r.result)


def test_littles_law_holds():
    """Users = throughput x (response time + think time), whatever the server does."""

    def once():
        with truth_server() as server:
            r = measured("-H", server.url, "-u", 30, "-t", "4s", "--think", "between(20ms, 60ms)", "--stop-timeout", "5s",
                         "--task", "GET /delay/20 2", "--task", "GET /delay/60", "--seed", 2).result
        rate = r["totals"]["requests"] / r["duration_ms"]
        users = rate * (r["response_time"]["mean_ms"] + 40)
        assert near(users, 30, 0.04), (users, r["totals"], r["response_time"])
        with truth_server() as server:
            r = measured("-H", server.url, "--arrivals", "200/s poisson", "-t", "4s", "--task", "GET /delay/100", "--seed", 2).result
        busy = [row["in_flight"] for row in r["rows"][:4]]
        assert near(sum(busy) / 4, 20, 0, 12), busy
        assert near(r["totals"]["requests"], 800, 0, 4 * 800 ** 0.5), r["totals"]

    attempts(3, once)


def test_one_thread_is_many_threads():
    def counts(threads):
        with truth_server() as server:
            tasks = ["--task", "GET /ok 3", "--task", "GET /status/200 1", "--task", "GET /delay/1 2"]
            r = measured("-H", server.url, "-u", 12, "-r", 100, "-i", 600, "-t", "60s", "--threads", threads, "--seed", 11,
                         *tasks).result
            assert server.truth()["requests"] == 600
        return {e["name"]: e["totals"]["requests"] for e in r["endpoints"]}

    assert counts(1) == counts(4)


def test_same_seed_same_trace():
    def trace(seed, threads, tmp):
        path = tmp / f"trace-{seed}-{threads}"
        with truth_server() as server:
            run("run", "-H", server.url, "-u", 5, "-r", 100, "-i", 200, "-t", "60s", "--seed", seed, "--threads", threads,
                "--think", "between(0ms, 5ms)", "--task", "GET /ok 3", "--task", "GET /delay/1", "--trace", path).expect(0)
        return path.read_text()

    with folder() as tmp:
        first = trace(5, 1, tmp)
        assert first.count("\n") >= 200, first[:200]
        assert first == trace(5, 2, tmp)
        assert first != trace(6, 1, tmp)


def test_abort_to_silence():
    """After Ctrl-C, no request reaches the server later than 100 ms."""

    def once():
        with truth_server() as server, folder() as tmp:
            args = ["run", "-H", server.url, "-u", 50, "-r", 1000, "-t", "60s", "--task", "GET /delay/2"]
            process = start(args, tmp / "out")
            wait_for(lambda: server.truth()["requests"] > 500, what="load")
            process.send_signal(signal.SIGINT)
            asked = time.monotonic_ns()
            r = finish(process, args, tmp / "out").expect(130)
            late_ms = (server.truth()["last_request_ns"] - asked) / 1e6
        assert r.result["verdict"] == "Stopped", r.result["verdict"]
        assert late_ms <= 100, f"a request came {late_ms:.1f} ms after the interrupt"

    attempts(3, once)


def test_threshold_aborts():
    with truth_server() as server:
        r = measured("-H", server.url, "-u", 5, "-r", 100, "-t", "60s", "--think", "constant(10ms)", "--task", "GET /status/500",
                     "--threshold", "{on: errors, is: 'rate < 50%', abort: true}", exit_code=1).result
    assert r["duration_ms"] < 15000, r["duration_ms"]
    assert r["verdict"] == "Fail" and r["thresholds"][0]["ok"] is False, r["thresholds"]


if __name__ == "__main__":
    main(globals())
