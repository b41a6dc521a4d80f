"""What users feel of network faults in a container, measured by our own load: through its own address, where they meet the
container's kernel, and through a published port, where Docker's proxy accepts them first."""
import concurrent.futures

import engine
from felt import *
from harness import *

ENGINE = engine.connect()
SHORT = {"connect_timeout": "700ms", "timeout": "900ms"}
ONCE = {**SHORT, "keep_alive": False}
KEEP = {"timeout": "5s"}


def adds(ms):
    def check(seen):
        added = seen[1].service.median() - seen[0].service.median()
        assert near(added, ms, 0.05, 1), f"{added:.2f} ms were added instead of {ms}"
        assert seen[1].failures == 0, seen[1].errors
        return f"{added:.2f} ms"
    return check


def loses(share, error):
    """A lost SYN, or its answer, costs a second: more than these users wait."""
    def check(seen):
        n = seen[1].requests
        binomial(seen[1].errors[error], n, share, more=6)
        return f"{dict(seen[1].errors)} of {n}"
    return check


def fails(*classes):
    def check(seen):
        errors = seen[1].errors
        others = sum(n for c, n in errors.items() if c not in classes)
        assert classes[0] in errors and others <= 3 and seen[1].successes <= 8, (seen[1].successes, errors)
        return str(dict(errors))
    return check


ROWS = [
    ("latency delay: 40ms", "address", KEEP, adds(40)),
    ("latency delay: 40ms", "port", KEEP, adds(40)),
    ("latency delay: 30ms, direction: both", "port", KEEP, adds(60)),
    ("latency delay: 40ms, direction: ingress, port: 8080", "address", KEEP, adds(40)),
    ("loss percent: 20%", "address", ONCE, loses(0.2, "connect-timeout")),
    ("loss percent: 20%, direction: ingress", "port", ONCE, loses(0.2, "response-timeout")),
    ("partition mode: drop", "address", ONCE, fails("connect-timeout")),
    ("partition mode: drop", "port", ONCE, fails("response-timeout")),
    ("partition mode: reset", "address", ONCE, fails("refused")),
    ("partition mode: reset", "port", ONCE, fails("closed", "reset")),
    ("tcp-reset ", "address", ONCE, fails("reset")),
    ("tcp-reset ", "port", ONCE, fails("closed", "reset")),
]


def once(row):
    fault, way, http, check = row
    kind, _, params = fault.partition(" ")
    port = unused_port() if way == "port" else None
    with ENGINE.container("httpd:1", port=port) as c:
        url = f"http://127.0.0.1:{port}" if port else f"http://{c.address()}:8080"
        classes = {"hit": {"load": {"arrivals": "60/s"}, "get": "/"}}
        text = plan_of(url, [], classes, (kind, "@"), http)
        text = text.replace('"@"', f"{{docker: {c.name}{', ' if params else ''}{params}}}")
        seen = measure(text).of("hit")
        said = check(seen)
        assert seen[0].failures <= 2, f"before: {seen[0].errors}"
        assert seen[2].requests > 30 and seen[2].failures == 0, f"afterwards: {seen[2].errors} of {seen[2].requests}"
        now, then = seen[2].service.quantile(0.2), seen[0].service.quantile(0.2)
        assert near(now, then, 0.5, 5), f"afterwards {now:.2f} ms, before {then:.2f} ms"
        return said


def try_row(row):
    name = f"{row[0]}, through its {row[1]}"
    try:
        print(f"  {name}: {attempts(3, lambda: once(row))}", flush=True)
        return None
    except Exception as why:  # pylint: disable=broad-except
        return f"{name}: {why}"


def test_what_users_feel():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        failures = list(filter(None, pool.map(try_row, ROWS)))
    assert not failures, "\n".join(failures)


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        ENGINE.remove_all()
