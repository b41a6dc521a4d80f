"""Faults that the load itself makes, as the server sees them: bytes that dribble, connections that are held or reset,
handshakes that stall, large heads, retries; that they end with the fault; and that honest figures stay honest."""
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time

from harness import folder, main, near, run, start, finish, signal

HEAD_MAX = 1 << 20


class Seen:
    """One connection: when it came, when which bytes came, and how it ended."""

    def __init__(self):
        self.began, self.pieces, self.end, self.ended = time.monotonic(), [], None, None
        self.heads, self.send_time = [], 0.0

    @property
    def bytes(self):
        return sum(n for _, n in self.pieces)

    @property
    def lifetime(self):
        return self.ended - self.began


class Server:
    """Answers each request by its path: /fail with 500, /big with `body` bytes, else with ok; with silent=True it only listens."""

    def __init__(self, body=2, silent=False, tls=None):
        self.body, self.silent, self.tls = body, silent, tls
        self.seen, self.requests, self.lock, self.limit = [], [], threading.Lock(), 1000
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        seen = Seen()
        with self.lock:
            self.seen.append(seen)
        try:
            peer.settimeout(20)
            if self.tls:
                peer = self.tls.wrap_socket(peer, server_side=True)
            self.talk(peer, seen)
            seen.end = "eof"
        except ConnectionResetError:
            seen.end = "reset"
        except ssl.SSLError as e:
            seen.end = f"tls: {e}"
        except OSError as e:
            seen.end = f"{type(e).__name__}"
        seen.ended = time.monotonic()
        peer.close()

    def talk(self, peer, seen):
        data = b""
        while True:
            piece = peer.recv(65536)
            if not piece:
                return
            seen.pieces.append((time.monotonic(), len(piece)))
            data += piece
            while not self.silent and b"\r\n\r\n" in data:
                head, data = data.split(b"\r\n\r\n", 1)
                seen.heads.append(len(head) + 4)
                path = head.split(b" ")[1].decode()
                with self.lock:
                    self.requests.append((time.monotonic(), path, len(head) + 4))
                self.answer(peer, seen, path)

    def answer(self, peer, seen, path):
        body = b"x" * (self.body if path.startswith("/big") else 2)
        with self.lock:
            held = sum(s.ended is None and not s.heads and s is not seen for s in self.seen)
        status = "500 Oh" if path.startswith("/fail") or held > self.limit else "200 OK"
        began = time.monotonic()
        peer.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        seen.send_time = max(seen.send_time, time.monotonic() - began)

    def all_ended(self, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(s.ended is None for s in self.seen):
            time.sleep(0.02)
        assert all(s.ended is not None for s in self.seen), [vars(s) for s in self.seen if s.ended is None][:3]
        return list(self.seen)


def play(server, fault, path="/ok", users=4, seconds=2.5, at="500ms", duration="1s", more="", scheme="http", think="constant(50ms)"):
    """A run with one fault: its result, and the result's endpoints by name."""
    with folder() as f:
        plan = f / "plan.yaml"
        plan.write_text(f"target: {scheme}://127.0.0.1:{server.port}\nseed: 11\nload: {{users: {users}, duration: {seconds}s}}\n"
                        f"users: [{{name: web, think: '{think}', tasks: [{{get: {path}}}]}}]\nhttp: {{timeout: 20s, connect_timeout: 1s, tls: {{verify: false}}}}\n{more}"
                        f"faults:\n  - {fault}\n    at: {at}\n    duration: {duration}\n")
        r = run("run", plan, out=f / "out").expect(0)
        again = run("report", f / "out" / "rows.ndjson", "--out", f / "again")
        assert again.exit_code == 0, again
        rebuilt = json.loads((f / "again" / "result.json").read_text())
    result = r.result
    sums_agree(result)
    assert [e["totals"] for e in rebuilt["endpoints"]] == [e["totals"] for e in result["endpoints"]]
    assert rebuilt["totals"] == result["totals"]
    return result, {e["name"]: e for e in result["endpoints"]}


def sums_agree(result):
    honest = [i for i, e in enumerate(result["endpoints"]) if not e.get("misdeed")]
    for key in ("requests", "successes", "failures"):
        total = result["totals"][key]
        assert sum(result["endpoints"][i]["totals"][key] for i in honest) == total, key
        assert sum(p["totals"][key] for p in result["phases"]) == total, key
        assert sum(e["totals"][key] for p in result["phases"] for e in p["endpoints"] if e["endpoint"] in honest) == total, key
        for i, endpoint in enumerate(result["endpoints"]):
            assert sum(e["totals"][key] for p in result["phases"] for e in p["endpoints"] if e["endpoint"] == i) == endpoint["totals"][key], (i, key)
    assert sum(r["successes"] for r in result["rows"]) == result["totals"]["successes"]
    assert sum(r["failures"] for r in result["rows"]) == result["totals"]["failures"]


def count(endpoints, name):
    return endpoints[name]["totals"]["requests"]


def window(result):
    f = result["faults"][0]
    assert f["verified_in"] and f["verified_out"], f
    return f["effective_ms"] / 1000, f["reverted_ms"] / 1000


def test_slow_send_dribbles():
    server = Server()
    result, ends = play(server, "slow-send: {client: web, rate: 1600bit, percent: 50%}", seconds=3.5, duration="2s")
    dribbled = [s for s in server.all_ended() if len(s.pieces) > 4 and s.bytes and len(s.heads) <= 1]
    assert len(dribbled) >= 2 and count(ends, "GET /ok (slow-send)") >= len(dribbled), ends
    for s in dribbled:
        span = s.pieces[-1][0] - s.pieces[0][0]
        assert (s.bytes - 20) / 200 * 0.8 <= span, (s.bytes, span)
        assert max(n for _, n in s.pieces) <= 40, s.pieces  # a late timer may join helpings, no more
    assert count(ends, "GET /ok") > 20 and ends["GET /ok"]["totals"]["failures"] == 0
    assert result["totals"]["failures"] == 0


def test_slow_read_drains_at_its_rate():
    server = Server(body=400_000)
    result, ends = play(server, "slow-read: {client: web, rate: 1600kbit, percent: 50%}", path="/big", seconds=6, duration="4500ms")
    slow = sorted(s.send_time for s in server.all_ended() if s.send_time > 0.8 and s.end == "eof")
    ok = ends["GET /big (slow-read)"]["totals"]["successes"]
    assert ok >= 2 and len(slow) == ok, (slow, ends["GET /big (slow-read)"]["totals"])
    assert all(1.5 <= t <= 4 for t in slow), slow  # 400 kB at 200 kB/s, less what is in buffers
    assert result["totals"]["failures"] == 0


def test_slow_read_pauses():
    server = Server(body=1_500_000)
    _, ends = play(server, "slow-read: {client: any, pause: 800ms, percent: 50%}", path="/big", seconds=11, duration="8s")
    assert ends["GET /big (slow-read)"]["totals"]["successes"] >= 2, ends
    paused = [s for s in server.all_ended() if s.send_time >= 0.7]
    assert len(paused) >= ends["GET /big (slow-read)"]["totals"]["successes"], [s.send_time for s in server.seen]


def test_half_open_connections_are_held():
    for sends, least, most in (("nothing", 0, 0), ("half", 10, 60)):
        server = Server()
        result, ends = play(server, f"half-open: {{client: web, hold: 400ms, sends: {sends}, percent: 50%}}", duration="1500ms", seconds=3)
        held = [s for s in server.all_ended() if not s.heads]
        assert len(held) == count(ends, "GET /ok (half-open)") >= 3, (sends, len(held), ends["GET /ok (half-open)"])
        assert all(least <= s.bytes <= most and s.end == "eof" for s in held), [(s.bytes, s.end) for s in held]
        whole = [s for s in held if s.lifetime >= 0.35]
        assert len(whole) >= 2 and all(s.lifetime < 3 for s in held), [s.lifetime for s in held]
        assert result["totals"]["failures"] == 0 and ends["GET /ok (half-open)"]["totals"]["failures"] == 0


def test_a_hold_ends_with_its_fault():
    server = Server()
    result, ends = play(server, "half-open: {client: web, hold: 1h}", duration="700ms", seconds=2)
    held = [s for s in server.all_ended() if not s.heads]
    assert len(held) == 4 == count(ends, "GET /ok (half-open)"), ends
    assert all(s.lifetime < 5 for s in held)
    after = [t for t, _, _ in server.requests if t > max(s.ended for s in held)]
    assert len(after) >= 4, "users go on when the fault is over"
    assert result["faults"][0]["ended_by"] == "plan"


def test_abort_is_a_reset():
    server = Server(body=500_000)
    result, ends = play(server, "abort: {client: any, percent: 40%}")
    resets = [s for s in server.all_ended() if s.end in ("reset", "BrokenPipeError")]
    assert len(resets) == count(ends, "GET /ok (abort)") >= 5, (len(resets), [s.end for s in server.seen])
    assert result["totals"]["failures"] == 0

    server = Server(body=500_000)
    _, ends = play(server, "abort: {client: any, percent: 40%, after_bytes: 100KiB}", path="/big")
    assert len([s for s in server.all_ended() if s.end in ("reset", "BrokenPipeError")]) == count(ends, "GET /big (abort)") >= 5, [s.end for s in server.seen]
    totals = ends["GET /big (abort)"]
    assert 100 * 1024 <= totals["bytes_in"] / totals["totals"]["requests"] < 500_000, totals


def test_tls_stalls_after_the_client_hello():
    server = Server(silent=True)
    _, ends = play(server, "tls-stall: {client: web, hold: 300ms}", scheme="https", at="0ms", duration="1500ms", seconds=1.6)
    stalled = [s for s in server.all_ended() if s.lifetime >= 0.25 and s.bytes]
    assert len(stalled) >= 4, [(s.lifetime, s.bytes) for s in server.seen]
    assert all(len(s.pieces) == 1 for s in stalled), "one flight, and never another byte"
    assert ends["GET /ok (tls-stall)"]["totals"]["successes"] >= 4, ends


def certificate(f):
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
                           "-keyout", f / "key.pem", "-out", f / "cert.pem"], capture_output=True)
    assert made.returncode == 0, made
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f / "cert.pem", f / "key.pem")
    return context


