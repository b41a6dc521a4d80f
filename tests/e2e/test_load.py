"""How users connect, what they send and how many they are: each key of the plan used as a person would, and the numbers
held against what the peer saw."""
import collections
import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import time

import peers
from harness import CHAOS_LOAD, environment, finish, folder, main, near, run, start, truth_server, unused_port, wait_for

ENGINES = ("native", "curl")
ONE_TASK = "users: [{tasks: [{get: /ok}]}]\n"
EIGHT = ONE_TASK + "load: {users: 2, iterations: 8}\n"


def play(text, *args, exit_code=0):
    with folder() as tmp:
        plan = tmp / "plan.yaml"
        plan.write_text("apiVersion: chaos-load/v1\n" + text)
        return run("run", plan, *args, out=tmp / "out").expect(exit_code)


def all_well(r, requests=8):
    assert r.result["totals"] == {"requests": requests, "successes": requests, "failures": 0, "dropped": 0}, r
    return r.result


def endpoints(r):
    return {e["name"]: e["totals"]["requests"] for e in r.result["endpoints"]}


# ---- connections ----

def test_connections_are_used_as_the_plan_says():
    rows = [("", 2), ("connections: pooled", 2), ("keep_alive: false", 8)]
    for engine in ENGINES:
        for http, most in rows:
            with peers.serving() as web:
                r = play(f"target: http://127.0.0.1:{web.port}\n{EIGHT}http: {{engine: {engine}, {http}}}\n")
                connections = len({s.client for s in web.seen})
                close = {s.headers.get("Connection") for s in web.seen}
            # Both users of a pool may each find it empty at first, and libcurl may open one too many.
            ok = connections <= most + (engine == "curl") if "pooled" in http else connections == most
            assert ok, (engine, http, connections)
            assert (close == {"close"}) == ("keep_alive" in http), (engine, http, close)
            result = all_well(r)
            assert result["stages"]["connect"]["count"] == connections, (engine, http, result["stages"])
            assert result["generator"]["engine"] == engine, result["generator"]


def test_ipv6_and_unix_sockets_are_targets():
    for engine in ENGINES:
        tail = f"{EIGHT}http: {{engine: {engine}}}\n"
        with folder() as tmp, peers.serving(str(tmp / "s"), peers.WebUnix) as web:
            all_well(play(f"target: unix:{tmp}/s\n{tail}"))
            assert {s.headers["Host"] for s in web.seen} == {"localhost"}, web.seen
        try:
            v6 = peers.serving(("::1", 0), peers.Web6)
            with v6 as web:
                all_well(play(f"target: http://[::1]:{web.port}\n{tail}"))
                assert {s.headers["Host"] for s in web.seen} == {f"[::1]:{web.port}"}, web.seen
        except OSError as e:
            print("  no IPv6 here:", e)


def test_source_addresses_take_turns():
    for engine in ENGINES:
        with peers.serving() as web:
            all_well(play(f"target: http://127.0.0.1:{web.port}\n{EIGHT}"
                          f"http: {{engine: {engine}, source_addresses: [127.0.0.2, 127.0.0.3]}}\n"))
            from_whom = collections.Counter(s.client[0] for s in web.seen)
        assert from_whom == {"127.0.0.2": 4, "127.0.0.3": 4}, (engine, from_whom)
    r = play(f"target: http://127.0.0.1:1\n{EIGHT}http: {{source_addresses: [192.0.2.1]}}\n", exit_code=3)
    assert "connect from 192.0.2.1, which must be an address of this machine" in r.stderr, r


def test_names_are_looked_up_as_often_as_asked():
    try:
        socket.getaddrinfo("localhost", 80)
    except OSError:
        print("SKIP names: 'localhost' does not resolve on this machine")
        return
    with peers.serving() as web:
        for dns, times in (("pinned", 2), ("ttl", 2), ("per-connection", 8)):
            r = play(f"target: http://localhost:{web.port}\n{EIGHT}threads: 1\nhttp: {{keep_alive: false, dns: {dns}}}\n")
            looked_up = all_well(r)["stages"]["dns"]["count"]
            assert looked_up <= times if times < 8 else looked_up == 8, (dns, looked_up)


