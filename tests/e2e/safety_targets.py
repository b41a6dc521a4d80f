"""What the safety matrix breaks (test_safety.py): targets of their own for each row, which can be looked at from outside.

    key       names it in a fault: "process: victim"
    words()   what else a fault's text may name: %(at)s is the key, %(tmp)s a path of its own
    look()    all that a fault may change; the same before and after
    argv(...) the program that makes the fault and dies
"""
import contextlib
import http.client
import itertools
import os
import pathlib
import random
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

import engine
from harness import Truth, unused_port, wait_for

DRIVER = os.environ.get("FAULT_DRIVER", "build/dev/tests/e2e/fault_driver")
CAMPAIGN = os.environ.get("CAMPAIGN_DRIVER", "build/dev/tests/e2e/campaign_driver")
NUMBERS = itertools.count(1)
TIME_WAIT, LISTEN = "06", "0A"


def network_of(pid):
    """What netfilter and the queueing disciplines of its namespace hold."""
    both = subprocess.run(["nsenter", "-t", str(pid), "-n", "sh", "-c", "nft list ruleset; tc qdisc show; ip -br link show type ifb"],
                          capture_output=True, text=True, check=False).stdout
    both = re.sub(r"packets \d+ bytes \d+", "counted", both)
    return re.sub(r"dev eth\d", "dev eth", both)  # Docker names an interface anew when it connects a network again


# What has ended since its number was seen has no limit, and no state.
def rlimit_of(pid):
    with contextlib.suppress(ProcessLookupError):
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)


def state_of(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return "gone"


def cgroups_of(pid):
    """Where it is, and all that the driver's runs have made there."""
    ours = sorted(f"{at}/{name}" for at, names, _ in os.walk("/sys/fs/cgroup") for name in names if name.startswith("chaos-load-matrix-"))
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text(), ours


def sleeper(*before):
    """A process, and how to tell it from all others: by its argument, which it also has when it was started again."""
    seconds = f"1000.{os.getpid()}{next(NUMBERS):04}"
    child = subprocess.Popen([*before, "sleep", seconds], start_new_session=True)
    return child, seconds.encode()


def sleepers(seconds):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if words[1:] == [seconds, b""] and words[0].endswith(b"sleep"):
                found.append(int(entry.name))
    return found


class Target:
    key, declared = "", ""

    def words(self):
        return {"at": self.key, "tmp": ""}

    def argv(self, state, when, who, delay_us, hold_ms, fault):
        return [DRIVER, str(state), when, who, str(delay_us), str(hold_ms), fault] + ([self.declared] if self.declared else [])

    def around(self):
        """What goes on while the fault does."""
        return contextlib.nullcontext()

    def recover_argv(self, argv):
        return argv

    def renew(self):
        """Before each death."""

    def close(self):
        pass


class Process(Target):
    """Sleeps in a network namespace of its own."""
    key = "process: victim"

    def __init__(self):
        self.child, seconds = sleeper("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        wait_for(lambda: sleepers(seconds), what="its namespace")
        self.declared = f"victim={self.child.pid}"

    def look(self):
        return state_of(self.child.pid) in "SR", network_of(self.child.pid), rlimit_of(self.child.pid)

    def close(self):
        self.child.kill()
        self.child.wait()


class Worker(Target):
    """May be killed and started again."""
    key = "process: victim"

    def __init__(self):
        self.child, self.seconds = sleeper()
        self.mark = pathlib.Path(tempfile.gettempdir()) / f"chaos-load-safety-{os.getpid()}-{next(NUMBERS)}"
        self.renew()

    def words(self):
        return {"at": self.key, "tmp": str(self.mark)}

    def renew(self):
        self.declared = f"victim={wait_for(lambda: sleepers(self.seconds), what='the victim')[0]}"

    def look(self):
        self.child.poll()  # which reaps it, once it is dead
        return [state_of(pid) in "SR" for pid in sleepers(self.seconds)], self.mark.exists()

    def close(self):
        self.child.kill()
        for pid in sleepers(self.seconds):
            os.kill(pid, signal.SIGKILL)
        self.child.wait()
        self.mark.unlink(missing_ok=True)


class Confined(Worker):
    """Gets a cgroup of its own."""

    def look(self):
        return *super().look(), [cgroups_of(pid) for pid in sleepers(self.seconds)]


class Mortal(Worker):
    """Nothing of ours brings it back: it runs, or has ended."""

    def renew(self):
        # One that has just begun to be `sleep` has no command line yet, and is as little to be seen as one that has ended.
        if wait_for(lambda: sleepers(self.seconds) or self.child.poll() is not None, what="the victim's state") is True:
            self.child = subprocess.Popen(["sleep", self.seconds.decode()], start_new_session=True)
        super().renew()

    def look(self):
        return all(super().look()[0])


class Host(Process):
    """`host` means the namespace that the run is in: one of its own, so that this machine's is left alone."""
    key = "host: any"

    def __init__(self):
        super().__init__()
        self.declared = ""

    def argv(self, *args):
        return self.recover_argv(super().argv(*args))

    def recover_argv(self, argv):
        return ["nsenter", "-t", str(self.child.pid), "-n", *argv]


class Container(Target):
    def __init__(self, docker):
        self.docker, self.memory = docker, docker.call("GET", "/info")["MemTotal"]
        self.make()

    def make(self):
        self.container = self.docker.container("bb:1")
        self.key = f"docker: {self.container.name}"

    def words(self):
        return {"at": self.key, "tmp": "/tmp/chaos-load-safety", "name": self.container.name}

    def look(self):
        seen = self.container.look()
        limits, state = seen["HostConfig"], seen["State"]
        pid = state["Pid"]
        quota = limits["CpuQuota"] or limits["NanoCpus"]
        return (state["Status"], max(quota, 0), limits["Memory"] % self.memory, max(limits["PidsLimit"] or 0, 0),
                sorted((name, bool(n["IPAddress"])) for name, n in seen["NetworkSettings"]["Networks"].items()),
                (network_of(pid), rlimit_of(pid), self.has_mark(pid)) if pid else None)

    @staticmethod
    def has_mark(pid):
        return os.path.exists(f"/proc/{pid}/root/tmp/chaos-load-safety")

    def close(self):
        self.container.remove()


class Removable(Container):
    """Nothing brings it back: it is whole, or gone for good."""

    def renew(self):
        if not self.exists():
            self.make()

    def exists(self):
        try:
            return self.container.status() == "running"
        except engine.Refused as e:
            assert e.status == 404, e
            return False

    def look(self):
        with contextlib.suppress(engine.Refused):
            assert self.container.status() in ("running", "removing"), self.container.status()
        return "whole or gone"


class MortalContainer(Container):
    """Nothing of ours brings it back: it runs, or has ended."""

    def renew(self):
        if self.container.status() != "running":
            self.container.do("start")

    def look(self):
        return self.container.status() in ("running", "exited")


def connections(port):
    """Of this machine's, to or from that port."""
    end, n = f":{port:04X}", 0
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        n += (local.endswith(end) or remote.endswith(end)) and state not in (TIME_WAIT, LISTEN)
    return n


class Served(Target):
    """A server on loopback. Well is: it answers, and nobody is connected to it."""

    def __init__(self):
        self.server = Truth(stderr=subprocess.DEVNULL)  # who is cut off in the middle of an answer is meant to be

    def answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=2)
        try:
            connection.request("GET", "/ok", headers={"Connection": "close"})
            return connection.getresponse().status
        except OSError as e:
            return str(e)
        finally:
            connection.close()

    def look(self):
        return self.answers(), wait_or(lambda: connections(self.server.port))

    def close(self):
        self.server.stop()


def wait_or(count, seconds=0.2):
    """Our own question takes a moment to be over."""
    until = time.monotonic() + seconds
    while count() and time.monotonic() < until:
        time.sleep(0.01)
    return count()


class Proxied(Served):
    """The embedded proxy ends with its run. Well is the server behind it, with nothing left that listens."""
    key = "proxy: edge"

    def __init__(self):
        super().__init__()
        self.port = unused_port()
        self.declared = f"edge={self.port}>{self.server.port}"

    def look(self):
        with socket.socket() as s:
            listens = s.connect_ex(("127.0.0.1", self.port)) == 0
        return *super().look(), listens, wait_or(lambda: connections(self.port))

    @contextlib.contextmanager
    def around(self):
        over = threading.Event()

        def ask():
            while not over.wait(0.01):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=0.2)
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection.request("GET", "/ok")
                    connection.getresponse().read()
                connection.close()
        users = [threading.Thread(target=ask) for _ in range(2)]
        for user in users:
            user.start()
        try:
            yield
        finally:
            over.set()
            for user in users:
                user.join()


