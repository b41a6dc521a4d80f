#!/usr/bin/env python3
"""Proxy faults on a port that nobody put a proxy in front of, in network namespaces of the test's own: the load comes from
outside over a veth, or from inside; old connections come back through the fault; nothing is left whoever dies."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

from harness import *

PORT = 8080


class Lab:
    """with Lab() as lab: a server in a namespace; lab.run(...) runs chaos-load inside one of the two."""

    def __init__(self):
        self.server_ns, self.user_ns = f"clrs{os.getpid()}", f"clru{os.getpid()}"
        self.servers = []

    def ip(self, *args):
        subprocess.run(["ip", *args], check=True, capture_output=True)

    def inside(self, ns, *args):
        return ["nsenter", f"--net=/run/netns/{ns}", *map(str, args)]

    def __enter__(self):
        try:
            for ns in (self.server_ns, self.user_ns):
                self.ip("netns", "add", ns)
                self.ip("-n", ns, "link", "set", "lo", "up")
            self.ip("link", "add", "eth0", "netns", self.server_ns, "type", "veth", "peer", "name", "eth0", "netns",
                    self.user_ns)
            for ns, last in ((self.server_ns, 2), (self.user_ns, 1)):
                self.ip("-n", ns, "addr", "add", f"10.84.0.{last}/24", "dev", "eth0")
                self.ip("-n", ns, "addr", "add", f"fd84::{last}/64", "dev", "eth0", "nodad")
                self.ip("-n", ns, "link", "set", "eth0", "up")
            for listen in (f"0.0.0.0:{PORT}", f"[fd84::2]:{PORT}"):
                self.servers.append(subprocess.Popen(self.inside(self.server_ns, CHAOS_LOAD, "target", "--listen", listen,
                                                                 "--latency", "0"), stdin=subprocess.DEVNULL,
                                                     start_new_session=True))
            for address in ("10.84.0.2", "[fd84::2]"):
                wait_for(lambda: self.get(self.user_ns, f"http://{address}:{PORT}/health") == "200", 20, address)
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in self.servers:
            p.kill()
            p.wait()
        for ns in (self.server_ns, self.user_ns):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)

    def get(self, ns, url):
        return subprocess.run(self.inside(ns, "curl", "-s", "-g", "-o", "/dev/null", "-m", "2", "-w", "%{http_code}", url),
                              capture_output=True, text=True).stdout

    def ruleset(self):
        return subprocess.run(self.inside(self.server_ns, "nft", "list", "ruleset"), text=True, check=True,
                              capture_output=True).stdout

    def plan(self, tmp, fault, address, seconds=3, duration="1s"):
        path = tmp / "plan.yaml"
        path.write_text(f"""
apiVersion: chaos-load/v1
target: http://{address}:{PORT}
processes:
  - {{name: shop, pid: {self.servers[0].pid}}}
users:
  - {{think: constant(5ms), tasks: [{{get: /bytes/1000}}]}}
load: {{users: 4, for: {seconds}s}}
http: {{timeout: 2s}}
recover_hold: 500ms
faults:
  - {fault}
    at: 1s
    duration: {duration}
""")
        return path

    def start(self, ns, tmp, path):
        (tmp / "state").mkdir(exist_ok=True)
        return subprocess.Popen(self.inside(ns, CHAOS_LOAD, "run", path, "--out", tmp / "out"), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, start_new_session=True,
                                env=dict(os.environ, CHAOS_LOAD_STATE=str(tmp / "state")))

    def run(self, ns, fault, address, check):
        with folder() as tmp:
            path = self.plan(tmp, fault, address)
            done = finish(self.start(ns, tmp, path), ["run", path], tmp / "out").expect(0)
            fault = done.result["faults"][0]
            assert fault["verified_in"] and fault["verified_out"] and fault["error"] is None, fault
            phases = {p["kind"]: p for p in done.result["phases"]}
            assert phases["baseline"]["totals"]["failures"] <= 12, phases["baseline"]["errors"]
            check(phases["inject"])
            after = phases["recovery"]["totals"]
            assert after["requests"] >= 10 and after["failures"] <= 8, phases["recovery"]["errors"]
            assert self.ruleset() == "", self.ruleset()
            assert self.get(self.user_ns, f"http://{address}:{PORT}/health") == "200" or address.startswith("127")


def share(name, want, others=8):
    """Within what chance allows; connections that were open are reset once, which is the others' share."""
    def check(phase):
        sent = phase["totals"]["requests"]
        hits = {e["class"]: e["count"] for e in phase["errors"]}
        assert sent >= 60, f"only {sent} draws"
        bound = 4.5 * (want * (1 - want) / sent) ** 0.5 + (others + 2) / sent
        assert abs(hits.get(name, 0) / sent - want) <= bound, f"{hits} of {sent} is not {want} within {bound:.3f}"
        assert phase["totals"]["failures"] - hits.get(name, 0) <= others, hits
    return check


