#!/usr/bin/env python3
"""result.json of the sample run against docs/result.schema.json; and documents that must not pass."""
import json
import os
import subprocess
import sys
import tempfile

SKIP = 77


def validate(root, path):
    tool = os.path.join(root, "tests/tools/validate_result.py")
    done = subprocess.run(["/usr/bin/python3", tool, path], capture_output=True, text=True, check=False)
    if done.returncode == SKIP:
        print(done.stdout, end="")
        sys.exit(SKIP)
    return done.returncode, done.stdout + done.stderr


def broken(document):
    """Each change makes a document that a reader could not rely on."""
    yield "no verdict", {k: v for k, v in document.items() if k != "verdict"}
    yield "a verdict of no kind", {**document, "verdict": "Great"}
    yield "a text for a number", {**document, "duration_ms": "90 s"}
    yield "a negative count", {**document, "totals": {**document["totals"], "failures": -1}}
    yield "a class of no kind", {**document, "errors": [{"class": "bored", "count": 1}]}
    yield "a fault without its instants", {**document, "faults": [{"kind": "kill"}]}
    yield "figures without p99", {**document, "response_time": {"count": 1}}
    yield "another schema", {**document, "schema": "chaos-load/result/v0"}


def main():
    render, root = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([render, out], check=True, stdout=subprocess.DEVNULL)
        path = os.path.join(out, "result.json")
        code, said = validate(root, path)
        assert code == 0, said
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        for what, bad in broken(document):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(bad, f)
            code, said = validate(root, path)
            assert code == 1, f"{what}: {code} {said}"
    print("ok")
    return 0


sys.exit(main())