def test_gzip_is_undone_only_for_checks():
    for engine in ENGINES:
        for expect, plain_in in (("{body_contains: plain words}", False), ("{}", False)):
            with peers.serving() as web:
                r = play(f"target: http://127.0.0.1:{web.port}\nusers: [{{tasks: [{{get: /gzip, expect: {expect}}}]}}]\n"
                         f"load: {{users: 2, iterations: 8}}\nhttp: {{engine: {engine}, compressed: true}}\n")
            assert (all_well(r)["bytes_in"] > 8 * 6000) == plain_in, (engine, expect, r.result["bytes_in"])
        with peers.serving() as web:
            r = play(f"target: http://127.0.0.1:{web.port}\nusers: [{{tasks: [{{get: /gzip}}]}}]\n"
                     f"load: {{users: 2, iterations: 8}}\nhttp: {{engine: {engine}}}\n")
        assert all_well(r)["bytes_in"] > 8 * 6000, r.result["bytes_in"]


def test_trailers_are_part_of_an_answer():
    for engine in ENGINES:
        with peers.serving() as web:
            all_well(play(f"target: http://127.0.0.1:{web.port}\nusers: [{{tasks: [{{get: /trailers}}]}}]\n"
                          f"load: {{users: 2, iterations: 8}}\nhttp: {{engine: {engine}}}\n"))


# ---- what belongs to a user ----

def test_cookies_are_each_users_own():
    for engine in ENGINES:
        for cookies, distinct in ((True, 2), (False, 0)):
            with peers.serving() as web:
                all_well(play(f"target: http://127.0.0.1:{web.port}\nusers: [{{tasks: [{{get: /cookie}}]}}]\n"
                              f"load: {{users: 2, iterations: 8}}\nhttp: {{engine: {engine}, cookies: {str(cookies).lower()}}}\n"))
                sent = collections.Counter(s.headers.get("Cookie") for s in web.seen)
            first = sent.pop(None)
            assert (len(sent), first) == (distinct, 2 if cookies else 8), (engine, sent, first)


def test_redirects_are_hops_of_one_request():
    rows = [  # task, options of http, requests the server sees, failures, redirects, statuses
        ("/redirect/3", "", 40, {}, 32, {"200": 8}),
        ("/redirect/3", "max_redirects: 2", 24, {"redirects": 8}, 16, {"302": 8}),
        ("/redirect/3", "follow_redirects: false", 8, {}, 0, {"302": 8}),
        ("/slow-redirect/9", "timeout: 400ms", None, {"response-timeout": 8}, None, None),
    ]
    for engine in ENGINES:
        for task, http, requests, errors, redirects, statuses in rows:
            with peers.serving() as web:
                r = play(f"target: http://127.0.0.1:{web.port}\nusers: [{{tasks: [{{get: {task}}}]}}]\n"
                         f"load: {{users: 8, iterations: 8}}\nhttp: {{engine: {engine}, {http}}}\n")
                seen = len(web.seen)
            assert r.result["totals"]["requests"] == 8 and r.errors() == errors, (engine, task, http, r)
            if requests:
                told = (seen, r.result["redirects"], r.result["statuses"])
                assert told == (requests, redirects, statuses), (engine, task, http, told)
            else:  # the limit is one for all hops: nobody waited much longer
                assert 399 <= r.result["response_time"]["max_ms"] < 1500, (engine, r.result["response_time"])


def test_secrets_open_doors():
    for engine in ENGINES:
        for auth, header in (("basic_auth: {user: me, password_file: SECRET}", "Basic bWU6Z2VoZWlt"),
                             ("bearer: {file: SECRET}", "Bearer geheim")):
            with peers.serving() as web, folder() as tmp:
                (tmp / "secret").write_text("geheim\n")
                all_well(play(f"target: http://127.0.0.1:{web.port}\n{EIGHT}"
                              f"http: {{engine: {engine}, {auth.replace('SECRET', str(tmp / 'secret'))}}}\n"))
                assert {s.headers["Authorization"] for s in web.seen} == {header}, web.seen


