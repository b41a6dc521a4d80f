"""Network faults, in namespaces of the test's own: what packets and users see while they hold, and nothing after.

The rows are looked at some lanes at a time, with one run that holds a fault in each. With NET_MECHANISM=netem those that
netem can make are made by it; tests/vm does that, in a machine whose kernel has it. Needs root, else it is skipped."""
import itertools
import os
import signal
import statistics
import subprocess
import time

import net_lanes as net
from harness import finish, folder, main, near, run, start, wait_for
from net_lanes import ECHO_PORT, OTHER_PORT, SHOP_PORT, V4, V6, Lane, Pings, binomial, plan, tcp

LANES = 8
HOLD_S = 3
NORMAL = statistics.NormalDist()


class Check:
    """before(lane), look(lane) while it is held, judge(before, seen, row): AssertionError where it is not as asked."""

    def __init__(self, look, judge, before=lambda lane: None):
        self.look, self.judge, self.before = look, judge, before


def adds(ms, **where):
    def judge(before, seen, row):
        added = seen.p50() - before
        assert near(added, ms, 0.05, 1), f"{added:.2f} ms instead of {ms}"
        assert seen.lost() <= 2, seen.lost()
        return f"{added:.3f} ms were added"
    return Check(lambda lane: Pings(lane, settle=1.0, **where), judge, lambda lane: Pings(lane, n=60, **where).p50())


def runs_of(numbers):
    """How many are followed by their successor."""
    numbers = set(numbers)
    return sum(n + 1 in numbers for n in numbers)


def loses(share, widen=1.0, again=None, **where):
    """`again`: the share of losses that another one follows, where it is not chance alone."""
    def judge(before, seen, row):
        lost = set(range(seen.n)) - set(seen.rtt)
        binomial(len(lost), seen.n, share, widen)
        if again:
            binomial(runs_of(lost), len(lost), again)
        return f"{len(lost)} of {seen.n} were lost"
    return Check(lambda lane: Pings(lane, n=600, **where), judge)


def loses_exactly(count):
    def judge(before, seen, row):
        assert seen.lost() == count, seen.lost()
    return Check(lambda lane: Pings(lane, n=500), judge)


def correlated_losses(before, seen, row):
    """We keep the rate, and lose in a row; netem does not keep it: 20 % with 50 % lose 2.5 % (docs/FAULTS.md)."""
    if "netem" in row["mechanism"]:
        binomial(seen.lost(), seen.n, 0.025, 2)
    else:
        loses(0.2, 2, 0.6).judge(before, seen, row)
    return f"{seen.lost()} of {seen.n} were lost"


def checksums_fail(before, seen, row):
    """netem turns a bit anywhere, also in the headers of Ethernet and IP: not all are lost by UDP's checksum."""
    pings, errors = seen
    binomial(pings.lost(), pings.n, 0.2)
    share = 0.6 if "netem" in row["mechanism"] else 0.9
    assert errors - before >= share * pings.lost() > 0, (before, errors, pings.lost())


def twice(before, seen, row):
    assert seen.lost() <= 2
    binomial(seen.twice(), seen.n, 0.5)


def overtakes(before, seen, row):
    quick = sum(ms < 15 for ms in seen.rtt.values())
    binomial(quick, seen.n, 0.25)
    assert seen.swapped() > 50 and seen.lost() <= 2


def paced(bits):
    """Datagrams of 1000 bytes (1042 on the wire) for half a second at that rate."""
    def judge(before, seen, row):
        arrived = seen.back.values()
        rate = (len(arrived) - 1) * 1042 * 8 / (max(arrived) - min(arrived))
        assert near(rate, bits, 0.05), rate
        return f"{rate / 1e6:.3f} Mbit/s"
    return Check(lambda lane: Pings(lane, n=int(bits / 16672), gap=0.0001, settle=1.5, size=1000), judge)


def pareto(u):
    return ((1 - u) ** (-1 / 3) - 1.5) / 0.75 ** 0.5


DISTRIBUTIONS = {"uniform": lambda u: 2 * u - 1, "normal": NORMAL.inv_cdf, "pareto": pareto,
                 "paretonormal": lambda u: 0.25 * NORMAL.inv_cdf(u) + 0.75 * pareto(u)}


