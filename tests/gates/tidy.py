"""clang-tidy 14 with .clang-tidy, over what compile_commands.json lists, in parallel.

usage: tidy.py ROOT BUILD       A file that was clean before, as written and as preprocessed, is not looked at again.
                                One at a time looks into a build: the second waits, and finds what the first did.
"""
import concurrent.futures
import fcntl
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from sources import FOLDERS, finish, name, root

build = pathlib.Path(sys.argv[2]).resolve()
tidy = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
if not tidy or "version 14" not in subprocess.run([tidy, "--version"], capture_output=True, text=True).stdout:
    print("SKIP tidy: other versions of clang-tidy than 14 have other checks")
    sys.exit(77)
stamps = build / "tidy-stamps"
stamps.mkdir(parents=True, exist_ok=True)
lock = (stamps / ".lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX)
config = (root() / ".clang-tidy").read_text()
flags = ["-std=gnu17", "-D_GNU_SOURCE", f"-I{root()}", f"-I{build}/generated", '-DCHAOS_LOAD_VERSION="0"']


def entries():
    for e in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(e["directory"]) / e["file"]).resolve()
        if path.is_relative_to(root()) and name(path).split("/")[0] in FOLDERS:
            words = e.get("arguments") or shlex.split(e["command"])
            yield path, [w for w in words if w.startswith(("-I", "-isystem", "-D"))]


def look(entry):
    path, options = entry
    options = flags + options
    text = subprocess.run(["gcc", "-E", "-P", *options, str(path)], capture_output=True).stdout
    # The file itself too: a NOLINT is a comment, and counts by the line that it stands on.
    stamp = stamps / hashlib.sha256(config.encode() + path.read_bytes() + text).hexdigest()
    if stamp.exists():
        return []
    # As an argument, -isystem and its folder come in one word or in two; pkg-config's are not needed on Debian.
    run = subprocess.run([tidy, "--quiet", str(path), "--", *[o for o in options if o != "-isystem"]],
                         cwd=root(), capture_output=True, text=True)
    lines = [line.replace(f"{root()}/", "") for line in run.stdout.splitlines() if " error: " in line or " warning: " in line]
    if run.returncode and not lines:
        lines = [f"{name(path)}: clang-tidy failed: {run.stderr.strip()[-300:]}"]
    if not lines:
        stamp.touch()
    return lines


seen = {}
for path, options in entries():
    seen.setdefault(path, options)
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = sorted({line for lines in pool.map(look, seen.items()) for line in lines})
finish(found, f"{len(seen)} files")
