"""grpc-status with real peers: a gRPC server and clients (grpcio) with the proxy between them, during a run."""
import concurrent.futures
import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time

from harness import *

try:
    import grpc
except ImportError:
    sys.path.append("/usr/lib/python3/dist-packages")  # Debian's python3-grpcio, when this Python is another
    try:
        import grpc
    except ImportError:
        print("SKIP grpcio is not there (Debian: python3-grpcio)")
        sys.exit(77)

BIG = bytes(300_000)  # more than a stream's first window
AT, HELD = 1.5, 3.0


def handlers(calls):
    def unary(request, context):
        calls.append(context._rpc_event.call_details.method.decode() if hasattr(context, "_rpc_event") else "")
        context.set_trailing_metadata((("x-end", "yes"),))
        return request

    def watch(request, context):
        for i in range(20):
            yield b"%d" % i + request

    def upload(requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def chat(requests, context):
        for request in requests:
            yield request

    methods = {"Get": grpc.unary_unary_rpc_method_handler(unary), "List": grpc.unary_unary_rpc_method_handler(unary),
               "Watch": grpc.unary_stream_rpc_method_handler(watch), "Upload": grpc.stream_unary_rpc_method_handler(upload),
               "Chat": grpc.stream_stream_rpc_method_handler(chat)}
    return [grpc.method_handlers_generic_handler(name, methods) for name in ("lab.Shop", "lab.Cart")]


@contextlib.contextmanager
def grpc_server():
    calls = []
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(handlers(calls))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port, calls
    finally:
        server.stop(None).wait()


class Client:
    """A connection of its own, kept."""

    def __init__(self, port):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)])

    def get(self, path="/lab.Shop/Get", body=b"hello", metadata=None):
        """The status, its message; checks that what succeeds is whole."""
        try:
            got, call = self.channel.unary_unary(path).with_call(body, timeout=10, metadata=metadata)
        except grpc.RpcError as failure:
            return failure.code(), failure.details()
        assert got == body and dict(call.trailing_metadata())["x-end"] == "yes", (got, call.trailing_metadata())
        return grpc.StatusCode.OK, ""

    def streams(self, service):
        watched = list(self.channel.unary_stream(f"/{service}/Watch")(b"x", timeout=10))
        assert watched == [b"%dx" % i for i in range(20)], watched
        assert self.channel.stream_unary(f"/{service}/Upload")(iter([BIG] * 5), timeout=10) == b"%d" % (5 * len(BIG))
        chat = list(self.channel.stream_stream(f"/{service}/Chat")(iter([b"a", BIG, b"c"]), timeout=10))
        assert chat == [b"a", BIG, b"c"], [len(c) for c in chat]

    def close(self):
        self.channel.close()


@contextlib.contextmanager
def proxied(*toxics):
    """chaos-load proxy before a server: its port, and what the server saw."""
    with grpc_server() as (upstream, calls):
        port = unused_port()
        words = [w for t in toxics for w in ("--toxic", t)]
        process = start(["proxy", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{upstream}", *words])
        client = Client(port)
        try:
            grpc.channel_ready_future(client.channel).result(timeout=20)
            yield client, port, calls
        finally:
            client.close()
            process.send_signal(signal.SIGINT)
            finish(process, ["proxy"])


def test_nothing_is_changed_without_a_fault():
    with proxied() as (client, _, calls):
        for _ in range(50):
            assert client.get() == (grpc.StatusCode.OK, "")
        assert client.get(body=BIG) == (grpc.StatusCode.OK, "")
        assert client.get(metadata=[("x-long", "v" * 6000)]) == (grpc.StatusCode.OK, "")
        client.streams("lab.Shop")
        assert len(calls) == 52


def test_code_and_message_arrive_and_the_server_sees_nothing():
    with proxied('grpc-status status_code=RESOURCE_EXHAUSTED "message=50 % off – näh" services=lab.Shop') as (client, _, calls):
        for path in ("/lab.Shop/Get", "/lab.Shop/List"):
            assert client.get(path) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "50 % off – näh"), client.get(path)
        assert calls == []
        assert client.get("/lab.Cart/Get") == (grpc.StatusCode.OK, "")
        assert client.get(body=BIG) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "50 % off – näh")
        for _ in range(40):  # what is left out must not use up the connection's window
            assert client.get(body=BIG)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        client.streams("lab.Cart")
        for stream, requests in (("Upload", iter([BIG] * 5)), ("Chat", iter([b"a"] * 5))):
            call = client.channel.stream_stream(f"/lab.Shop/{stream}")(requests, timeout=10)
            try:
                list(call)
                raise AssertionError("it went through")
            except grpc.RpcError as failure:
                assert failure.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, failure
        assert client.get("/lab.Cart/List", metadata=[("x-long", "v" * 6000), ("x-binary-bin", bytes(range(256)))]) == (grpc.StatusCode.OK, "")
        assert len(calls) == 2


def test_methods_and_many_calls_at_once():
    with proxied("grpc-status status_code=14 methods=L* percent=50%", "latency delay=5ms") as (client, _, calls):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            got = list(pool.map(lambda i: (i % 2, client.get("/lab.Shop/List" if i % 2 else "/lab.Shop/Get", body=b"x" * (i * 37 % 5000))[0]), range(600)))
        assert all(code == grpc.StatusCode.OK for odd, code in got if not odd)
        hits = [code for odd, code in got if odd and code != grpc.StatusCode.OK]
        assert set(hits) == {grpc.StatusCode.UNAVAILABLE}, set(hits)
        assert abs(len(hits) / 300 - 0.5) <= 4.5 * (0.25 / 300) ** 0.5, len(hits)
        assert len(calls) == 600 - len(hits)


