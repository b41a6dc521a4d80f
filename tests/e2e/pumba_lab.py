"""What the tests of Pumba share: containers in the tests' own engine, and a real Pumba from PUMBA= or the path where there
is one."""
import contextlib
import http.client
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import urllib.parse
import uuid

from harness import *

HOST = os.environ.get("DOCKER_HOST", "")
PUMBA = os.environ.get("PUMBA") or shutil.which("pumba")


# ---- the engine, asked without anybody's client ----

class Engine:
    def __init__(self, path):
        self.path, self.made, self.images = path, [], []

    def connect(self):
        connection = http.client.HTTPConnection("engine", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(self.path)
        return connection

    def call(self, method, path, body=None, ok=(200, 201, 204, 304)):
        connection = self.connect()
        headers = {"Content-Type": "application/json"}
        connection.request(method, "/v1.41" + path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert answer.status in ok, f"{method} {path}: {answer.status} {text[:300]}"
        return json.loads(text) if text.strip().startswith((b"{", b"[")) else text

    def container(self, name):
        port = unused_port()
        made = self.call("POST", f"/containers/create?name={name}", {
            "Image": "httpd:1", "Labels": {"chaos-load.test": "pumba"}, "ExposedPorts": {"8080/tcp": {}},
            "HostConfig": {"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}}})
        self.made.append(made["Id"])
        self.call("POST", f"/containers/{made['Id']}/start")
        return made["Id"], f"http://127.0.0.1:{port}"

    def state(self, what):
        return self.call("GET", f"/containers/{what}/json")["State"]

    def events(self, since, until):
        """All that the engine told of containers in that time."""
        connection = self.connect()
        connection.request("GET", f"/v1.41/events?since={since:.6f}&until={until:.6f}")
        lines = connection.getresponse().read().splitlines()
        connection.close()
        return [e for e in map(json.loads, filter(None, lines)) if e["Type"] == "container"]

    def clean(self):
        for each in self.made:
            self.call("DELETE", f"/containers/{each}?force=1&v=1", ok=(204, 404, 409))
        for each in self.images:
            self.call("DELETE", f"/images/{each}?force=1", ok=(200, 404, 409))


@contextlib.contextmanager
def engine(*names):
    e = Engine(HOST.removeprefix("unix://"))
    tag = uuid.uuid4().hex[:8]
    try:
        yield e, [(f"{name}-{tag}", *e.container(f"{name}-{tag}")) for name in names]
    finally:
        e.clean()


def do_later(*steps):
    """(seconds from now, function), on a thread; joined by the caller."""
    def work():
        start = time.monotonic()
        for at, step in steps:
            time.sleep(max(0.0, start + at - time.monotonic()))
            step()
    thread = threading.Thread(target=work)
    thread.start()
    return thread


# ---- images, made from files ----

def image(e, reference, files, entrypoint=(), labels=()):
    """files: path in the image -> path here, or the text of a link. A program brings the libraries that it is linked with."""
    out, there = io.BytesIO(), dict(files)
    for path in [p for p in files.values() if os.path.isabs(p) and os.path.exists(p)]:
        linked = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        there.update({word: word for line in linked.splitlines() for word in line.split() if word.startswith("/")})
    with tarfile.open(fileobj=out, mode="w") as tar:
        for inside, here in there.items():
            if os.path.exists(here):
                tar.add(os.path.realpath(here), inside.lstrip("/"))
            else:
                link = tarfile.TarInfo(inside.lstrip("/"))
                link.type, link.linkname = tarfile.SYMTYPE, here
                tar.addfile(link)
    name, _, tag = reference.rpartition(":")
    changes = [f"ENTRYPOINT {json.dumps(list(entrypoint))}"] * bool(entrypoint) + [f"LABEL {x}" for x in labels]
    query = urllib.parse.urlencode([("fromSrc", "-"), ("repo", name), ("tag", tag), *(("changes", c) for c in changes)])
    connection = e.connect()
    connection.request("POST", f"/v1.41/images/create?{query}", out.getvalue(), {"Content-Type": "application/x-tar"})
    answer = connection.getresponse().read().decode()
    connection.close()
    assert "error" not in answer, answer
    e.images.append(reference)


def pumba_image(e, reference):
    """As the published one is: the program at /pumba, and its label."""
    image(e, reference, {"/pumba": PUMBA}, ["/pumba"], ["com.gaiaadm.pumba=true"])


def nettools_image(e, reference):
    """The side-car's: tail and iptables, of this machine."""
    modules = f"/usr/lib/{os.uname().machine}-linux-gnu/xtables"
    image(e, reference, {"/bin/busybox": shutil.which("busybox"), "/bin/tail": "busybox",
                         "/sbin/xtables-nft-multi": shutil.which("iptables-nft"), "/sbin/iptables": "xtables-nft-multi",
                         **{f"{modules}/libxt_{m}.so": f"{modules}/libxt_{m}.so" for m in ("standard", "statistic", "tcp", "udp")}})


@contextlib.contextmanager
def without_program():
    """There is no Pumba on this machine, but in images."""
    before = dict(os.environ)
    os.environ.pop("PUMBA", None)
    os.environ["PATH"] = ":".join(p for p in before["PATH"].split(":") if not os.path.exists(os.path.join(p, "pumba")))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ---- what a test needs, and the plan that it runs ----

def needs(what, there):
    if not there:
        print(f"SKIP {what}")
    return there


def needs_engine():
    return needs("no private container engine", HOST and os.path.exists(HOST.removeprefix("unix://")))


def needs_pumba():
    return needs_engine() and needs("no Pumba: set PUMBA= to one", PUMBA)


def plan(dir_, url, faults, seconds=8):
    path = dir_ / "plan.yaml"
    path.write_text(f"target: {url}\nusers:\n  - tasks: [{{get: /}}]\n    think: between(20ms, 60ms)\n"
                    f"load: {{users: 5, for: {seconds}s}}\nrecover_hold: 1s\nfaults:\n{faults}")
    return path


def run_plan(url, faults, seconds=8):
    with folder() as f:
        return run("run", plan(f, url, faults, seconds), out=f / "out")


__all__ = ["Engine", "HOST", "PUMBA", "do_later", "engine", "image", "needs", "needs_engine", "needs_pumba", "nettools_image",
           "plan", "pumba_image", "run_plan", "without_program"]