# ---- TLS ----

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
TLS = [  # options of tls, of http, server: version, wants a client's certificate; what comes of it
    ("ca: D/ca.pem", "", None, False, {"version": "TLSv1.3"}),
    ("ca: D/ca.pem", "", V12, False, {"version": "TLSv1.2"}),
    ("ca: D/ca.pem, min_version: '1.3'", "", V12, False, "tls"),
    ("", "", None, False, "tls"),
    ("verify: false", "", None, False, {}),
    ("ca: D/ca.pem, sni: shop.test", "", None, False, {"sni": "shop.test"}),
    ("ca: D/ca.pem, sni: other.test", "", None, False, "tls"),
    ("ca: D/ca.pem, cert: D/client.pem, key: D/client.key", "", V12, True, {"client": "client"}),
    ("ca: D/ca.pem, cert: D/client.pem, key: D/client.key", "", None, True, {"client": "client"}),
    ("ca: D/ca.pem", "", V12, True, "tls"),
    ("ca: D/ca.pem", "keep_alive: false", V12, False, {"reused": True}),
    ("ca: D/ca.pem", "keep_alive: false", V13, False, {"reused": True}),
    ("ca: D/ca.pem, resume: false", "keep_alive: false", V13, False, {"reused": False}),
]


def test_tls_is_spoken_as_the_plan_says():
    with folder() as d:
        peers.make_certificates(d)
        for engine in ENGINES:
            for options, http, version, client, want in TLS:
                context = peers.tls_context(d, client, version)
                with peers.serving(context=context) as web:
                    r = play(f"target: https://127.0.0.1:{web.port}\n{EIGHT}http: {{engine: {engine}, {http}"
                             f"{',' if http else ''} tls: {{{options.replace('D/', f'{d}/')}}}}}\n")
                    seen = [s.tls for s in web.seen]
                case = (engine, options, http, version)
                if isinstance(want, str):
                    assert r.errors() == {want: 8} and not seen, (case, r.errors(), r)
                    continue
                assert all_well(r)["stages"]["tls"]["count"] == (8 if http else 2), (case, r.result["stages"])
                for key, value in want.items():
                    # The first of each user has nothing to resume. libcurl forgets sessions whose connection this peer
                    # just drops: see nginx below.
                    enough = 8 if key != "reused" or not value else 6 if engine == "native" else 0
                    assert sum(t[key] == value for t in seen) >= enough, (case, seen)


def test_http2_where_the_peer_speaks_it():
    if not peers.has_nginx():
        print("  skipped: no nginx here")
        return
    with folder() as d:
        peers.make_certificates(d)
        with peers.nginx(d) as (port, told):
            r = play(f"target: https://127.0.0.1:{port}\n{EIGHT}http: {{http_version: '2', tls: {{ca: {d}/ca.pem}}}}\n")
            assert all_well(r)["generator"]["engine"] == "curl", r.result["generator"]
            assert any("HTTP/2" in note for note in r.result["notes"]), r.result["notes"]
            seen = told()
            assert {s["protocol"] for s in seen} == {"HTTP/2.0"} and len(seen) == 8, seen
            assert len({s["connection"] for s in seen}) == 2, seen
            all_well(play(f"target: https://127.0.0.1:{port}\n{EIGHT}http: {{tls: {{ca: {d}/ca.pem}}}}\n"))
            assert {s["protocol"] for s in told()[8:]} == {"HTTP/1.1"}, told()[8:]
            for engine in ENGINES:
                before = len(told())
                all_well(play(f"target: https://127.0.0.1:{port}\n{EIGHT}"
                              f"http: {{engine: {engine}, keep_alive: false, tls: {{ca: {d}/ca.pem}}}}\n"))
                resumed = [s["resumed"] for s in told()[before:]]
                assert resumed.count("r") >= 4, (engine, resumed)


# ---- proxies ----

