#!/usr/bin/env python3
"""What is printed from the tables: docs/PLAN.md, the JSON Schema, manual pages, completions.

  test_printed.py CHAOS_LOAD ROOT
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

BINARY, ROOT = os.path.abspath(sys.argv[1]), sys.argv[2]


def said(*args, stdin=None, code=0):
    done = subprocess.run([BINARY, *args], capture_output=True, text=True, input=stdin, timeout=60)
    assert done.returncode == code, f"{args}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def fits(value, schema, defs):
    """As much of JSON Schema as ours uses."""
    if schema is True:
        return True
    known = {"$ref", "type", "enum", "const", "anyOf", "oneOf", "pattern", "minimum", "maximum", "properties",
             "required", "additionalProperties", "items", "minItems", "description", "default", "title", "$schema",
             "$defs"}
    assert set(schema) <= known, f"this test does not know {set(schema) - known}"
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}

    def is_type(t):
        if t in ("number", "integer"):
            return isinstance(value, (int, float) if t == "number" else int) and not isinstance(value, bool)
        return isinstance(value, types[t])

    if "$ref" in schema and not fits(value, defs[schema["$ref"].removeprefix("#/$defs/")], defs):
        return False
    if "type" in schema and not any(map(is_type, [schema["type"]] if isinstance(schema["type"], str)
                                        else schema["type"])):
        return False
    if "enum" in schema and value not in schema["enum"] or "const" in schema and value != schema["const"]:
        return False
    if "anyOf" in schema and not any(fits(value, s, defs) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, s, defs) for s in schema["oneOf"]) != 1:
        return False
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(fits(v, schema.get("items", True), defs) for v in value)
    if isinstance(value, dict):
        own, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
        return (set(schema.get("required", [])) <= set(value) and
                all(fits(v, own[k], defs) if k in own else rest is not False and fits(v, rest, defs)
                    for k, v in value.items()))
    return True


GOOD = {
    "apiVersion": "chaos-load/v1", "target": "http://127.0.0.1:5001", "name": "all of it",
    "users": [{"name": "web", "think": "between(1s, 5s)", "weight": 2, "variables": {"a": "b"},
               "tasks": [{"get": "/", "weight": 3, "tags": ["x"]},
                         {"get": "/health", "expect": {"status": 200, "max_time": "1s"}},
                         {"post": "/items", "headers": {"X-A": "1"}, "json": {"n": [1, "{{random.uuid}}"]}},
                         {"steps": [{"get": "/a", "extract": {"id": "json:id"}}, {"get": "/b/{{id}}"}]}]}],
    "load": {"users": 100, "spawn": "10/s", "for": "2m"},
    "http": {"timeout": "5s", "connections": "pooled", "tls": {"verify": False}, "http_version": "1.1"},
    "seed": 7, "warmup": "5s",
    "processes": [{"name": "p", "run": ["sleep", "1"]}, {"name": "q", "pid": 77}],
    "proxies": [{"name": "x", "upstream": "127.0.0.1:5001"}],
    "faults": [{"kill": {"process": "p", "restart_after": "2s"}, "at": "30s", "every": "20s", "count": 3},
               {"latency": {"proxy": "x", "delay": "200ms", "percent": "50%"}, "at": "between(40s, 50s)",
                "duration": "20s"}],
    "thresholds": ["errors: rate < 1% in baseline",
                   {"on": "response_time{GET /}", "is": "p(99) < 2s over 10s", "abort": True}],
    "out": {"dir": "results"},
}
# What to change in it; None: the plan is good as it stands.
VARIANTS = {
    "as it is": (None, True),
    "stages": (("load", {"stages": [{"for": "100s", "users": 5}]}), True),
    "parts": (("load", [{"arrivals": {"rate": "5/s", "for": "9s"}, "start": "3s"}, {"users": 3, "for": "60s"}]), False),
    "k6's map of thresholds": (("thresholds", {"http_req_failed": "rate < 1%"}), True),
    "demo target": (("target", {"embedded": "shop"}), True),
    "an unknown key": (("sed", 7), False),
    "a bare number for a time": (("warmup", 5), False),
    "a fault of two kinds": (("faults", [{"kill": {"process": "p"}, "pause": {"process": "p"}, "at": "1s"}]), False),
    "a misspelt parameter": (("faults", [{"kill": {"proces": "p"}, "at": "1s"}]), False),
    "an unknown version": (("apiVersion", "v2"), False),
    "users that are no number": (("load", {"users": "ten", "for": "1m"}), False),
    "a class without tasks": (("users", [{"name": "a"}]), False),
}


def test_the_schema_and_the_reader_agree():
    schema = json.loads(said("schema"))
    for what, (change, good) in VARIANTS.items():
        plan = dict(GOOD, **({change[0]: change[1]} if change else {}))
        if what == "parts":  # think times and arrivals do not go together: a rule no schema can say
            assert fits(plan, schema, schema["$defs"])
            continue
        assert fits(plan, schema, schema["$defs"]) == good, f"schema: {what}"
        said("validate", "-", stdin=json.dumps(plan), code=0 if good else 2)


def test_every_reference_of_the_schema_leads_somewhere():
    text = said("schema")
    defs = json.loads(text)["$defs"]
    for name in set(re.findall(r'"#/\$defs/([^"]+)"', text)):
        assert name in defs, name


def test_plan_md_is_the_printed_one():
    with open(os.path.join(ROOT, "docs", "PLAN.md"), encoding="utf-8") as f:
        assert f.read() == said("schema", "--markdown"), "run: chaos-load schema --markdown > docs/PLAN.md"


def test_the_table_of_faults_is_the_printed_one():
    """`test_printed.py CHAOS_LOAD ROOT --bless` writes it."""
    path = os.path.join(ROOT, "docs", "FAULTS.md")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, end = "<!-- printed by `chaos-load schema --faults`; a test compares -->\n\n", "\n<!-- end -->"
    before, rest = text.split(begin)
    old, after = rest.split(end)
    new = said("schema", "--faults")
    if "--bless" in sys.argv and old != new:
        with open(path, "w", encoding="utf-8") as f:
            f.write(before + begin + new + end + after)
        return
    assert old == new, f"run: test_printed.py build/dev/cli/chaos-load . --bless"


def test_plan_md_tells_every_key_of_the_schema():
    text, schema = said("schema", "--markdown"), json.loads(said("schema"))
    for part in [schema, *schema["$defs"].values()]:
        for key in part.get("properties", {}) if isinstance(part, dict) else []:
            assert f"`{key}`" in text or key in ("spawn_rate", "duration", "run_time", "abortOnFail", "delayAbortEval") \
                or f"{key}" in text, key


def test_manual_pages_are_sound_roff():
    groff = shutil.which("groff")
    for page in ("1", "5"):
        text = said("man", page)
        assert text.startswith(".TH CHAOS"), text[:80]
        if groff:
            done = subprocess.run([groff, "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr, done.stderr
    assert "\\-\\-spawn\\-rate" in said("man", "1") and ".B restart_after" in said("man", "5")


def complete(*words):
    """What bash offers for the last word."""
    with tempfile.NamedTemporaryFile("w", suffix=".bash") as f:
        f.write(said("completion", "bash"))
        f.flush()
        quoted = " ".join("'" + w.replace("'", "'\\''") + "'" for w in ("chaos-load", *words))
        script = f"source {f.name}; COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _chaos_load; " \
                 "printf '%s\\n' \"${COMPREPLY[@]}\""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=os.path.join(ROOT, "docs"))
    assert not done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


def test_bash_completes_verbs_options_values_files_and_faults():
    assert complete("va") == ["validate"]
    assert "guardian" not in complete("")
    assert complete("run", "--spa") == ["--spawn-rate"]
    assert complete("run", "--connect", "p") == ["per-user", "pooled"]
    assert complete("run", "-L", "d") == ["debug"]
    assert complete("run", "PLA") == ["PLAN.md"]
    assert sorted(complete("run", "--fault", "'ki")) == ["'kill docker=", "'kill process="]
    assert complete("completion", "f") == ["fish"]


def test_all_shells_get_a_script_with_every_option():
    for shell in ("bash", "zsh", "fish"):
        script = said("completion", shell)
        for option in ("spawn-rate", "threshold", "dry-run"):
            assert option in script, f"{shell}: {option}"
        parser = shutil.which(shell)
        if parser:
            done = subprocess.run([parser, "-n"], input=script, capture_output=True, text=True)
            assert done.returncode == 0, f"{shell}: {done.stderr}"


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_"):
            continue
        try:
            test()
            print("ok  ", name, flush=True)
        except Exception:
            failed += 1
            print("FAIL", name, traceback.format_exc(), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
