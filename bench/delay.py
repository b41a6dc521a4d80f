#!/usr/bin/env python3
"""How exact the delays of packets are: asked 1, 10, 40 and 100 ms, against how long packets really were on their way.

Two network namespaces of its own, joined by a cable; in one a plan of ours holds the fault, and one_way.c sends small
datagrams from there. Each is stamped before it is sent and, by the kernel, when it arrives. Printed is by how many
microseconds they were later than asked: the median without any fault is taken off, so what is left is our own error.
`bounce` is the floor of the mechanism NFQUEUE: each packet goes to user space and comes back at once.

    bench/delay.py                      build/release, 100 and 1000 packets a second, about two minutes
    bench/delay.py --quick              a few packets: does it work?
    bench/delay.py --mechanism netem    where the kernel has it, the same for its own emulator

Needs root and a machine that does nothing else.
"""
import argparse
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TAG = "delay-" + os.urandom(3).hex()
HERE, THERE = f"{TAG}-a", f"{TAG}-b"


def sh(*argv, check=True):
    return subprocess.run(argv, check=check, capture_output=True, text=True).stdout


@contextlib.contextmanager
def world(build):
    for space in (HERE, THERE):
        sh("ip", "netns", "add", space)
    server = None
    try:
        sh("ip", "link", "add", "va", "netns", HERE, "type", "veth", "peer", "name", "vb", "netns", THERE)
        for space, dev, n in ((HERE, "va", 1), (THERE, "vb", 2)):
            sh("ip", "-n", space, "addr", "add", f"10.231.8.{n}/24", "dev", dev)
            sh("ip", "-n", space, "link", "set", dev, "up")
            sh("ip", "-n", space, "link", "set", "lo", "up")
        server = subprocess.Popen(["nsenter", f"--net=/run/netns/{HERE}", build / "tests/mini_http", "8080", TAG])
        yield
    finally:
        if server:
            server.kill()
            server.wait()
        for space in (HERE, THERE):
            sh("ip", "netns", "del", space, check=False)


def flights(build, rate, count):
    out = sh(build / "bench/one_way", HERE, THERE, "10.231.8.2", str(rate), str(count))
    return sorted(int(line) / 1000 for line in out.split())


@contextlib.contextmanager
def held(build, fault, tmp):
    """A run whose one user does next to nothing; the fault is in when its table is there."""
    plan = tmp / "plan.yaml"
    plan.write_text(f"target: http://10.231.8.1:8080\nprocesses: [{{name: shop, command: 'mini_http 8080 {TAG}$'}}]\n"
                    "users: [{think: constant(1s), tasks: [{get: /}]}]\nload: {users: 1, for: 10m}\n"
                    f"faults:\n  - {fault}\n    at: 1s\n    duration: 9m\n")
    run = subprocess.Popen(["nsenter", f"--net=/run/netns/{THERE}", build / "cli/chaos-load", "run", plan],
                           env=dict(os.environ, CHAOS_LOAD_STATE=str(tmp)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        while "chaos-load-" not in sh("nsenter", f"--net=/run/netns/{HERE}", "nft", "list", "tables"):
            if run.poll() is not None:
                sys.exit(run.stdout.read().decode())
            time.sleep(0.05)
        time.sleep(0.3)
        yield
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate()


def report(name, values, usual, asked_us, count):
    late = [v - usual - asked_us for v in values]
    p1, p50, p90, p99 = (late[min(len(late) - 1, int(len(late) * q))] for q in (0.01, 0.5, 0.9, 0.99))
    print(f"  {name:>9}  {p1:7.0f} {p50:7.0f} {p90:7.0f} {p99:7.0f} {late[-1]:7.0f}  {count - len(values):5}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--mechanism", default="nfqueue")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with world(args.build), tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        for rate in (100, 1000):
            count = rate if args.quick else 10 * rate
            print(f"{rate} packets a second, load average {os.getloadavg()[0]:.1f}: µs later than asked\n"
                  f"  {'asked':>9}  {'p1':>7} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7}  {'lost':>5}")
            before = flights(args.build, rate, count)
            usual = before[len(before) // 2]
            report("nothing", before, usual, 0, count)
            if args.mechanism == "nfqueue":
                with held(args.build, "loss: {process: shop, percent: 0.000001%, mechanism: nfqueue}", tmp):
                    report("bounce", flights(args.build, rate, count), usual, 0, count)
            for ms in (1, 10, 40, 100):
                with held(args.build, f"latency: {{process: shop, delay: {ms}ms, mechanism: {args.mechanism}}}", tmp):
                    report(f"{ms} ms", flights(args.build, rate, count), usual, ms * 1000, count)


if __name__ == "__main__":
    main()
