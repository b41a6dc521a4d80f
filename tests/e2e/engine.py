"""Containers of a test, on the private engine that ctest starts (tests/engine.cmake).

    d = engine.connect()                      # "SKIP why" and exit 77 where there is none
    with d.container("httpd:1", port=p) as c: ...
Each carries the label chaos-load.test=<pid of the test>; d.remove_all() removes what is left.
"""
import contextlib
import http.client
import json
import os
import socket
import sys
import urllib.parse

from harness import unused_port, wait_for

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"]


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


class Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Container:
    def __init__(self, engine, identity, name):
        self.engine, self.id, self.name = engine, identity, name

    def look(self):
        return self.engine.call("GET", f"/containers/{self.id}/json")

    def status(self):
        return self.look()["State"]["Status"]

    def do(self, verb):
        """POST /containers/ID/verb: start, kill, stop?t=0, pause ..."""
        return self.engine.call("POST", f"/containers/{self.id}/{verb}")

    def address(self):
        return next(iter(self.look()["NetworkSettings"]["Networks"].values()))["IPAddress"]

    def remove(self):
        with contextlib.suppress(Refused):
            self.engine.call("DELETE", f"/containers/{self.id}?force=1&v=1")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()


class Engine:
    def __init__(self, path):
        self.path = path

    def call(self, method, path, body=None):
        connection = Socket(self.path)
        try:
            connection.request(method, "/v1.41" + path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"} if body is not None else {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise Refused(answer.status, text.decode(errors="replace"))
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text

    def container(self, image="bb:1", name=None, cmd=None, labels=None, port=None, start=True, address=None, host="127.0.0.1",
                  health=None, **host_config):
        """port: its 8080 is published there on host. address: (network, IPv4 address), which stays. health: the argv of a
        HEALTHCHECK, asked ten times a second. host_config: RestartPolicy={"Name": "always"} ..."""
        body = {"Image": image, "Labels": {"chaos-load.test": str(os.getpid()), **(labels or {})}, "HostConfig": host_config}
        if cmd or image == "bb:1":
            body["Cmd"] = cmd or FOREVER
        if health:
            body["Healthcheck"] = {"Test": ["CMD", *health], "Interval": 100_000_000, "Timeout": 1_000_000_000, "Retries": 20}
        if port:
            body["ExposedPorts"] = {"8080/tcp": {}}
            host_config["PortBindings"] = {"8080/tcp": [{"HostIp": host, "HostPort": str(port)}]}
        if address:
            body["NetworkingConfig"] = {"EndpointsConfig": {address[0]: {"IPAMConfig": {"IPv4Address": address[1]}}}}
        made = self.call("POST", "/containers/create" + (f"?name={name}" if name else ""), body)
        container = Container(self, made["Id"], name)
        if start:
            container.do("start")
        container.name = container.look()["Name"].lstrip("/")
        if port and start:
            wait_for(lambda: serves(port, host), what=f"the server in {container.name}")
        return container

    def containers(self):
        filters = urllib.parse.quote(json.dumps({"label": [f"chaos-load.test={os.getpid()}"]}))
        return [Container(self, c["Id"], c["Names"][0].lstrip("/")) for c in self.call("GET", f"/containers/json?all=1&filters={filters}")]

    def remove_all(self):
        for container in self.containers():
            container.remove()


def serves(port, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_there():
    host = os.environ.get("DOCKER_HOST", "")
    return host.startswith("unix://") and os.path.exists(host.removeprefix("unix://"))


def connect():
    if not is_there():
        print("SKIP there is no private container engine (DOCKER_HOST; ctest starts one as root, with dockerd)")
        sys.exit(77)
    return Engine(os.environ["DOCKER_HOST"].removeprefix("unix://"))


__all__ = ["Container", "Engine", "Refused", "connect", "is_there", "serves", "unused_port"]
