#!/usr/bin/env python3
"""The Litmus door on a real node: the Job that chaos-runner makes, from start to verdict.

  CHAOS_LOAD=build/release/cli/chaos-load MINI_HTTP=… test_litmus.py
"""
import json
import os
import re
import subprocess
import sys
import time

import kube
from harness import main

CHAOS_LOAD = os.environ.get("CHAOS_LOAD", "build/release/cli/chaos-load")
MINI_HTTP = os.environ.get("MINI_HTTP", "build/release/tests/mini_http")
NS = "default"
C = None


def libraries(binary):
    said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    return sorted(set(re.findall(r"(/[^\s()]+)", said)))


def images():
    files = {"/chaos-load": CHAOS_LOAD, **{path: path for path in libraries(CHAOS_LOAD)}}
    return {"local/pause:1": ({"/pause": os.environ["PAUSE"]}, ["/pause"]),
            "local/web:1": ({"/mini_http": MINI_HTTP}, ["/mini_http", "8080"]),
            "local/chaos-load:1": (files, ["/chaos-load"])}


ROLE = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "get", "update"]},
        {"apiGroups": ["litmuschaos.io"], "resources": ["chaosengines"], "verbs": ["get"]},
        {"apiGroups": ["litmuschaos.io"], "resources": ["chaosresults"], "verbs": ["create", "get", "update"]}]


