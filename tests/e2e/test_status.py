"""`chaos-load status`: what is active, by which run, and what a dead one left; it changes nothing."""
import json
import os
import pathlib

from harness import *

PLAN = """
apiVersion: chaos-load/v1
target: {url}
processes:
  - {{name: {tag}, pid: {pid}}}
users:
  - {{think: constant(50ms), tasks: [{{get: /}}]}}
load: {{users: 1, for: 60s}}
faults:
  - {{pause: {{process: {tag}, how: sigstop}}, at: 200ms, duration: 50s, name: frozen}}
  - {{memory: {{host: any, size: 4MiB}}, at: 200ms, duration: 50s, name: full}}
"""


def status(state):
    return json.loads(run("status", "--json", state=state).expect(0).stdout)


def mine(listed, pid):
    """Of the helpers of this machine those of one run: others may be busy, too."""
    return [h for h in listed["helpers"] if h["run_pid"] == pid]


def started(shop, tmp):
    (tmp / "plan.yaml").write_text(PLAN.format(url=shop.url, tag=shop.tag, pid=shop.process.pid))
    process = start(["run", tmp / "plan.yaml"], out=tmp / "out")
    wait_for(lambda: len(status(tmp / "state")["faults"]) == 2, what="two faults")
    stat = pathlib.Path(f"/proc/{shop.process.pid}/stat")  # journalled before it is in
    wait_for(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", what="the pause")
    return process


def with_shop(test):
    shop = Shop()
    try:
        with folder() as tmp:
            (tmp / "state").mkdir()
            test(shop, tmp)
    finally:
        os.kill(shop.process.pid, signal.SIGCONT)
        shop.stop()


def test_nothing_is_active():
    with folder() as tmp:
        listed = status(tmp / "state")
        assert listed["faults"] == [] and listed["unreadable"] == [], listed
        text = run("status", state=tmp / "state").expect(0).stdout
        assert text == "nothing is active\n" or text.startswith("helper "), text


def test_a_run_that_lives():
    def check(shop, tmp):
        process = started(shop, tmp)
        try:
            listed = status(tmp / "state")
            faults = {f["fault"]: f for f in listed["faults"]}
            assert set(faults) == {"frozen", "full"}, listed
            assert faults["frozen"]["kind"] == "pause" and faults["frozen"]["backend"] == "process"
            assert str(shop.process.pid) in faults["frozen"]["target"]
            assert faults["full"]["target"] == "this machine"
            for f in faults.values():
                assert f["state"] == "active" and 0 < f["overdue_in_ms"] <= 90_000 and f["run"], f
            assert [h["role"] for h in mine(listed, process.pid)] == ["hog"], listed
            text = run("status", state=tmp / "state").expect(0).stdout
            assert f"run {faults['full']['run']}, running\n" in text and "  pause          frozen" in text, text
            assert f"of pid {process.pid}\n" in text
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        listed = status(tmp / "state")
        assert listed["faults"] == [] and mine(listed, process.pid) == [], listed
    with_shop(check)


def test_what_a_dead_run_left():
    def check(shop, tmp):
        process = started(shop, tmp)
        for pid in (guardian_of(process.pid), process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
        for _ in range(2):  # looking changes nothing
            listed = status(tmp / "state")
            assert {f["state"] for f in listed["faults"]} == {"left"}, listed
            assert all(f["overdue_in_ms"] is None for f in listed["faults"])
        text = run("status", state=tmp / "state").expect(0).stdout
        assert "dead: 'chaos-load recover' takes its faults back" in text, text
        run("recover", state=tmp / "state").expect(1)
        assert status(tmp / "state")["faults"] == []
        wait_for(lambda: mine(status(tmp / "state"), process.pid) == [], what="the end of the helper")
    with_shop(check)


def test_a_broken_journal_is_told():
    with folder() as tmp:
        (tmp / "state").mkdir()
        (tmp / "state" / "x.journal").write_text("no journal at all\nand more\n")
        listed = status(tmp / "state")
        assert len(listed["unreadable"]) == 1 and "x.journal" in listed["unreadable"][0]["error"], listed
        assert "unreadable: journal " in run("status", state=tmp / "state").expect(0).stdout


def test_what_it_does_not_take():
    assert "status takes no arguments" in run("status", "x").expect(2).stderr


if __name__ == "__main__":
    main(globals())
