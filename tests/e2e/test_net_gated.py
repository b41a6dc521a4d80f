"""Network faults by the kernel's own queueing disciplines, behind a gate: netem and htb, in the lanes of net_lanes.

That all pass at once when we are killed; that what is left then is taken away; and that what others have put on a device
stays. What packets see while they hold is in test_net. netem is in few of the kernels that run tests: in tests/vm it is."""
import os
import signal
import subprocess
import sys
import time

import net_lanes as net
from harness import finish, folder, main, run, start, wait_for
from net_lanes import Lane, Pings


def kernel_has(kind):
    return subprocess.run(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", *kind.split()],
                          capture_output=True, check=False).returncode == 0


HAS_NETEM = kernel_has("netem delay 1ms") and kernel_has("prio")
SLOW = (["latency delay: 300ms, mechanism: netem, direction: both"] if HAS_NETEM else []) + \
    ["rate rate: 64kbit, mechanism: htb, direction: both"]


def hold(lane, fault, tmp):
    (tmp / "plan.yaml").write_text(net.plan([(lane, fault)], 30))
    process = start(["run", tmp / "plan.yaml"], tmp / "out")
    lane.until_held(process)
    time.sleep(0.5)
    assert " ca" in lane.qdiscs() and "clifb" in lane.links(), lane.qdiscs()
    return process


def is_open(lane):
    """All pass at once: the gate went with its holder."""
    wait_for(lambda: not lane.is_held(), seconds=5, what="the gate's end")
    seen = Pings(lane, n=100, gap=0.001)
    assert seen.p50() < 15 and seen.lost() <= 2, (seen.p50(), seen.lost())


def kill_one(lane, fault, whom):
    """Whoever was killed: the way is free at once; the idle qdisc goes by the run's own revert, by the guardian, or by
    recover."""
    with folder() as tmp:
        process = hold(lane, fault, tmp)
        holders = [p for p in net.children_of(process.pid) if net.is_holder(p)]
        assert len(holders) == 1, holders
        os.kill(process.pid if whom == "run" else holders[0], signal.SIGKILL)
        is_open(lane)
        if whom == "holder":
            process.send_signal(signal.SIGINT)
            finish(process, ["run"], tmp / "out")
        else:
            process.communicate()
            time.sleep(1)  # the guardian's
            run("recover", state=tmp / "state")
        lane.assert_clean()


def kill_all(lane, fault):
    """Run and guardian: only the journal knows."""
    with folder() as tmp:
        process = hold(lane, fault, tmp)
        for pid in [process.pid, *net.children_of(process.pid)]:
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        is_open(lane)
        assert not lane.is_clean(), "nothing was left to recover"
        run("recover", state=tmp / "state")
        lane.assert_clean()
        assert Pings(lane, n=50).lost() == 0


def test_a_kill_opens_the_way_and_leaves_nothing():
    jobs = [(fault, whom) for fault in SLOW for whom in ("holder", "run", "all")]

    def one(i):
        fault, whom = jobs[i]
        with Lane(i) as lane:
            if whom == "all":
                kill_all(lane, fault)
            else:
                kill_one(lane, fault, whom)
        print(f"  {fault}, {whom} killed: clean", flush=True)

    failures = [f"{jobs[i]}: {why}" for i, why in enumerate(net.on_all(one, range(len(jobs)))) if why]
    assert not failures, "\n".join(failures)


def test_foreign_qdiscs_stay():
    """Refused where it was asked for, another mechanism where it was not; theirs is as it was."""
    with Lane() as lane:
        lane.seen_by(lane.server, *"tc qdisc add dev vs root handle 7: tbf rate 1gbit burst 100kb latency 1s".split())
        before = lane.qdiscs()
        forced = (["latency delay: 40ms, mechanism: netem"] if HAS_NETEM else []) + ["rate rate: 4mbit, mechanism: htb"]
        for fault in forced:
            with folder() as tmp:
                (tmp / "plan.yaml").write_text(net.plan([(lane, fault)], 1))
                done = run("run", tmp / "plan.yaml", out=tmp / "out")
                assert "has a queueing discipline already (tbf 7:)" in done.stdout + done.stderr, done
                assert done.exit_code != 0 and lane.qdiscs() == before
        with folder() as tmp:
            (tmp / "plan.yaml").write_text(net.plan([(lane, "latency delay: 40ms")], 1))
            done = run("run", tmp / "plan.yaml", out=tmp / "out").expect(0)
            assert "NFQUEUE" in done.result["faults"][0]["mechanism"] and lane.qdiscs() == before, done


def test_unknown_to_the_kernel():
    if HAS_NETEM:
        return
    with Lane() as lane, folder() as tmp:
        (tmp / "plan.yaml").write_text(net.plan([(lane, "latency delay: 40ms, mechanism: netem")], 1))
        done = run("run", tmp / "plan.yaml", out=tmp / "out")
        assert "this kernel has no netem" in done.stdout + done.stderr, done
        lane.assert_clean()


if __name__ == "__main__":
    net.needs_root()
    if not HAS_NETEM:
        print("this kernel has no netem: tests/vm runs its rows")
    main(globals())
