"""What the end-to-end tests share: running chaos-load as a user does, and servers of known behaviour.

A test file is a program: functions named test_*, run by main(). Standard library only.
    CHAOS_LOAD     the binary         TRUTH_SERVER   tests/tools/truth_server
"""
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid

CHAOS_LOAD = os.environ.get("CHAOS_LOAD", "build/dev/cli/chaos-load")
TRUTH_SERVER = os.environ.get("TRUTH_SERVER", "build/dev/tests/truth_server")
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Run:
    """A finished run: exit code, texts, and result.json where there is one."""

    def __init__(self, args, exit_code, stdout, stderr, out):
        self.args, self.exit_code, self.stdout, self.stderr, self.out = args, exit_code, stdout, stderr, out
        path = out / "result.json" if out else None
        self.result = json.loads(path.read_text()) if path and path.exists() else None

    def __str__(self):
        return f"{' '.join(map(str, self.args))}\nexit {self.exit_code}\n{self.stdout[-3000:]}\n{self.stderr[-3000:]}"

    def expect(self, exit_code):
        assert self.exit_code == exit_code, f"expected exit {exit_code}: {self}"
        return self

    def errors(self):
        return {e["class"]: e["count"] for e in self.result["errors"]}


@contextlib.contextmanager
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="chaos-load-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def environment(state):
    env = dict(os.environ, CHAOS_LOAD_STATE=str(state))
    env.pop("CI", None)
    return env


def start(args, out=None, state=None, **kwargs):
    """Starts chaos-load in the background; SIGINT works because the session is its own."""
    argv = [CHAOS_LOAD, *map(str, args)] + (["--out", str(out)] if out else [])
    state = state or (out.parent if out else pathlib.Path(tempfile.gettempdir())) / "state"
    state.mkdir(exist_ok=True)
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(state),
                            stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)


def finish(process, args, out=None, timeout=120):
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"did not end within {timeout} s: {args}\n{stdout}\n{stderr}")
    return Run(args, process.returncode, stdout, stderr, out)


def run(*args, out=None, timeout=120, **kwargs):
    return finish(start(args, out, **kwargs), args, out, timeout)


class Truth:
    def __init__(self, *options, stderr=None):
        self.process = subprocess.Popen([TRUTH_SERVER, *map(str, options)], stdout=subprocess.PIPE, stderr=stderr, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def truth(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/truth")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def stop(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def truth_server(*options):
    server = Truth(*options)
    try:
        yield server
    finally:
        server.stop()


class Shop:
    """The demo target as a process of its own, which faults may kill and start again."""

    def __init__(self):
        self.tag = "shop-" + uuid.uuid4().hex[:12]
        self.port = unused_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([CHAOS_LOAD, "target", "--listen", f"127.0.0.1:{self.port}", "--latency", "0",
                                         "--name", self.tag], stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for(self.is_healthy, what="the shop")

    def is_healthy(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()
        for pid in pids_with(self.tag):
            os.kill(pid, signal.SIGKILL)


def unused_port():
    """A port on which nobody listens."""
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, seconds=10.0, what="the condition"):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come within {seconds} s")


def pids_with(text):
    """Living processes whose command line holds it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def guardian_of(pid):
    """The guardian of a run, by the run's own number."""
    for p in pids_with("guardian"):
        try:
            if int(pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                return p
        except OSError:
            pass
    raise AssertionError("no guardian")


def attempts(n, test):
    """For figures that a noisy machine can spoil: one of n attempts must show the truth."""
    for i in range(n):
        try:
            return test()
        except AssertionError as failure:
            print(f"  attempt {i + 1} of {n}: {failure}", flush=True)
            last = failure
    raise last


def near(got, want, relative, absolute=0.0):
    return abs(got - want) <= abs(want) * relative + absolute


def main(namespace):
    wanted = sys.argv[1:]
    failed = []
    for name, test in list(namespace.items()):
        if not name.startswith("test_") or (wanted and name not in wanted):
            continue
        began = time.monotonic()
        try:
            test()
            print(f"ok   {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:
            failed.append(name)
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    if failed:
        print("failed:", ", ".join(failed))
    sys.exit(1 if failed else 0)


__all__ = ["CHAOS_LOAD", "ROOT", "Run", "Shop", "Truth", "attempts", "finish", "folder", "guardian_of", "main", "near", "pids_with", "run", "signal", "start",
           "truth_server", "unused_port", "wait_for"]
