#!/usr/bin/python3
"""validate_result.py FILE...: result.json files against docs/result.schema.json, and what a schema
cannot say: that the sums agree. Exit 0 valid, 1 not, 77 without python3-jsonschema."""
import json
import os
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: there is no jsonschema here (apt-get install python3-jsonschema)")
    sys.exit(77)

SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/result.schema.json")


def sums(document):
    """Complaints about totals that do not agree."""
    def add(parts, key):
        return sum(p["totals"][key] for p in parts)

    for key in ("requests", "successes", "failures", "dropped"):
        total = document["totals"][key]
        for name in ("phases", "endpoints"):
            if document[name] and add(document[name], key) != total:
                yield f"totals.{key} is {total}, the sum over {name} is {add(document[name], key)}"
    for key in ("successes", "failures"):
        rows = sum(row[key] for row in document["rows"])
        if document["rows"] and rows != document["totals"][key]:
            yield f"totals.{key} is {document['totals'][key]}, the sum over rows is {rows}"
    errors = sum(e["count"] for e in document["errors"])
    if errors != document["totals"]["failures"]:
        yield f"totals.failures is {document['totals']['failures']}, the sum of errors is {errors}"


def main():
    with open(SCHEMA, encoding="utf-8") as f:
        schema = json.load(f)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    bad = 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as f:
            document = json.load(f)
        complaints = [f"{'.'.join(map(str, e.absolute_path)) or '(top)'}: {e.message[:300]}"
                      for e in validator.iter_errors(document)]
        if not complaints:
            complaints = list(sums(document))
        for c in complaints:
            print(f"{path}: {c}")
        bad += bool(complaints)
    return 1 if bad or len(sys.argv) < 2 else 0


sys.exit(main())