def test_proxies():
    with peers.serving() as web, peers.serving(handler=peers.HttpProxy) as proxy:
        r = play(f"target: http://shop.test\n{EIGHT}http: {{proxy: 'http://127.0.0.1:{proxy.port}'}}\n")
        assert all_well(r)["generator"]["engine"] == "curl"
        assert {s.path for s in proxy.seen} == {"http://shop.test/ok"}, proxy.seen
    with peers.serving(handler=peers.HttpProxy) as proxy, folder() as d:
        peers.make_certificates(d)
        text = f"{EIGHT}http: {{proxy: 'http://127.0.0.1:{proxy.port}', tls: {{ca: {d}/ca.pem}}}}\n"
        with peers.serving(context=peers.tls_context(d)) as web:
            all_well(play(f"target: https://127.0.0.1:{web.port}\n{text}"))
            assert len(web.seen) == 8 and {s.method for s in proxy.seen} == {"CONNECT"}, (web.seen, proxy.seen)
            proxy.refuse = 403
            r = play(f"target: https://127.0.0.1:{web.port}\n{text}")
            assert r.errors() == {"unreachable": 8}, r
    gone = play(f"target: http://shop.test\n{EIGHT}http: {{proxy: 'http://127.0.0.1:{unused_port()}'}}\n")
    assert gone.errors() == {"refused": 8}, gone


def test_socks():
    socks = peers.socketserver.ThreadingTCPServer
    with peers.serving() as web, peers.serving(kind=socks, handler=peers.SocksProxy) as proxy:
        text = f"target: http://shop.test:{web.port}\n{EIGHT}http: {{proxy: 'socks5h://127.0.0.1:{proxy.port}'}}\n"
        all_well(play(text))
        assert set(proxy.seen) == {"shop.test"} and len(web.seen) == 8, (proxy.seen, web.seen)
        proxy.refuse = 5
        assert play(text).errors() == {"unreachable": 8}


# ---- how much, and when ----

@contextlib.contextmanager
def known():
    with truth_server() as server:
        yield server, f"target: {server.url}\n"


def per_second(r):
    return [row["successes"] + row["failures"] for row in r.result["rows"]]


def test_arrivals_come_when_the_curve_says():
    rows = [  # arrivals, requests in all, in each second
        ("{rate: 0.5/s, for: 3s}", 2, [1, 0, 1]),
        ("{rate: 30/m, for: 3s}", 2, [1, 0, 1]),
        ("{start_rate: 0/s, stages: [{for: 3s, rate: 60/s}]}", 90, [10, 30, 50]),
        ("{stages: [{for: 1s, rate: 40/s}, {for: 0s, rate: 100/s}, {for: 1s, rate: 100/s}]}", 140, [40, 100]),
    ]
    for arrivals, total, seconds in rows:
        with known() as (server, target):
            r = play(f"{target}{ONE_TASK}load: {{arrivals: {arrivals}}}\n")
            assert all_well(r, total) and server.truth()["requests"] == total, r
        # Rows count what ended in them: one or two may end in the next one.
        got = per_second(r)
        assert all(abs(a - b) <= 3 for a, b in zip(got, seconds)), (arrivals, got)
        assert r.result["duration_ms"] >= 1000 * len(seconds), (arrivals, r.result["duration_ms"])
        assert r.result["open_load"] is True, r.result["open_load"]


def test_users_come_and_go_with_the_stages():
    with known() as (server, target):
        r = play(f"{target}users: [{{think: constant(20ms), tasks: [{{get: /ok}}]}}]\n"
                 "load: {stages: [{for: 1s, users: 20}, {for: 1s, users: 20}, {for: 1s, users: 0}]}\n")
        total = r.result["totals"]["requests"]
        assert server.truth()["requests"] == total, total
    # At most 50/s for each of 10, 20 and 10 users on average; the machine may be slower, never faster.
    assert 0.5 * 2000 <= total <= 2000 + 120, total
    assert 18 <= r.result["generator"]["users_max"] <= 20, r.result["generator"]
    assert [p["kind"] for p in r.result["phases"]] == ["baseline", "cool-down"], r.result["phases"]