def test_a_real_handshake_stalls_too():
    if not shutil.which("openssl"):
        print("SKIP openssl is not there")
        return
    with folder() as f:
        server = Server(tls=certificate(f))
        result, ends = play(server, "tls-stall: {client: web, hold: 300ms, percent: 50%}", scheme="https", duration="1500ms", seconds=3)
    stalled = [s for s in server.all_ended() if (s.end or "").startswith(("tls", "reset", "SSL", "Conn")) and not s.heads]
    assert len(stalled) == count(ends, "GET /ok (tls-stall)") >= 3, [(s.end, s.heads) for s in server.seen]
    assert count(ends, "GET /ok") >= 20 and result["totals"]["failures"] == 0


def test_big_headers():
    server = Server()
    result, ends = play(server, "big-headers: {client: web, size: 20KiB, count: 7, percent: 50%}")
    server.all_ended()
    big = [n for _, _, n in server.requests if n > 15_000]
    small = min(n for _, _, n in server.requests)
    assert len(big) >= ends["GET /ok (big-headers)"]["totals"]["successes"] >= 5, (len(big), ends["GET /ok (big-headers)"]["totals"])
    assert all(n - small == 20 * 1024 for n in big), (small, set(big))
    assert result["totals"]["failures"] == 0


def test_retry_storm():
    server = Server()
    result, ends = play(server, "retry-storm: {client: web, retries: 5}", path="/fail", at="0ms", duration="2s", seconds=2.2, think="constant(100ms)")
    honest, again = count(ends, "GET /fail"), count(ends, "GET /fail (retry-storm)")
    server.all_ended()
    assert len(server.requests) == honest + again, (len(server.requests), honest, again)
    # Failures of the first and last moments lie outside of the fault.
    assert 5 * (honest - 20) <= again <= 5 * honest and again >= 100, (honest, again)
    assert result["totals"]["failures"] == honest and ends["GET /fail (retry-storm)"]["totals"]["failures"] == again
    times = [t for t, _, _ in server.requests]
    assert sum(b - a < 0.05 for a, b in zip(times, times[1:])) > len(times) / 2, "at once, without back-off"

    server = Server()
    _, ends = play(server, "retry-storm: {client: web, retries: 2, percent: 30%}", path="/fail", users=20, at="0ms", duration="1900ms", seconds=2, think="constant(100ms)")
    share = count(ends, "GET /fail (retry-storm)") / 2 / count(ends, "GET /fail")
    assert 0.05 <= share <= 0.6, share


