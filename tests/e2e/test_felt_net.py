"""What users feel of each network fault, measured by our own load: the effect that was asked for, in each direction, for
IPv4 and IPv6, on those whom the filters name and nobody else, and gone afterwards.

Each row is one run with baseline, fault and recovery, between two network namespaces of its own; several at once.
    CHAOS_FELT_MECHANISM=netem      the kinds that it can make are made by it (in tests/vm)
    CHAOS_FELT_AT_ONCE=1            so many rows at once
    CHAOS_FELT_ROWS=REGEX           those rows only
Needs root, else it is skipped."""
import concurrent.futures
import contextlib
import ctypes
import math
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys

from felt import *
from harness import *

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TAG = "felt-" + os.urandom(3).hex()
MECHANISM = os.environ.get("CHAOS_FELT_MECHANISM", "")
AT_ONCE = int(os.environ.get("CHAOS_FELT_AT_ONCE", "10"))
MINI_HTTP = os.environ.get("MINI_HTTP") or str(pathlib.Path(CHAOS_LOAD).resolve().parents[1] / "tests" / "mini_http")
V4, V6, OTHER_V4 = "10.231.9.2", "[fd23:9::2]", "10.231.10.2"
PORT, OTHER_PORT, CLOSED_PORT = 8080, 8081, 8099
NAME = "db.felt.test"
BY_NETEM = {"latency", "loss", "corrupt", "duplicate", "reorder", "rate"}


def sh(*argv, check=True):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


