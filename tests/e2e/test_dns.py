#!/usr/bin/env python3
"""dns-error and dns-spoof in a network namespace of the test's own: a victim that asks all the time, over IPv4, IPv6 and
through NAT rules like those that Docker puts into a container; a name server in another namespace. What the victim gets
before, during and after, and that nothing is left whoever dies."""
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

SERVERS = ["10.83.0.1", "fd83::1", "127.0.0.11"]
NXDOMAIN, SERVFAIL, REFUSED = 3, 2, 5


# ---- the two programs inside the namespaces ----

def query(name, qtype, number):
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, qtype, 1)


def serve(address, port):
    """Answers every question with 192.0.2.1 or 2001:db8::1."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind((address, port))
        while True:
            msg, peer = s.recvfrom(4096)
            qtype = struct.unpack(">H", msg[-4:-2])[0]
            data = socket.inet_aton("192.0.2.1") if qtype == 1 else socket.inet_pton(socket.AF_INET6, "2001:db8::1")
            s.sendto(msg[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + msg[12:] + b"\xc0\x0c" +
                     struct.pack(">HHIH", qtype, 1, 60, len(data)) + data, peer)


def ask_for_ever(servers, names, timeout):
    """One socket for each server, kept for ever, as some resolvers do; a line for each answer."""
    def ask(server):
        s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(timeout)
        s.connect((server, 53))
        number = 0
        while True:
            for name in names:
                for qtype in (1, 28):
                    number = number % 60000 + 1
                    began = time.monotonic()
                    row = {"server": server, "name": name, "type": qtype, "rcode": None, "answers": []}
                    try:
                        s.send(query(name, qtype, number))
                        while True:
                            msg = s.recv(4096)
                            if msg[:2] == struct.pack(">H", number):
                                break
                        row["rcode"] = msg[3] & 15
                        size = 4 if qtype == 1 else 16
                        at = 12 + len(name) + 2 + 4
                        for _ in range(struct.unpack(">H", msg[6:8])[0]):
                            row["answers"].append(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6,
                                                                   msg[at + 12:at + 12 + size]))
                            at += 12 + size
                    except OSError:
                        pass
                    row.update(at=began, ms=(time.monotonic() - began) * 1000)
                    os.write(1, (json.dumps(row) + "\n").encode())  # whole lines, from several threads
                    time.sleep(0.005)
    for server in servers:
        threading.Thread(target=ask, args=(server,), daemon=True).start()
    threading.Event().wait()


# ---- the namespaces ----

DOCKER_RULES = """
table ip docker {
 chain output {
  type nat hook output priority -100
  ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:5353
 }
 chain postrouting {
  type nat hook postrouting priority 100
  ip saddr 127.0.0.11 udp sport 5353 snat to 127.0.0.11:53
 }
}
"""


class Lab:
    """with Lab(names) as lab: a victim that asks for these names, its answers in a file."""

    def __init__(self, folder, names, timeout=0.5, servers=tuple(SERVERS)):
        self.a, self.b = f"clda{os.getpid()}", f"cldb{os.getpid()}"
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
            (tmp / "plan.yaml").write_text(lab.plan(fault, 3))
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
            assert is_hit(r) if r["name"] in names else ok(r), r
    return check


def test_a_name_fails_as_asked_and_others_do_not():
    for rcode, number in (("NXDOMAIN", NXDOMAIN), ("SERVFAIL", SERVFAIL), ("REFUSED", REFUSED)):
        with_fault(f"dns-error: {{process: victim, patterns: [DB.example], rcode: {rcode}}}",
                   ["db.example", "db.example.org", "ok.example"],
                   hits_only({"db.example"}, lambda r: r["rcode"] == number and not r["answers"]))


def test_a_question_is_swallowed():
    with_fault("dns-error: {process: victim, patterns: '*.shop.*', match: wildcard, rcode: timeout}",
               ["db.shop.lab", "ok.example"], hits_only({"db.shop.lab"}, lambda r: r["rcode"] is None), timeout=0.05)


def test_a_name_leads_elsewhere():
    want = {1: ["203.0.113.9", "203.0.113.10"], 28: ["2001:db8::9"]}
    with_fault("dns-spoof: {process: victim, map: {'db': '203.0.113.9, 203.0.113.10, 2001:db8::9'}, match: substring}",
               ["a.db.lab", "ok.example"],
               hits_only({"a.db.lab"}, lambda r: r["rcode"] == 0 and r["answers"] == want[r["type"]]))


def test_a_family_without_an_address_is_empty():
    with_fault("dns-spoof: {process: victim, map: {db.lab: 203.0.113.9}}", ["db.lab", "ok.example"],
               hits_only({"db.lab"}, lambda r: r["rcode"] == 0 and
                         r["answers"] == (["203.0.113.9"] if r["type"] == 1 else [])))


def test_the_share_is_the_one_asked_for():
    def check(rows):
        mine = [r for r in rows if r["name"] == "db.lab"]
        hits = sum(r["rcode"] == NXDOMAIN for r in mine)
        assert len(mine) >= 60, f"only {len(mine)} draws"
        bound = 4.5 * (0.3 * 0.7 / len(mine)) ** 0.5
        assert abs(hits / len(mine) - 0.3) <= bound, f"{hits} of {len(mine)}"
        assert all(ok(r) for r in rows if r["rcode"] != NXDOMAIN)
    for servers in (SERVERS[:2], SERVERS[2:]):
        with_fault("dns-error: {process: victim, patterns: db.lab, percent: 30%}", ["db.lab"], check,
                   servers=servers)


def test_the_answer_comes_later():
    def check(rows):
        late = [r["ms"] for r in rows if r["name"] == "db.lab"]
        assert len(late) >= 6 and min(late) >= 100, late
        assert sorted(late)[len(late) // 2] <= 130, late
        assert min(r["ms"] for r in rows if r["name"] != "db.lab") < 50
    with_fault("dns-error: {process: victim, patterns: db.lab, delay: 100ms}", ["db.lab", "ok.example"], check)


def test_a_death_ends_it_at_once():
    """SIGKILL of the run, and of the helper alone: names are well again, and nothing is left."""
    shop = Shop()
    try:
        for whom in ("run", "helper"):
            with folder() as tmp, Lab(tmp, ["db.lab"]) as lab:
                lab.shop = shop
                (tmp / "plan.yaml").write_text(lab.plan("dns-error: {process: victim, patterns: db.lab}", 20,
                                                        duration="15s"))
                process = start(["run", tmp / "plan.yaml"], tmp / "out", tmp / "state")
                wait_for(lambda: any(not ok(r) for r in lab.rows()), 20, "the fault")
                helper = [int(p) for p in os.popen(f"pgrep -P {process.pid}").read().split()
                          if "helper" in open(f"/proc/{p}/cmdline").read()]
                assert len(helper) == 1, helper
                os.kill(process.pid if whom == "run" else helper[0], signal.SIGKILL)
                died = time.monotonic()
                wait_for(lambda: [r for r in lab.rows() if r["at"] > died + 0.3], 20, "an answer")
                time.sleep(0.5)
                late = [r for r in lab.rows() if r["at"] > died + 0.3]
                assert {r["server"] for r in late} == set(SERVERS) and all(map(ok, late)), late
                assert lab.ruleset() == lab.rules
                wait_for(lambda: not os.path.exists(f"/proc/{helper[0]}"), 10, "the helper's end")
                if whom == "helper":
                    process.send_signal(signal.SIGINT)
                done = finish(process, ["run"], tmp / "out")
                if whom == "helper":
                    assert "helper" in json.dumps(done.result["faults"][0]["error"]), done
    finally:
        shop.stop()


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
    if sys.argv[1:2] == ["--ask"]:
        ask_for_ever(sys.argv[2].split(","), sys.argv[4:], float(sys.argv[3]))
    reason = why_not()
    if reason:
        print("SKIP", reason)
        sys.exit(77)
    main(globals())
