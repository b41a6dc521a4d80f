#!/usr/bin/env python3
"""dns-error and dns-spoof in a network namespace of the test's own: a victim that asks all the time, by UDP and by TCP, over
IPv4, IPv6 and through NAT rules like those that Docker puts into a container; a name server in another namespace. What the victim gets
before, during and after, and that nothing is left whoever dies."""
import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import *

SERVERS = [f"{way} {at}" for way in ("udp", "tcp") for at in ("10.83.0.1", "fd83::1", "127.0.0.11")]
SIDE_BY_SIDE = 4
numbers = itertools.count()
NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5


# ---- the two programs inside the namespaces ----

def query(name, qtype, number):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, qtype, 1)


def answer(msg):
    """192.0.2.1 or 2001:db8::1, whatever is asked for."""
    qtype = struct.unpack(">H", msg[-4:-2])[0]
    data = socket.inet_aton("192.0.2.1") if qtype == 1 else socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    return msg[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + msg[12:] + b"\xc0\x0c" + struct.pack(">HHIH", qtype, 1, 60, len(data)) + data


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def read_message(s):
    """One over TCP; EOFError at its end."""
    data = b""
    while len(data) < 2 or len(data) < 2 + struct.unpack(">H", data[:2])[0]:
        more = s.recv(2 - len(data) if len(data) < 2 else 2 + struct.unpack(">H", data[:2])[0] - len(data))
        if not more:
            raise EOFError
        data += more
    return data[2:]


def serve_stream(s):
    with s, contextlib.suppress(OSError, EOFError):
        while True:
            a = answer(read_message(s))
            s.sendall(struct.pack(">H", len(a)) + a)


def serve_streams(address, port):
    with socket.create_server((address, port), family=family(address)) as listener:
        while True:
            threading.Thread(target=serve_stream, args=(listener.accept()[0],), daemon=True).start()


def serve(address, port):
    threading.Thread(target=serve_streams, args=(address, port), daemon=True).start()
    with socket.socket(family(address), socket.SOCK_DGRAM) as s:
        s.bind((address, port))
        while True:
            msg, peer = s.recvfrom(4096)
            s.sendto(answer(msg), peer)


class Datagrams:
    """One socket for ever, as some resolvers do."""

    def __init__(self, server, timeout):
        self.s = socket.socket(family(server), socket.SOCK_DGRAM)
        self.s.settimeout(timeout)
        self.s.connect((server, 53))

    def ask(self, msg):
        self.s.send(msg)
        while True:
            got = self.s.recv(4096)
            if got[:2] == msg[:2]:
                return got


class Stream:
    """A connection that is kept, and made anew where it ends."""

    def __init__(self, server, timeout):
        self.server, self.timeout, self.s = server, timeout, None

    def once(self, msg):
        if not self.s:
            self.s = socket.create_connection((self.server, 53), 1)
            self.s.settimeout(self.timeout)
        self.s.sendall(struct.pack(">H", len(msg)) + msg)
        while True:
            got = read_message(self.s)
            if got[:2] == msg[:2]:
                return got

    def ask(self, msg):
        try:
            return self.once(msg)
        except TimeoutError:
            raise
        except (OSError, EOFError):
            if self.s:
                self.s.close()
            self.s = None
            return self.once(msg)


def read_name(msg, at):
    """The name there, and where it ends."""
    labels = []
    while msg[at]:
        if msg[at] >= 0xc0:
            return ".".join(labels + [read_name(msg, (msg[at] & 63) << 8 | msg[at + 1])[0]]), at + 2
        labels.append(msg[at + 1:at + 1 + msg[at]].decode())
        at += 1 + msg[at]
    return ".".join(labels), at + 1


def read_answers(msg, name):
    """Addresses; "name" for what an alias leads to. The owner of each record must be what was asked for, or led to."""
    at, answers, owner = read_name(msg, 12)[1] + 4, [], name
    for _ in range(struct.unpack(">H", msg[6:8])[0]):
        of, at = read_name(msg, at)
        assert of.lower() == owner.lower(), (of, owner)
        kind, _, _, size = struct.unpack(">HHIH", msg[at:at + 10])
        at += 10
        if kind == 5:
            owner = read_name(msg, at)[0]
            answers.append(owner)
        else:
            answers.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, msg[at:at + size]))
        at += size
    return answers


