"""Which files the gates look at. Each gate takes the root of a tree, so that selftest.sh can show it a bad one."""
import pathlib
import sys

FOLDERS = ("base", "edge", "runner", "chaoslib", "campaign", "experiments", "web", "cli")


def root():
    return pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()


def files(folders=FOLDERS, suffixes=(".c", ".h")):
    top = root()
    return sorted(f for d in folders for f in (top / d).rglob("*") if f.suffix in suffixes)


def name(path):
    return str(path.relative_to(root()))


def finish(problems, summary=""):
    """Prints what is wrong and leaves: 0 when nothing is."""
    for p in problems:
        print(p)
    if summary:
        print(summary)
    print(f"{len(problems)} violation(s)" if problems else "ok")
    sys.exit(1 if problems else 0)
