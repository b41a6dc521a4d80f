"""Pumba from its image, and what is left of a Pumba that was killed. A real one, from PUMBA= or the path; the images are made
from it."""
import os
import shutil
import subprocess
import time

from harness import *
from pumba_lab import *

REFERENCE = "ghcr.io/alexei-led/pumba:latest"


def boxes(e):
    """Containers that hold a Pumba of ours."""
    return [c for c in e.call("GET", "/containers/json?all=1") if "chaos-load.run" in c["Labels"]]


def children(process):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()]


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def kill(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


# ---- from its image ----

def test_a_pumba_is_started_from_its_image():
    if not needs_pumba():
        return
    with engine("web") as (e, [(web, web_id, url)]), without_program():
        pumba_image(e, REFERENCE)
        r = run_plan(url, f"  - pumba: {{run: \"pause --duration 1s {web}\"}}\n    at: 1s\n"
                          f"  - pumba: {{run: \"--interval 1s kill re2:^{web}$\", image: ghcr.io/alexei-led/pumba}}\n    at: 4s\n"
                          f"    duration: 1s\n", 7).expect(0)
        assert not boxes(e) and not e.state(web_id)["Running"]
        pause, killed = r.result["faults"]
        assert pause["mechanism"] == f"pumba pause, from {REFERENCE}"[:len(pause["mechanism"])], pause
        assert 900 < pause["reverted_ms"] - pause["effective_ms"] < 3500 and pause["verified_out"], pause
        assert [t["name"] for t in killed["targets"]] == [web], killed
        e.call("POST", f"/containers/{web_id}/start")
        r = run_plan(url, f"  - pumba: {{run: \"exec --command no-such-program {web}\"}}\n    at: 1s\n", 4).expect(3)
        assert "pumba ended with status 1: running exec: " in r.result["reason"], r.result["reason"]
        assert not boxes(e)


def test_neither_program_nor_image_is_an_error_that_names_both():
    if not needs_engine():
        return
    with engine("web") as (e, [(web, _, url)]), without_program():
        for more, says in [
            ("", "there is no pumba in the path, and the engine has no image ghcr.io/alexei-led/pumba and gaiaadm/pumba: install "
                 "it, set PUMBA to where it is, or pull the image before (that is not done here)"),
            (", image: 'here/is-none:1'", "the engine has no image 'here/is-none:1', and nothing is pulled here: run docker pull "
                                          "here/is-none:1 before"),
        ]:
            r = run_plan(url, f"  - pumba: {{run: \"kill {web}\"{more}}}\n    at: 1s\n", 3).expect(3)
            assert says in r.result["reason"], r.result["reason"]


def test_a_sigkill_of_ours_ends_the_container_of_our_pumba():
    """By the guardian; and by recover, where that was killed too."""
    if not needs_pumba():
        return
    for with_guardian in (True, False):
        with engine("web") as (e, [(web, web_id, url)]), folder() as f, without_program():
            pumba_image(e, REFERENCE)
            p = start(["run", plan(f, url, f"  - pumba: {{run: \"pause --duration 60s {web}\"}}\n    at: 500ms\n", 60)],
                      out=f / "out")
            wait_for(lambda: e.state(web_id)["Paused"], 30, "the pause")
            assert len(boxes(e)) == 1
            if not with_guardian:
                kill(*(c for c in children(p) if b"guardian" in command_line(c)))
            p.kill()
            p.wait()
            if not with_guardian:
                assert e.state(web_id)["Paused"] and len(boxes(e)) == 1
                recovered = run("recover", state=f / "state")
                assert recovered.exit_code in (0, 1), recovered
            wait_for(lambda: not e.state(web_id)["Paused"] and not boxes(e), 30, "the end of the pause")


# ---- its rules, when it was killed ----

def rules(e, container):
    seen = subprocess.run(["nsenter", "-t", str(e.state(container)["Pid"]), "-n", "iptables-nft", "-S", "INPUT"],
                          capture_output=True, text=True, check=True).stdout
    return [line for line in seen.splitlines() if line.startswith("-A")]


def iptables_line(web):
    return f"iptables --iptables-image nettools:1 --pull-image=false -d 60s -p tcp --dport 9,10 loss --probability 0.5 {web}"


def begin_loss(e, f, web, web_id, url, n=2):
    """A run whose Pumba has put in its rules; the run, and Pumba's process."""
    p = start(["run", plan(f, url, f"  - pumba: {{run: \"{iptables_line(web)}\"}}\n    at: 500ms\n    duration: 5s\n", 8)],
              out=f / "out")
    wait_for(lambda: len(rules(e, web_id)) == n, 30, "the rules")
    time.sleep(1)
    return p, [c for c in children(p) if b"iptables-image" in command_line(c)]


def test_rules_of_a_pumba_that_was_killed_are_taken_back():
    if not needs_pumba() or not needs("no iptables-nft", shutil.which("iptables-nft")):
        return
    with engine("web") as (e, [(web, web_id, url)]), folder() as f:
        nettools_image(e, "nettools:1")
        p, pumba = begin_loss(e, f, web, web_id, url)
        kill(*pumba)
        r = finish(p, [], f / "out")
        assert not rules(e, web_id), r
        assert "pumba ended with status 137" in r.result["reason"], r.result["reason"]
        assert f"pumba left container {web} broken, and we mended it" in r.stderr, r


def test_recover_takes_back_the_rules_when_all_were_killed():
    if not needs_pumba() or not needs("no iptables-nft", shutil.which("iptables-nft")):
        return
    with engine("web") as (e, [(web, web_id, url)]), folder() as f:
        nettools_image(e, "nettools:1")
        p, pumba = begin_loss(e, f, web, web_id, url)
        kill(*(c for c in children(p) if b"guardian" in command_line(c)), *pumba, p.pid)
        p.wait()
        assert len(rules(e, web_id)) == 2
        recovered = run("recover", state=f / "state").expect(1)
        assert not rules(e, web_id), recovered
        assert run("recover", state=f / "state").expect(0)


def test_rules_that_were_there_before_are_left_alone():
    """Somebody's own rule looks just like Pumba's: nothing is removed, and the commands are said."""
    if not needs_pumba() or not needs("no iptables-nft", shutil.which("iptables-nft")):
        return
    with engine("web") as (e, [(web, web_id, url)]), folder() as f:
        nettools_image(e, "nettools:1")
        own = ["-i", "eth0", "-p", "tcp", "--dport", "10", "-m", "statistic", "--mode", "random", "--probability", "0.50", "-j", "DROP"]
        subprocess.run(["nsenter", "-t", str(e.state(web_id)["Pid"]), "-n", "iptables-nft", "-I", "INPUT", *own], check=True)
        p, pumba = begin_loss(e, f, web, web_id, url, 3)
        kill(*pumba)
        r = finish(p, [], f / "out").expect(3)
        assert len(rules(e, web_id)) == 3, r
        by_hand = f"by hand: nsenter -t {e.state(web_id)['Pid']} -n iptables -D INPUT -i eth0 -p tcp --dport 9 -m statistic"
        assert by_hand in r.result["reason"], r.result["reason"]


main(globals())
