#!/usr/bin/env python3
"""The command line as people use it: forms of options, plan and flags together, what is printed where.

  test_command_line.py CHAOS_LOAD
"""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BINARY = os.path.abspath(sys.argv[1])
PLAN = """
target: http://127.0.0.1:9
users:
  - think: constant(1s)
    tasks: [{get: /a, tags: [x]}, {get: /b, tags: [y], weight: 3}]
load: {users: 10, spawn: 5/s, for: 1m}
faults: [{kill: {process: shop}, at: 5s}]
"""


def cl(*args, stdin=None, env=None, folder=None, code=0, timeout=60):
    """Runs it; the exit code must be `code`."""
    with tempfile.TemporaryDirectory() as own:
        e = dict(os.environ, CHAOS_LOAD_STATE=os.path.join(own, "state"), HOME=own, **(env or {}))
        done = subprocess.run([BINARY, *args], cwd=folder or own, env=e, input=stdin, capture_output=True, text=True,
                              timeout=timeout)
    assert done.returncode == code, f"{args}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
    return done


def explain(*args, **kw):
    return cl("explain", "--seed", "1", *args, **kw).stdout


def with_plan(*args, plan=PLAN, **kw):
    return explain("-", *args, stdin=plan, **kw)


class Server:
    """A server that remembers what it was asked."""

    def __enter__(self):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen.append((self.command, self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()


# ---- forms of options ----

def test_a_value_may_stand_in_four_ways():
    forms = [["-u", "7"], ["-u7"], ["--users", "7"], ["--users=7"]]
    texts = {explain("-H", "http://127.0.0.1:9", "-t", "9", *form) for form in forms}
    assert len(texts) == 1 and "7 users" in texts.pop()


def test_switches_may_stand_together_and_dashes_end_options():
    assert "10 users" in explain("-qk", "--", "plan.yaml", folder=plan_folder())


def test_a_line_of_somebody_elses_may_begin_with_dashes():
    said = cl("import", "pumba", "--interval 10s kill re2:^shop", "--target", "http://t").stdout
    assert "every: 10s" in said and "http://t" in said, said


def test_the_last_of_several_values_counts():
    assert "9 users" in explain("-H", "http://127.0.0.1:9", "-u", "3", "-u", "9", "-t", "5")


def test_bare_numbers_are_seconds_on_the_command_line():
    assert "Length: 1m30s" in explain("-H", "http://127.0.0.1:9", "-t", "90")
    assert "Length: 1h30m" in explain("-H", "http://127.0.0.1:9", "-t", "1h30m")


FOLDERS = []


def plan_folder(plan=PLAN):
    folder = tempfile.TemporaryDirectory()
    FOLDERS.append(folder)
    with open(os.path.join(folder.name, "plan.yaml"), "w", encoding="utf-8") as f:
        f.write(plan)
    return folder.name


# ---- plan and flags together ----

def test_flags_override_the_plan():
    text = with_plan("-u", "40", "-r", "20", "-t", "30", "-H", "http://127.0.0.1:8", "--name", "other")
    assert text.startswith("other\nTarget: http://127.0.0.1:8\nLength: 30s; seed 1\n"), text
    assert "      2s         40 users\n" in text, text


def test_flags_say_the_same_as_a_plan():
    plan = """
target: http://127.0.0.1:9
name: both
users:
  - think: between(1s, 5s)
    tasks: [{get: /, weight: 3}, {post: /x, body: hi, expect: {status: 201}}]
load: {users: 100, spawn: 10/s, for: 2m}
faults:
  - {kill: {process: shop, restart_after: 2s}, at: 30s, every: 20s, count: 3}
  - {latency: {proxy: net, delay: 200ms}, at: 95s, duration: 20s}
thresholds: ['errors: rate < 1%', 'response_time: p(95) < 500ms in recovery']
"""
    flags = explain("-H", "http://127.0.0.1:9", "--name", "both", "-u", "100", "-r", "10", "-t", "2m", "--task",
                    "GET / 3", "--task", "POST /x data=hi expect=201", "--think", "between(1, 5)", "--fault",
                    "kill process=shop restart_after=2 at=30 every=20s count=3", "--fault",
                    "latency proxy=net delay=200ms at=95s duration=20", "--threshold", "errors: rate < 1%",
                    "--threshold", "response_time: p(95) < 500ms in recovery")
    assert flags == with_plan(plan=plan), flags


def test_run_time_cuts_stages_where_the_ramp_is_then():
    plan = PLAN.replace("load: {users: 10, spawn: 5/s, for: 1m}",
                        "load: {stages: [{for: 10s, users: 10}, {for: 20s, users: 50}, {for: 10s, users: 0}]}")
    text = with_plan("-t", "20", plan=plan)
    assert "Length: 20s" in text and "20s        30 users" in text, text


def test_arrivals_replace_users_and_keep_the_length():
    text = with_plan("--arrivals", "50/s poisson", plan=PLAN.replace("think: constant(1s)", "name: a"))
    assert "Length: 1m" in text and "Poisson" in text and "about 3000 requests" in text, text


def test_stages_of_rates_are_open_load():
    text = explain("-H", "http://127.0.0.1:9", "--stages", "10s:100/s,10s:0/s")
    assert "open" in text and "about 1500 requests" in text, text


def test_tags_choose_tasks():
    assert "/b" not in with_plan("--tags", "x") and "/a" not in with_plan("-E", "x,z")


def test_a_fault_and_a_threshold_are_added_to_those_of_the_plan():
    text = with_plan("--fault", "pause process=shop at=9s duration=1s", "--threshold", "errors: rate < 1%")
    assert "kill shop" in text and "pause shop, until 10s" in text and "errors: rate < 1%" in text, text


# ---- variables ----

def test_variables_are_filled_in():
    plan = "target: http://${WHERE}:${PORT:-81}\nname: $${kept}\nusers: [{tasks: [{get: /}]}]\n"
    text = with_plan(plan=plan, env={"WHERE": "127.0.0.1", "PORT": ""})
    assert text.startswith("${kept}\nTarget: http://127.0.0.1:81\n"), text


def test_a_secret_header_comes_from_a_variable_and_is_sent():
    with Server() as s:
        done = cl("run", "-H", s.url, "-i", "1", "--header", "Authorization: Bearer ${TOKEN}", "--result", "-",
                  env={"TOKEN": "s3cret-token"})
        assert s.seen[0][2]["Authorization"] == "Bearer s3cret-token", s.seen
        assert "s3cret-token" not in done.stdout + done.stderr


# ---- what is sent ----

def test_tasks_from_flags_send_what_they_say():
    with Server() as s:
        cl("run", "-H", s.url, "-i", "1", "--task", 'POST /items json={"name": "a b"} header=\'X-One: 1\'')
        cl("run", "-H", s.url, "-i", "1", "--task", "PUT /x", "--data", '{"n":1}', "--header", "X-Two: 2")
        first, second = s.seen
        assert first[:2] == ("POST", "/items") and first[3] == b'{"name": "a b"}', first
        assert first[2]["X-One"] == "1" and first[2]["Content-Type"] == "application/json", first
        assert second[:2] == ("PUT", "/x") and second[3] == b'{"n":1}' and second[2]["X-Two"] == "2", second


def test_without_a_task_the_root_is_asked_for():
    with Server() as s:
        cl("run", "-H", s.url, "-i", "3", "-u", "1")
        assert [x[:2] for x in s.seen] == [("GET", "/")] * 3, s.seen


# ---- outputs ----

def test_standard_output_holds_one_report_and_nothing_else():
    with Server() as s:
        result = json.loads(cl("run", "-H", s.url, "-i", "5", "--result", "-").stdout)
        assert result["totals"]["requests"] == 5 and result["verdict"] == "Pass", result
        locust = json.loads(cl("run", "-H", s.url, "-i", "5", "--json").stdout)
        assert locust[0]["num_requests"] == 5 and locust[0]["method"] == "GET", locust
        assert cl("run", "-H", s.url, "-i", "5").stdout == ""


def test_out_has_all_reports():
    with Server() as s, tempfile.TemporaryDirectory() as folder:
        cl("run", "-H", s.url, "-i", "5", "--out", "deep/er", "--csv", "c/x", "--json-file", "loc", folder=folder)
        there = set(os.listdir(os.path.join(folder, "deep/er")))
        assert there >= {"result.json", "rows.ndjson", "report.html", "summary.md", "junit.xml"}, there
        assert {"x_stats.csv", "x_failures.csv", "x_stats_history.csv"} <= set(os.listdir(folder + "/c"))
        with open(os.path.join(folder, "loc.json"), encoding="utf-8") as f:
            assert json.load(f)[0]["num_requests"] == 5


def test_quiet_says_nothing_and_only_summary_no_progress():
    with Server() as s:
        assert cl("run", "-H", s.url, "-i", "2", "-q").stderr == ""
        summary = cl("run", "-H", s.url, "-i", "2", "--only-summary").stderr
        assert "PASS" in summary and "phase baseline" not in summary, summary


def test_log_lines_go_to_their_file():
    with Server() as s, tempfile.TemporaryDirectory() as folder:
        done = cl("run", "-H", s.url, "-i", "2", "-L", "debug", "--log-format", "json", "--logfile", "l.log",
                  folder=folder)
        assert '{"' not in done.stderr, done.stderr
        assert os.path.exists(os.path.join(folder, "l.log"))


def test_colour_only_when_asked_for_outside_a_terminal():
    with Server() as s:
        assert "\x1b[" not in cl("run", "-H", s.url, "-i", "2").stderr
        assert "\x1b[" in cl("run", "-H", s.url, "-i", "2", "--color").stderr
        assert "\x1b[" not in cl("run", "-H", s.url, "-i", "2", "--no-color", "--color").stderr


# ---- exit codes ----

def test_a_broken_threshold_is_1_and_one_that_holds_0():
    with Server() as s:
        cl("run", "-H", s.url, "-i", "2", "--threshold", "requests: count == 2")
        cl("run", "-H", s.url, "-i", "2", "--threshold", "requests: count == 3", code=1)


def test_what_cannot_be_prepared_is_3():
    done = cl("run", "-H", "http://127.0.0.1:9", "-t", "5", "--process", "a=/no/such/program", code=3)
    assert "/no/such/program" in done.stderr, done.stderr
    cl("run", "-H", "http://127.0.0.1:9", "-i", "1", "--out", "/proc/nowhere", code=3)


def test_an_interrupt_is_130_and_reports():
    with Server() as s, tempfile.TemporaryDirectory() as folder:
        p = subprocess.Popen([BINARY, "run", "-H", s.url, "--think", "constant(50ms)", "--out", "o"], cwd=folder,
                             stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while len(s.seen) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        p.send_signal(2)
        _, err = p.communicate(timeout=60)
        assert p.returncode == 130, f"{p.returncode}\n{err}"
        with open(os.path.join(folder, "o/result.json"), encoding="utf-8") as f:
            assert json.load(f)["verdict"] == "Stopped"


# ---- the other verbs ----

def test_dry_run_starts_and_sends_nothing():
    with Server() as s:
        done = cl("run", "-H", s.url, "-u", "1", "-t", "9", "--process", "p=sleep 5", "--fault",
                  "kill process=p at=3s", "--dry-run")
        assert "3s" in done.stdout and "kill" in done.stdout and not s.seen, done.stdout


def test_explain_sends_nothing_and_follows_the_seed():
    plan = PLAN.replace("at: 5s", "at: 'between(1s, 50s)'")
    assert with_plan(plan=plan) == with_plan(plan=plan)
    assert with_plan(plan=plan) != with_plan("--seed", "2", plan=plan)


def test_init_writes_a_plan_that_is_valid():
    with tempfile.TemporaryDirectory() as folder:
        cl("init", "p.yaml", folder=folder)
        assert cl("validate", "p.yaml", folder=folder).stdout.startswith("OK: p.yaml: ")
        with open(os.path.join(folder, "p.yaml"), encoding="utf-8") as f:
            assert f.read() == cl("init").stdout
        cl("init", "p.yaml", "--force", folder=folder)


def test_recover_has_nothing_to_do_on_a_sound_machine():
    assert cl("recover").stdout == "nothing to take back\n"
    cl("recover", "/no/such/journal", code=2)


def test_the_guardian_is_not_for_hands():
    cl("guardian", "/tmp/none", code=2)


def test_help_of_every_verb():
    overview = cl().stdout
    assert cl("--help").stdout == overview == cl("help").stdout
    for verb in "run validate explain init schema target proxy report recover status completion man version".split():
        assert f"\n  {verb} " in overview
        text = cl(verb, "--help").stdout
        assert text.startswith(f"Usage: chaos-load {verb}") and cl("help", verb).stdout == text
    assert "guardian" not in overview
    assert "Exit codes:" in cl("run", "-h").stdout


def test_version():
    assert cl("--version").stdout == cl("version").stdout and cl("-V").stdout.startswith("chaos-load ")


def test_a_full_disk_on_standard_output_is_no_success():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BINARY, "schema"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 3, done


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if not name.startswith("test_") or (len(sys.argv) > 2 and name not in sys.argv[2:]):
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