def spreads(delay, jitter, distribution):
    """As many are below each quantile as chance allows, within 1 ms for what the machine adds."""
    def judge(before, seen, row):
        rtt = [ms - before for ms in seen.rtt.values()]
        assert seen.lost() <= 2, seen.lost()
        for u in (0.1, 0.25, 0.5, 0.75, 0.9):
            quantile = delay + jitter * DISTRIBUTIONS[distribution](u)
            bound = 4.5 * (u * (1 - u) / len(rtt)) ** 0.5
            low, high = (sum(ms < quantile + slack for ms in rtt) / len(rtt) for slack in (-1, 1))
            assert low - bound <= u <= high + bound, f"{low:.3f} to {high:.3f} are below the quantile {u}, {quantile:.1f} ms"
        return f"mean {statistics.mean(rtt):.1f} ms, deviation {statistics.stdev(rtt):.1f} ms"
    return Check(lambda lane: Pings(lane, n=400, gap=0.003, settle=1.0), judge, lambda lane: Pings(lane, n=60).p50())


def drifts(before, seen, row):
    """Delays that follow each other are alike. Not netem's: it draws like numbers, and takes them modulo twice the jitter."""
    rtt = [seen.rtt[n] for n in sorted(seen.rtt)]
    alike = statistics.correlation(rtt, rtt[1:] + rtt[:1])
    low, high = (-0.3, 0.3) if "netem" in row["mechanism"] else (0.5, 0.85)
    assert low < alike < high, alike
    return f"correlation {alike:.2f}"


def tcp_sees(*allowed, host=V4):
    def judge(before, seen, row):
        assert before == "served" and set(seen) <= set(allowed), (before, seen)
    return Check(lambda lane: [tcp(lane, host) for _ in range(3)], judge, lambda lane: tcp(lane, host))


def some_connections(before, seen, row):
    hits = seen.count("reset")
    assert hits + seen.count("served") == 200, seen
    binomial(hits, 200, 0.4)


def corrupted(**where):
    return Check(lambda lane: (Pings(lane, n=600, **where), lane.checksum_errors()), checksums_fail, Lane.checksum_errors)


def many(judge, **where):
    return Check(lambda lane: Pings(lane, n=600, **where), judge)


