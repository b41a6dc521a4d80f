#!/usr/bin/env python3
"""`chaos-load report` as a user runs it: all reports again, from a result, from rows, from the rows of
a run that was killed; and what it says when there is nothing to report."""
import json
import os
import subprocess
import sys
import tempfile

RENDER, CHAOS_LOAD = sys.argv[1:3]
REPORTS = ["result.json", "report.html", "summary.md", "junit.xml", "locust_stats.csv",
           "locust_stats_history.csv", "locust_failures.csv", "locust_exceptions.csv"]


def report(*args, expect=0):
    done = subprocess.run([CHAOS_LOAD, "report", *args], capture_output=True, timeout=60, check=False)
    assert done.returncode == expect, (args, done.returncode, done.stderr.decode())
    return done.stdout.decode(), done.stderr.decode()


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def a_folder_is_rebuilt_in_place(out):
    before = {name: read(out, name) for name in REPORTS}
    for name in REPORTS[1:]:
        os.unlink(os.path.join(out, name))
    said, _ = report(out)
    assert "FAIL  the shop survives" in said, said
    for name in REPORTS:
        assert read(out, name) == before[name], f"{name} is not as it was"


def rows_give_the_same_reports(out, other):
    report(os.path.join(out, "rows.ndjson"), "--out", other, "--quiet")
    for name in REPORTS:
        assert read(out, name) == read(other, name), f"{name} differs when rebuilt from rows"


def a_killed_run_is_rebuilt_to_its_last_second(out, other):
    rows = read(out, "rows.ndjson")
    os.mkdir(other)
    with open(os.path.join(other, "rows.ndjson"), "wb") as f:
        f.write(rows[: len(rows) * 6 // 10])
    said, _ = report(other)
    assert "cut off after" in said, said
    result = json.loads(read(other, "result.json"))
    assert result["verdict"] == "Error" and result["complete"] is False
    assert 30 <= len(result["rows"]) < 90
    assert sum(p["totals"]["requests"] for p in result["phases"]) == result["totals"]["requests"] > 0
    assert b"did not end by itself" in read(other, "report.html")


def a_younger_rows_file_speaks_for_its_folder(out):
    path = os.path.join(out, "rows.ndjson")
    rows = read(out, "rows.ndjson")
    with open(path, "wb") as f:
        f.write(rows[: len(rows) // 2])
    os.utime(path, (2 ** 31, 2 ** 31))
    said, _ = report(out, "--json")
    assert json.loads(said)[0]["name"] == "/", "standard output is the JSON and nothing else"
    said, _ = report(out, "--out", os.path.join(out, "again"))
    assert "cut off after" in said, said


def standard_output_can_be_a_report(out):
    page, _ = report(os.path.join(out, "result.json"), "--html", "-")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    said, _ = report(os.path.join(out, "result.json"), "--quiet")
    assert said == ""


def mistakes_are_told(out, other):
    garbage = os.path.join(out, "garbage")
    with open(garbage, "w", encoding="utf-8") as f:
        f.write("{\"type\":\"header\",\"schema\":\"something else\"}\n")
    empty = os.path.join(out, "empty")
    os.mkdir(empty)
    for args, code, says in [
            ([], 2, "name one result.json"),
            (["a", "b"], 2, "name one result.json"),
            ([os.path.join(out, "none.json")], 2, "No such file"),
            ([empty], 2, "has neither result.json nor rows.ndjson"),
            ([garbage], 2, "line 1: schema: 'something else'"),
            ([os.path.join(out, "report.html")], 2, "is neither a result.json nor a rows.ndjson"),
            ([os.path.join(out, "result.json"), "--html", "/proc/no/page.html"], 3, "/proc/no"),
            ([os.path.join(out, "result.json"), "--htlm", "x"], 2, "html")]:
        _, said = report(*args, expect=code)
        assert says in said, (args, said)
    assert not os.path.exists(other)


with tempfile.TemporaryDirectory() as top:
    main = os.path.join(top, "out")
    os.mkdir(main)
    subprocess.run([RENDER, main], check=True, stdout=subprocess.DEVNULL)
    a_folder_is_rebuilt_in_place(main)
    rows_give_the_same_reports(main, os.path.join(top, "from-rows"))
    a_killed_run_is_rebuilt_to_its_last_second(main, os.path.join(top, "killed"))
    standard_output_can_be_a_report(main)
    mistakes_are_told(main, os.path.join(top, "never"))
    a_younger_rows_file_speaks_for_its_folder(main)
print("ok")
