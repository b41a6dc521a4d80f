"""Network faults, in namespaces of the test's own: what packets and users see while they hold, and nothing after.

Two namespaces, joined by a veth pair: here the client, there the shop and an echo. Needs root, else it is skipped."""
import ctypes
import os
import select
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from harness import *

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TAG = "net-" + os.urandom(4).hex()
CLIENT, SERVER = f"{TAG}-c", f"{TAG}-s"
V4, V6 = "10.231.7.2", "fd23:7::2"
SHOP_PORT, ECHO_PORT, OTHER_PORT = 8080, 9000, 9001

ECHO = """
import socket, sys
socks = []
for family, port in ((socket.AF_INET6, 9000), (socket.AF_INET6, 9001)):
    s = socket.socket(family, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind(("::", port)); socks.append(s)
import select
print("ready", flush=True)
while True:
    for s in select.select(socks, [], [])[0]:
        data, peer = s.recvfrom(65536)
        s.sendto(data, peer)
"""


def sh(*argv, check=True):
    done = subprocess.run(argv, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def inside(name, *argv, **kwargs):
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{name}", *argv], stdin=subprocess.DEVNULL, **kwargs)


def enter(fd):
    assert LIBC.setns(fd, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


class World:
    def __enter__(self):
        for name in (CLIENT, SERVER):
            sh("ip", "netns", "add", name)
        sh("ip", "link", "add", "vc", "netns", CLIENT, "type", "veth", "peer", "name", "vs", "netns", SERVER)
        for name, dev, n in ((CLIENT, "vc", 1), (SERVER, "vs", 2)):
            sh("ip", "-n", name, "addr", "add", f"10.231.7.{n}/24", "dev", dev)
            sh("ip", "-n", name, "addr", "add", f"fd23:7::{n}/64", "dev", dev, "nodad")
            sh("ip", "-n", name, "link", "set", dev, "up")
            sh("ip", "-n", name, "link", "set", "lo", "up")
        self.shop = inside(SERVER, CHAOS_LOAD, "target", "--listen", f"[::]:{SHOP_PORT}", "--latency", "0", "--name", TAG,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.echo = inside(SERVER, sys.executable, "-c", ECHO, stdout=subprocess.PIPE, text=True)
        assert self.echo.stdout.readline() == "ready\n"
        # This thread is the client's: its sockets are made in there.
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{CLIENT}", os.O_RDONLY)
        enter(fd)
        os.close(fd)
        wait_for(lambda: connects(V4), what="the shop")
        return self

    def __exit__(self, *_):
        enter(self.home)
        os.close(self.home)
        for process in (self.shop, self.echo):
            process.kill()
            process.wait()
        for name in (CLIENT, SERVER):
            sh("ip", "netns", "del", name, check=False)

    def rules(self):
        return sh("nsenter", f"--net=/run/netns/{SERVER}", "nft", "list", "tables")


def connects(host, timeout=1.0):
    try:
        socket.create_connection((host, SHOP_PORT), timeout=timeout).close()
        return True
    except OSError:
        return False


# ---- packets ----

class Pings:
    """n numbered datagrams at a steady pace, and what came back of them."""

    def __init__(self, host=V4, port=ECHO_PORT, n=200, gap=0.002, settle=0.5, size=100):
        self.n = n
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        s.connect((host, port))
        self.order, self.rtt, self.sent = [], {}, {}
        reader = threading.Thread(target=self.read, args=(s, time.monotonic() + n * gap + settle))
        reader.start()
        begin = time.monotonic()
        for i in range(n):
            time.sleep(max(0, begin + i * gap - time.monotonic()))
            self.sent[i] = time.monotonic()
            try:
                s.send(struct.pack("!I", i).ljust(size, b"."))
            except ConnectionRefusedError:
                pass
        reader.join()
        s.close()

    def read(self, s, until):
        while (left := until - time.monotonic()) > 0:
            if not select.select([s], [], [], left)[0]:
                return
            try:
                number = struct.unpack("!I", s.recv(65536)[:4])[0]
            except ConnectionRefusedError:
                continue
            self.order.append(number)
            self.rtt.setdefault(number, (time.monotonic() - self.sent.get(number, 0)) * 1000)

    def p50(self):
        return statistics.median(self.rtt.values())

    def lost(self):
        return self.n - len(self.rtt)

    def swapped(self):
        return sum(a > b for a, b in zip(self.order, self.order[1:]))


def binomial(hits, n, want, widen=1.0):
    bound = widen * 4.5 * (want * (1 - want) / n) ** 0.5 + 2 / n
    assert abs(hits / n - want) <= bound, f"{hits} of {n} is not {want} within {bound:.3f}"


# ---- a fault held while something is looked at ----

def plan(fault, seconds, target="process"):
    kind, params = fault.split(" ", 1) if " " in fault else (fault, "")
    to = f"process: {TAG}" if target == "process" else target
    return f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{SHOP_PORT}
processes:
  - {{name: {TAG}, command: "name {TAG}$"}}
users: [{{think: constant(1s), tasks: [{{get: /}}]}}]
load: {{users: 1, for: {seconds + 3}s}}
faults:
  - {kind}: {{{to}{", " if params else ""}{params}}}
    at: 300ms
    duration: {seconds}s
"""


def held(world, tmp):
    return "chaos-load-" in world.rules()


def during(world, fault, look, seconds=2, exit_code=0):
    """Runs it, looks while it is in, and checks what the run says of it and that nothing is left."""
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(plan(fault, seconds))
        out = tmp / "out"
        args = ["run", tmp / "plan.yaml"]
        process = start(args, out)
        wait_for(lambda: process.poll() is not None or held(world, tmp), what="the fault")
        seen = look() if process.poll() is None else None
        result = finish(process, args, out).expect(exit_code).result
        row = result["faults"][0]
        assert seen is not None, row
        assert row["verified_in"] and row["verified_out"] and row["ended_by"] == "plan", row
        assert "chaos-load" not in world.rules(), world.rules()
        assert list((tmp / "state").iterdir()) == []
        return seen, row


def adds(ms, **where):
    def check(world, fault):
        before = Pings(**where).p50()
        seen, row = during(world, fault, lambda: Pings(settle=1.0, **where))
        assert near(seen.p50() - before, ms, 0.05, 1), f"{seen.p50() - before:.2f} ms instead of {ms}"
        print(f"  {seen.p50() - before:.3f} ms were added", flush=True)
        assert seen.lost() <= 2, seen.lost()
        assert "NFQUEUE" in row["mechanism"] or "netem" in row["mechanism"], row
    return check


def loses(share, widen=1.0, n=600, **where):
    def check(world, fault):
        seen, _ = during(world, fault, lambda: Pings(n=n, **where))
        binomial(seen.lost(), seen.n, share, widen)
    return check


def loses_exactly(count):
    def check(world, fault):
        seen, _ = during(world, fault, lambda: Pings(n=500))
        assert seen.lost() == count, seen.lost()
    return check


def checksums_fail(world, fault):
    def errors():
        rows = sh("nsenter", f"--net=/run/netns/{CLIENT}", "cat", "/proc/net/snmp").split("\n")
        names, values = [r.split() for r in rows if r.startswith("Udp:")]
        return int(values[names.index("InCsumErrors")])

    before = errors()
    seen, _ = during(world, fault, lambda: Pings(n=600))
    binomial(seen.lost(), seen.n, 0.2)
    assert errors() - before >= 0.9 * seen.lost() > 0, (before, errors(), seen.lost())


def twice(world, fault):
    seen, _ = during(world, fault, lambda: Pings(n=600))
    assert seen.lost() <= 2
    binomial(len(seen.order) - len(seen.rtt), seen.n, 0.5)


def overtakes(world, fault):
    seen, _ = during(world, fault, lambda: Pings(n=600))
    quick = sum(ms < 15 for ms in seen.rtt.values())
    binomial(quick, seen.n, 0.25)
    assert seen.swapped() > 50 and seen.lost() <= 2


def paced(world, fault):
    """200 datagrams of 1000 bytes (1042 on the wire) at 4 Mbit/s take 0.417 s, and not less."""
    def look():
        p = Pings(n=200, gap=0.0001, settle=1.5, size=1000)
        arrived = [p.sent[i] + p.rtt[i] / 1000 for i in p.rtt]
        return (len(arrived) - 1) * 1042 * 8 / (max(arrived) - min(arrived))

    rate, _ = during(world, fault, look, seconds=3)
    assert near(rate, 4e6, 0.05), rate


def tcp(host, timeout=0.4):
    try:
        with socket.create_connection((host, SHOP_PORT), timeout=timeout) as s:
            s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return "served" if s.recv(100) else "closed"
    except (TimeoutError, socket.timeout):
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    except OSError as e:
        return os.strerror(e.errno)


def tcp_sees(*allowed, host=V4):
    def check(world, fault):
        assert tcp(host) == "served"
        seen, _ = during(world, fault, lambda: [tcp(host) for _ in range(3)])
        assert set(seen) <= set(allowed), seen
        assert tcp(host) == "served"
    return check


def some_connections(world, fault):
    seen, _ = during(world, fault, lambda: [tcp(V4) for _ in range(200)])
    hits = sum(s == "reset" for s in seen)
    assert hits + seen.count("served") == 200, seen
    binomial(hits, 200, 0.4)


ROWS = [
    ("latency delay: 40ms", adds(40)),
    ("latency delay: 40ms", adds(40, host=V6)),
    ("latency delay: 40ms, direction: ingress", adds(40)),
    ("latency delay: 40ms, direction: ingress", adds(40, host=V6)),
    ("latency delay: 30ms, direction: both", adds(60)),
    (f"latency delay: 40ms, port: {OTHER_PORT}", adds(40, port=OTHER_PORT)),
    ("loss percent: 30%", loses(0.3)),
    ("loss percent: 30%, direction: ingress", loses(0.3, host=V6)),
    ("loss percent: 30%, mechanism: nfqueue", loses(0.3)),
    ("loss percent: 20%, direction: both", loses(0.36)),
    ("loss percent: 20%, correlation: 50%", loses(0.2, widen=2)),
    ("loss gemodel: {p: 10%, r: 50%}", loses(1 / 6, widen=2)),
    ("loss state: {p13: 5%, p31: 45%}", loses(0.1, widen=3)),
    ("loss every: 5", loses_exactly(100)),
    ("loss every: 5, packet: 3, mechanism: nfqueue", loses_exactly(100)),
    ("corrupt percent: 20%", checksums_fail),
    ("duplicate percent: 50%", twice),
    ("reorder percent: 25%, delay: 30ms", overtakes),
    ("rate rate: 4mbit", paced),
    ("partition mode: drop", tcp_sees("timeout")),
    ("partition mode: drop, direction: egress", tcp_sees("timeout", host=V6)),
    ("partition mode: drop, mechanism: nfqueue", tcp_sees("timeout")),
    ("partition mode: reject", tcp_sees("refused")),
    ("partition mode: reset", tcp_sees("refused", host=V6)),
    (f"partition peers: {V4[:-1]}1", tcp_sees("timeout")),
    ("tcp-reset", tcp_sees("reset")),
    ("tcp-reset direction: ingress", tcp_sees("reset", host=V6)),
    ("tcp-reset percent: 40%", some_connections),
    # Filters are ANDed: each of these misses in one condition.
    (f"partition port: {OTHER_PORT}", tcp_sees("served")),
    (f"partition port: {SHOP_PORT}, protocol: udp", tcp_sees("served")),
    (f"partition port: {SHOP_PORT}, peers: 10.231.7.9", tcp_sees("served")),
    (f"partition dport: {SHOP_PORT}, direction: egress", tcp_sees("served")),
    (f"partition dst: {V4}, direction: ingress, port: {SHOP_PORT}", tcp_sees("served", host=V6)),
    ("partition interface: lo", tcp_sees("served")),
]


def test_what_packets_see():
    failures = []
    with World() as world:
        for fault, check in ROWS:
            try:
                attempts(3, lambda: check(world, fault))
                print(f"  {fault}", flush=True)
            except AssertionError as why:
                failures.append(f"{fault}: {why}")
    assert not failures, "\n".join(failures)


def test_no_end_leaves_anything():
    """SIGKILL of the run, of the holder: gone at once."""
    with World() as world:
        for fault in ("partition mode: drop", "latency delay: 200ms"):
            for whom in ("run", "holder"):
                with folder() as tmp:
                    (tmp / "plan.yaml").write_text(plan(fault, 30))
                    process = start(["run", tmp / "plan.yaml"], tmp / "out")
                    wait_for(lambda: held(world, tmp), what="the fault")
                    time.sleep(0.3)  # until the run has looked, too
                    holders = [p for p in children_of(process.pid) if is_holder(p)]
                    assert len(holders) == 1, holders
                    os.kill(process.pid if whom == "run" else holders[0], signal.SIGKILL)
                    began = time.monotonic()
                    wait_for(lambda: "chaos-load" not in world.rules(), seconds=5, what="the end")
                    print(f"  {fault.split()[0]}, {whom} killed: gone after {(time.monotonic() - began) * 1000:.0f} ms",
                          flush=True)
                    assert tcp(V4) == "served"
                    assert Pings(n=50).lost() == 0
                    if whom == "holder":
                        process.send_signal(signal.SIGINT)
                        done = finish(process, ["run"], tmp / "out")
                        assert "was killed" in done.stderr + done.stdout, done
                    else:
                        process.wait()
                        run("recover", state=tmp / "state").expect(0)


def test_a_run_that_hangs_does_not_make_it_longer():
    with World() as world, folder() as tmp:
        (tmp / "plan.yaml").write_text(plan("latency delay: 50ms", 1))
        process = start(["run", tmp / "plan.yaml"], tmp / "out")
        wait_for(lambda: held(world, tmp), what="the fault")
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: "chaos-load" not in world.rules(), seconds=20, what="the end")
        assert Pings(n=50).p50() < 20
        process.send_signal(signal.SIGCONT)
        finish(process, ["run"], tmp / "out")


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            found += [int(p) for p in f.read().split()]
    return found


def is_holder(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read().split(b"\0")[1:3] == [b"helper", b"net"]


def test_the_host_needs_a_filter():
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(plan("partition", 1))
        text = (tmp / "plan.yaml").read_text().replace(f"command: \"name {TAG}$\"", f"pid: {os.getppid()}")
        (tmp / "plan.yaml").write_text(text.replace("at: 300ms", "at: 0s"))
        done = run("run", tmp / "plan.yaml", out=tmp / "out")
        assert "all of which would be hit: add port, dst, src or peers" in done.stdout + done.stderr, done


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIP network namespaces need root")
        sys.exit(77)
    main(globals())