ROWS = [
    ("latency delay: 40ms", adds(40)),
    ("latency delay: 40ms", adds(40, host=V6)),
    ("latency delay: 40ms, direction: ingress", adds(40)),
    ("latency delay: 40ms, direction: ingress", adds(40, host=V6)),
    ("latency delay: 30ms, direction: both", adds(60)),
    (f"latency delay: 40ms, port: {OTHER_PORT}", adds(40, port=OTHER_PORT)),
    (f"latency delay: 40ms, port: {OTHER_PORT}", adds(0)),
    (f"latency delay: 40ms, port: {OTHER_PORT}, direction: ingress", adds(40, port=OTHER_PORT)),
    (f"latency delay: 40ms, port: {OTHER_PORT}, direction: ingress", adds(0, host=V6)),
    ("latency delay: 40ms, dst: 'fd23:7::1'", adds(40, host=V6)),
    ("latency delay: 40ms, dst: 'fd23:7::1'", adds(0)),
    ("latency delay: 50ms, jitter: 10ms", spreads(50, 10, "uniform")),
    ("latency delay: 50ms, jitter: 10ms, distribution: normal", spreads(50, 10, "normal")),
    ("latency delay: 50ms, jitter: 10ms, distribution: pareto", spreads(50, 10, "pareto")),
    ("latency delay: 50ms, jitter: 10ms, distribution: paretonormal", spreads(50, 10, "paretonormal")),
    ("latency delay: 50ms, jitter: 20ms, correlation: 70%", many(drifts)),
    ("loss percent: 30%", loses(0.3)),
    ("loss percent: 30%, direction: ingress", loses(0.3, host=V6)),
    ("loss percent: 30%, mechanism: nfqueue", loses(0.3)),
    ("loss percent: 20%, direction: both", loses(0.36)),
    ("loss percent: 20%, correlation: 50%", many(correlated_losses)),
    ("loss gemodel: {p: 10%, r: 50%}", loses(1 / 6, 2, 0.5)),
    ("loss gemodel: {p: 10%, r: 50%}, direction: ingress", loses(1 / 6, 2, 0.5, host=V6)),
    ("loss state: {p13: 5%, p31: 45%}", loses(0.1, 2, 0.55)),
    ("loss every: 5", loses_exactly(100)),
    ("loss every: 5, packet: 3, mechanism: nfqueue", loses_exactly(100)),
    ("corrupt percent: 20%", corrupted()),
    ("corrupt percent: 20%, direction: ingress", many(lambda before, seen, row: binomial(seen.lost(), seen.n, 0.2), host=V6)),
    ("duplicate percent: 50%", many(twice)),
    ("duplicate percent: 50%", many(twice, host=V6)),
    ("reorder percent: 25%, delay: 30ms", many(overtakes)),
    ("reorder percent: 25%, delay: 30ms, direction: ingress", many(overtakes, host=V6)),
    ("rate rate: 4mbit", paced(4e6)),
    ("rate rate: 4mbit, direction: ingress", paced(4e6)),
    ("rate rate: 4mbit, mechanism: htb", paced(4e6)),
    ("rate rate: 2mbit, mechanism: htb, direction: ingress", paced(2e6)),
    (f"rate rate: 2mbit, mechanism: htb, port: {ECHO_PORT}", paced(2e6)),
    ("partition mode: drop", tcp_sees("timeout")),
    ("partition mode: drop, direction: egress", tcp_sees("timeout", host=V6)),
    ("partition mode: drop, mechanism: nfqueue", tcp_sees("timeout")),
    ("partition mode: reject", tcp_sees("refused")),
    ("partition mode: reset", tcp_sees("refused", host=V6)),
    (f"partition peers: {V4[:-1]}1", tcp_sees("timeout")),
    ("tcp-reset", tcp_sees("reset")),
    ("tcp-reset direction: ingress", tcp_sees("reset", host=V6)),
    ("tcp-reset percent: 40%", Check(lambda lane: [tcp(lane) for _ in range(200)], some_connections)),
    # Filters are ANDed: each of these misses in one condition.
    (f"partition port: {OTHER_PORT}", tcp_sees("served")),
    (f"partition port: {SHOP_PORT}, protocol: udp", tcp_sees("served")),
    (f"partition port: {SHOP_PORT}, peers: 10.231.7.9", tcp_sees("served")),
    (f"partition dport: {SHOP_PORT}, direction: egress", tcp_sees("served")),
    (f"partition dst: {V4}, direction: ingress, port: {SHOP_PORT}", tcp_sees("served", host=V6)),
    ("partition interface: lo", tcp_sees("served")),
]
NETEM_ONLY = [("duplicate percent: 50%, direction: ingress", many(twice, host=V6))]
NETEM_CAN = {"latency", "loss", "corrupt", "duplicate", "reorder", "rate"}


def rows():
    if net.MECHANISM != "netem":
        return ROWS
    def by_netem(fault):
        can = fault.split()[0] in NETEM_CAN and "mechanism" not in fault and "every" not in fault
        return f"{fault}, mechanism: netem" if can else fault
    return [(by_netem(fault), check) for fault, check in ROWS + NETEM_ONLY]


# ---- some at a time ----

def look_at(lane, check, process):
    lane.until_held(process)
    seen = check.look(lane)
    assert lane.is_held(), "it ended while it was looked at: the machine is too slow"
    return seen


def judge_one(lane, fault, check, before, seen, row):
    for value in (before, seen):
        if isinstance(value, AssertionError):
            raise value
    state = {key: row[key] for key in ("verified_in", "verified_out", "ended_by", "error")}
    assert state == {"verified_in": True, "verified_out": True, "ended_by": "plan", "error": None}, state
    wanted = fault.partition("mechanism: ")[2].split(",")[0]
    assert wanted in row["mechanism"].lower(), row["mechanism"]
    said = check.judge(before, seen, row)
    lane.assert_clean()
    after = Pings(lane, n=20, settle=0.2)
    assert after.lost() == 0 and after.p50() < 15, f"afterwards {after.lost()} of 20 are lost, and they take {after.p50()} ms"
    print(f"  {fault}{': ' if said else ''}{said or ''}", flush=True)


