"""Worlds of two namespaces for the tests of network faults, side by side, and what packets see in them.

A lane is a client's namespace and a server's, joined by a veth pair; in the server's runs tests/tools/net_peer, which
faults name by its tag. Lanes do not notice each other, so one run can hold a fault in each of them at once.
    NET_PEER       the binary         NET_MECHANISM  what makes the faults that it can make (netem)
"""
import ctypes
import os
import socket
import statistics
import struct
import subprocess
import sys
import threading

from harness import wait_for

PEER = os.environ.get("NET_PEER", "build/dev/tests/e2e/net_peer")
MECHANISM = os.environ.get("NET_MECHANISM", "auto")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
NETLINK_NETFILTER, NLMSG_DONE, NLM_F_DUMP_REQUEST, NFT_GETTABLE = 12, 3, 0x301, 10 << 8 | 1
GET_TABLES = struct.pack("=IHHIIBBH", 20, NFT_GETTABLE, NLM_F_DUMP_REQUEST, 1, 0, 0, 0, 0)
TAG = "net-" + os.urandom(4).hex()
V4, V6 = "10.231.7.2", "fd23:7::2"
SHOP_PORT, ECHO_PORT, OTHER_PORT = 8080, 9000, 9001


def sh(*argv, check=True):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def needs_root():
    if os.geteuid() != 0:
        print("SKIP network namespaces need root")
        sys.exit(77)


class Inside:
    """The calling thread, and what it starts, is in that namespace meanwhile."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        self.enter(fd)

    def __exit__(self, *_):
        self.enter(self.home)

    @staticmethod
    def enter(fd):
        assert LIBC.setns(fd, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        os.close(fd)


def messages(text):
    """Length and type of each message of netlink in it."""
    at = 0
    while at < len(text):
        length, kind = struct.unpack_from("=IH", text, at)
        yield length, kind
        at += (length + 3) & ~3


class Lane:
    def __init__(self, number=0):
        self.tag = f"{TAG}-{number}"
        self.client, self.server = f"{self.tag}-c", f"{self.tag}-s"

    def __enter__(self):
        for name in (self.client, self.server):
            sh("ip", "netns", "add", name)
        sh("ip", "link", "add", "vc", "netns", self.client, "type", "veth", "peer", "name", "vs", "netns", self.server)
        for name, dev, n in ((self.client, "vc", 1), (self.server, "vs", 2)):
            lines = [f"addr add 10.231.7.{n}/24 dev {dev}", f"addr add fd23:7::{n}/64 dev {dev} nodad", f"link set {dev} up", "link set lo up"]
            subprocess.run(["ip", "-n", name, "-batch", "-"], input="\n".join(lines), text=True, check=True)
        with Inside(self.server):
            self.netfilter = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            self.peer = subprocess.Popen([PEER, "serve", self.tag], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.peer.stdout.readline() == "ready\n"
        for host in (V4, V6):
            wait_for(lambda: tcp(self, host) == "served", what=f"the server of lane {self.tag}")
        return self

    def __exit__(self, *_):
        self.peer.kill()
        self.peer.communicate()
        self.netfilter.close()
        for name in (self.client, self.server):
            sh("ip", "netns", "del", name, check=False)

    def seen_by(self, name, *argv):
        with Inside(name):
            return sh(*argv)

    def rules(self):
        return self.seen_by(self.server, "nft", "list", "tables")

    def qdiscs(self):
        return self.seen_by(self.server, "tc", "qdisc", "show")

    def links(self):
        return self.seen_by(self.server, "ip", "link", "show")

    def is_held(self):
        """Is a table of ours in its server's namespace? Asked often, hence without a process for it."""
        self.netfilter.send(GET_TABLES)
        seen = b""
        while True:
            got = self.netfilter.recv(1 << 16)
            seen += got
            if NLMSG_DONE in [kind for _, kind in messages(got)]:
                return b"chaos-load-" in seen.replace(b"chaos-load-probe-", b"")  # that one only tries the kernel

    def until_held(self, process):
        wait_for(lambda: process.poll() is not None or self.is_held(), what="the fault")

    def is_clean(self):
        """Neither rules of ours nor queueing disciplines (ca00: to caff:), nor devices."""
        return not self.is_held() and " ca" not in self.qdiscs() and "clifb" not in self.links()

    def assert_clean(self):
        assert self.is_clean(), self.rules() + self.qdiscs() + self.links()

    def checksum_errors(self):
        rows = self.seen_by(self.client, "cat", "/proc/net/snmp").split("\n")
        names, values = [r.split() for r in rows if r.startswith("Udp:")]
        return int(values[names.index("InCsumErrors")])


# ---- what packets see, asked from the client's namespace ----

class Pings:
    """n numbered datagrams at a steady pace, and what came back of them: `rtt` in ms by number, `order` of coming."""

    def __init__(self, lane, host=V4, port=ECHO_PORT, n=200, gap=0.002, settle=0.5, size=100):
        self.n, self.order, self.rtt, self.back = n, [], {}, {}
        argv = [PEER, "ping", host, port, n, int(gap * 1e6), int(settle * 1e3), size]
        with Inside(lane.client):
            process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        text, _ = process.communicate(timeout=60)
        assert process.returncode == 0, argv
        for line in text.splitlines():
            number, sent, back = map(int, line.split())
            self.order.append(number)
            if number not in self.rtt:
                self.rtt[number], self.back[number] = (back - sent) / 1e6, back / 1e9

    def p50(self):
        return statistics.median(self.rtt.values())

    def lost(self):
        return self.n - len(self.rtt)

    def swapped(self):
        return sum(a > b for a, b in zip(self.order, self.order[1:]))

    def twice(self):
        return len(self.order) - len(self.rtt)


def tcp(lane, host=V4, timeout=0.4):
    """What a client gets that connects and asks."""
    with Inside(lane.client):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    with s:
        try:
            s.settimeout(timeout)
            s.connect((host, SHOP_PORT))
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


def binomial(hits, n, want, widen=1.0):
    bound = widen * 4.5 * (want * (1 - want) / n) ** 0.5 + 2 / n
    assert abs(hits / n - want) <= bound, f"{hits} of {n} is not {want} within {bound:.3f}"


# ---- runs ----

def plan(faults, seconds):
    """faults: (lane, text) with text as on the command line, "latency delay: 40ms". The load ends a second after them, since
    a busy machine is late, and the end of the load ends faults."""
    rows = "".join(f"  - {{name: {lane.tag}, command: \"serve {lane.tag}$\"}}\n" for lane in {lane.tag: lane for lane, _ in faults}.values())
    text = ""
    for lane, fault in faults:
        kind, _, params = fault.partition(" ")
        text += f"  - {kind}: {{process: {lane.tag}{', ' if params else ''}{params}}}\n    at: 300ms\n    duration: {seconds}s\n"
    return f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:9
processes:
{rows}users: [{{think: constant(1s), tasks: [{{get: /}}]}}]
load: {{users: 1, for: {seconds + 1.2}s}}
faults:
{text}"""


def on_all(work, lanes):
    """work(lane) for each of them at once; what each returned, or the AssertionError that it raised."""
    answers = [None] * len(lanes)

    def one(i):
        try:
            answers[i] = work(lanes[i])
        except Exception as why:  # an end of the thread would say nothing
            answers[i] = why if isinstance(why, AssertionError) else AssertionError(repr(why))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(lanes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            found += [int(p) for p in f.read().split()]
    return found


def is_holder(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as f:
        return f.read().split(b"\0")[1:3] == [b"helper", b"net"]