def ask_for_ever(servers, names, timeout):
    """A line for each answer."""
    def ask(server):
        way, address = server.split()
        client = (Datagrams if way == "udp" else Stream)(address, timeout)
        number = 0
        while True:
            for name in names:
                for qtype in (1, 28):
                    number = number % 60000 + 1
                    began = time.monotonic()
                    row = {"server": server, "name": name, "type": qtype, "rcode": None, "answers": []}
                    try:
                        msg = client.ask(query(name, qtype, number))
                        row["rcode"] = msg[3] & 15
                        row["answers"] = read_answers(msg, name)
                    except OSError:
                        pass
                    row.update(at=began, ms=(time.monotonic() - began) * 1000)
                    os.write(1, (json.dumps(row) + "\n").encode())  # whole lines, from several threads
                    time.sleep(0.01)
    for server in servers:
        threading.Thread(target=ask, args=(server,), daemon=True).start()
    threading.Event().wait()


def ask_in_pieces(server):
    """Three queries at once on one connection, the middle one for a name that is hit: in one piece, byte by byte, and with
    the sending side shut behind them. Prints the answers' codes by number."""
    def codes(send):
        with socket.create_connection((server, 53), 1) as s:
            s.settimeout(5)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            messages = [query(name, 1, i) for i, name in enumerate(("ok.example", "db.lab", "ok.example"))]
            send(s, b"".join(struct.pack(">H", len(m)) + m for m in messages))
            answers = [read_message(s) for _ in messages]
            return [code for _, code in sorted((a[1], a[3] & 15) for a in answers)]

    def byte_by_byte(s, data):
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            time.sleep(0.0005)

    def and_shut(s, data):
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)

    print(json.dumps([codes(send) for send in (socket.socket.sendall, byte_by_byte, and_shut)]))


# ---- the namespaces ----

DOCKER_RULES = """
table ip docker {
 chain output {
  type nat hook output priority -100
  ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:5353
  ip daddr 127.0.0.11 tcp dport 53 dnat to 127.0.0.11:5353
 }
 chain postrouting {
  type nat hook postrouting priority 100
  ip saddr 127.0.0.11 udp sport 5353 snat to 127.0.0.11:53
  ip saddr 127.0.0.11 tcp sport 5353 snat to 127.0.0.11:53
 }
}
"""