def test_parts_run_side_by_side():
    with known() as (server, target):
        r = play(f"{target}users: [{{name: a, tasks: [{{get: /ok?a}}]}}, {{name: b, tasks: [{{get: /ok?b}}]}}]\n"
                 "load: [{users: 2, iterations: 10, class: a},\n"
                 "       {arrivals: {rate: 50/s, for: 1s}, start: 1s, class: b}]\n")
        assert endpoints(r) == {"GET /ok?a": 10, "GET /ok?b": 50}, endpoints(r)
        assert server.truth()["requests"] == 60
    assert r.result["duration_ms"] >= 2000, r.result["duration_ms"]
    assert per_second(r)[0] <= 12, per_second(r)


def test_who_the_users_are():
    think = "think: constant(40ms)"
    with known() as (_, target):
        r = play(f"{target}users:\n  - {{name: a, fixed_count: 3, {think}, tasks: [{{get: /ok?a}}]}}\n"
                 f"  - {{name: b, weight: 2, {think}, tasks: [{{get: /ok?b}}]}}\n"
                 f"  - {{name: c, {think}, tasks: [{{get: /ok?c}}]}}\nload: {{users: 12, iterations: 240}}\n")
        assert endpoints(r) == {"GET /ok?a": 60, "GET /ok?b": 120, "GET /ok?c": 60}, endpoints(r)
        assert r.result["generator"]["users_max"] == 12, r.result["generator"]
        r = play(f"{target}users: [{{sequential: true, tasks: [{{get: /ok?1}}, {{get: /ok?2}}, "
                 "{name: both, steps: [{get: /ok?3}, {get: /ok?4}]}]}]\nload: {users: 2, iterations: 12}\n")
        assert endpoints(r) == {f"GET /ok?{i}": 4 for i in (1, 2, 3, 4)}, endpoints(r)
        tagged = (f"{target}users: [{{tasks: [{{get: /ok?1, tags: [x, z]}}, {{get: /ok?2, tags: [y]}}, {{get: /ok?3}}]}}]\n"
                  "load: {users: 1, iterations: 20}\n")
        for options, names in ((["--tags", "x,y"], {1, 2}), (["--exclude-tags", "z"], {2, 3}), (["--tag", "z"], {1})):
            assert set(endpoints(play(tagged, *options))) == {f"GET /ok?{i}" for i in names}, options


def test_think_times():
    rows = [("pacing(200ms)", 20), ("throughput(5/s)", 20), ("constant(150ms)", 20), ("exponential(150ms)", None)]
    for think, most in rows:
        with known() as (_, target):
            r = play(f"{target}users: [{{think: {think}, tasks: [{{get: /delay/50}}]}}]\nload: {{users: 2, for: 2s}}\nseed: 5\n")
        requests = r.result["totals"]["requests"]
        assert 8 <= requests <= (most or 40), (think, requests)
        # A pause is the user's, not the target's: it is in no time.
        assert 50 <= r.result["response_time"]["p50_ms"] < 150, (think, r.result["response_time"])


def test_the_end_is_graceful_as_long_as_allowed():
    for grace, delay, errors in (("10s", 800, {}), ("200ms", 5000, {"interrupted": 4})):
        with known() as (_, target):
            r = play(f"{target}graceful_stop: {grace}\nusers: [{{tasks: [{{get: /delay/{delay}}}]}}]\n"
                     "load: {users: 4, for: 500ms}\n")
        assert (r.result["totals"]["requests"], r.errors()) == (4, errors), r
        assert r.result["response_time"]["count"] == 4, r.result["response_time"]
        assert r.result["response_time"]["min_ms"] >= (800 if not errors else 650), r.result["response_time"]


def test_a_warm_up_is_judged_apart():
    with known() as (server, target):
        r = play(f"{target}warmup: 1s\n{ONE_TASK}load: {{arrivals: {{rate: 100/s, for: 2s}}}}\n"
                 "thresholds: ['requests: count < 104 in baseline', 'requests: count > 96 in warm-up']\n")
    phases = {p["kind"]: p["totals"]["requests"] for p in r.result["phases"]}
    # An answer that is quicker than the news of the phase may count for the one before.
    assert abs(phases["warm-up"] - 100) <= 3 and sum(phases.values()) == 200, phases


