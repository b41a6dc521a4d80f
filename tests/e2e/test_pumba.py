"""Pumba: imported, started by us, and watched. Real containers in the tests' own engine; a real Pumba from PUMBA= or the
path where there is one (the recorded runs are replayed by the unit tests in any case)."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

from harness import *
from pumba_lab import *

# ---- import: what is printed is a valid plan ----

LINES = [
    ("kill", "kill x"), ("kill", "--interval 10s --random kill -s SIGTERM re2:^shop"), ("stop", "stop x"),
    ("stop", "stop --restart --duration 20s x y"), ("pause", "--label a=b pause -d 5s"), ("restart", "restart x"),
    ("remove", "rm x"), ("exec", "exec x"), ("exec", "exec --command sh --args -c --args 'kill -STOP 1' re2:^shop"),
    ("latency", "netem -d 20s delay --time 300 --jitter 30 --distribution normal 're2:^shop'"),
    ("latency", "netem -d 20s -t 10.0.0.0/8 --egress-port 80,443 delay x"), ("loss", "netem -d 9s loss -p 20 -c 5 x"),
    ("loss", "netem -d 9s loss-state --p13 1 --p14 2 x"), ("loss", "netem -d 9s loss-gemodel --pg 1 --pb 90 x"),
    ("rate", "netem -d 9s rate -r 1mbit x"), ("duplicate", "netem -d 9s duplicate -p 3 x"),
    ("corrupt", "netem -d 9s corrupt -p 3 x"), ("loss", "netem -d 9s combine --delay --loss --loss-percent 5 x"),
    ("loss", "iptables -d 9s loss --probability 0.25 x"), ("loss", "iptables -d 9s loss --mode nth --every 3 --packet 1 x"),
    ("loss", "iptables -d 9s -p udp --sport 53 -s 10.0.0.1 loss --probability 1 x"),
    ("cpu", "stress -d 9s x"), ("memory", "stress -d 9s --stressors='--vm 2 --vm-bytes 8m' x"),
    ("io", "stress -d 9s --stressors='--hdd 1' x"),
]


def test_what_import_prints_is_a_valid_plan():
    for kind, line in LINES:
        printed = run("import", "pumba", "pumba " + line).expect(0).stdout
        assert f"- {kind}: {{" in printed, f"{line}\n{printed}"
        with folder() as f:
            (f / "plan.yaml").write_text(printed)
            assert run("validate", f / "plan.yaml").exit_code == 0, f"{line}\n{printed}{run('validate', f / 'plan.yaml')}"


def test_import_says_what_it_cannot_do():
    for args, says in [
        (["import"], "import what? write: chaos-load import pumba 'kill re2:^shop'"),
        (["import", "toxiproxy", "x"], "cannot import from 'toxiproxy': known is pumba"),
        (["import", "pumba", "exec --command ' ' x"], "exec: --command is empty"),
        (["import", "pumba", "kil x"], "unknown command 'kil', did you mean 'kill'?"),
        (["import", "pumba", "stress -d 1s --stressors '--matrix 1' x"], "stressor '--matrix' has no equivalent: known are "
         "--cpu, --cpu-load, --vm, --vm-bytes, --io, --hdd, --timeout"),
    ]:
        r = run(*args).expect(2)
        assert r.stderr == f"chaos-load: {says}\n" and not r.stdout, r


# ---- watch: someone else breaks things ----

def test_a_watch_sees_all_that_others_break():
    """Asked as Pumba asks the engine: kill, pause, restart; and a stop as only a person does it."""
    if not needs_engine():
        return
    with engine("web", "db") as (e, [(web, web_id, url), (db, db_id, _)]):
        post = lambda what, id_: lambda: e.call("POST", f"/containers/{id_}/{what}")
        hand = do_later((2.0, post("kill", web_id)), (3.0, post("start", web_id)), (4.0, post("pause", web_id)),
                        (4.8, post("unpause", web_id)), (5.6, post("restart?t=1", web_id)), (7.0, post("kill", db_id)))
        began = time.time()
        r = run_plan(url, f"  - pumba: {{watch: true, match: '^web'}}\n", 9).expect(0)
        hand.join()
        told = e.events(began, time.time())
    faults = r.result["faults"]
    assert [f["kind"] for f in faults] == ["kill", "pause", "restart"], faults
    assert all(f["observed"] and f["verified_in"] and f["reverted_ms"] is not None for f in faults), faults
    assert faults[0]["felt"] and faults[0]["requests_lost"] > 0, faults[0]
    deaths = [x for x in told if x["Action"] == "die" and x["Actor"]["Attributes"]["name"] == web]
    assert len(deaths) == 2, deaths
    gap = (deaths[1]["timeNano"] - deaths[0]["timeNano"]) / 1e6
    seen = faults[2]["effective_ms"] - faults[0]["effective_ms"]
    assert abs(gap - seen) < 50, (gap, seen)
    names = [p["name"] for p in r.result["phases"]]
    assert f"inject pumba #1 (kill {web})" in names and f"recovery after pumba #2 (pause {web})" in names, names


def test_what_others_break_just_before_the_end_proves_nothing():
    """It is left out of recovery_time, unless it was long enough to break the limit."""
    if not needs_engine():
        return
    with engine("web") as (e, [(web, web_id, url)]), folder() as f:
        for limit, code in (("9s", 0), ("2ms", 1)):
            path = plan(f, url, "  - pumba: {watch: true, match: '^web'}\n", 9)
            path.write_text(path.read_text() + f"thresholds: ['recovery_time: max < {limit}']\n")
            post = lambda what: lambda: e.call("POST", f"/containers/{web_id}/{what}", ok=(204, 304, 409))
            hand = do_later((2.5, post("kill")), (3.0, post("start")), (8.5, post("kill")), (12.0, post("start")))
            r = run("run", path, out=f / "out")
            hand.join()
            assert r.exit_code == code and len(r.result["faults"]) == 2, r
            assert r.result["faults"][1]["time_to_recover_ms"] is None, r.result["faults"]


def test_our_own_faults_are_not_taken_for_a_pumbas():
    if not needs_engine():
        return
    with engine("web", "db") as (e, [(web, web_id, url), (db, db_id, _)]):
        hand = do_later((4.0, lambda: e.call("POST", f"/containers/{db_id}/pause")))
        r = run_plan(url, f"  - pumba: {{watch: true}}\n  - kill: {{docker: {web}, restart_after: 1s}}\n    at: 2s\n", 7)
        hand.join()
        r.expect(0)
    seen = [(f["kind"], f["observed"]) for f in r.result["faults"]]
    assert sorted(seen) == [("kill", False), ("pause", True)], seen


def test_a_real_pumba_is_watched():
    """The field's lab: a Pumba that someone else runs kills a container again and again; every death is found."""
    if not needs_pumba():
        return
    with engine("web") as (e, [(web, web_id, url)]):
        over, pumba = threading.Event(), []

        def bring_back():
            while not over.wait(0.3):
                if not e.state(web_id)["Running"]:
                    e.call("POST", f"/containers/{web_id}/start")

        def begin():
            pumba.append(subprocess.Popen([PUMBA, "-H", HOST, "--interval", "2s", "kill", f"re2:^{web}$"],
                                          stderr=subprocess.DEVNULL))

        def end():
            pumba[0].send_signal(signal.SIGTERM)
            pumba[0].wait(20)
        began = time.time()
        back, hand = threading.Thread(target=bring_back), do_later((2.0, begin), (8.5, end))
        back.start()
        r = run_plan(url, f"  - pumba: {{watch: true, match: '^{web}$'}}\n", 11).expect(0)
        hand.join()
        over.set()
        back.join()
        deaths = [x["timeNano"] / 1e6 for x in e.events(began, time.time())
                  if x["Action"] == "die" and x["Actor"]["ID"] == web_id]
    found = [f["effective_ms"] for f in r.result["faults"] if f["kind"] == "kill"]
    assert len(found) == len(deaths) >= 3, (found, deaths)
    assert all(abs((d - deaths[0]) - (f - found[0])) < 50 for d, f in zip(deaths, found)), (found, deaths)
    assert all(f["felt"] and f["requests_lost"] > 0 for f in r.result["faults"]), r.result["faults"]


