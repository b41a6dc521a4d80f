"""A real Kubernetes node (tests/kube/cluster.sh), and a stand-in for chaos-operator and chaos-runner on it.

The stand-in makes the Job that the real pair makes of a ChaosEngine and its ChaosExperiment: compared once with
tests/golden/litmus/litmus-pod-delete.job.json, and by test_the_job_is_the_runners.
"""
import json
import os
import random
import shutil
import string
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(ROOT, "tests", "kube")
GROUP = "litmuschaos.io/v1alpha1"


class Skip(Exception):
    pass


def crd(kind, plural):
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.litmuschaos.io"},
            "spec": {"group": "litmuschaos.io", "scope": "Namespaced",
                     "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": plural[:-1]},
                     "versions": [{"name": "v1alpha1", "served": True, "storage": True, "subresources": {},
                                   "schema": schema}]}}


CRDS = [crd("ChaosEngine", "chaosengines"), crd("ChaosExperiment", "chaosexperiments"), crd("ChaosResult", "chaosresults")]


class Cluster:
    """with Cluster(images={"local/web:1": ({"/mini_http": path}, ["/mini_http", "8080"])}) as c: …"""

    def __init__(self, images):
        self.dir = tempfile.mkdtemp(prefix="kube-", dir="/tmp")
        self.bin = os.environ.get("KUBE_BIN") or os.path.join(ROOT, "build", "kube", "bin")
        self.images = images

    def __enter__(self):
        archives = os.path.join(self.dir, "images")
        os.makedirs(archives)
        try:
            for n, (name, (files, entry)) in enumerate(self.images.items()):
                self.image(name, files, entry, os.path.join(archives, f"{n}.tar"))
            up = subprocess.run([f"{TOOLS}/cluster.sh", "up", self.dir, self.bin, archives], capture_output=True,
                                text=True, timeout=180)
            if up.returncode == 77:
                raise Skip(up.stdout.strip())
            assert up.returncode == 0, up.stdout + up.stderr
            self.apply(*CRDS)
            for c in CRDS:
                self.kubectl("wait", "--for=condition=Established", f"crd/{c['metadata']['name']}", "--timeout=30s")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        subprocess.run([f"{TOOLS}/cluster.sh", "down", self.dir], timeout=60)
        shutil.rmtree(self.dir, ignore_errors=True)

    def image(self, name, files, entry, archive):
        with tempfile.TemporaryDirectory() as rootfs:
            for path, source in files.items():
                target = rootfs + path
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(os.path.realpath(source), target)
            os.makedirs(rootfs + "/tmp", exist_ok=True)
            os.chmod(rootfs + "/tmp", 0o1777)
            subprocess.run([f"{TOOLS}/image.sh", name, rootfs, archive, json.dumps(entry)], check=True)

    def run(self, *args, stdin=None, code=0, timeout=120):
        done = subprocess.run([f"{TOOLS}/cluster.sh", "in", self.dir, *args], input=stdin, capture_output=True, text=True,
                              timeout=timeout)
        assert code is None or done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def kubectl(self, *args, stdin=None, code=0):
        return self.run(os.path.join(self.bin, "kubectl"), *args, stdin=stdin, code=code).stdout

    def get(self, *args):
        done = self.run(os.path.join(self.bin, "kubectl"), "get", *args, "-o", "json", code=None)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def apply(self, *objects):
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def wait(self, what, seconds=60, every=0.3):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = what()
            if answer:
                return answer
            time.sleep(every)
        raise AssertionError(f"it did not come within {seconds} s")


# ---- the stand-in ----

def targets_of(engine, ns):
    spec = engine["spec"]
    selectors = spec.get("selectors") or {}
    if selectors.get("workloads"):
        return ";".join(f"{w['kind']}:{w['namespace']}:[{w.get('names') or w.get('labels')}]" for w in selectors["workloads"])
    if selectors.get("pods"):
        return ";".join(f"pod:{p['namespace']}:[{p['names']}]" for p in selectors["pods"])
    app = spec.get("appinfo")
    return f"{app.get('appkind') or 'KIND'}:{app.get('appns') or ns}:[{app.get('applabel') or ''}]" if app else ""


