"""McCabe complexity of at most 15, but for the functions named in complexity.allow, a list that may only shrink."""
import subprocess
import sys

from sources import files, finish, name, root

LIMIT = 15

sources = [f for f in files(suffixes=(".c",))]
allow_file = root() / "tests/gates/complexity.allow"
allowed = {}
if allow_file.exists():
    for line in allow_file.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            function, limit = line.split()
            allowed[function] = int(limit)
problems, used = [], set()
out = subprocess.run(["pmccabe", *map(str, sources)], capture_output=True, text=True) if sources else None
if out and not out.stdout:
    sys.exit(f"pmccabe: {out.stderr}")
for line in out.stdout.splitlines() if out else []:
    fields = line.split("\t")
    place, function = fields[5].split("): ", 1)
    complexity = int(fields[0])
    key = name(root() / place.split("(")[0]) + ":" + function.split("::")[-1]
    if complexity <= LIMIT:
        continue
    used.add(key)
    if complexity > allowed.get(key, LIMIT):
        problems.append(f"{key}: complexity {complexity}, at most {allowed.get(key, LIMIT)}")
problems += [f"{key}: no longer needs its line in complexity.allow; remove it" for key in sorted(set(allowed) - used)]
log = subprocess.run(["git", "-c", "safe.directory=*", "log", "--format=", "--diff-filter=M", "-p", "--", str(allow_file)],
                     cwd=root(), capture_output=True, text=True) if allow_file.exists() else None
for line in log.stdout.splitlines() if log and log.returncode == 0 else []:
    if line.startswith("+") and not line.startswith(("+++", "+#")) and line[1:].split()[:1] and line[1:].split()[0] in allowed:
        problems.append(f"complexity.allow may only shrink: {line[1:]}")
finish(problems)
