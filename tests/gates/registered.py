"""Every test file is registered, and every fuzz target has a corpus: a test that never runs is none."""
import re

from sources import finish, name, root

REGISTERED = {
    "unit": re.compile(r"\bunit_test\(\s*(\w+)"),
    "fuzz": re.compile(r"\bfuzz_target\(\s*(\w+)"),
}
FILES = {"unit": "test_*.c", "fuzz": "fuzz_*.c"}

problems = []
for kind, call in REGISTERED.items():
    folder = root() / "tests" / kind
    listed = {n for f in folder.glob("*.cmake") for n in call.findall(f.read_text())}
    present = {f.stem: f for f in folder.glob(FILES[kind])}
    problems += [f"{name(f)} is not registered in tests/{kind}/*.cmake" for n, f in sorted(present.items()) if n not in listed]
    problems += [f"tests/{kind}/{n}.c is registered and does not exist" for n in sorted(listed - set(present))]
    if kind == "fuzz":
        problems += [f"tests/fuzz/corpus/{n} is empty: put a few inputs there" for n in sorted(listed)
                     if not any((folder / "corpus" / n).glob("*"))]
e2e = root() / "tests/e2e"
registered = " ".join(f.read_text() for f in [*e2e.glob("*.cmake"), *e2e.glob("CMakeLists.txt")])
problems += [f"{name(f)} is not registered in tests/e2e/*.cmake" for f in sorted(e2e.glob("test_*"))
             if not re.search(rf"\b{re.escape(f.stem)}\b", registered)]
finish(problems)