class World:
    """Client and server, joined by two cables; the server listens on two ports."""

    def __init__(self, number):
        self.client, self.server, self.tag = f"{TAG}-{number}c", f"{TAG}-{number}s", f"{TAG}-{number}."
        self.servers = []

    def __enter__(self):
        sh("ip", "netns", "add", self.client)
        sh("ip", "netns", "add", self.server)
        for cable, net in (("v", 9), ("w", 10)):
            sh("ip", "link", "add", cable + "c", "netns", self.client, "type", "veth", "peer", "name", cable + "s", "netns", self.server)
            for space, dev, n in ((self.client, cable + "c", 1), (self.server, cable + "s", 2)):
                sh("ip", "-n", space, "addr", "add", f"10.231.{net}.{n}/24", "dev", dev)
                sh("ip", "-n", space, "addr", "add", f"fd23:{net}::{n}/64", "dev", dev, "nodad")
                sh("ip", "-n", space, "link", "set", dev, "up")
        for space in (self.client, self.server):
            sh("ip", "-n", space, "link", "set", "lo", "up")
        for port in (PORT, OTHER_PORT):
            self.servers.append(subprocess.Popen(["nsenter", f"--net=/run/netns/{self.server}", MINI_HTTP, str(port), self.tag],
                                                 stdin=subprocess.DEVNULL))
        wait_for(lambda: sh("ip", "netns", "exec", self.server, "cat", "/proc/net/tcp6").count(" 0A ") == 2, what="the servers")
        for address in (V4, V6.strip("[]"), OTHER_V4):
            wait_for(lambda: self.connects(address), what=address)  # IPv6 takes its time to find its neighbour
        hosts = pathlib.Path("/etc/netns") / self.client
        hosts.mkdir(parents=True)
        (hosts / "hosts").write_text(f"127.0.0.1 localhost\n{V4} {NAME}\n")
        return self

    def connects(self, address):
        """This thread is in the client's namespace while it makes the socket."""
        with open("/proc/thread-self/ns/net", encoding="ascii") as home, open(f"/run/netns/{self.client}", encoding="ascii") as there:
            assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0
            try:
                socket.create_connection((address, PORT), timeout=0.3).close()
                return True
            except OSError:
                return False
            finally:
                assert LIBC.setns(home.fileno(), CLONE_NEWNET) == 0

    def __exit__(self, *unused):
        for server in self.servers:
            server.kill()
            server.wait()
        sh("ip", "netns", "del", self.client, check=False)
        sh("ip", "netns", "del", self.server, check=False)
        shutil.rmtree(pathlib.Path("/etc/netns") / self.client, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir("/etc/netns")

    def count(self, protocol, name, file="snmp"):
        """One of the kernel's counters of the client's namespace."""
        rows = sh("nsenter", f"--net=/run/netns/{self.client}", "cat", f"/proc/net/{file}").split("\n")
        names, values = [r.split() for r in rows if r.startswith(protocol + ":")]
        return int(values[names.index(name)])

    def is_clean(self):
        for space in (self.client, self.server):
            enter = ["nsenter", f"--net=/run/netns/{space}"]
            if "chaos-load" in sh(*enter, "nft", "list", "tables") or "clifb" in sh(*enter, "ip", "link"):
                return False
        return True


# ---- the load ----

def open_load(rate=100):
    """As many requests a second whatever happens. Where connections are kept, a request is one packet, and so is its
    answer; where they are not, each has its handshake first."""
    return {"load": {"arrivals": f"{rate}/s"}}


def kept(users=4, think="constant(10ms)"):
    """Users that wait for their answers."""
    return {"load": {"users": users}, "think": think}


def bulk():
    """One body behind the other where they are slow; ten a second else. (htb lets a packet of up to 64 KiB go and has it
    paid afterwards: with pauses between bodies, their ends come too early.)"""
    return kept(users=1, think="pacing(100ms)")


BODY = 250000
ONCE = {"keep_alive": False, "connect_timeout": "700ms", "timeout": "900ms"}
KEEP = {"connect_timeout": "5s", "timeout": "5s"}
HANG = {"connect_timeout": "700ms", "timeout": "900ms"}
LONG = {"timeout": "20s"}


# ---- the checks; each gets the run, and `world` ----

def unhurt(before, after, failures=2):
    assert before.failures <= failures, f"before: {before.errors}"
    assert after.requests >= 3 and after.failures == 0, f"afterwards {after.failures} of {after.requests} failed: {after.errors}"
    # The quicker ones: a busy machine makes some slow, a fault that is still there makes all so.
    now, then = after.service.quantile(0.2), before.service.quantile(0.2)
    assert near(now, then, 0.5, 2), f"afterwards {now:.2f} ms, before {then:.2f} ms"


def slack(felt, rate, users=0):
    """Requests of the fault's phase that it may have missed: sent before it was in, or when it was no more."""
    return math.ceil(rate * felt.edge_ms() / 1000) + users + 2


def adds(ms):
    def check(felt, _):
        before, during, after = felt.of("hit")
        added = during.service.median() - before.service.median()
        assert near(added, ms, 0.05, 1), f"{added:.2f} ms were added instead of {ms}"
        assert during.failures == 0, during.errors
        unhurt(before, after)
        return f"{added:.2f} ms"
    return check


def spread(delay, jitter, quantile, widen=1.0):
    """The delays have the distribution that was asked for. The clock, the machine: 5 % + 1 ms."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        follows(during.service, lambda q: max(0, delay + jitter * quantile(q)), before.service.median(),
                lambda at: 1 + 0.05 * at, widen, more=felt.edge_ms() / 1000 / HELD)
        unhurt(before, after)
        v = during.service
        return "p10 p50 p90 " + " ".join(f"{v.quantile(q):.1f}" for q in (0.1, 0.5, 0.9))
    return check


def uniform(q):
    return 2 * q - 1


def normal(q):
    return statistics.NormalDist().inv_cdf(q)


def pareto(q):
    return ((1 - q) ** (-1 / 3) - 1.5) / 0.75 ** 0.5


def loses(syn, data=None, widen=1.0):
    """A lost SYN (or its answer) is a connection that does not come within 700 ms. A lost request is a wait of 200 ms and
    more. A lost answer is one only when the FIN behind it is lost, too, or what is sent again: else TCP learns of it."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        more = slack(felt, 100)
        missed, n = during.errors["connect-timeout"], during.requests
        binomial(missed, n, syn, widen, more)
        slow = during.response.between(150, 690) + during.errors["response-timeout"]
        binomial(slow, n - missed, syn if data is None else data, widen, more)
        assert set(during.errors) <= {"connect-timeout", "response-timeout"}, during.errors
        unhurt(before, after)
        return f"{missed} of {n} did not connect, {slow} waited"
    return check


def waits(share):
    """On a connection that is kept, a request that is lost, or its answer, comes after 200 ms or more."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        slow = during.response.between(150, 5000)
        binomial(slow, during.requests, share, more=slack(felt, 100))
        assert during.failures == 0, during.errors
        unhurt(before, after)
        return f"{slow} of {during.requests} waited"
    return check


def loses_a_packet(share, widen=1.0, exactly=False):
    """Nobody listens: a request is one packet there and one back, and has failed when one of them is lost."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        missed, n = during.errors["connect-timeout"], during.requests
        if exactly:
            assert abs(missed - n * share) <= 1 + slack(felt, 100) * share, f"{missed} of {n}"
        else:
            binomial(missed, n, share, widen, slack(felt, 100))
        assert set(during.errors) <= {"connect-timeout", "refused"}, during.errors
        assert set(after.errors) == {"refused"}, after.errors
        assert before.errors["connect-timeout"] <= 2, before.errors
        return f"{missed} of {n}"
    return check


def fails(*classes, kept_alive=False):
    """All requests fail, and each in one of these ways; those of other users do not."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        passed = slack(felt, 400 if kept_alive else 100, users=4)
        assert during.failures >= 2 and during.successes <= passed, (during.successes, during.errors)
        others = sum(n for c, n in during.errors.items() if c not in classes)  # begun before the fault
        assert classes[0] in during.errors and others <= slack(felt, 100), during.errors
        unhurt(before, after, failures=6 if kept_alive else 2)
        others_are_well(felt)
        return str(dict(during.errors))
    return check


def others_are_well(felt):
    if "free" not in [e["name"] for e in felt.run.result["endpoints"]]:
        return
    for seen, when in zip(felt.of("free"), ("before", "during", "after")):
        assert seen.failures == 0 and seen.requests >= 20, f"others, {when}: {seen.requests}, {seen.errors}"
        assert seen.service.median() < 5, f"others, {when}: {seen.service.median():.1f} ms"


def spares_others(check):
    def both(felt, world):
        said = check(felt, world)
        others_are_well(felt)
        return said
    return both


def nobody_is_hit(felt, _):
    for seen in felt.of("hit"):
        assert seen.failures == 0 and seen.requests >= 20 and seen.service.median() < 5, (seen.errors, seen.service.median())
    return "unhurt"


def resets(share):
    def check(felt, _):
        before, during, after = felt.of("hit")
        binomial(during.errors["reset"], during.requests, share, more=slack(felt, 100))
        assert set(during.errors) <= {"reset"}, during.errors
        unhurt(before, after)
        return f"{during.errors['reset']} of {during.requests}"
    return check


def corrupts(*shares):
    def check(felt, world):
        said = loses(*shares)(felt, world)
        errors = world.count("Tcp", "InCsumErrors")
        # netem turns bits in the headers of Ethernet and IP, too.
        assert errors >= 0.5 * felt.of("hit")[1].errors["connect-timeout"] > 0, errors
        return f"{said}, {errors} wrong checksums"
    return check


def doubles(share):
    """Not felt, but the client's TCP has noticed each answer that came twice."""
    def check(felt, world):
        before, during, after = felt.of("hit")
        assert during.failures == 0 and near(during.service.median(), before.service.median(), 0.5, 1), during.service.median()
        twice = world.count("TcpExt", "TCPDSACKOldSent", "netstat")
        binomial(twice, during.requests, share, more=slack(felt, 200))
        unhurt(before, after)
        return f"{twice} of {during.requests} answers came twice"
    return check


def overtakes(share, ms):
    """Some answers come at once, the others late."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        late = during.service.between(0.8 * ms, 1e9)
        binomial(late, during.requests, 1 - share, more=slack(felt, 100))
        assert near(during.service.quantile(0.75) - before.service.median(), ms, 0.05, 1.5), during.service.quantile(0.75)
        unhurt(before, after)
        return f"{late} of {during.requests} were late"
    return check


def paced(mbit):
    """A big body needs the time that its frames need at this rate: 1448 bytes in 1514."""
    def check(felt, _):
        before, during, after = felt.of("hit")
        got = BODY * 1514 / 1448 * 8 / during.service.usual() / 1000
        assert len(during.service) >= 4 and near(got, mbit, 0.05), f"{got:.2f} Mbit/s of {len(during.service)}"
        assert during.failures == 0, during.errors
        unhurt(before, after)
        return f"{got:.2f} Mbit/s"
    return check


# ---- the rows ----

class Row:
    def __init__(self, fault, check, load, http, at=V4, port=PORT, free=None, backend="process", path="/"):
        self.kind, _, self.params = fault.partition(" ")
        self.check, self.load, self.http, self.at, self.port = check, load, http, at, port
        self.free, self.backend, self.path = free, backend, path

    def __str__(self):
        return f"{self.backend}, {'v6' if self.at == V6 else 'v4'}: {self.kind} {self.params}"

    def fault(self):
        target = "process: shop" if self.backend == "process" else f"host: {self.backend}"
        by = f", mechanism: {MECHANISM}" if MECHANISM and self.kind in BY_NETEM and "mechanism" not in self.params and \
            "every" not in self.params else ""
        return self.kind, f"{target}{', ' if self.params else ''}{self.params}{by}"

    def plan(self, world, tmp):
        verb, path = self.path if isinstance(self.path, tuple) else ("get", self.path)
        classes = {"hit": {**self.load, verb: path, "host": f"http://{self.at}:{self.port}"}}
        if verb == "post":
            classes["hit"]["body_file"] = str(tmp)
        if self.free:
            classes["free"] = {**kept(), "get": "/", "host": f"http://{self.free}"}
        kind, params = self.fault()
        processes = [] if self.backend != "process" else [{"name": "shop", "command": f"mini_http {PORT} {world.tag}$"}]
        return plan_of(f"http://{V4}:{PORT}", processes, classes, (kind, "@"), self.http).replace('"@"', "{" + params + "}")


def latency(params, ms, **more):
    return Row(f"latency {params}", adds(ms), open_load(), KEEP, **more)


def jitter(params, quantile, widen=1.0):
    return Row(f"latency delay: 50ms, jitter: 15ms, {params}", spread(50, 15, quantile, widen), open_load(200), KEEP)


def loss(params, *args, widen=1.0, kind="loss", **more):
    return Row(f"{kind} {params}", loses(*args, widen=widen), open_load(), ONCE, **more)


def one_packet(params, share, kind="loss", **more):
    checks = {k: more.pop(k) for k in ("widen", "exactly") if k in more}
    return Row(f"{kind} {params}", loses_a_packet(share, **checks), open_load(), ONCE, port=CLOSED_PORT, **more)


def cut(params, *classes, kind="partition", **more):
    return Row(f"{kind} {params}", fails(*classes), open_load(), ONCE, **more)


def cut_open(params, *classes, **more):
    return Row(f"partition {params}", fails(*classes, kept_alive=True), kept(), HANG, **more)


OTHER = f"{V4}:{OTHER_PORT}"
ROWS = [
    latency("delay: 40ms", 40),
    latency("delay: 40ms", 40, at=V6),
    latency("delay: 40ms, direction: ingress", 40),
    latency("delay: 40ms, direction: ingress", 40, at=V6),
    latency("delay: 30ms, direction: both", 60),
    latency("delay: 30ms, direction: both", 60, at=V6),
    latency("delay: 5ms", 5),
    latency("delay: 200ms, direction: ingress", 200),
    jitter("distribution: uniform", uniform),
    jitter("distribution: normal", normal),
    jitter("distribution: pareto", pareto),
    jitter("distribution: normal, direction: ingress", normal),
    jitter("distribution: normal, correlation: 60%", normal, widen=2),
    loss("percent: 20%", 0.2, 0.05),
    Row("loss percent: 20%", waits(0.2), open_load(60), KEEP),
    Row("loss percent: 20%, direction: ingress", waits(0.2), open_load(60), KEEP, at=V6),
    loss("percent: 20%, direction: ingress", 0.2, at=V6),
    loss("percent: 15%, direction: both", 1 - 0.85 ** 2, 0.15 + 0.85 * 0.03),
    one_packet("gemodel: {p: 10%, r: 40%}, direction: ingress", 0.2, widen=1.8),
    one_packet("state: {p13: 10%, p31: 40%}", 0.2, widen=1.8),
    one_packet("percent: 30%, mechanism: nfqueue", 0.3),
    one_packet("every: 5, direction: ingress", 0.2, exactly=True),
    one_packet("every: 4", 0.25, exactly=True, at=V6),
    cut("percent: 100%", "connect-timeout", kind="loss"),
    Row("corrupt percent: 20%", corrupts(0.2, 0.05), open_load(), ONCE),
    loss("percent: 20%, direction: ingress", 0.2, kind="corrupt", at=V6),
    Row("duplicate percent: 50%", doubles(0.5), open_load(), KEEP),
    Row("reorder percent: 25%, delay: 30ms", overtakes(0.25, 30), open_load(), KEEP),
    Row("reorder percent: 40%, delay: 30ms, direction: ingress", overtakes(0.4, 30), open_load(), KEEP, at=V6),
    Row("rate rate: 8mbit", paced(8), bulk(), LONG, path=f"/bytes/{BODY}"),
    Row("rate rate: 8mbit, direction: ingress", paced(8), bulk(), LONG, path=("post", "/"), at=V6),
    Row("rate rate: 8mbit, mechanism: htb", paced(8), bulk(), LONG, path=f"/bytes/{BODY}"),
    Row("rate rate: 8mbit, mechanism: htb, direction: ingress", paced(8), bulk(), LONG, path=("post", "/")),
    cut("mode: drop", "connect-timeout"),
    cut("mode: drop, direction: egress", "connect-timeout", at=V6),
    cut("mode: drop, direction: ingress", "connect-timeout"),
    # The kernel sends few of these messages, and over IPv6 within one machine TCP heeds only the one for its second SYN.
    cut("mode: reject", "refused", "connect-timeout"),
    Row("partition mode: reject", fails("refused", "connect-timeout"), open_load(3), {**ONCE, "connect_timeout": "1500ms", "timeout": "2s"}, at=V6),
    cut("mode: reset", "refused"),
    cut_open("mode: drop", "response-timeout", "connect-timeout"),
    cut_open("mode: reject", "refused", "response-timeout", "connect-timeout"),
    cut_open("mode: reset", "refused", "reset"),
    Row("tcp-reset ", resets(1), open_load(), ONCE),
    Row("tcp-reset direction: ingress", resets(1), open_load(), ONCE, at=V6),
    Row("tcp-reset percent: 40%", resets(0.4), open_load(), ONCE),
    # Filters: those whom they name are hit, and nobody else.
    latency(f"delay: 40ms, port: {PORT}", 40, free=OTHER),
    cut(f"port: {PORT}", "connect-timeout", free=OTHER),
    cut(f"dport: {PORT}, mode: reset, direction: ingress", "refused", free=OTHER, at=V6),
    cut("peers: 10.231.9.1", "connect-timeout", free=f"{V6}:{PORT}"),
    cut("peers: 'fd23:9::/64'", "connect-timeout", at=V6, free=OTHER),
    cut(f"dst: {V4}, direction: ingress", "connect-timeout", free=f"{OTHER_V4}:{PORT}"),
    cut("interface: vs", "connect-timeout", free=f"{OTHER_V4}:{PORT}"),
    cut(f"protocol: tcp, port: {PORT}", "connect-timeout", free=OTHER),
    Row("partition protocol: udp", nobody_is_hit, kept(), KEEP),
    Row("partition interface: lo", nobody_is_hit, kept(), KEEP),
    # The network of the machine on which the load itself runs; direction is seen from there.
    latency(f"delay: 40ms, port: {PORT}", 40, backend="any", free=OTHER),
    latency(f"delay: 40ms, direction: ingress, port: {PORT}", 40, backend="vc", at=V6, free=f"{OTHER_V4}:{PORT}"),
    cut(f"peers: {NAME}", "connect-timeout", backend="any", free=f"{OTHER_V4}:{PORT}"),
    Row(f"loss percent: 20%, dst: {V4}", loses(0.2), open_load(), ONCE, backend="any"),
]
for row in ROWS:
    if row.kind == "latency" and row.free:
        row.check = spares_others(row.check)


def once(row, number):
    with World(number) as world, folder() as tmp:
        body = tmp / "body"
        body.write_bytes(b"x" * BODY)
        felt = measure(row.plan(world, body), ["ip", "netns", "exec", world.client])
        said = row.check(felt, world)
        assert world.is_clean(), "something of ours is left"
        if MECHANISM and "mechanism: " + MECHANISM in row.fault()[1]:
            assert MECHANISM in felt.fault["mechanism"], felt.fault["mechanism"]
        return said


def try_row(number, row):
    try:
        print(f"  {row}: {attempts(3, lambda: once(row, number))}", flush=True)
        return None
    except Exception as why:  # pylint: disable=broad-except
        return f"{row}: {why}"


def test_what_users_feel():
    wanted = os.environ.get("CHAOS_FELT_ROWS", "")
    rows = [(i, r) for i, r in enumerate(ROWS) if re.search(wanted, str(r))]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        failures = list(filter(None, pool.map(lambda x: try_row(*x), rows)))
    assert not failures, "\n".join(failures)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIP network namespaces need root")
        sys.exit(77)
    main(globals())