def test_dropped_arrivals_are_failures():
    with known() as (server, target):
        r = play(f"{target}users: [{{tasks: [{{get: /delay/3000}}]}}]\n"
                 "load: {arrivals: {rate: 50/s, for: 1s, max_users: 1}}\n")
        assert server.truth()["requests"] == 1
    assert r.result["totals"] == {"requests": 50, "successes": 1, "failures": 49, "dropped": 49}, r.result["totals"]
    assert r.result["generator"]["arrivals_due"] == 50, r.result["generator"]
    assert r.result["generator"]["users_max"] == 1, r.result["generator"]


# ---- the generator's own limits ----

def limited(files, *args):
    with folder() as tmp:
        out = tmp / "out"
        p = subprocess.run(["prlimit", f"--nofile={files}:{files}", CHAOS_LOAD, "run", *args, "--out", str(out)],
                           capture_output=True, text=True, timeout=60, env=environment(tmp))
        return p


def test_limits_are_said_before_the_start():
    if not shutil.which("prlimit"):
        print("  skipped: no prlimit here")
        return
    with truth_server() as server:
        p = limited(128, "-H", server.url, "-u", "200", "-t", "1s")
        assert p.returncode == 3 and "200 users need 296 open files and this process may have 128" in p.stderr, p
        assert server.truth()["requests"] == 0
        p = limited(128, "-H", server.url, "-u", "200", "-t", "1s", "--connect", "pooled", "--think", "constant(2s)",
                    "--task", "GET /ok")
        assert p.returncode in (0, 4) and "of the 200 users" in p.stdout + p.stderr, p
        p = limited(128, "-H", server.url, "--arrivals", "200/s", "-t", "1s", "--task", "GET /delay/2000")
        assert p.returncode == 4 and "ran out of files" in p.stderr, p


def test_a_late_generator_makes_the_run_invalid():
    with truth_server() as server, folder() as tmp:
        args = ["run", "-H", server.url, "--arrivals", "200/s", "-t", "3s", "--task", "GET /ok", "--threshold", "errors: rate < 1%"]
        process = start(args, tmp / "out")
        wait_for(lambda: server.truth()["requests"] > 50, what="load")
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        r = finish(process, args, tmp / "out").expect(4)
        assert server.truth()["requests"] == 600
    assert r.result["verdict"] == "Invalid" and "the generator was the limit" in r.result["reason"], r.result["reason"]
    # Nothing is left out: those that were late say so, in the lag and in what users would have felt.
    assert r.result["totals"]["requests"] == 600, r.result["totals"]
    for figures in ("schedule_lag", "response_time", "lateness"):
        assert near(r.result[figures]["max_ms"], 1000, 0.1, 60), (figures, r.result[figures])
    assert r.result["service_time"]["p50_ms"] < 100, r.result["service_time"]


# ---- the same seed ----

def test_traces_of_open_load_and_stages_are_equal():
    loads = [("arrivals: {rate: 300/s, for: 1s, process: poisson}", 200),
             ("arrivals: {start_rate: 0/s, stages: [{for: 1s, rate: 300/s}]}", 140),
             ("stages: [{for: 500ms, users: 9}, {for: 500ms, users: 2}]", 9)]
    for load, least in loads:
        traces = []
        for seed, threads in ((5, 1), (5, 2), (6, 2)):
            with known() as (_, target), folder() as tmp:
                # One iteration a user: how many fit into a stage is the target's doing.
                think = "think: 'between(10s, 20s)', " if "arrivals" not in load else ""
                play(f"{target}seed: {seed}\nthreads: {threads}\n"
                     f"users: [{{{think}tasks: [{{get: /ok, weight: 3}}, {{get: /ok?2}}]}}]\n"
                     f"graceful_stop: 1s\nload: {{{load}}}\n", "--trace", str(tmp / "trace"))
                traces.append((tmp / "trace").read_text())
        assert traces[0].count("\n") >= least, (load, traces[0][:300])
        assert traces[0] == traces[1], load
        assert traces[0] != traces[2], load


if __name__ == "__main__":
    main(globals())