def test_a_class_misbehaves_and_the_other_does_not():
    server = Server()
    with folder() as f:
        plan = f / "plan.yaml"
        plan.write_text(f"target: http://127.0.0.1:{server.port}\nseed: 3\nload: {{users: 6, duration: 2s}}\n"
                        "users:\n  - {name: good, think: constant(50ms), tasks: [{get: /good}]}\n  - {name: bad, think: constant(50ms), tasks: [{get: /bad}]}\n"
                        "thresholds: ['errors: rate == 0%', 'errors{GET /bad (abort)}: rate == 0%']\n"
                        "faults:\n  - abort: {client: bad}\n    at: 500ms\n    duration: 1s\n")
        r = run("run", plan, out=f / "out").expect(0)
    ends = {e["name"]: e["totals"]["requests"] for e in r.result["endpoints"]}
    assert set(ends) == {"GET /good", "GET /bad", "GET /bad (abort)"} and ends["GET /bad (abort)"] > 5, ends
    assert r.result["faults"][0]["target"] == "the load's users bad"
    sums_agree(r.result)


def test_fewer_honest_requests_are_not_felt():
    server = Server()
    result, ends = play(server, "half-open: {client: web, hold: 300ms, percent: 90%}", users=10, seconds=5, at="2s", duration="1500ms")
    fault = result["faults"][0]
    assert count(ends, "GET /ok (half-open)") >= 20, ends
    assert not fault["felt"] and fault["requests_lost"] == 0 and fault["good_share"] > 0.9, fault