class Lab:
    """with Lab(names) as lab: a victim that asks for these names, its answers in a file."""

    def __init__(self, folder, names, timeout=0.5, servers=tuple(SERVERS)):
        number = next(numbers)
        self.a, self.b = f"clda{number}-{os.getpid()}", f"cldb{number}-{os.getpid()}"
        self.names, self.timeout, self.folder, self.servers, self.processes = names, timeout, folder, set(servers), []
        self.since = 0.0

    def ip(self, *args):
        subprocess.run(["ip", *args], check=True, capture_output=True)

    def spawn(self, ns, *args, stdout=subprocess.DEVNULL):
        p = subprocess.Popen(["ip", "netns", "exec", ns, sys.executable, __file__, *args], stdout=stdout,
                             start_new_session=True)
        self.processes.append(p)
        return p

    def __enter__(self):
        try:
            self.up()
        except Exception:
            self.__exit__()
            raise
        return self

    def up(self):
        for ns in (self.a, self.b):
            self.ip("netns", "add", ns)
            self.ip("-n", ns, "link", "set", "lo", "up")
        self.ip("link", "add", "eth0", "netns", self.a, "type", "veth", "peer", "name", "eth0", "netns", self.b)
        for ns, last in ((self.a, 2), (self.b, 1)):
            self.ip("-n", ns, "addr", "add", f"10.83.0.{last}/24", "dev", "eth0")
            self.ip("-n", ns, "addr", "add", f"fd83::{last}/64", "dev", "eth0", "nodad")
            self.ip("-n", ns, "link", "set", "eth0", "up")
        subprocess.run(["ip", "netns", "exec", self.a, "nft", "-f", "-"], input=DOCKER_RULES, text=True, check=True)
        for ns, address, port in ((self.b, "10.83.0.1", 53), (self.b, "fd83::1", 53), (self.a, "127.0.0.11", 5353)):
            self.spawn(ns, "--serve", address, str(port))
        self.rules = self.ruleset()
        self.path = self.folder / "answers"
        with self.path.open("w") as f:
            self.victim = self.spawn(self.a, "--ask", ",".join(self.servers), str(self.timeout), *self.names, stdout=f)
        wait_for(lambda: {r["server"] for r in self.rows() if r["answers"]} == self.servers, 20, "the first answers")
        self.since = time.monotonic() + 0.1

    def __exit__(self, *_):
        for p in self.processes:
            p.kill()
            p.wait()
        for ns in (self.a, self.b):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)

    def ruleset(self):
        return subprocess.run(["ip", "netns", "exec", self.a, "nft", "list", "ruleset"], text=True, check=True,
                              capture_output=True).stdout

    def rows(self):
        rows = [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]
        return [r for r in rows if r["at"] >= self.since]

    def plan(self, fault, seconds, at="500ms", duration="1500ms"):
        return f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{self.shop.port}
processes:
  - {{name: victim, pid: {self.victim.pid}}}
users:
  - {{think: constant(50ms), tasks: [{{get: /bytes/100}}]}}
load: {{users: 1, for: {seconds}s}}
recover_hold: 300ms
faults:
  - {fault}
    at: {at}
    duration: {duration}