def try_rows(lanes, batch):
    """Holds them in as many lanes, and says which have failed: (fault, check, why)."""
    job = dict(zip(lanes, batch))
    used = list(job)
    before = net.on_all(lambda lane: job[lane][1].before(lane), used)
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(plan([(lane, job[lane][0]) for lane in used], HOLD_S))
        args = ["run", tmp / "plan.yaml"]
        process = start(args, tmp / "out")
        seen = net.on_all(lambda lane: look_at(lane, job[lane][1], process), used)
        done = finish(process, args, tmp / "out").expect(0)
        assert list((tmp / "state").iterdir()) == []
    told = {lane: (before[i], seen[i], done.result["faults"][i]) for i, lane in enumerate(used)}
    verdicts = net.on_all(lambda lane: judge_one(lane, *job[lane], *told[lane]), used)
    return [(*job[lane], why) for lane, why in zip(used, verdicts) if why]


def in_batches(lanes, left):
    return list(itertools.chain.from_iterable(try_rows(lanes, left[i:i + len(lanes)]) for i in range(0, len(left), len(lanes))))


def test_what_packets_see():
    """A busy machine may spoil a figure, and then fewer at once are looked at again; never three times."""
    lanes = [Lane(i) for i in range(LANES)]
    entered = []
    try:
        for lane in lanes:
            entered.append(lane.__enter__())
        left = rows()
        for n in (LANES, LANES // 2, 2):
            failed = in_batches(lanes[:n], left)
            for fault, _, why in failed:
                print(f"  failed with {n} at once: {fault}: {why}", flush=True)
            left = [(fault, check) for fault, check, _ in failed]
    finally:
        for lane in entered:
            lane.__exit__()
    assert not left, "\n".join(f"{fault}: {why}" for fault, _, why in failed)


def kill_one(lane, fault, whom):
    """SIGKILL of the run, of the holder: gone at once."""
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(plan([(lane, fault)], 30))
        process = start(["run", tmp / "plan.yaml"], tmp / "out")
        lane.until_held(process)
        time.sleep(0.3)  # until the run has looked, too
        holders = [p for p in net.children_of(process.pid) if net.is_holder(p)]
        assert len(holders) == 1, holders
        os.kill(process.pid if whom == "run" else holders[0], signal.SIGKILL)
        began = time.monotonic()
        wait_for(lambda: not lane.is_held(), seconds=5, what="the end")
        print(f"  {fault.split()[0]}, {whom} killed: gone after {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
        assert tcp(lane) == "served"
        assert Pings(lane, n=50).lost() == 0
        if whom == "holder":
            process.send_signal(signal.SIGINT)
            done = finish(process, ["run"], tmp / "out")
            assert "was killed" in done.stderr + done.stdout, done
        else:
            process.communicate()
            run("recover", state=tmp / "state").expect(0)


def hang_one(lane, fault):
    """SIGSTOP of the run: it ends by itself, ten seconds late."""
    with folder() as tmp:
        (tmp / "plan.yaml").write_text(plan([(lane, fault)], 1))
        process = start(["run", tmp / "plan.yaml"], tmp / "out")
        lane.until_held(process)
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: not lane.is_held(), seconds=20, what="the end")
        assert Pings(lane, n=50).p50() < 20
        process.send_signal(signal.SIGCONT)
        finish(process, ["run"], tmp / "out")


def test_no_end_leaves_anything():
    jobs = [(kill_one, fault, whom) for fault in ("partition mode: drop", "latency delay: 200ms") for whom in ("run", "holder")]
    jobs.append((hang_one, "latency delay: 50ms"))

    def one(i):
        job, *how = jobs[i]
        with Lane(i) as lane:
            job(lane, *how)

    failures = [f"{jobs[i][1:]}: {why}" for i, why in enumerate(net.on_all(one, range(len(jobs)))) if why]
    assert not failures, "\n".join(failures)


def test_the_host_needs_a_filter():
    anyone = subprocess.Popen(["sleep", "60"])
    try:
        with folder() as tmp:
            text = plan([(Lane(), "partition")], 1)
            text = text.replace(f"command: \"serve {Lane().tag}$\"", f"pid: {anyone.pid}").replace("at: 300ms", "at: 0s")
            (tmp / "plan.yaml").write_text(text)
            done = run("run", tmp / "plan.yaml", out=tmp / "out")
            assert "all of which would be hit: add port, dst, src or peers" in done.stdout + done.stderr, done
    finally:
        anyone.kill()
        anyone.wait()


if __name__ == "__main__":
    net.needs_root()
    main(globals())