# ---- run: we start it ----

def test_a_pumba_is_started_and_its_hits_are_known():
    if not needs_pumba():
        return
    with engine("web") as (e, [(one, one_id, url)]):
        r = run_plan(url, f"  - pumba: {{run: \"pause --duration 1s {one}\"}}\n    at: 2s\n"
                          f"  - pumba: {{run: \"stop --time 1 --restart --duration 1s {one}\"}}\n    at: 5s\n", 9).expect(0)
        assert e.state(one_id)["Running"] and not e.state(one_id)["Paused"]
    for f in r.result["faults"]:
        assert f["verified_in"] and f["verified_out"] and f["ended_by"] == "plan", f
        assert [t["name"] for t in f["targets"]] == [one], f
        assert 900 < f["reverted_ms"] - f["effective_ms"] < 3500, f


def test_what_a_pumba_did_not_do_is_an_error():
    if not needs_pumba():
        return
    with engine("web") as (e, [(web, _, url)]):
        for fault, says in [
            ("kill re2:^nobody-here", "no running container matches the selection"),
            (f"exec --command no-such-program {web}", "pumba ended with status 1: running exec: "),
        ]:
            r = run_plan(url, f"  - pumba: {{run: \"{fault}\"}}\n    at: 1s\n", 4).expect(3)
            assert says in r.result["reason"], r.result["reason"]


