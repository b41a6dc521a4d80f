"""Names and ports of containers of a real engine that nobody configured for it: Docker's own resolver in a user-defined
network goes on working for all other names, and its NAT rules stay as they are."""
import json
import os
import subprocess
import sys

import engine
from harness import *

ENGINE = engine.connect()
ASK = """
import socket, sys
sys.path.insert(0, {here!r})
from test_dns import query
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect(("127.0.0.11", 53))
for name in sys.argv[1:]:
    s.send(query(name, 1, 7))
    print(s.recv(2000)[3] & 15)
"""


def inside(pid, *argv):
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *argv], capture_output=True, text=True).stdout


def ask(pid, *names):
    """The answers' codes, all asked from one socket."""
    return inside(pid, sys.executable, "-c", ASK.format(here=os.path.dirname(os.path.abspath(__file__))), *names).split()


def plan(tmp, port, fault, seconds=4, held=2):
    (tmp / "plan.yaml").write_text(f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{port}
users: [{{think: constant(5ms), tasks: [{{get: /}}]}}]
load: {{users: 4, for: {seconds}s}}
recover_hold: 500ms
faults:
  - {fault}
    at: 1s
    duration: {held}s
""")
    return tmp / "plan.yaml"


def test_a_name_fails_in_a_network_of_docker():
    port = unused_port()
    with folder() as tmp:
        network = tmp.name
        ENGINE.call("POST", "/networks/create", {"Name": network})
        try:
            with ENGINE.container("httpd:1", name=network + "-db", NetworkMode=network) as db, \
                    ENGINE.container("httpd:1", name=network + "-web", NetworkMode=network, port=port) as web:
                pid = web.look()["State"]["Pid"]
                rules = inside(pid, "nft", "--stateless", "list", "ruleset")
                assert "127.0.0.11" in rules, rules
                assert ask(pid, db.name, web.name) == ["0", "0"]
                path = plan(tmp, port, f"dns-error: {{docker: {web.name}, patterns: {db.name}, rcode: REFUSED}}", 7, 5)
                process = start(["run", path], tmp / "out")
                wait_for(lambda: ask(pid, db.name) == ["5"], 20, "the fault")
                said = ask(pid, db.name, web.name, db.name, web.name)
                assert said == ["5", "0", "5", "0"], said
                fault = finish(process, ["run"], tmp / "out").expect(0).result["faults"][0]
                assert [t["name"] for t in fault["targets"]] == [web.name] and fault["verified_out"], fault
                assert ask(pid, db.name, web.name) == ["0", "0"]
                assert inside(pid, "nft", "--stateless", "list", "ruleset") == rules
        finally:
            ENGINE.call("DELETE", f"/networks/{network}")


def test_statuses_of_a_container():
    port = unused_port()
    with folder() as tmp, ENGINE.container("httpd:1", port=port) as c:
        path = plan(tmp, port, f"http-status: {{docker: {c.name}, port: 8080, code: 503, percent: 50%}}")
        result = run("run", path, out=tmp / "out").expect(0).result
        fault = result["faults"][0]
        assert fault["verified_in"] and fault["verified_out"] and fault["targets"][0]["id"] == c.id, fault
        phases = {p["kind"]: p for p in result["phases"]}
        sent, hits = phases["inject"]["totals"]["requests"], {e["class"]: e["count"] for e in phases["inject"]["errors"]}
        assert sent >= 60, sent
        bound = 4.5 * (0.25 / sent) ** 0.5 + 10 / sent
        assert abs(hits.get("status", 0) / sent - 0.5) <= bound, (hits, sent)
        assert phases["recovery"]["totals"]["failures"] <= 12, phases["recovery"]["errors"]
        wait_for(lambda: engine.serves(port), what="the container")


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
