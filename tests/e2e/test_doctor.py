"""`chaos-load doctor`: what it says is what a run then finds; it tells reasons and remedies, leaves nothing behind, and
works for a user without rights."""
import json
import os
import re
import shutil
import subprocess

from harness import CHAOS_LOAD, ROOT, folder, main, pids_with, run

NO_ENGINE = dict(os.environ, DOCKER_HOST="unix:///nonexistent/chaos-load.sock", NO_COLOR="1")
IS_ROOT = os.geteuid() == 0


def doctor(*words, argv=(CHAOS_LOAD,), env=NO_ENGINE, timeout=300):
    return subprocess.run([*argv, "doctor", *words], capture_output=True, text=True, timeout=timeout, env=env, stdin=subprocess.DEVNULL)


def findings(*words, **kwargs):
    got = doctor("--json", *words, **kwargs)
    assert got.returncode in (0, 1), got
    return {(f["kind"], f["backend"]): f for f in json.loads(got.stdout)["faults"]}, got


def network():
    """What a trial in the wrong namespace would change."""
    seen = open("/proc/net/dev").read().count(":"), open("/proc/net/nfnetlink_queue").read() if os.path.exists("/proc/net/nfnetlink_queue") else ""
    nft = shutil.which("nft")
    return seen, subprocess.run([nft, "list", "tables"], capture_output=True, text=True).stdout if nft and IS_ROOT else ""


def test_every_kind_is_looked_at_and_nothing_stays():
    before = network()
    found, got = findings()
    assert got.returncode == 0, got
    plan = (ROOT / "docs" / "PLAN.md").read_text()
    assert set(found) == set(re.findall(r"^## `([a-z-]+)` \(backend (\w+)\)$", plan, re.M))
    for key, f in found.items():
        assert f["works"] != bool(f["why"]), f
        assert "nothing here can try" not in f["why"], f
        assert f["works"] or f["remedy"], f
        if key[1] == "docker":
            assert f["why"] == "no container engine: there is no socket /nonexistent/chaos-load.sock" and "DOCKER_HOST" in f["remedy"], f
    for kind in ("kill", "pause", "restart", "exec", "cpu", "memory", "disk-fill", "fd-exhaustion"):
        assert found[kind, "process"]["works"], found[kind, "process"]
    assert pids_with("chaos-load-doctor") == []
    assert network() == before


def test_a_chosen_fault_decides_the_exit_code():
    assert doctor("pause", "process").returncode == 0
    missing = doctor("latency", "docker")
    assert missing.returncode == 1, missing
    assert "latency  docker   no" in missing.stdout and "stops: latency/docker" in missing.stdout, missing
    assert set(findings("cpu", "memory", "host")[0]) == {("cpu", "host"), ("memory", "host")}


def test_what_it_says_is_what_a_run_finds():
    found, _ = findings("loss", "process")
    with folder() as f:
        plan = f / "plan.yaml"
        plan.write_text("target: {embedded: shop}\nload: {users: 1, duration: 1s}\nusers: [{tasks: [{get: /health}]}]\n"
                        "faults:\n  - loss: {process: shop, percent: 1%, port: 9}\n    at: 200ms\n    duration: 200ms\n")
        got = run("run", plan, out=f / "out")
    assert (got.exit_code == 0) == found["loss", "process"]["works"], (found, str(got))


def test_a_user_without_rights_is_told():
    if IS_ROOT and not shutil.which("setpriv"):
        print("SKIP setpriv is not there")
        return
    with folder() as f:
        f.chmod(0o755)
        binary = f / "chaos-load"
        shutil.copy(CHAOS_LOAD, binary)
        binary.chmod(0o755)
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary) if IS_ROOT else (binary,)
        found, got = findings("latency", "pause", "process", argv=nobody, env=dict(NO_ENGINE, HOME=str(f)))
    assert got.returncode == 1, got
    assert found["pause", "process"]["works"], found
    latency = found["latency", "process"]
    assert not latency["works"] and "no network namespace may be entered" in latency["why"] and latency["remedy"] == "run it as root", latency


def test_words_that_name_nothing():
    for words, says in [(["latancy"], "no fault or backend 'latancy', did you mean 'latency'?"),
                        (["xyzzyxyzzy"], "no fault or backend 'xyzzyxyzzy'; 'chaos-load doctor' lists them"),
                        (["cpu", "proxy"], "there is no 'cpu' by 'proxy'")]:
        got = doctor(*words)
        assert got.returncode == 2 and says in got.stderr and got.stdout == "", got


def test_colours_are_for_terminals():
    env = {k: v for k, v in NO_ENGINE.items() if k != "NO_COLOR"}
    assert "\033[" not in doctor("kill", "process", env=env).stdout
    assert "\033[32myes" in doctor("--color", "kill", "process", env=env).stdout


if __name__ == "__main__":
    main(globals())