def test_without_a_pumba_the_remedy_is_said():
    if not needs_engine():
        return
    with engine("web") as (e, [(web, _, url)]), folder() as f:
        before = os.environ.get("PUMBA")
        os.environ["PUMBA"] = "/nowhere/pumba"
        try:
            r = run("run", plan(f, url, f"  - pumba: {{run: \"kill {web}\"}}\n    at: 1s\n", 3), out=f / "out").expect(3)
        finally:
            os.environ.pop("PUMBA") if before is None else os.environ.update(PUMBA=before)
        assert "PUMBA is '/nowhere/pumba', which is no program" in r.result["reason"], r.result["reason"]


def test_a_sigkill_of_ours_leaves_nothing_paused():
    """The kernel tells our Pumba, which takes its pause back: with the guardian, and without."""
    if not needs_pumba():
        return
    for with_guardian in (True, False):
        with engine("web") as (e, [(web, web_id, url)]), folder() as f:
            p = start(["run", plan(f, url, f"  - pumba: {{run: \"pause --duration 60s {web}\"}}\n    at: 500ms\n", 60)],
                      out=f / "out")
            wait_for(lambda: e.state(web_id)["Paused"], 30, "the pause")
            children = subprocess.run(["pgrep", "-P", str(p.pid)], capture_output=True, text=True).stdout.split()
            for child in children:
                with open(f"/proc/{child}/cmdline", "rb") as c:
                    if not with_guardian and b"guardian" in c.read():
                        os.kill(int(child), signal.SIGKILL)
            p.kill()
            p.wait()
            wait_for(lambda: not e.state(web_id)["Paused"], 30, "the end of the pause")
            wait_for(lambda: not any(os.path.exists(f"/proc/{c}/exe") for c in children), 30, "the end of all children")
            assert run("recover", state=f / "state").exit_code in (0, 1)


# ---- side-cars ----

def image_with_a_tool(e, name):
    """bb:1 with a `tc` and an `iptables` that say yes and do nothing: side-cars are followed by their tool's exit."""
    made = e.call("POST", "/containers/create", {"Image": "bb:1", "Cmd": [
        "sh", "-c", "for t in tc iptables; do rm -f /bin/$t; printf '#!/bin/sh\\nexit 0\\n' >/bin/$t; chmod 755 /bin/$t; done"]})["Id"]
    e.made.append(made)
    e.call("POST", f"/containers/{made}/start")
    e.call("POST", f"/containers/{made}/wait")
    e.call("POST", f"/commit?container={made}&repo={name}&tag=1")


def test_side_cars_are_followed():
    """netem and iptables of a real Pumba, started by us and watched at once; and one whose tool is missing. (Pumba's duration
    of iptables runs while it still sets up, and what it cannot set up within it fails.)"""
    if not needs_pumba():
        return
    with engine("web") as (e, [(web, web_id, url)]):
        image_with_a_tool(e, "chaos-load-tools")
        netem = f"netem --tc-image chaos-load-tools:1 --pull-image=false --duration 2s delay --time 50 {web}"
        iptables = f"iptables --iptables-image chaos-load-tools:1 --pull-image=false -d 4s loss --probability 1 {web}"
        r = run_plan(url, f"  - pumba: {{run: \"{netem}\"}}\n    at: 1s\n  - pumba: {{run: \"{iptables}\"}}\n    at: 6s\n",
                     14).expect(0)
        for fault, seconds in zip(r.result["faults"], (2, 4)):
            assert fault["verified_out"] and [t["name"] for t in fault["targets"]] == [web], fault
            held = fault["reverted_ms"] - fault["effective_ms"]
            assert seconds * 1000 - 500 < held < seconds * 1000 + 2000, fault
        with do_later_process(2.0, [PUMBA, "-H", HOST, *netem.split()]):
            r = run_plan(url, "  - pumba: {watch: true}\n", 7).expect(0)
        assert [f["kind"] for f in r.result["faults"]] == ["netem"], r.result["faults"]
        assert r.result["faults"][0]["verified_out"] and web in r.result["faults"][0]["target"], r.result["faults"]
        broken = netem.replace("chaos-load-tools:1", "bb:1")
        r = run_plan(url, f"  - pumba: {{run: \"{broken}\"}}\n    at: 1s\n", 5).expect(3)
        assert "pumba ended with status 1" in r.result["reason"], r.result["reason"]
        e.call("DELETE", "/images/chaos-load-tools:1?force=1", ok=(200, 404, 409))


@contextlib.contextmanager
def do_later_process(seconds, argv):
    hand = do_later((seconds, lambda: subprocess.run(argv, stderr=subprocess.DEVNULL, timeout=60)))
    yield
    hand.join()


main(globals())
