"""`chaos-load doctor` where there is a container engine."""
import json
import os
import subprocess

import engine
from harness import CHAOS_LOAD, main

d = engine.connect()


def test_the_engine_is_found_and_faults_on_containers_work():
    before = {c["Id"] for c in d.call("GET", "/containers/json?all=1")}
    got = subprocess.run([CHAOS_LOAD, "doctor", "--json", "docker", "process"], capture_output=True, text=True, timeout=300)
    assert got.returncode in (0, 1), got
    told = json.loads(got.stdout)
    found = {(f["kind"], f["backend"]): f for f in told["faults"]}
    assert told["facts"]["engine"].startswith("Docker "), told["facts"]
    for kind in ("kill", "pause", "stop", "restart", "remove", "limits", "disconnect"):
        assert found[kind, "docker"]["works"] and found[kind, "docker"]["how"] == "a call of the engine", found[kind, "docker"]
    for (kind, backend), f in found.items():
        if backend == "docker" and f["how"] != "a call of the engine" and os.geteuid() == 0:
            assert f["works"] == found[kind, "process"]["works"], f
    assert {c["Id"] for c in d.call("GET", "/containers/json?all=1")} == before


if __name__ == "__main__":
    main(globals())
