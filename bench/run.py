#!/usr/bin/env python3
"""Side-by-side measurements of load clients, in one command.

Starts Debian's nginx pinned to one core with a private configuration (loopback, a small static answer, plain and
TLS), and runs the clients pinned to the other, interleaved, in several rounds. Prints requests per second of client
CPU time (user + system, of the whole process, as the kernel counts it) and our ratio to each: the median of the
ratios of the rounds, because a noisy machine is noisy for neighbours alike.

    bench/run.py                      build what is needed into build/bench*, measure, print
    bench/run.py --quick              two short rounds: does it work?
    bench/run.py --only wrk,bare      ours is always there
    LOCUST=/opt/locust/bin/locust bench/run.py

Needs nginx, wrk, nghttp2-client, openssl; what is missing is left out and said.
"""
import argparse
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT_CORE, SERVER_CORE = 0, 1


class Client:
    """A program under measurement: its argv for a case, and how its output says how many requests it made."""

    def __init__(self, name, argv, count, tls=True, large=True, start_cost=None):
        self.name, self.argv, self.count = name, argv, count
        self.tls, self.large, self.start_cost = tls, large, start_cost


def numbers_line(text):
    done, _, _, _, failed, _ = text.split()[-6:]
    if int(failed):
        print(f"  ! {failed} failures", file=sys.stderr)
    return int(done)


def wrk_count(text):
    return int(re.search(r"(\d+) requests in", text).group(1))


def h2load_count(text):
    return int(re.search(r"requests: \d+ total, \d+ started, (\d+) done", text).group(1))


def locust_count(text):
    import json
    rows = json.loads(text[text.index("["):text.rindex("]") + 1])
    return sum(row["num_requests"] for row in rows)


def run_count(directory):
    import json

    def count(_text):
        with open(directory / "result.json", encoding="utf-8") as f:
            result = json.load(f)
        if result["totals"]["failures"]:
            print(f"  ! {result['totals']['failures']} failures", file=sys.stderr)
        return result["totals"]["requests"]
    return count


LOCUSTFILE = """
from locust import FastHttpUser, task
class U(FastHttpUser):
    insecure = True
    @task
    def get(self):
        self.client.get("/")
"""

PLAN = """apiVersion: chaos-load/v1
name: bench
target: {url}
users:
  - {{name: bench, think: none, tasks: [{{get: /}}]}}
load: {{users: {n}, spawn: 100000/s, for: {seconds}s}}
http: {{tls: {{verify: false}}}}
threads: 1
graceful_stop: 5s
"""


def clients_of(build, work):
    """Ours first. The command line runs whole plans; ours_client is the engine and the statistics alone."""
    def plan_argv(binary, name):
        def argv(url, n, seconds):
            plan = work / f"{name}.yaml"
            plan.write_text(PLAN.format(url=url, n=n, seconds=seconds))
            return [binary, "run", plan, "--headless", "--out", work / name]
        return argv

    def simple(binary):
        return lambda url, n, seconds: [binary, url, n, seconds]

    found = []
    if (build / "cli/chaos-load").exists():
        found.append(Client("chaos-load run", plan_argv(build / "cli/chaos-load", "ours"),
                            run_count(work / "ours")))
    found.append(Client("our engine alone", simple(build / "bench/ours_client"), numbers_line))
    bare = Build.no_stats
    if bare and (bare / "cli/chaos-load").exists():
        found.append(Client("ours, no statistics", plan_argv(bare / "cli/chaos-load", "bare"),
                            lambda text: run_count(work / "bare")(text), tls=False, large=False))
    elif bare:
        found.append(Client("engine, no statistics", simple(bare / "bench/ours_client"), numbers_line,
                            tls=False, large=False))
    found.append(Client("bare libevent loop", simple(build / "bench/bare_loop"), numbers_line, tls=False))
    if shutil.which("wrk"):
        found.append(Client("wrk", lambda url, n, s: ["wrk", "-t1", f"-c{n}", f"-d{s}s", url + "/"], wrk_count))
    if shutil.which("h2load"):
        found.append(Client("h2load --h1", lambda url, n, s: ["h2load", "--h1", "-t1", f"-c{n}", f"-D{s}", url + "/"],
                            h2load_count))
    found.append(Client("libcurl multi", simple(build / "bench/curl_multi"), numbers_line))
    locust = os.environ.get("LOCUST") or shutil.which("locust") or "/opt/locust/bin/locust"
    if Path(locust).exists():
        (work / "locustfile.py").write_text(LOCUSTFILE)

        def locust_argv(url, n, s):
            return [locust, "-f", work / "locustfile.py", "--headless", "-H", url, "-u", n, "-r", n, "-t", f"{s}s",
                    "--json", "--loglevel", "ERROR"]
        found.append(Client("Locust FastHttpUser", locust_argv, locust_count, large=False,
                            start_cost=[locust, "--version"]))
    return found


