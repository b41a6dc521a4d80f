"""A plan with everything that makes one request depend on another: variables, extraction, cookies, forms, redirects,
checks. The server remembers what came; both engines must have told it the same."""
import collections
import http.server
import json
import threading
import urllib.parse

from harness import folder, main, run


class Shop(http.server.BaseHTTPRequestHandler):
    """/login sets a cookie and redirects to /home; /cart gives an id; /cart/ID wants the cookie and the token."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def say(self, status, text="", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def handle_any(self):
        body = self.body()
        seen = self.server.seen
        with self.server.lock:
            seen[f"{self.command} {urllib.parse.urlsplit(self.path).path.rstrip('0123456789')}"] += 1
        if self.path == "/login":
            form = urllib.parse.parse_qs(body)
            self.server.users.add(form["user"][0])
            self.say(303, Location="home", Set_Cookie=f"sid={form['user'][0]}; Path=/; HttpOnly")
        elif self.path == "/home":
            self.say(200, "welcome") if "sid=" in self.headers.get("Cookie", "") else self.say(403)
        elif self.path == "/cart":
            self.say(201, json.dumps({"cart": {"id": 42, "token": 'a"b&c'}}))
        elif self.path == "/cart/42":
            right = json.loads(body) == {"token": 'a"b&c', "n": 1} and self.headers["X-Token"] == 'a"b&c'
            self.say(200 if right and "sid=" in self.headers.get("Cookie", "") else 400, "bought")
        else:
            self.say(404)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any


PLAN = """apiVersion: chaos-load/v1
name: sessions
target: http://127.0.0.1:{port}
users:
  - name: buyer
    variables: {{me: 'user {{{{user.id}}}} & co'}}
    tasks:
      - name: buy
        steps:
          - post: /login
            form: {{user: '{{{{me}}}}'}}
            expect: {{body_contains: welcome}}
          - post: /cart
            expect: {{status: 201, max_time: 10s}}
            extract: {{id: 'json:cart.id', token: 'json:cart.token'}}
          - put: '/cart/{{{{id}}}}'
            headers: {{X-Token: '{{{{token}}}}'}}
            json: {{token: '{{{{token}}}}', n: 1}}
            expect: {{body_regex: '^b.*t$'}}
load: {{users: 3, iterations: 12, for: 60s}}
http: {{engine: {engine}}}
"""


def play(engine):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.daemon_threads = True
    server.seen, server.users, server.lock = collections.Counter(), set(), threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with folder() as tmp:
            plan = tmp / "plan.yaml"
            plan.write_text(PLAN.format(port=server.server_address[1], engine=engine))
            r = run("run", plan, out=tmp / "out").expect(0)
    finally:
        server.shutdown()
        server.server_close()
    assert r.result["verdict"] == "Pass", r
    assert r.result["totals"]["failures"] == 0, r.result["errors"]
    return r.result, server


def test_both_engines_tell_the_same_story():
    for engine in ("native", "curl"):
        result, server = play(engine)
        assert server.users == {f"user {i} & co" for i in (1, 2, 3)}, (engine, server.users)
        assert server.seen == {"POST /login": 12, "GET /home": 12, "POST /cart": 12, "PUT /cart/": 12}, (engine, server.seen)
        assert result["totals"]["requests"] == 36, (engine, result["totals"])


def test_mistakes_stop_it_before_the_first_byte():
    with folder() as tmp:
        plan = tmp / "plan.yaml"
        plan.write_text(PLAN.format(port=1, engine="natve").replace("{{id}}", "{{idd}}"))
        r = run("run", plan).expect(2)
    assert "http.engine: unknown value 'natve', did you mean 'native'?" in r.stderr, r


def test_secrets_are_used_and_not_shown():
    seen = []

    class Door(Shop):
        def handle_any(self):
            seen.append(self.headers.get("Authorization"))
            self.say(200)

        do_GET = handle_any

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with folder() as tmp:
            (tmp / "token").write_text("s3cr3t-t0ken\n")
            plan = tmp / "plan.yaml"
            plan.write_text(f"apiVersion: chaos-load/v1\ntarget: http://127.0.0.1:{server.server_address[1]}\n"
                            f"users: [{{tasks: [{{get: /}}]}}]\nload: {{users: 1, iterations: 2}}\n"
                            f"http: {{bearer: {{file: {tmp}/token}}}}\n")
            r = run("run", plan, out=tmp / "out").expect(0)
            written = "".join(p.read_text(errors="replace") for p in (tmp / "out").rglob("*") if p.is_file())
    finally:
        server.shutdown()
        server.server_close()
    assert seen == ["Bearer s3cr3t-t0ken"] * 2, seen
    assert "s3cr3t" not in written + r.stdout + r.stderr, r


if __name__ == "__main__":
    main(globals())
