#!/usr/bin/env python3
"""The guardian dies alone, while the run lives: the run takes its faults back by itself, puts no more in, and says so."""
import os

from harness import *

PLAN = """
target: {url}
processes: [{{name: shop, pid: {pid}}}]
users: [{{think: constant(50ms), tasks: [{{get: /}}]}}]
load: {{users: 1, for: {seconds}s}}
http: {{timeout: 1s}}
faults:
{faults}
"""
FROZEN = "  - {pause: {process: shop, how: sigstop}, at: 300ms, duration: 50s, name: frozen}\n"
LATER = ("  - {memory: {host: any, size: 4MiB}, at: 8s, duration: 1s, name: full}\n"
         "  - {kill: {process: shop, restart_after: 1s}, at: 9s, name: killed}\n")
DIED = "the guardian process was killed"


class Scene:
    """with Scene(faults) as s: a shop, and a run that breaks it."""

    def __init__(self, faults, seconds=60):
        self.faults, self.seconds = faults, seconds

    def __enter__(self):
        self.shop, self.folder = Shop(), folder()
        self.tmp = self.folder.__enter__()
        plan = self.tmp / "plan.yaml"
        plan.write_text(PLAN.format(url=self.shop.url, pid=self.shop.process.pid, faults=self.faults, seconds=self.seconds))
        self.args = ["run", plan, "--plain"]
        self.process = start(self.args, self.tmp / "out")
        return self

    def shop_is(self, states):
        with open(f"/proc/{self.shop.process.pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in states

    def finish(self, seconds=20):
        return finish(self.process, self.args, self.tmp / "out", seconds)

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        if self.shop.process.poll() is None:
            os.kill(self.shop.process.pid, signal.SIGCONT)
        self.shop.stop()
        self.folder.__exit__(None, None, None)


def test_the_run_goes_on_alone_and_ends():
    with Scene(FROZEN + LATER) as s:
        wait_for(lambda: s.shop_is("T"), what="the pause")
        os.kill(guardian_of(s.process.pid), signal.SIGKILL)
        r = s.finish().expect(3)
        assert s.shop_is("SR") and s.shop.is_healthy(), "the shop is left frozen"
        assert not list((s.tmp / "state").glob("*.journal")), "its journal is left"
        faults = {f["name"]: f for f in r.result["faults"]}
        assert faults["frozen"]["verified_in"] and faults["frozen"]["verified_out"], faults["frozen"]
        assert faults["frozen"]["ended_by"] == "abort" and not faults["frozen"].get("error"), faults["frozen"]
        for name in ("full", "killed"):
            assert faults[name]["requested_ms"] is None, faults[name]
        assert r.result["verdict"] == "Error" and r.result["reason"].startswith(DIED), r.result["reason"]
        assert any(n.startswith(DIED) for n in r.result["notes"]), r.result["notes"]
        assert f"chaos-load: {DIED}" in r.stderr, r.stderr
        assert run("recover", state=s.tmp / "state").exit_code == 0


def test_a_fault_that_waits_for_its_moment_is_not_put_in():
    """It is journalled and armed already when the guardian dies."""
    with Scene("  - {pause: {process: shop, how: sigstop}, at: 3s, duration: 1s, name: frozen}\n") as s:
        state = s.tmp / "state"
        wait_for(lambda: any(b'"intent"' in f.read_bytes() for f in state.glob("*.journal")), 10, "the intent")
        os.kill(guardian_of(s.process.pid), signal.SIGKILL)
        r = s.finish().expect(3)
        assert r.result["faults"][0]["requested_ms"] is None, r.result["faults"]
        assert r.result["reason"].startswith(DIED) or "guardian process has gone" in r.result["reason"], r.result["reason"]
        assert s.shop.is_healthy() and not list(state.glob("*.journal"))


def test_when_all_faults_are_over_it_is_only_told():
    with Scene("  - {pause: {process: shop, how: sigstop}, at: 300ms, duration: 300ms, name: frozen}\n", 4) as s:
        wait_for(lambda: s.shop_is("T"), what="the pause")
        wait_for(lambda: s.shop_is("SR"), what="its end")
        state = s.tmp / "state"
        wait_for(lambda: any(b'"reverted"' in f.read_bytes() for f in state.glob("*.journal")), 10, "the last of it")
        os.kill(guardian_of(s.process.pid), signal.SIGKILL)
        r = s.finish().expect(0)
        assert [n for n in r.result["notes"] if n.startswith(DIED)] == [DIED + "; there was nothing left to guard"], r.result["notes"]


if __name__ == "__main__":
    main(globals())