class Loaded(Served):
    """The load itself misbehaves: a whole run."""
    key = "client: any"
    plan = """
target: {scheme}://127.0.0.1:{port}
processes: [{processes}]
users: [{{name: web, think: constant(20ms), tasks: [{{get: {path}}}]}}]
load: {{users: 4, for: 60s}}
http: {{timeout: 20s, tls: {{verify: false}}}}
faults: [{{{fault}, {when}}}]
"""
    when, processes = "at: 250ms, duration: {hold_ms}ms", ""

    def argv(self, state, when, who, delay_us, hold_ms, fault):
        path = state / "plan.yaml"
        scheme = "https" if "tls" in fault else "http"
        asked = "/status/500" if "retry" in fault else "/ok"
        timing = self.when.format(hold_ms=hold_ms)
        text = self.plan.format(scheme=scheme, port=self.server.port, path=asked, fault=fault, when=timing, processes=self.processes)
        path.write_text(text.replace(", }", "}"))
        return [CAMPAIGN, when, who, str(delay_us), str(path)]


class Started(Loaded):
    """A process that the plan starts, and that ends with the run."""
    key = "process: own"

    def __init__(self):
        super().__init__()
        self.seconds = f"1000.{os.getpid()}{next(NUMBERS):04}"
        self.processes = f"{{name: own, run: [sleep, '{self.seconds}']}}"

    def look(self):
        return *super().look(), len(sleepers(self.seconds.encode()))


class Watched(Container):
    """A watch breaks nothing: it dies some time."""
    when = ""

    def __init__(self, docker):
        super().__init__(docker)
        self.load = Loaded()
        self.load.when = ""

    def argv(self, *args):
        return self.load.argv(*args)

    def close(self):
        super().close()
        self.load.close()


def delay_us():
    """So long after a step began; most steps are short, some are not."""
    return int(10 ** random.uniform(2, 4.7))


__all__ = ["Confined", "Container", "Host", "Loaded", "Mortal", "MortalContainer", "Process", "Proxied", "Removable", "Started", "Target", "Watched", "Worker", "delay_us", "network_of"]
