"""Network faults in containers of a real engine: found by name and label, each with a holder of its own."""
import json
import time

import engine
from harness import *

ENGINE = engine.connect()


def plan(tmp, port, fault, seconds=4, held=1.5):
    (tmp / "plan.yaml").write_text(f"""
apiVersion: chaos-load/v1
target: http://127.0.0.1:{port}
users: [{{think: constant(10ms), tasks: [{{get: /}}]}}]
http: {{timeout: 1500ms}}
load: {{users: 4, for: {seconds}s}}
faults:
  - {fault}
    at: 1s
    duration: {held}s
""")
    return tmp / "plan.yaml"


def phases(result):
    return {p["kind"]: p for p in result["phases"]}


def p50(phase):
    return phase["response_time"]["p50_ms"]


def test_latency_in_a_container():
    port = unused_port()
    with folder() as tmp, ENGINE.container("httpd:1", port=port) as c:
        def once():
            path = plan(tmp, port, f"latency: {{docker: {c.name}, delay: 50ms, direction: egress}}")
            result = run("run", path, out=tmp / "out").expect(0).result
            fault, seen = result["faults"][0], phases(result)
            assert fault["verified_in"] and fault["verified_out"] and fault["ended_by"] == "plan", fault
            assert [t["name"] for t in fault["targets"]] == [c.name], fault
            assert fault["targets"][0]["id"] == c.id, fault
            # A connection is made anew for each request or not: one or two delays of 50 ms.
            added = p50(seen["inject"]) - p50(seen["baseline"])
            assert any(near(added, n * 50, 0.05, 1) for n in (1, 2)), added
            assert near(p50(seen["recovery"]), p50(seen["baseline"]), 1, 5)
        attempts(3, once)


def test_all_of_a_label_and_nobody_else():
    with folder() as tmp:
        label = tmp.name
        ports = [unused_port(), unused_port()]
        with ENGINE.container("httpd:1", port=ports[0], labels={"lab": label}) as a, \
                ENGINE.container("httpd:1", labels={"lab": label}) as b, ENGINE.container("httpd:1", port=ports[1]) as other:
            path = plan(tmp, ports[0], f"partition: {{docker: {{label: lab={label}, mode: all}}, mode: drop}}", seconds=8, held=5)
            process = start(["run", path], tmp / "out")
            wait_for(lambda: not engine.serves(ports[0]), what="the partition")
            assert engine.serves(ports[1]), f"{other.name} is hit, too"
            result = finish(process, ["run"], tmp / "out").expect(0).result
            assert sorted(t["name"] for t in result["faults"][0]["targets"]) == sorted([a.name, b.name])
            assert engine.serves(ports[0])


def test_a_container_that_goes_takes_the_fault_with_it():
    port = unused_port()
    with folder() as tmp, ENGINE.container("httpd:1", port=port) as c:
        path = plan(tmp, port, f"latency: {{docker: {c.name}, delay: 50ms}}", seconds=6, held=4)
        process = start(["run", path], tmp / "out")
        time.sleep(2.5)
        c.do("kill")
        c.do("start")
        done = finish(process, ["run"], tmp / "out")
        fault = done.result["faults"][0]
        assert fault["ended_by"] == "target-gone" and fault["verified_out"], done
        assert fault["reverted_ms"] < 4500, fault
        wait_for(lambda: engine.serves(port), what="the container")


def test_the_network_of_this_machine_needs_a_filter():
    with folder() as tmp, ENGINE.container(NetworkMode="host") as c:
        path = plan(tmp, unused_port(), f"loss: {{docker: {c.name}, percent: 5%}}")
        done = run("run", path, out=tmp / "out")
        text = json.dumps(done.result["faults"])
        assert "all of which would be hit: add port, dst, src or peers" in text, done


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
