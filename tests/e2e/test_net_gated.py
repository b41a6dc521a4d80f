"""Network faults by the kernel's own queueing disciplines, behind a gate: netem and htb, in the namespaces of test_net.

What packets see while they hold; that all pass at once when we are killed; that what is left then is taken away; and
that what others have put on a device stays. netem is in few of the kernels that run tests: in tests/vm it is."""
import os
import subprocess
import sys
import time

import test_net as net
from harness import *


def kernel_has(kind):
    return subprocess.run(["unshare", "-n", "tc", "qdisc", "add", "dev", "lo", "root", "handle", "1:", *kind.split()],
                          capture_output=True).returncode == 0


HAS_NETEM = kernel_has("netem delay 1ms") and kernel_has("prio")


def qdiscs():
    return net.sh("tc", "-n", net.SERVER, "qdisc", "show")


def links():
    return net.sh("ip", "-n", net.SERVER, "link", "show")


def is_clean():
    return " ca" not in qdiscs() and "clifb" not in links()


def by(mechanism, check):
    """The check of test_net, and: it was that mechanism, and nothing of it is left."""
    def both(world, fault):
        check(world, f"{fault}, mechanism: {mechanism}")
        assert is_clean(), qdiscs() + links()
    return both


def jitters(world, fault):
    """50 ± 20 ms, normal: half of them are beyond 50, one in 20 beyond 50 + 1.64 × 20, either way."""
    seen, _ = net.during(world, fault, lambda: net.Pings(n=600, settle=1.5))
    rtt = sorted(seen.rtt.values())
    p5, p50, p95 = (rtt[int(len(rtt) * q)] for q in (0.05, 0.5, 0.95))
    assert near(p50, 50, 0.08, 2), p50
    assert 22 < p50 - p5 < 44 and 22 < p95 - p50 < 44, (p5, p50, p95)


def paced_towards(world, fault):
    """As test_net's, on the way in: the echo's answers come as fast as the questions are let in."""
    net.paced(world, fault)


NETEM = [
    ("latency delay: 40ms", net.adds(40)),
    ("latency delay: 40ms", net.adds(40, host=net.V6)),
    ("latency delay: 40ms, direction: ingress", net.adds(40)),
    ("latency delay: 40ms, direction: ingress", net.adds(40, host=net.V6)),
    ("latency delay: 30ms, direction: both", net.adds(60)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}", net.adds(40, port=net.OTHER_PORT)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}, direction: ingress", net.adds(40, port=net.OTHER_PORT)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}", net.adds(0)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}, direction: ingress", net.adds(0, host=net.V6)),
    ("latency delay: 50ms, jitter: 20ms, distribution: normal", jitters),
    ("loss percent: 30%", net.loses(0.3)),
    ("loss percent: 30%, direction: ingress", net.loses(0.3, host=net.V6)),
    ("loss percent: 20%, direction: both", net.loses(0.36)),
    ("loss gemodel: {p: 10%, r: 50%}", net.loses(1 / 6, widen=2)),
    ("loss state: {p13: 5%, p31: 45%}", net.loses(0.1, widen=3)),
    ("corrupt percent: 20%", net.checksums_fail),
    ("duplicate percent: 50%", net.twice),
    ("duplicate percent: 50%, direction: ingress", net.twice),
    ("reorder percent: 25%, delay: 30ms", net.overtakes),
    ("rate rate: 4mbit", net.paced),
]
HTB = [
    ("rate rate: 4mbit", net.paced),
    ("rate rate: 4mbit, direction: ingress", paced_towards),
    (f"rate rate: 4mbit, port: {net.ECHO_PORT}", net.paced),
]


def rows():
    table = [("htb", f, c) for f, c in HTB]
    return ([("netem", f, c) for f, c in NETEM] if HAS_NETEM else []) + table


def test_what_packets_see():
    failures = []
    with net.World() as world:
        for mechanism, fault, check in rows():
            try:
                attempts(3, lambda: by(mechanism, check)(world, fault))
                print(f"  {mechanism}: {fault}", flush=True)
            except AssertionError as why:
                failures.append(f"{mechanism}: {fault}: {why}")
    assert not failures, "\n".join(failures)