class Build:
    no_stats = None


def build(directory, *options):
    subprocess.run(["cmake", "-S", ROOT, "-B", directory, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                    "-DCHAOS_HARDEN=ON", "-DCHAOS_BENCH=ON", "-DCHAOS_TESTS=OFF", *options], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", directory], check=True, stdout=subprocess.DEVNULL)
    return directory


class Nginx:
    """The target: one worker on SERVER_CORE, a 100-byte file, plain and TLS, nothing logged."""

    def __init__(self, work):
        self.work = work
        self.plain, self.tls = free_port(), free_port()
        www = work / "www"
        www.mkdir()
        (www / "index.html").write_text("x" * 100)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", work / "key.pem", "-out", work / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        temp = "".join(f"{kind}_temp_path {work}/{kind};" for kind in
                       ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        user = "user root;" if os.geteuid() == 0 else ""
        (work / "nginx.conf").write_text(f"""
worker_processes 1; {user} pid {work}/pid; error_log {work}/error.log crit; daemon off;
worker_cpu_affinity {1 << SERVER_CORE:b};
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
  access_log off; {temp} keepalive_requests 1000000000; keepalive_timeout 600s;
  server {{
    listen 127.0.0.1:{self.plain} backlog=8192; listen 127.0.0.1:{self.tls} ssl backlog=8192;
    ssl_certificate {work}/cert.pem; ssl_certificate_key {work}/key.pem; ssl_protocols TLSv1.3;
    root {www};
  }}
}}
""")
        self.process = subprocess.Popen([nginx_path(), "-c", work / "nginx.conf"])
        wait_for_port(self.tls)

    def url(self, tls):
        return f"https://127.0.0.1:{self.tls}" if tls else f"http://127.0.0.1:{self.plain}"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def nginx_path():
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("nginx did not start")


def spawn(argv):
    """Runs a command on the client's core; its output and CPU seconds."""
    with tempfile.TemporaryFile("w+") as out:
        p = subprocess.Popen([str(a) for a in argv], stdout=out, stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}))
        _, status, use = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        return out.read(), use.ru_utime + use.ru_stime


def peak_kib(argv):
    """Runs a command; its peak memory, from /proc while it lives (rusage would count ours before the exec)."""
    peak = 0
    p = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None:
        status = Path(f"/proc/{p.pid}/status")
        try:
            found = re.search(r"VmHWM:\s+(\d+)", status.read_text())
            peak = max(peak, int(found.group(1)) if found else 0)
        except OSError:
            pass
        time.sleep(0.05)
    return peak


def rate_of(client, url, n, seconds):
    text, cpu = spawn(client.argv(url, n, seconds))
    if client.start_cost:
        cpu -= spawn(client.start_cost)[1]
    try:
        return client.count(text) / cpu
    except (AttributeError, ValueError, OSError, ZeroDivisionError):
        sys.exit(f"{client.name} gave no figure: {text[-500:]}")


