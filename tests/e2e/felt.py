"""What users feel: one run of a plan with baseline, fault and recovery, and its result read phase by phase.

The exact histograms of result.json are read, so a share of requests or a quantile is what our own load measured."""
import collections
import json
import math
import os
import subprocess

from harness import CHAOS_LOAD, Run, environment, folder

BEFORE, HELD, AFTER = 1.5, 3, 2.5
Z = 3.29  # 99.9 %, both sides


def slot_ms(slot):
    """The middle of a histogram's step (runner/hist.h)."""
    if slot < 2048:
        return slot / 1000
    shift = (slot >> 10) - 1
    return ((((slot & 1023) | 1024) << shift) + (1 << shift) / 2) / 1000


class Values:
    """A histogram: sorted values in ms with how often each came."""

    def __init__(self, text=None):
        self.counts = collections.Counter()
        slot = 0
        for step in filter(None, (text or "1;0;0;0;0;").split(";")[5].split(",")):
            difference, count = map(int, step.split(":"))
            slot += difference
            self.counts[slot_ms(slot)] += count

    def add(self, other):
        self.counts.update(other.counts)

    def __len__(self):
        return sum(self.counts.values())

    def quantile(self, q):
        need, values = q * len(self), sorted(self.counts)
        for v in values:
            need -= self.counts[v]
            if need <= 0:
                return v
        raise AssertionError("nothing was measured")

    def median(self):
        return self.quantile(0.5)

    def usual(self):
        """The median of all instants: each value counts as long as it lasted."""
        need = sum(v * n for v, n in self.counts.items()) / 2
        for v in sorted(self.counts):
            need -= v * self.counts[v]
            if need <= 0:
                return v
        raise AssertionError("nothing was measured")

    def below(self, ms):
        return sum(n for v, n in self.counts.items() if v <= ms)

    def between(self, lo, hi):
        return self.below(hi) - self.below(lo)


class Seen:
    """What one class of users saw in the phases of a kind."""

    def __init__(self, result, kind, name):
        self.response, self.service, self.errors = Values(), Values(), collections.Counter()
        self.requests = self.failures = self.successes = 0
        index = [e["name"] for e in result["endpoints"]].index(name)
        for phase in result["phases"]:
            for e in phase["endpoints"]:
                if phase["kind"] != kind or e["endpoint"] != index:
                    continue
                self.response.add(Values(e["histograms"].get("response")))
                self.service.add(Values(e["histograms"].get("service")))
                self.errors.update({x["class"]: x["count"] for x in e["errors"]})
                self.requests += e["totals"]["requests"]
                self.failures += e["totals"]["failures"]
                self.successes += e["totals"]["successes"]


class Felt:
    """A finished run: what the users `name` saw before, in and after its one fault."""

    def __init__(self, run):
        self.run, self.fault = run, run.result["faults"][0]

    def of(self, name):
        return [Seen(self.run.result, kind, name) for kind in ("baseline", "inject", "recovery")]

    def edge_ms(self):
        """Of the fault's phase, how long it was not, or no more, in effect."""
        f = self.fault
        return f["effective_ms"] - f["requested_ms"] + f["reverted_ms"] - f["revert_requested_ms"]


def binomial(hits, n, share, widen=1.0, more=0):
    """hits of n are what chance makes of share; `more` of them may have another reason."""
    bound = widen * Z * math.sqrt(share * (1 - share) * n) + 1
    assert share * n - bound - more <= hits <= share * n + bound + more, \
        f"{hits} of {n} is not {share:.4f}, which is {share * n:.0f} +- {bound + more:.0f}"


def follows(values, quantile, shift, slack, widen=1.0, more=0.0):
    """The distribution is that of `quantile`, each value moved by at most `slack`; but for a share of `more`."""
    n = len(values)
    assert n >= 100, f"only {n} values"
    for q in (0.1, 0.25, 0.5, 0.75, 0.9):
        bound = widen * Z * math.sqrt(q * (1 - q) / n) + 1 / n + more
        at = quantile(q) + shift
        low, high = values.below(at - slack(at)) / n, values.below(at + slack(at)) / n
        assert low <= q + bound and high >= q - bound, \
            f"{q:.0%} should be below {at:.1f} ms; {low:.0%} to {high:.0%} are, {bound:.0%} allowed"


def plan_of(target, processes, classes, fault, http):
    """classes: {name: {"get": URL, "load": {...}, "think": ...}}; fault: the text of one in YAML."""
    total = BEFORE + HELD + AFTER
    users, load = [], []
    for name, c in classes.items():
        task = {"name": name, **{k: c[k] for k in ("get", "post", "body_file") if k in c}}
        users.append({"name": name, "tasks": [task], "think": c.get("think", "none"), **({"host": c["host"]} if "host" in c else {})})
        part = dict(c["load"])
        if "arrivals" in part:
            part["arrivals"] = {"rate": part["arrivals"], "for": f"{total}s"}
        else:
            part["for"] = f"{total}s"
        load.append({**part, "class": name})
    kind, params = fault
    return json.dumps({
        "apiVersion": "chaos-load/v1", "target": target, "processes": processes, "users": users, "load": load, "http": http,
        "recover_hold": "1s", "max_lag": "10s", "graceful_stop": "5s",
        "faults": [{kind: params, "at": f"{BEFORE}s", "duration": f"{HELD}s"}],
    }, indent=1)


def measure(text, enter=()):
    """One run of it, behind the words of `enter`."""
    with folder() as tmp:
        (tmp / "plan.json").write_text(text)
        (tmp / "state").mkdir()
        argv = [*enter, CHAOS_LOAD, "run", str(tmp / "plan.json"), "--out", str(tmp / "out")]
        done = subprocess.run(argv, capture_output=True, text=True, env=environment(tmp / "state"), stdin=subprocess.DEVNULL,
                              timeout=60, check=False)
        seen = Run(argv, done.returncode, done.stdout, done.stderr, tmp / "out").expect(0)
        left = os.listdir(tmp / "state")
        assert left == [], left
    felt = Felt(seen)
    assert felt.fault["verified_in"] and felt.fault["verified_out"] and felt.fault["ended_by"] == "plan", felt.fault
    return felt
