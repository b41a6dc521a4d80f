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


FAST = net.Pings


class Calm(net.Pings):
    """For an emulated machine, where a ping costs a millisecond of its time."""

    def __init__(self, n=200, gap=0, settle=0, **kwargs):
        super().__init__(n=min(n, 400), gap=max(gap, 0.006), settle=max(settle, 1.5), **kwargs)


def patiently(world, fault, look, seconds=2, exit_code=0, during=net.during):
    return during(world, fault, look, max(seconds, 5), exit_code)


if "CHAOS_VM" in os.environ:
    net.Pings, net.during = Calm, patiently


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


def quick(**where):
    """The quickest tenth of slow pings: what the network does, and not what a busy machine does to those who measure."""
    seen = net.Pings(n=100, gap=0.008, settle=1.0, **where)
    return seen, sorted(seen.rtt.values())[len(seen.rtt) // 10]


def adds(ms, **where):
    def check(world, fault):
        _, before = quick(**where)
        (seen, during), row = net.during(world, fault, lambda: quick(**where))
        assert near(during - before, ms, 0.05, 1), f"{during - before:.2f} ms instead of {ms}"
        print(f"  {during - before:.3f} ms were added", flush=True)
        assert seen.lost() <= 2 and "netem" in row["mechanism"], (seen.lost(), row)
    return check


def jitters(world, fault):
    """50 ± 20 ms, normal: half of them are beyond 50, nine of ten within 50 ± 1.64 × 20."""
    seen, _ = net.during(world, fault, lambda: net.Pings(n=600, settle=1.5))
    rtt = sorted(seen.rtt.values())
    p5, p50, p95 = (rtt[int(len(rtt) * q)] for q in (0.05, 0.5, 0.95))
    assert near(p50, 50, 0.1, 3) and 50 < p95 - p5 < 82, (p5, p50, p95)


def paced(world, fault):
    """100 datagrams of 1000 bytes (1042 on the wire) at 1 Mbit/s take 0.83 s, and not less."""
    def look():
        p = FAST(n=100, gap=0.0001, settle=2.5, size=1000)
        arrived = [p.sent[i] + p.rtt[i] / 1000 for i in p.rtt]
        return (len(arrived) - 1) * 1042 * 8 / (max(arrived) - min(arrived))

    rate, row = net.during(world, fault, look, seconds=4)
    assert near(rate, 1e6, 0.05), rate
    assert "gated" in row["mechanism"], row


def corrupts(world, fault):
    """netem turns a bit anywhere, also in the headers of Ethernet and IP: not all are lost by UDP's checksum."""
    before = checksum_errors()
    seen, _ = net.during(world, fault, lambda: net.Pings(n=600))
    net.binomial(seen.lost(), seen.n, 0.2)
    assert checksum_errors() - before >= 0.6 * seen.lost() > 0, (checksum_errors() - before, seen.lost())


def checksum_errors():
    rows = net.sh("nsenter", f"--net=/run/netns/{net.CLIENT}", "cat", "/proc/net/snmp").split("\n")
    names, values = [r.split() for r in rows if r.startswith("Udp:")]
    return int(values[names.index("InCsumErrors")])


def comes_late(world, fault):
    """Where user space does it, a slow machine is slower still: only the lower bound is exact."""
    _, before = quick()
    (_, during), row = net.during(world, fault, quick)
    assert 39 < during - before < 300, during - before
    assert "NFQUEUE" in row["mechanism"], row


NETEM = [
    ("latency delay: 40ms", adds(40)),
    ("latency delay: 40ms", adds(40, host=net.V6)),
    ("latency delay: 40ms, direction: ingress", adds(40, host=net.V6)),
    ("latency delay: 30ms, direction: both", adds(60)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}, direction: ingress", adds(40, port=net.OTHER_PORT)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}", adds(0)),
    (f"latency delay: 40ms, port: {net.OTHER_PORT}, direction: ingress", adds(0, host=net.V6)),
    ("latency delay: 50ms, jitter: 20ms, distribution: normal", jitters),
    ("loss percent: 30%", net.loses(0.3)),
    ("loss percent: 30%, direction: ingress", net.loses(0.3, host=net.V6)),
    ("loss percent: 20%, direction: both", net.loses(0.36)),
    ("loss gemodel: {p: 10%, r: 50%}", net.loses(1 / 6, widen=2)),
    ("loss state: {p13: 5%, p31: 45%}", net.loses(0.1, widen=3)),
    ("corrupt percent: 20%", corrupts),
    ("duplicate percent: 50%", net.twice),
    ("duplicate percent: 50%, direction: ingress", net.twice),
    ("reorder percent: 25%, delay: 30ms", net.overtakes),
    ("rate rate: 1mbit", paced),
]
HTB = [
    ("rate rate: 1mbit", paced),
    ("rate rate: 1mbit, direction: ingress", paced),
    (f"rate rate: 1mbit, port: {net.ECHO_PORT}", paced),
]


def rows():
    table = [("htb", f, c) for f, c in HTB]
    return ([("netem", f, c) for f, c in NETEM] if HAS_NETEM else []) + table


def test_what_packets_see():
    failures = []
    with net.World() as world:
        for mechanism, fault, check in rows():
            try:
                attempts(4, lambda: by(mechanism, check)(world, fault))
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
    assert seen.p50() < 150 and seen.lost() <= 10, (seen.p50(), seen.lost())
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
        comes_late(world, "latency delay: 40ms")
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