def test_http1_passes_beside_it():
    with truth_server() as server:
        port = unused_port()
        process = start(["proxy", "--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{server.port}", "--toxic", "grpc-status"])
        try:
            import urllib.request
            wait_for(lambda: can_ask(f"http://127.0.0.1:{port}/truth"), what="the proxy")
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/truth", timeout=5).status == 200
        finally:
            process.send_signal(signal.SIGINT)
            finish(process, ["proxy"])


def can_ask(url):
    import urllib.request
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(url, timeout=5).status == 200
    return False


def plan(port, upstream):
    return f"""
target: {{embedded: shop}}
proxies: [{{name: calls, listen: "127.0.0.1:{port}", upstream: "127.0.0.1:{upstream}"}}]
users: [{{think: constant(50ms), tasks: [{{get: /health}}]}}]
load: {{users: 1, for: 6s}}
recover_hold: 200ms
faults:
  - grpc-status: {{proxy: calls, status_code: UNAVAILABLE, message: try later, percent: 30%, services: [lab.Shop, lab.Other]}}
    at: {AT}s
    duration: {HELD}s
"""


class Caller(threading.Thread):
    """Calls one service by a connection that is there before the fault and after it."""

    def __init__(self, port, path):
        super().__init__(daemon=True)
        self.client, self.path, self.going, self.seen = Client(port), path, True, []

    def run(self):
        grpc.channel_ready_future(self.client.channel).result(timeout=20)
        while self.going:
            self.seen.append((time.monotonic(), *self.client.get(self.path)))
            time.sleep(0.002)

    def stop(self):
        self.going = False
        self.join()
        self.client.close()


def in_a_run(tmp):
    port = unused_port()
    with grpc_server() as (upstream, calls):
        (tmp / "plan.yaml").write_text(plan(port, upstream))
        callers = [Caller(port, path) for path in ("/lab.Shop/Get", "/lab.Cart/Get")]
        process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
        wait_for(lambda: can_connect(port), what="the proxy")
        for caller in callers:
            caller.start()
        deadline = time.monotonic() + AT + HELD + 0.7
        while time.monotonic() < deadline:
            time.sleep(0.05)
        for caller in callers:
            caller.stop()
        got = finish(process, ["run"], tmp / "out").expect(0)
    return got.result["faults"][0], [caller.seen for caller in callers], calls


def can_connect(port):
    import socket
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def test_a_share_of_one_service_fails_while_it_lasts():
    with folder() as tmp:
        fault, (shop, cart), calls = in_a_run(tmp)
        assert list((tmp / "state").iterdir()) == []
    assert fault["verified_in"] and fault["verified_out"] and fault["error"] is None, fault
    hits = [i for i, (_, code, _) in enumerate(shop) if code != grpc.StatusCode.OK]
    assert {shop[i][1:] for i in hits} == {(grpc.StatusCode.UNAVAILABLE, "try later")}, {shop[i][1:] for i in hits}
    assert all(code == grpc.StatusCode.OK for _, code, _ in cart) and len(cart) > 100
    first, last = hits[0], hits[-1]
    n, want = last - first + 1, 0.3
    assert n > 100 and abs(len(hits) / n - want) <= 4.5 * (want * (1 - want) / n) ** 0.5 + 2 / n, f"{len(hits)} of {n}"
    assert first > 20 and last < len(shop) - 20, (first, last, len(shop))
    assert near(shop[last][0] - shop[first][0], HELD, 0, 0.3), shop[last][0] - shop[first][0]
    assert len(calls) == len(shop) + len(cart) - len(hits), (len(calls), len(shop), len(cart), len(hits))


def in_a_namespace():
    """In a network namespace of our own: the server is a process that nobody put a proxy before."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with folder() as tmp, grpc_server() as (port, calls):
        client = Client(port)
        assert client.get() == (grpc.StatusCode.OK, "")
        (tmp / "plan.yaml").write_text(f"""
target: {{embedded: shop}}
processes: [{{name: calls, pid: {os.getpid()}}}]
users: [{{think: constant(50ms), tasks: [{{get: /health}}]}}]
load: {{users: 1, for: 4s}}
recover_hold: 200ms
faults:
  - grpc-status: {{process: calls, port: {port}, status_code: 8, message: no more, services: lab.Shop}}
    at: 1s
    duration: 2s
""")
        process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
        wait_for(lambda: client.get() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more"), what="the fault")
        for _ in range(50):
            assert client.get() == (grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")
            assert client.get("/lab.Cart/Get") == (grpc.StatusCode.OK, "")
        wait_for(lambda: client.get()[0] == grpc.StatusCode.OK, what="the end of the fault")
        finish(process, ["run"], tmp / "out").expect(0)
        for _ in range(50):
            assert client.get() == (grpc.StatusCode.OK, "")
        client.close()


def test_at_a_port_by_redirection():
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        print("SKIP the redirection takes root, unshare and ip")
        return
    if run("doctor", "grpc-status", "process").exit_code != 0:
        print("SKIP chaos-load doctor says that no port can be redirected here")
        return
    done = subprocess.run(["unshare", "-n", sys.executable, __file__, "--inside"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    if "--inside" in sys.argv:
        in_a_namespace()
    else:
        main(globals())
