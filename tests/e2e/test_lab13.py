"""The field's lab 13 with Pumba, from its examples: a Pumba that we start; one that someone else runs; and one of the lab's own
compose file, as docker-compose runs it. (The native way is in test_docker.py.) For each kill: users, rate, p95 and failures;
and each death that the engine tells is found."""
import contextlib
import os
import shutil
import subprocess
import time

from harness import *
from pumba_lab import *

COMPOSE = shutil.which("docker-compose")
PROJECT = f"lab{os.getpid()}"


def example(name, url, web):
    """As it stands, in half the time, against a container of ours."""
    text = (ROOT / "examples" / name).read_text().replace("http://127.0.0.1:8080", url)
    text = text.replace("match: web", f"match: '^{web}$'").replace("re2:web", f"re2:^{web}$")
    for long, short in [("for: 60s", "for: 30s"), ("at: 20s", "at: 10s"), ("every: 10s", "every: 6s")]:
        text = text.replace(long, short)
    return text


def run_example(name, url, web):
    with folder() as f:
        (f / "plan.yaml").write_text(example(name, url, web))
        return run("run", f / "plan.yaml", out=f / "out")


def deaths(e, began, id_):
    return [x["timeNano"] / 1e6 for x in e.events(began, time.time()) if x["Action"] == "die" and x["Actor"]["ID"] == id_]


def show(r):
    """What the lab is for: a row for each phase of a kill."""
    print(f"  up to {r.result['generator']['users_max']} users\n  {'phase':44} rate/s   p95 ms  failed")
    for p in r.result["phases"]:
        seconds, totals = max(p["end_ms"] - p["start_ms"], 1) / 1000, p["totals"]
        print(f"  {p['name'][:44]:44} {totals['requests'] / seconds:6.1f} {p['response_time']['p95_ms'] or 0:8.1f} "
              f"{totals['failures'] / max(totals['requests'], 1):7.1%}")


def found(r, told):
    """Every death that the engine tells is a fault of the result, at its instant; each was felt."""
    faults = [f for f in r.result["faults"] if f["kind"] == "kill"]
    assert len(faults) == len(told) >= 2, (faults, told)
    for f, t in zip(faults, told):
        assert f["felt"] and f["requests_lost"] > 0, f
        assert abs((t - told[0]) - (f["effective_ms"] - faults[0]["effective_ms"])) < 50, (f["effective_ms"], t, told)


def test_lab_13_with_a_pumba_that_we_start():
    if not needs_pumba():
        return
    with engine("web") as (e, [(web, web_id, url)]):
        began = time.time()
        r = run_example("lab13-pumba-run.yaml", url, web).expect(0)
        assert e.state(web_id)["Running"]
        told = deaths(e, began, web_id)
    show(r)
    faults = r.result["faults"]
    assert len(faults) == len(told) == 3, (faults, told)
    assert all(f["verified_out"] and f["felt"] and len(f["targets"]) == 1 for f in faults), faults


def test_lab_13_with_a_pumba_that_is_watched():
    """Where no Pumba is, the engine is asked for the kills as Pumba asks."""
    if not needs_engine():
        return
    line = next(x for x in (ROOT / "examples/lab13-compose.yaml").read_text().splitlines() if "--interval" in x)
    run("import", "pumba", "pumba " + line.split('"')[1]).expect(0)
    with engine("web") as (e, [(web, web_id, url)]):
        kill = (lambda: subprocess.run([PUMBA, "-H", HOST, "kill", web], check=True, stderr=subprocess.DEVNULL)) if PUMBA \
            else lambda: e.call("POST", f"/containers/{web_id}/kill")
        back = lambda: e.call("POST", f"/containers/{web_id}/start")
        began = time.time()
        hand = do_later((11.0, kill), (13.0, back), (18.0, kill), (20.0, back))
        r = run_example("lab13-pumba-watch.yaml", url, web).expect(0)
        hand.join()
        told = deaths(e, began, web_id)
    show(r)
    assert all(f["observed"] for f in r.result["faults"]), r.result["faults"]
    found(r, told)


# ---- with its own compose file ----

@contextlib.contextmanager
def composed(e, f, port):
    """The compose file of the examples, as it stands but for where the engine's socket and the port are. Its three images are
    made from files: nothing is pulled."""
    (f / "lab13-compose.yaml").write_text(
        (ROOT / "examples/lab13-compose.yaml").read_text().replace("/var/run/docker.sock:", HOST.removeprefix("unix://") + ":")
        .replace("127.0.0.1:8080:80", f"127.0.0.1:{port}:80"))
    image(e, "nginx:alpine", {"/httpd": os.environ["MINI_HTTP"]}, ["/httpd", "80"])
    pumba_image(e, "ghcr.io/alexei-led/pumba:latest")
    applets = {f"/bin/{a}": "busybox" for a in ("sh", "sleep", "true")}
    image(e, "docker:cli", {"/bin/busybox": shutil.which("busybox"), "/usr/bin/docker": shutil.which("docker"), **applets})
    compose = [COMPOSE, "-f", "lab13-compose.yaml", "-p", PROJECT]
    try:
        subprocess.run([*compose, "up", "-d"], cwd=f, check=True, stderr=subprocess.DEVNULL)
        yield f"{PROJECT}_web_1"
    finally:
        subprocess.run([*compose, "down", "-t", "1"], cwd=f, check=True, stderr=subprocess.DEVNULL)


def test_lab_13_with_its_own_compose_file():
    if not needs_pumba() or not needs("no docker-compose (Debian: apt-get install docker-compose)", COMPOSE):
        return
    port = unused_port()
    with engine() as (e, _), folder() as f, composed(e, f, port) as web:
        id_, began = e.call("GET", f"/containers/{web}/json")["Id"], time.time()
        (f / "lab13-pumba-watch.yaml").write_text(
            (ROOT / "examples/lab13-pumba-watch.yaml").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        r = run("run", f / "lab13-pumba-watch.yaml", out=f / "out").expect(0)
        told = deaths(e, began, id_)
    show(r)
    assert len(told) >= 4, told  # every 10 s, and 60 s long
    assert all(f["observed"] and "web" in f["target"] for f in r.result["faults"]), r.result["faults"]
    found(r, told)


main(globals())