def test_statuses_from_outside_and_inside():
    with Lab() as lab:
        fault = f"http-status: {{process: shop, port: {PORT}, code: 503, percent: 50%}}"
        lab.run(lab.user_ns, fault, "10.84.0.2", share("status", 0.5))
        lab.run(lab.user_ns, fault, "[fd84::2]", share("status", 0.5))
        lab.run(lab.server_ns, fault, "127.0.0.1", share("status", 0.5))


def test_the_other_toxics():
    def slower(phase):
        # The phase has a few fast requests at its end, and four slow users make few slow ones.
        assert phase["response_time"]["p90_ms"] >= 100, phase["response_time"]
        assert phase["totals"]["failures"] <= 8, phase["errors"]

    def fails(*names):
        def check(phase):
            hits = sum(e["count"] for e in phase["errors"] if e["class"] in names)
            assert hits >= 3 and hits >= 0.5 * phase["totals"]["failures"], phase["errors"]
        return check

    with Lab() as lab:
        for fault, check in ((f"http-delay: {{process: shop, port: {PORT}, delay: 100ms}}", slower),
                             (f"http-abort: {{process: shop, port: {PORT}, percent: 30%}}", share("reset", 0.3)),
                             (f"slicer: {{process: shop, port: {PORT}, size: 100B, delay: 10ms}}", slower),
                             (f"limit-data: {{process: shop, port: {PORT}, bytes: 500B}}", fails("short-body", "closed", "bad-response"))):
            attempts(3, lambda: lab.run(lab.user_ns, fault, "10.84.0.2", check))


def test_open_connections_are_left_alone_where_asked():
    """reset_open: false, and all users are connected before: nobody notices."""
    def unhurt(phase):
        assert phase["totals"]["requests"] >= 60 and phase["totals"]["failures"] == 0, phase["errors"]

    with Lab() as lab:
        lab.run(lab.user_ns, f"http-status: {{process: shop, port: {PORT}, reset_open: false}}", "10.84.0.2", unhurt)


def test_a_death_ends_it_at_once():
    with Lab() as lab:
        for whom in ("run", "helper"):
            with folder() as tmp:
                path = lab.plan(tmp, f"http-status: {{process: shop, port: {PORT}}}", "10.84.0.2", 20, "15s")
                process = lab.start(lab.user_ns, tmp, path)
                url = f"http://10.84.0.2:{PORT}/health"
                wait_for(lambda: lab.get(lab.user_ns, url) == "503", 20, "the fault")
                helpers = [p for p in pids_with("helper") if f"PPid:\t{process.pid}\n" in open(f"/proc/{p}/status").read()]
                assert len(helpers) == 1, helpers
                os.kill(process.pid if whom == "run" else helpers[0], signal.SIGKILL)
                wait_for(lambda: not os.path.exists(f"/proc/{helpers[0]}") or
                         "State:\tZ" in open(f"/proc/{helpers[0]}/status").read(), 10, "the helper's end")
                wait_for(lambda: lab.get(lab.user_ns, url) == "200", 10, "a healthy answer")
                assert lab.ruleset() == "", lab.ruleset()
                if whom == "helper":
                    process.send_signal(signal.SIGINT)
                finish(process, ["run"], tmp / "out")


def why_not():
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft", "nsenter", "curl"):
        if subprocess.run(["which", tool], capture_output=True).returncode:
            return f"{tool} is missing"
    name = f"clrp{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return made.stderr.strip() if made.returncode else None


if __name__ == "__main__":
    reason = why_not()
    if reason:
        print("SKIP", reason)
        sys.exit(77)
    main(globals())
