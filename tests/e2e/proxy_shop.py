#!/usr/bin/env python3
"""The verbs `target` and `proxy` as processes: they come up fast, serve, and end as they should."""
import http.client
import re
import signal
import socket
import subprocess
import sys
import time

BINARY = sys.argv[1]
PATIENCE = 10


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended early"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.005)
    raise AssertionError("it does not listen")


def start_shop(port, *options):
    shop = subprocess.Popen([BINARY, "target", "--listen", f"127.0.0.1:{port}", *options])
    wait_port(port, shop)
    return shop


def get(port, path, method="GET", body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    c.request(method, path, body, headers or {})
    r = c.getresponse()
    text = r.read().decode()
    c.close()
    return r.status, text, r


def end(process, sig=signal.SIGTERM):
    process.send_signal(sig)
    assert process.wait(PATIENCE) == 0, process.returncode


def test_pages_and_end():
    port = free_port()
    shop = start_shop(port, "--latency", "0", "--name", "corner")
    assert "corner" in get(port, "/")[1]
    assert get(port, "/health")[0] == 200
    assert get(port, "/items", "POST", '{"name":"tea"}')[0] == 201
    assert '"tea"' in get(port, "/items/101")[1]
    assert get(port, "/echo", "POST", iter([b"ab", b"cd"]))[1] == "abcd"
    assert get(port, "/bytes/1000000")[1] == "x" * 1000000
    cookie = get(port, "/login")[2].getheader("Set-Cookie").split(";")[0]
    assert get(port, "/me", headers={"Cookie": cookie})[0] == 200
    end(shop)


def test_what_was_begun_is_finished():
    port = free_port()
    shop = start_shop(port, "--latency", "0")
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    c.request("GET", "/slow?ms=300")
    time.sleep(0.1)
    shop.send_signal(signal.SIGTERM)
    assert c.getresponse().read() == b"slow\n"
    assert shop.wait(PATIENCE) == 0


def test_killed_and_started_again():
    port = free_port()
    shop = start_shop(port)
    keep = socket.create_connection(("127.0.0.1", port))
    shop.kill()
    shop.wait(PATIENCE)
    again = start_shop(port)
    assert get(port, "/health")[0] == 200
    keep.close()
    end(again, signal.SIGINT)


def test_port_taken_is_said():
    port = free_port()
    shop = start_shop(port)
    r = subprocess.run([BINARY, "target", "--listen", f"127.0.0.1:{port}"], capture_output=True, text=True,
                       timeout=PATIENCE, check=False)
    assert r.returncode == 3 and "cannot listen" in r.stderr, r
    end(shop)


def test_fail_rate():
    port = free_port()
    shop = start_shop(port, "--latency", "0", "--fail-rate", "50%")
    statuses = [get(port, "/items/1")[0] for _ in range(60)]
    assert 10 < statuses.count(500) < 50, statuses
    assert all(get(port, "/health")[0] == 200 for _ in range(10))
    end(shop)


def test_garbage_is_refused():
    port = free_port()
    shop = start_shop(port, "--latency", "0")
    for text in (b"\x16\x03\x01\x00\n", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA : b\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
            s.sendall(text)
            assert b" 400 " in s.recv(1000), text
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        s.sendall(b"GET /health HTTP/1.1\r\n\r\n" * 3)
        seen = b""
        while seen.count(b"HTTP/1.1 200") < 3:
            more = s.recv(1000)
            assert more
            seen += more
    end(shop)


def test_proxy():
    port = free_port()
    shop = start_shop(port, "--latency", "0")
    proxy = subprocess.Popen([BINARY, "proxy", "--upstream", f"127.0.0.1:{port}",
                              "--toxic", "latency delay=50ms",
                              "--toxic", 'http-status status=418 body="no tea" match.path=/tea*'],
                             stdout=subprocess.PIPE, text=True)
    through = int(re.match(r"127\.0\.0\.1:(\d+) -> ", proxy.stdout.readline()).group(1))
    before = time.monotonic()
    assert get(through, "/items/1")[0] == 200
    assert time.monotonic() - before >= 0.05
    assert get(through, "/tea/green")[:2] == (418, "no tea")
    proxy.send_signal(signal.SIGINT)
    out = proxy.communicate(timeout=PATIENCE)[0]
    assert proxy.returncode == 0 and "2 connections, 2 requests" in out, out
    end(shop)


def test_mistakes():
    for args, says in ((["proxy"], "--upstream"),
                       (["proxy", "--upstream", "nowhere"], "127.0.0.1:8080"),
                       (["proxy", "--upstream", "127.0.0.1:1", "--toxic", "latncy delay=1s"], "no toxic"),
                       (["proxy", "--upstream", "127.0.0.1:1", "--toxic", "latency"], "delay"),
                       (["target", "--latency", "5"], "latency"),
                       (["target", "--fail-rate", "200%"], "fail-rate"),
                       (["target", "--listen", "here"], "127.0.0.1:5001")):
        r = subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert r.returncode == 2 and says in r.stderr, (args, r)


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print("ok", name)