"""


def ok(row):
    return row["rcode"] == 0 and row["answers"] == (["192.0.2.1"] if row["type"] == 1 else ["2001:db8::1"])


def with_fault(fault, names, check, timeout=0.5, servers=tuple(SERVERS)):
    """Runs it; check(rows of the middle of the fault). Before and after all must be well."""
    shop = Shop()
    try:
        with folder() as tmp, Lab(tmp, names, timeout, servers) as lab:
            lab.shop = shop
            (tmp / "plan.yaml").write_text(lab.plan(fault, 2.5))
            began = time.monotonic()
            result = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result
            ended = time.monotonic()
            time.sleep(0.3)
            fault = result["faults"][0]
            assert fault["verified_in"] and fault["verified_out"] and fault["error"] is None, fault
            rows = lab.rows()
            odd = [r["at"] for r in rows if not ok(r)]
            assert odd and began < min(odd) and max(odd) < ended, "nothing was hit, or outside of the run"
            first, last = min(odd), max(odd)
            held = (fault["reverted_ms"] - fault["effective_ms"]) / 1000
            assert last - first <= held + 0.1, f"hit for {last - first} s, held for {held} s"
            middle = [r for r in rows if first <= r["at"] <= first + 1.2]
            assert {r["server"] for r in middle} == lab.servers
            check(middle)
            late = [r for r in rows if r["at"] > ended]
            assert {r["server"] for r in late} == lab.servers and all(map(ok, late)), "not all is well afterwards"
            assert lab.ruleset() == lab.rules, lab.ruleset()
            return fault
    finally:
        shop.stop()


def hits_only(names, is_hit):
    def check(rows):
        for r in rows:
            assert is_hit(r) if r["name"] in names else ok(r), (r, min(x["at"] for x in rows))
    return check


def drawn(rows):
    """Each question on its way to a server is drawn once."""
    mine = [r for r in rows if r["name"] == "db.lab"]
    hits = sum(r["rcode"] == NXDOMAIN for r in mine)
    assert len(mine) >= 60, f"only {len(mine)} draws"
    bound = 4.5 * (0.3 * 0.7 / len(mine)) ** 0.5
    assert abs(hits / len(mine) - 0.3) <= bound, f"{hits} of {len(mine)}"
    assert all(ok(r) for r in rows if r["rcode"] != NXDOMAIN)


def late(rows):
    mine = [r["ms"] for r in rows if r["name"] == "db.lab"]
    assert len(mine) >= 6 and min(mine) >= 100, mine
    assert sorted(mine)[len(mine) // 2] <= 130, mine
    assert min(r["ms"] for r in rows if r["name"] != "db.lab") < 50


def refuses(number):
    return hits_only({"db.example"}, lambda r: r["rcode"] == number and not r["answers"])


def leads(name, want):
    return hits_only({name}, lambda r: r["rcode"] == 0 and r["answers"] == want[r["type"]])


def the_later_is_asked_first(rows):
    """Once both are in: db.lab is what the later says, db.example what it lets through to the earlier."""
    began = min(r["at"] for r in rows)
    for r in [r for r in rows if r["at"] > began + 0.4]:
        if r["name"] == "db.lab":
            assert r["rcode"] == 0 and r["answers"] == (["203.0.113.9"] if r["type"] == 1 else []), r
        else:
            assert r["rcode"] == REFUSED if r["name"] == "db.example" else ok(r), r


WAYS = {way: [s for s in SERVERS if s.startswith(way)] for way in ("udp", "tcp")}
THREE = ["db.example", "db.example.org", "ok.example"]
DB = ["db.lab", "ok.example"]
# The fault, the names that are asked for, what must be seen; more for with_fault.
ROWS = [
    ("dns-error: {process: victim, patterns: [DB.example], rcode: NXDOMAIN}", THREE, refuses(NXDOMAIN), {}),
    ("dns-error: {process: victim, patterns: [DB.example], rcode: SERVFAIL}", THREE, refuses(SERVFAIL), {}),
    ("dns-error: {process: victim, patterns: [DB.example], rcode: REFUSED}", THREE, refuses(REFUSED), {}),
    ("dns-error: {process: victim, patterns: '*.shop.*', match: wildcard, rcode: timeout}", ["db.shop.lab", "ok.example"],
     hits_only({"db.shop.lab"}, lambda r: r["rcode"] is None), {"timeout": 0.05}),
    ("dns-spoof: {process: victim, map: {'db': '203.0.113.9, 203.0.113.10, 2001:db8::9'}, match: substring}",
     ["a.db.lab", "ok.example"], leads("a.db.lab", {1: ["203.0.113.9", "203.0.113.10"], 28: ["2001:db8::9"]}), {}),
    # No address of the family that is asked for is an empty answer; a name is one more answer, and what it leads to.
    ("dns-spoof: {process: victim, map: {db.lab: 203.0.113.9}}", DB, leads("db.lab", {1: ["203.0.113.9"], 28: []}), {}),
    ("dns-spoof: {process: victim, map: {db.lab: localhost}}", DB,
     hits_only({"db.lab"}, lambda r: r["answers"] in (["localhost", "127.0.0.1"], ["localhost", "::1"], ["localhost"])), {}),
    ("dns-error: {process: victim, patterns: db.lab, percent: 30%}", ["db.lab"], drawn, {"servers": WAYS["udp"]}),
    ("dns-error: {process: victim, patterns: db.lab, percent: 30%}", ["db.lab"], drawn, {"servers": WAYS["tcp"]}),
    ("dns-error: {process: victim, patterns: db.lab, delay: 100ms}", DB, late, {}),
    ("dns-error: {process: victim, patterns: [db.example, db.lab], rcode: REFUSED}\n    at: 400ms\n    duration: 1700ms\n"
     "  - dns-spoof: {process: victim, map: {db.lab: 203.0.113.9}}", ["db.lab", *THREE[:1], "ok.example"],
     the_later_is_asked_first, {}),
]


def side_by_side(jobs):
    """(what, call) each; all are tried, and what failed is said together."""
    failures = []

    def judged(what, call):
        try:
            attempts(3, call)
        except AssertionError as why:
            failures.append(f"{what}: {why}")

    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for job in [pool.submit(judged, *job) for job in jobs]:
            job.result()
    assert not failures, "\n".join(failures)


def test_names_are_hit_as_asked_and_others_are_not():
    side_by_side([(fault, lambda fault=fault, names=names, check=check, more=more: with_fault(fault, names, check, **more))
                  for fault, names, check, more in ROWS])


def pieces(delay):
    shop = Shop()
    try:
        with folder() as tmp, Lab(tmp, ["db.lab"]) as lab:
            lab.shop = shop
            (tmp / "plan.yaml").write_text(lab.plan(f"dns-error: {{process: victim, patterns: db.lab{delay}}}", 20, duration="15s"))
            process = start(["run", tmp / "plan.yaml"], tmp / "out", tmp / "state")
            wait_for(lambda: {r["server"] for r in lab.rows() if not ok(r)} == set(SERVERS), 20, "the fault")
            for server in ("10.83.0.1", "fd83::1", "127.0.0.11"):
                said = subprocess.run(["ip", "netns", "exec", lab.a, sys.executable, __file__, "--pieces", server], capture_output=True,
                                      text=True, timeout=30)
                assert said.stdout and json.loads(said.stdout) == [[0, NXDOMAIN, 0]] * 3, (server, said)
            process.send_signal(signal.SIGINT)
            finish(process, ["run"], tmp / "out").expect(130)
    finally:
        shop.stop()


def test_streams_are_cut_anywhere():
    side_by_side([(delay, lambda delay=delay: pieces(delay)) for delay in ("", ", delay: 50ms")])


def killed(whom):
    """SIGKILL of the run, or of the helper alone: names are well again, and nothing is left."""
    shop = Shop()
    try:
        with folder() as tmp, Lab(tmp, ["db.lab"]) as lab:
            lab.shop = shop
            (tmp / "plan.yaml").write_text(lab.plan("dns-error: {process: victim, patterns: db.lab}", 20, duration="15s"))
            process = start(["run", tmp / "plan.yaml"], tmp / "out", tmp / "state")
            wait_for(lambda: {r["server"] for r in lab.rows() if not ok(r)} == set(SERVERS), 20, "the fault")
            helper = [int(p) for p in os.popen(f"pgrep -P {process.pid}").read().split()
                      if "helper" in open(f"/proc/{p}/cmdline").read()]
            assert len(helper) == 1, helper
            os.kill(process.pid if whom == "run" else helper[0], signal.SIGKILL)
            died = time.monotonic()
            wait_for(lambda: {r["server"] for r in lab.rows() if r["at"] > died + 0.6} == set(SERVERS), 20, "an answer")
            assert all(ok(r) for r in lab.rows() if r["at"] > died + 0.6), [r for r in lab.rows() if r["at"] > died]
            assert lab.ruleset() == lab.rules
            wait_for(lambda: not os.path.exists(f"/proc/{helper[0]}"), 10, "the helper's end")
            if whom == "helper":
                process.send_signal(signal.SIGINT)
            done = finish(process, ["run"], tmp / "out")
            if whom == "helper":
                assert "helper" in json.dumps(done.result["faults"][0]["error"]), done
    finally:
        shop.stop()


def test_a_death_ends_it_at_once():
    side_by_side([(whom, lambda whom=whom: killed(whom)) for whom in ("run", "helper")])


def why_not():
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            return f"{tool} is missing"
    name = f"cldp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made.stderr.strip() if made.returncode else None


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    if sys.argv[1:2] == ["--pieces"]:
        ask_in_pieces(sys.argv[2])
        sys.exit(0)
    if sys.argv[1:2] == ["--ask"]:
        ask_for_ever(sys.argv[2].split(","), sys.argv[4:], float(sys.argv[3]))
    reason = why_not()
    if reason:
        print("SKIP", reason)
        sys.exit(77)
    main(globals())
