"""The container engine in a plan: what a dry run tells, and what is said when there is none."""
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
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


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def certificates(f):
    """ca, server and client certificates: client/ is what DOCKER_CERT_PATH names."""
    for name in ("client", "server"):
        (f / name).mkdir()
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=test ca", "-keyout", f / "ca.key", "-out",
            f / "client/ca.pem")
    for name, extra in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f / name / "key.pem", "-out", f / "csr")
        (f / "ext").write_text(extra)
        openssl("x509", "-req", "-in", f / "csr", "-CA", f / "client/ca.pem", "-CAkey", f / "ca.key", "-CAcreateserial", "-days", 2,
                "-extfile", f / "ext", "-out", f / name / "cert.pem")
    shutil.copy(f / "client/ca.pem", f / "server/ca.pem")


def pump(a, b):
    with contextlib.suppress(OSError):
        while data := a.recv(65536):
            b.sendall(data)
    for s in (a, b):
        with contextlib.suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def before_the_engine(context=None):
    """A TCP port that leads to the real engine, with TLS when there is a context."""
    def serve():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                peer = context.wrap_socket(peer, server_side=True) if context else peer
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(d.path)
                threading.Thread(target=pump, args=(behind, peer), daemon=True).start()
                threading.Thread(target=pump, args=(peer, behind), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def over_tcp(port, **variables):
    os.environ.update(variables)
    try:
        return dry("--docker-host", f"tcp://127.0.0.1:{port}", "--fault", f"cpu docker=no-such-thing {FAULT}").stdout
    finally:
        for name in variables:
            del os.environ[name]


def test_an_engine_is_asked_over_tls():
    with folder() as f, folder() as other:
        certificates(f)
        certificates(other)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f / "server/cert.pem", f / "server/key.pem")
        context.load_verify_locations(f / "client/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        good = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(f / "client")}
        with before_the_engine(context) as port:
            there = over_tcp(port, **good)
            assert f"(API 1.41) at tcp://127.0.0.1:{port}\n" in there and "is not on this machine" in there, there
            strange = over_tcp(port, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(other / "client"))
            assert "SSL certificate problem" in strange and "TLS is on, with the files beside" in strange, strange
            plain = over_tcp(port)
            assert f"the container engine at tcp://127.0.0.1:{port} cannot be asked" in plain, plain
            (f / "client/key.pem").unlink()
            missing = over_tcp(port, **good)
            assert "needs ca.pem, cert.pem and key.pem" in missing and "key.pem: No such file" in missing, missing
        with before_the_engine() as port:
            there = over_tcp(port)
            assert f"(API 1.41) at tcp://127.0.0.1:{port}\n" in there, there
            tls = over_tcp(port, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(other / "client"))
            assert "cannot be asked" in tls and "TLS is on" in tls, tls


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        d.remove_all()
