"""Machine faults through `chaos-load run`: what users see of them, what is true while they hold, and that nothing is left,
whoever was killed."""
import json
import os
import pathlib
import resource

from harness import *

HOGS = ["cpu: {host: any, load: 20%, workers: 2}", "memory: {host: any, size: 16MiB, workers: 2}",
        "io: {host: any, path: /tmp, bytes: 64KiB, rate: 8mbit}", "disk-fill: {host: any, path: /tmp, size: 16MiB}",
        "fd-exhaustion: {host: any, count: 300}"]


def plan(shop, faults, seconds, task="{get: /bytes/1000}"):
    rows = "".join(f"  - {fault}\n    at: {at}\n    duration: {held}\n" for fault, at, held in faults)
    return f"""
apiVersion: chaos-load/v1
target: {shop.url}
processes:
  - {{name: {shop.tag}, pid: {shop.process.pid}}}
users:
  - {{think: constant(10ms), tasks: [{task}]}}
load: {{users: 2, for: {seconds}s}}
http: {{timeout: 2s}}
faults:
{rows}"""


def children(pid, comm):
    """Living children of that name."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if int(parent) == pid and state != "Z" and name.startswith(comm):
            found.append(int(stat.parent.name))
    return found


def hogs(run_pid):
    return [hog for helper in children(run_pid, "chaos-helper") for hog in children(helper, "chaos-hog")]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def nofile(pid):
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


def with_shop(test):
    shop = Shop()
    try:
        with folder() as tmp:
            test(shop, tmp)
    finally:
        shop.stop()


def test_every_hog_is_in_and_out():
    def check(shop, tmp):
        faults = [(hog, f"{300 * (i + 1)}ms", "600ms") for i, hog in enumerate(HOGS)]
        (tmp / "plan.yaml").write_text(plan(shop, faults, 4))
        result = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result
        assert len(result["faults"]) == len(HOGS)
        for fault in result["faults"]:
            assert fault["verified_in"] and fault["verified_out"] and fault["error"] is None, fault
            assert fault["ended_by"] == "plan", fault
            assert fault["reverted_ms"] - fault["effective_ms"] >= 600, fault
        assert not pids_with(str(tmp)), "something of the run is left"
    with_shop(check)


def box(pid):
    """A cgroup with a quarter of a processor around the process, as a container has; None where none can be made."""
    v1 = pathlib.Path("/sys/fs/cgroup/cpu")
    path = (v1 if v1.is_dir() else pathlib.Path("/sys/fs/cgroup")) / f"chaos-test-{os.getpid()}"
    try:
        path.mkdir(exist_ok=True)
        if v1.is_dir():
            (path / "cpu.cfs_quota_us").write_text("25000")
        else:
            (path / "cpu.max").write_text("25000 100000")
        (path / "cgroup.procs").write_text(str(pid))
    except OSError as why:
        print(f"  SKIP no cgroup can be made here: {why}")
        return None
    return path


def test_users_feel_a_hog_in_the_shops_cgroup():
    """Shop and hogs share the quota: the kernel stops them all for a good part of each 100 ms."""
    def check(shop, tmp):
        path = box(shop.process.pid)
        if not path:
            return
        try:
            (tmp / "plan.yaml").write_text(plan(shop, [(f"cpu: {{process: {shop.tag}, workers: 4}}", "1500ms", "2s")], 5))
            result = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0).result
            phases = {p["kind"]: p for p in result["phases"]}
            before, during, after = (phases[kind]["response_time"]["p95_ms"] for kind in ("baseline", "inject", "recovery"))
            print(f"  p95 {before} ms before, {during} ms while it held, {after} ms after")
            assert result["faults"][0]["mechanism"] == "4 workers in the target's cgroup"
            assert during > 15 and during > 1.4 * max(before, after), (before, during, after)
        finally:
            shop.stop()
            wait_for(lambda: not path.exists() or remove(path), what="the end of the cgroup")
    attempts(3, lambda: with_shop(check))


def remove(path):
    try:
        path.rmdir()
        return True
    except OSError:
        return False


def test_a_shop_without_descriptors_answers_nobody_new():
    def check(shop, tmp):
        limits = nofile(shop.process.pid)
        fault = (f"fd-exhaustion: {{process: {shop.tag}}}", "1s", "1s")
        task = "{get: /close}"  # a new connection each time
        (tmp / "plan.yaml").write_text(plan(shop, [fault], 3, task))
        process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
        wait_for(lambda: nofile(shop.process.pid) != limits, what="the lower limit")
        assert nofile(shop.process.pid)[0] < limits[0] and nofile(shop.process.pid)[1] == limits[1]
        result = finish(process, ["run"], tmp / "out").result
        assert nofile(shop.process.pid) == limits, (nofile(shop.process.pid), limits)
        fault = result["faults"][0]
        assert fault["verified_in"] and fault["verified_out"], fault
        assert shop.is_healthy()
    with_shop(check)


def killed(shop, tmp, fault, victims):
    """Starts the run, waits for the fault, kills those and returns who was there."""
    (tmp / "plan.yaml").write_text(plan(shop, [(fault, "200ms", "60s")], 90))
    process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
    there = lambda: hogs(process.pid) or (nofile(shop.process.pid)[0] < 100 and [0])
    wait_for(there, what=f"a hog of {fault}")
    seen = [pid for pid in children(process.pid, "chaos-helper") + hogs(process.pid)]
    for pid in victims(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    return seen


def guardian_of(pid):
    return [p for p in children(pid, "") if b"guardian" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes()]


def test_no_hog_outlives_a_kill():
    whom = {"the run": lambda run_pid: [run_pid], "the run and its guardian": lambda run_pid: [*guardian_of(run_pid), run_pid]}
    for fault in HOGS:
        for who, victims in whom.items():
            def check(shop, tmp):
                seen = killed(shop, tmp, fault, victims)
                assert len(seen) >= 2, seen
                wait_for(lambda: not any(map(alive, seen)), what=f"the end of {seen} ({fault}, {who} killed)")
            with_shop(check)


def test_a_lowered_limit_is_healed():
    """By the guardian when the run is killed, by recover when both are."""
    def check(shop, tmp, both):
        limits = nofile(shop.process.pid)
        killed(shop, tmp, f"fd-exhaustion: {{process: {shop.tag}}}",
               lambda run_pid: [*(guardian_of(run_pid) if both else []), run_pid])
        if both:
            assert nofile(shop.process.pid) != limits
            assert run("recover", state=tmp / "state").exit_code == 1
        wait_for(lambda: nofile(shop.process.pid) == limits, what="the old limit")
        assert shop.is_healthy()
    for both in (False, True):
        with_shop(lambda shop, tmp: check(shop, tmp, both))


def test_what_cannot_be_is_said_before():
    def check(shop, tmp):
        (tmp / "plan.yaml").write_text(plan(shop, [("disk-fill: {host: any, path: /tmp, size: 900TiB}", "300ms", "300ms")], 2))
        result = run("run", tmp / "plan.yaml", out=tmp / "out")
        assert result.exit_code != 0
        assert "keep_free: 0B" in result.result["faults"][0]["error"], result
    with_shop(check)


if __name__ == "__main__":
    main(globals())