def lasting():
    return (["latency delay: 300ms, mechanism: netem, direction: both"] if HAS_NETEM else []) + \
        ["rate rate: 64kbit, mechanism: htb, direction: both"]


def kill_and_look(world, fault, whom, tmp):
    (tmp / "plan.yaml").write_text(net.plan(fault, 30))
    process = start(["run", tmp / "plan.yaml"], tmp / "out")
    wait_for(lambda: net.held(world, tmp), what="the fault")
    time.sleep(0.5)
    assert not is_clean(), qdiscs()
    holders = [p for p in net.children_of(process.pid) if net.is_holder(p)]
    assert len(holders) == 1, holders
    os.kill(process.pid if whom == "run" else holders[0], signal.SIGKILL)
    wait_for(lambda: "chaos-load" not in world.rules(), seconds=5, what="the gate's end")
    seen = net.Pings(n=100, gap=0.001)
    assert seen.p50() < 30 and seen.lost() <= 2, (seen.p50(), seen.lost())
    return process


def test_a_kill_opens_the_way_and_leaves_nothing():
    """The way is free at once, whoever was killed; the idle qdisc goes by the run's own revert, by the guardian,
    or by recover."""
    with net.World() as world:
        for fault in lasting():
            for whom in ("holder", "run"):
                with folder() as tmp:
                    process = kill_and_look(world, fault, whom, tmp)
                    if whom == "holder":
                        process.send_signal(signal.SIGINT)
                        finish(process, ["run"], tmp / "out")
                    else:
                        process.communicate()
                        time.sleep(1)  # the guardian's
                        run("recover", state=tmp / "state")
                    assert is_clean(), qdiscs() + links()
                    print(f"  {fault}, {whom} killed: clean", flush=True)


def test_recover_takes_away_what_is_left():
    """Both killed, run and guardian: only the journal knows."""
    with net.World() as world:
        for fault in lasting():
            with folder() as tmp:
                (tmp / "plan.yaml").write_text(net.plan(fault, 30))
                process = start(["run", tmp / "plan.yaml"], tmp / "out")
                wait_for(lambda: net.held(world, tmp), what="the fault")
                time.sleep(0.5)
                ours = net.children_of(process.pid)
                for pid in [process.pid, *ours]:
                    os.kill(pid, signal.SIGKILL)
                process.communicate()
                wait_for(lambda: "chaos-load" not in world.rules(), seconds=5, what="the gate's end")
                assert not is_clean(), "nothing was left to recover"
                done = run("recover", state=tmp / "state")
                assert is_clean(), f"{done}\n{qdiscs()}{links()}"
                assert net.Pings(n=50).lost() == 0
                print(f"  {fault}: recovered", flush=True)


def test_foreign_qdiscs_stay():
    """Refused where it was asked for, another mechanism where it was not; theirs is as it was."""
    with net.World() as world:
        net.sh("tc", "-n", net.SERVER, "qdisc", "add", "dev", "vs", "root", "handle", "7:", "tbf", "rate", "1gbit", "burst",
               "100kb", "latency", "1s")
        before = qdiscs()
        forced = (["latency delay: 40ms, mechanism: netem"] if HAS_NETEM else []) + ["rate rate: 4mbit, mechanism: htb"]
        for fault in forced:
            with folder() as tmp:
                (tmp / "plan.yaml").write_text(net.plan(fault, 1))
                done = run("run", tmp / "plan.yaml", out=tmp / "out")
                assert "has a queueing discipline already (tbf 7:)" in done.stdout + done.stderr, done
                assert done.exit_code != 0 and qdiscs() == before
        net.adds(40)(world, "latency delay: 40ms")
        assert qdiscs() == before, qdiscs()


def test_unknown_to_the_kernel():
    if HAS_NETEM:
        return
    with net.World() as world, folder() as tmp:
        (tmp / "plan.yaml").write_text(net.plan("latency delay: 40ms, mechanism: netem", 1))
        done = run("run", tmp / "plan.yaml", out=tmp / "out")
        assert "this kernel has no netem" in done.stdout + done.stderr, done
        assert is_clean()


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIP network namespaces need root")
        sys.exit(77)
    if not HAS_NETEM:
        print("this kernel has no netem: tests/vm runs its rows")
    main(globals())