def job_of(engine, experiment, ns):
    """As chaos-runner builds it (contract: derived env, then the experiment's, then the engine's)."""
    own = engine["spec"]["experiments"][0]
    components = own.get("spec", {}).get("components") or {}
    definition = experiment["spec"]["definition"]
    timeouts = components.get("statusCheckTimeouts") or {}
    derived = {
        "CHAOSENGINE": engine["metadata"]["name"], "TARGETS": targets_of(engine, ns), "CHAOS_NAMESPACE": ns,
        "CHAOS_UID": engine["metadata"]["uid"], "EXPERIMENT_NAME": own["name"],
        "LIB_IMAGE_PULL_POLICY": definition.get("imagePullPolicy") or "Always",
        "TERMINATION_GRACE_PERIOD_SECONDS": str(engine["spec"].get("terminationGracePeriodSeconds") or 0),
        "DEFAULT_HEALTH_CHECK": "true" if engine["spec"].get("defaultHealthCheck") else "false",
        "CHAOS_SERVICE_ACCOUNT": engine["spec"]["chaosServiceAccount"],
        "AUXILIARY_APPINFO": engine["spec"].get("auxiliaryAppInfo") or ""}
    env = {k: {"name": k, "value": v} for k, v in derived.items() if v}
    for e in [*(definition.get("env") or []), *(components.get("env") or [])]:
        env[e["name"]] = e
    for k, v in (("STATUS_CHECK_DELAY", str(timeouts.get("delay", 2))), ("STATUS_CHECK_TIMEOUT", str(timeouts.get("timeout", 180))),
                 ("JOB_CLEANUP_POLICY", engine["spec"].get("jobCleanUpPolicy") or "")):
        env[k] = {"name": k, "value": v}
    env["POD_NAME"] = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}
    name = own["name"] + "-" + "".join(random.choices(string.ascii_lowercase + string.digits, k=6))
    labels = {**(definition.get("labels") or {}), "chaosUID": engine["metadata"]["uid"], **(engine["metadata"].get("labels") or {})}
    container = {"name": name, "image": components.get("experimentImage") or definition["image"],
                 "imagePullPolicy": definition.get("imagePullPolicy") or "Always", "command": definition["command"],
                 "args": definition["args"], "env": list(env.values()), "resources": components.get("resources") or {}}
    pod = {"restartPolicy": "Never", "serviceAccountName": engine["spec"]["chaosServiceAccount"], "containers": [container]}
    if engine["spec"].get("terminationGracePeriodSeconds"):
        pod["terminationGracePeriodSeconds"] = engine["spec"]["terminationGracePeriodSeconds"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": ns, "labels": labels},
            "spec": {"template": {"metadata": {"name": name, "labels": labels}, "spec": pod}}}


def start_engine(c, ns, name):
    """The Job of an engine that was applied; its name."""
    engine = c.get("chaosengine", name, "-n", ns)
    experiment = c.get("chaosexperiment", engine["spec"]["experiments"][0]["name"], "-n", ns)
    job = job_of(engine, experiment, ns)
    c.kubectl("create", "-f", "-", stdin=json.dumps(job))
    return job["metadata"]["name"]


def pod_of(c, ns, job):
    items = (c.get("pods", "-n", ns, "-l", f"job-name={job}") or {"items": []})["items"]
    return items[0] if items else None


def wait_pod(c, ns, job, seconds=90):
    """Until it has ended, as the runner waits; its last state."""
    def ended():
        pod = pod_of(c, ns, job)
        return pod if pod and pod["status"]["phase"] in ("Succeeded", "Failed") else None
    return c.wait(ended, seconds)


def abort_engine(c, ns, name):
    """As the operator does: Jobs and pods with the engine's uid are deleted, in the background."""
    uid = c.get("chaosengine", name, "-n", ns)["metadata"]["uid"]
    c.kubectl("delete", "jobs,pods", "-n", ns, "-l", f"chaosUID={uid}", "--wait=false", "--cascade=background")


def events(c, ns):
    return sorted((e["reason"], e["type"], e["message"], e["involvedObject"]["kind"])
                  for e in c.get("events", "-n", ns)["items"] if e["involvedObject"]["kind"].startswith("Chaos"))