def set_up():
    meta = {"name": "chaos-loadgen-sa", "namespace": NS}
    web = {"app": "web"}
    C.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": ROLE},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta,
         "subjects": [{"kind": "ServiceAccount", **meta}],
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": meta["name"]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": NS},
         "spec": {"replicas": 2, "selector": {"matchLabels": web}, "template": {
             "metadata": {"labels": web}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                 {"name": "web", "image": "local/web:1", "imagePullPolicy": "IfNotPresent",
                  "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NS},
         "spec": {"selector": web, "clusterIP": "10.96.0.77", "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": kube.GROUP, "kind": "ChaosExperiment", "metadata": {"name": "chaos-loadgen", "namespace": NS},
         "spec": {"definition": {"scope": "Namespaced", "image": "local/chaos-load:1", "imagePullPolicy": "IfNotPresent",
                                 "command": ["/chaos-load"], "args": ["experiment", "-name", "chaos-loadgen"],
                                 "labels": {"name": "chaos-loadgen", "app.kubernetes.io/part-of": "litmus"},
                                 "env": [{"name": "DEFAULT_HEALTH_CHECK", "value": "false"}]}}})
    C.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def engine(name, env, **spec):
    C.apply({"apiVersion": kube.GROUP, "kind": "ChaosEngine", "metadata": {"name": name, "namespace": NS},
             "spec": {"engineState": "active", "chaosServiceAccount": "chaos-loadgen-sa", "experiments": [
                 {"name": "chaos-loadgen", "spec": {"components": {
                     "env": [{"name": k, "value": v} for k, v in env.items()]}, **spec.pop("more", {})}}], **spec}})


LOAD = {"TARGET_URL": "http://10.96.0.77", "USERS": "5", "SPAWN_RATE": "50", "TOTAL_CHAOS_DURATION": "4"}


def live(name, env, **spec):
    engine(name, {**LOAD, **env}, **spec)
    job = kube.start_engine(C, NS, name)
    pod = kube.wait_pod(C, NS, job)
    return pod, C.get("chaosresult", f"{name}-chaos-loadgen", "-n", NS)


def log_of(pod):
    return C.kubectl("logs", "-n", NS, pod["metadata"]["name"])


def status(result):
    return result["status"]["experimentStatus"]


def test_a_good_load_passes_and_says_its_numbers():
    pod, result = live("good", {"THRESHOLDS": "errors: rate < 1%; response_time: p(95) < 5s"})
    assert pod["status"]["phase"] == "Succeeded", log_of(pod)
    assert status(result) == {"phase": "Completed", "verdict": "Pass", "probeSuccessPercentage": "100"}, result
    probes = result["status"]["probeStatuses"]
    assert [p["status"]["verdict"] for p in probes] == ["Passed", "Passed"], probes
    assert re.search(r"limit 5(\.00)? ?s", probes[1]["status"]["description"]), probes
    assert result["status"]["history"]["passedRuns"] == 1
    assert result["spec"] == {"engine": "good", "experiment": "chaos-loadgen"}
    assert result["metadata"]["labels"]["job-name"] and result["metadata"]["labels"]["chaosUID"]
    assert " requests, 0 failed" in result["metadata"]["annotations"]["chaos-load/load"]
    line = [x for x in log_of(pod).splitlines() if x.startswith("{")]
    assert json.loads(line[-1])["verdict"] == "Pass"
    seen = [(r, t) for r, t, m, k in kube.events(C, NS) if "chaos-loadgen" in m or r.endswith("Check")]
    for wanted in (("Awaited", "Normal"), ("ChaosInject", "Normal"), ("Pass", "Normal"), ("Summary", "Normal"),
                   ("PreChaosCheck", "Normal"), ("PostChaosCheck", "Normal")):
        assert wanted in seen, (wanted, seen)


def test_a_broken_threshold_fails():
    pod, result = live("slow", {"THRESHOLDS": "errors: rate < 1%; response_time: p(95) < 1us"})
    assert pod["status"]["phase"] == "Succeeded", log_of(pod)
    assert status(result) == {"phase": "Completed_With_Probe_Failure", "verdict": "Fail", "probeSuccessPercentage": "50"}
    assert result["status"]["history"]["failedRuns"] == 1


def test_bad_env_is_an_error_that_says_what():
    pod, result = live("typo", {"THRESHOLDS": "respones_time: p(95) < 1s"})
    assert pod["status"]["phase"] == "Succeeded", log_of(pod)
    assert status(result)["verdict"] == "Error" and status(result)["phase"] == "Error"
    assert status(result)["errorOutput"]["errorCode"] == "GENERIC_ERROR"
    reason = json.loads(status(result)["errorOutput"]["reason"])
    assert "respones_time" in reason["reason"] and reason["phase"] == "ChaosInject", reason
    assert result["status"]["history"] == {"passedRuns": 0, "failedRuns": 0, "stoppedRuns": 0}


def test_nobody_there_is_felt_and_judged():
    pod, result = live("away", {"TARGET_URL": "http://10.96.0.77:81", "THRESHOLDS": "errors: rate < 1%"})
    assert status(result)["verdict"] == "Fail", result


def test_probes_of_the_engine_are_refused_by_name():
    probe = {"name": "p", "type": "httpProbe", "mode": "SOT", "httpProbe/inputs": {}, "runProperties": {}}
    _, result = live("probed", {}, more={"probe": [probe]})
    assert status(result)["verdict"] == "Error" and "probes" in status(result)["errorOutput"]["reason"]


def test_an_abort_stops_the_load_and_is_told():
    engine("abort", {**LOAD, "TOTAL_CHAOS_DURATION": "120"})
    job = kube.start_engine(C, NS, "abort")
    C.wait(lambda: any(r == "ChaosInject" and "abort" not in m for r, t, m, k in kube.events(C, NS)))
    C.wait(lambda: (kube.pod_of(C, NS, job) or {}).get("status", {}).get("phase") == "Running")
    C.wait(lambda: status(C.get("chaosresult", "abort-chaos-loadgen", "-n", NS) or
                          {"status": {"experimentStatus": {"phase": ""}}})["phase"] == "Running")
    time.sleep(2)
    kube.abort_engine(C, NS, "abort")
    C.wait(lambda: kube.pod_of(C, NS, job) is None, 40)
    result = C.get("chaosresult", "abort-chaos-loadgen", "-n", NS)
    assert status(result)["phase"] == "Stopped" and status(result)["verdict"] == "Stopped", result
    assert result["status"]["history"]["stoppedRuns"] == 1
    assert any(r == "Abort" for r, t, m, k in kube.events(C, NS))


def test_a_verdict_that_cannot_be_written_does_not_run_the_load_again():
    engine("gone", LOAD)
    job = kube.start_engine(C, NS, "gone")
    C.wait(lambda: C.get("chaosresult", "gone-chaos-loadgen", "-n", NS))
    C.kubectl("delete", "chaosresult", "gone-chaos-loadgen", "-n", NS)
    pod = kube.wait_pod(C, NS, job)
    assert pod["status"]["phase"] == "Succeeded", log_of(pod)
    assert "the ChaosResult gone-chaos-loadgen is gone" in log_of(pod)


def test_a_second_run_of_an_engine_keeps_the_history():
    live("again", {})
    _, result = live("again", {})
    assert result["status"]["history"]["passedRuns"] == 2, result


if __name__ == "__main__":
    try:
        with kube.Cluster(images()) as C:
            set_up()
            main(globals())
    except kube.Skip as why:
        print(why)
        sys.exit(77)
