"""A hog in a container: its users feel it, the result names the container, and a killed run leaves nothing."""
import json

import engine
from harness import *
from test_machine import alive, children, hogs

PLAN = """
apiVersion: chaos-load/v1
target: http://127.0.0.1:{port}
users:
  - {{think: constant(10ms), tasks: [{{get: /}}]}}
load: {{users: 2, for: {seconds}s}}
faults:
  - {{cpu: {{docker: {name}, workers: 4}}, at: 1500ms, duration: {held}s}}
"""


def test_users_of_a_container_feel_its_hog(d):
    port = unused_port()
    with d.container("httpd:1", port=port, NanoCpus=250_000_000) as c, folder() as tmp:
        (tmp / "plan.yaml").write_text(PLAN.format(port=port, name=c.name, seconds=5, held=2))
        result = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result
        fault = result["faults"][0]
        assert fault["verified_in"] and fault["verified_out"] and c.name in fault["target"], fault
        assert c.id in json.dumps(fault["targets"]), fault
        phases = {p["kind"]: p for p in result["phases"]}
        before, during = (phases[kind]["response_time"]["p95_ms"] for kind in ("baseline", "inject"))
        print(f"  p95 {before} ms before, {during} ms while it held")
        assert during > 15 and during > 1.4 * before, (before, during)


def test_a_killed_run_leaves_no_hog_in_a_container(d):
    port = unused_port()
    with d.container("httpd:1", port=port) as c, folder() as tmp:
        (tmp / "plan.yaml").write_text(PLAN.format(port=port, name=c.name, seconds=60, held=50))
        process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
        wait_for(lambda: hogs(process.pid), what="a hog")
        seen = children(process.pid, "chaos-helper") + hogs(process.pid)
        process.kill()
        process.communicate()
        wait_for(lambda: not any(map(alive, seen)), what="the end of the hogs")
        assert engine.serves(port)


if __name__ == "__main__":
    there = engine.connect()
    try:
        main({name: (lambda test=test: attempts(3, lambda: test(there))) for name, test in list(globals().items())
              if name.startswith("test_")})
    finally:
        there.remove_all()
