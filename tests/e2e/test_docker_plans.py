"""The container engine in a plan: what a dry run tells, and what is said when there is none."""
import os
import socket
import threading

import engine
from harness import folder, main, run

d = engine.connect()
FAULT = "at=1s duration=1s"


def dry(*args):
    return run("run", "-H", "http://127.0.0.1:9", "-t", "3s", "--dry-run", *args)


def test_a_dry_run_tells_whom_it_would_hit():
    with d.container(name=f"dry-1-{os.getpid()}", labels={"dry": "yes"}), d.container(name=f"dry-2-{os.getpid()}", labels={"dry": "yes"}):
        one = dry("--fault", f"cpu docker=dry-1-{os.getpid()} {FAULT}").expect(0)
        assert "container engine:\n  Docker " in one.stdout, one
        assert f"would hit container dry-1-{os.getpid()} (" in one.stdout, one
        both = dry("--fault", f"cpu docker.label=dry=yes docker.mode=all {FAULT}").expect(0)
        assert f"would hit 2 containers: dry-1-{os.getpid()}, dry-2-{os.getpid()}" in both.stdout, both


def test_nobody_there_is_told():
    none = dry("--fault", f"cpu docker=no-such-thing {FAULT}").expect(3)
    assert "nothing would be hit: there is no container 'no-such-thing'" in none.stdout, none


def test_no_engine_is_told_before_anything_begins():
    with folder() as f:
        for args in (["--dry-run"], ["--out", str(f / "out")]):
            got = run("run", "-H", "http://127.0.0.1:9", "-t", "3s", "--docker-host", f"unix://{f}/none.sock", "--fault",
                      f"cpu docker=shop {FAULT}", *args).expect(3)
            said = got.stdout + got.stderr
            assert f"no container engine: there is no socket {f}/none.sock; start Docker or Podman" in said, got


def test_an_engine_that_hangs_ends_in_time():
    with folder() as f, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(f / "s"))
        server.listen(8)
        plan = f / "plan.yaml"
        plan.write_text(f"target: http://127.0.0.1:9\nload: {{users: 1, duration: 3s}}\nusers: [{{tasks: [{{get: /}}]}}]\ndocker: {{host: 'unix://{f}/s', timeout: 300ms}}\n"
                        "faults:\n  - cpu: {docker: shop}\n    at: 1s\n    duration: 1s\n")
        got = run("run", plan, timeout=30).expect(3)
        assert "within 300ms: does it hang? restart it, or give it longer" in got.stderr, got


def test_what_is_no_engine_is_told():
    def answer(server):
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            if peer.recv(4096):  # the first one only looks whether somebody listens
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            peer.close()

    with folder() as f, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(f / "s"))
        server.listen(8)
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        got = dry("--docker-host", f"unix://{f}/s", "--fault", f"cpu docker=shop {FAULT}").expect(3)
        assert f"what answers at unix://{f}/s is not a container engine (status 200 to /_ping)" in got.stdout, got


try:
    main(globals())
finally:
    d.remove_all()