def measure(title, clients, url, n, options):
    print(f"\n{title}")
    rates = {c.name: [] for c in clients}
    for _ in range(options.rounds):
        for c in clients:
            rates[c.name].append(rate_of(c, url, n, options.seconds))
    ours = rates[clients[0].name]
    print(f"  {'':22} {'requests per CPU s':>18}  {'spread':>15}  ours / this")
    for name, values in rates.items():
        if min(values) <= 0:
            print(f"  {name:22} no answers")
            continue
        ratio = statistics.median(a / b for a, b in zip(ours, values))
        print(f"  {name:22} {statistics.median(values):18,.0f}  {min(values):7,.0f}-{max(values):7,.0f}  {ratio:.3f}")
    return statistics.median(ours)


def memory_per_user(client, url, seconds):
    """What 4,000 more connected users cost: the difference of peaks."""
    few, many = (peak_kib(client.argv(url, n, seconds)) for n in (1000, 5000))
    return (many - few) / 4000


def first_request_ms(argv_of):
    """From exec to the first byte at a server, the fastest of five: what is slower is the machine's doing."""
    best = None
    for _ in range(5):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            begun = time.monotonic()
            p = subprocess.Popen([str(a) for a in argv_of(f"http://127.0.0.1:{s.getsockname()[1]}", 1, 1)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            s.settimeout(10)
            with s.accept()[0] as c:
                c.recv(1)
                took = (time.monotonic() - begun) * 1000
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            p.send_signal(signal.SIGINT)
            try:
                p.wait(15)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            best = took if best is None else min(best, took)
    return best


def parse_options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--seconds", type=int, default=3, help="of each run")
    p.add_argument("--quick", action="store_true", help="two rounds of one second")
    p.add_argument("--only", default="", help="parts of names, comma separated; the first client is always there")
    p.add_argument("--build", type=Path, help="a release build with CHAOS_BENCH that is there already")
    p.add_argument("--no-stats-build", type=Path, help="the same with CHAOS_NO_STATS")
    options = p.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 1
    return options


def choose(clients, only):
    words = [w for w in only.split(",") if w]
    return [c for i, c in enumerate(clients) if i == 0 or not words or any(w in c.name for w in words)]


def raise_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000) if hard > 0 else 20000, hard))
    return soft


def main():
    options = parse_options()
    if not nginx_path():
        sys.exit("nginx is missing: apt-get install nginx-light")
    raise_files()
    ready = options.build or build(ROOT / "build/bench")
    Build.no_stats = options.no_stats_build or (None if options.build else
                                                build(ROOT / "build/bench-no-stats", "-DCHAOS_NO_STATS=ON"))
    os.environ["CHAOS_LOAD_STATE_DIR"] = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="chaos-bench-") as name:
        work = Path(name)
        os.chmod(work, 0o755)
        nginx = Nginx(work)
        try:
            report(clients_of(ready, work), nginx, options)
        finally:
            nginx.stop()


def report(clients, nginx, options):
    for tool in ("wrk", "h2load"):
        if not shutil.which(tool):
            print(f"left out: {tool} is not installed")
    chosen = choose(clients, options.only)
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; server on core {SERVER_CORE}, clients on core "
          f"{CLIENT_CORE}; {options.rounds} rounds of {options.seconds} s, interleaved")
    few = measure("64 connections", chosen, nginx.url(False), 64, options)
    many = measure("1,000 connections", [c for c in chosen if c.large], nginx.url(False), 1000, options)
    measure("64 connections, TLS 1.3", [c for c in chosen if c.tls], nginx.url(True), 64, options)
    print(f"\n1,000 connections against 64, ours: {many / few:.3f}")
    for c in clients[:2]:
        if c.name.startswith("our") or c.name.startswith("chaos"):
            print(f"memory per connected user, {c.name}: {memory_per_user(c, nginx.url(False), 2):.2f} KiB, "
                  f"TLS {memory_per_user(c, nginx.url(True), 4):.2f} KiB")
            print(f"first request after start, {c.name}: {first_request_ms(c.argv):.1f} ms")


if __name__ == "__main__":
    main()