def test_failures_of_honest_users_are_felt():
    server = Server()
    server.limit = 5  # connections of misbehaving users fill it; then all answers are errors
    with folder() as f:
        plan = f / "plan.yaml"
        plan.write_text(f"target: http://127.0.0.1:{server.port}\nseed: 3\nload: {{users: 20, duration: 5s}}\nhttp: {{keep_alive: false}}\n"
                        "users: [{name: web, think: constant(50ms), tasks: [{get: /ok}]}]\n"
                        "faults:\n  - half-open: {client: any, hold: 1h, percent: 30%}\n    at: 2s\n    duration: 1500ms\n")
        r = run("run", plan, out=f / "out").expect(0)
    fault = r.result["faults"][0]
    assert fault["felt"] and fault["requests_lost"] > 0, fault


def test_faults_do_not_change_what_users_choose():
    def trace(faults):
        server = Server()
        with folder() as f:
            plan = f / "plan.yaml"
            plan.write_text(f"target: http://127.0.0.1:{server.port}\nseed: 5\nload: {{users: 5, iterations: 200}}\n"
                            "users: [{name: web, think: 'between(5ms, 25ms)', tasks: [{get: /a, weight: 3}, {get: /b}]}]\n" + faults)
            run("run", plan, "--trace", f / "trace", out=f / "out").expect(0)
            return sorted((f / "trace").read_text().splitlines())
    fault = "faults:\n  - abort: {client: any, percent: 30%}\n    at: 100ms\n    duration: 200ms\n"
    plain, first, second = trace(""), trace(fault), trace(fault)
    assert first == second == plain and len(plain) >= 200


def test_ctrl_c_ends_what_is_held():
    server = Server()
    with folder() as f:
        plan = f / "plan.yaml"
        plan.write_text(f"target: http://127.0.0.1:{server.port}\nload: {{users: 3, duration: 60s}}\nusers: [{{tasks: [{{get: /ok}}], think: constant(50ms)}}]\n"
                        "faults:\n  - half-open: {client: any, hold: 1h}\n    at: 200ms\n    duration: 50s\n")
        process = start(["run", plan], f / "out")
        until = time.monotonic() + 20
        while time.monotonic() < until and sum(not s.heads for s in server.seen) < 3:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        finish(process, ["run"], f / "out").expect(130)
        assert time.monotonic() - began < 15
    assert len([s for s in server.all_ended() if not s.heads]) == 3


if __name__ == "__main__":
    main(globals())
