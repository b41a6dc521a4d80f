"""Functions of at most 80 lines (95 % of them at most 50) and 6 parameters, files of 600, headers of 200."""
import json
import statistics
import subprocess

from sources import FOLDERS, files, finish, name, root

FUNCTION_MAX, FUNCTION_P95, FUNCTION_MEDIAN, FILE_MAX, HEADER_MAX, PARAMETERS_MAX = 80, 50, 14, 600, 200, 6


def functions():
    folders = [d for d in FOLDERS if (root() / d).is_dir()]
    out = subprocess.run(
        ["ctags", "--languages=C", "--c-kinds=f", "--fields=+neS", "--output-format=json", "-f", "-", "-R", *folders],
        cwd=root(), check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        tag = json.loads(line)
        if tag.get("_type") == "tag" and "end" in tag:
            yield tag


def n_parameters(signature):
    depth = commas = 0
    for c in signature:
        depth += (c == "(") - (c == ")")
        commas += c == "," and depth == 1
    return 0 if signature.strip() in ("(void)", "()") else commas + 1


problems, lengths = [], []
for tag in functions():
    length = tag["end"] - tag["line"] + 1
    lengths.append(length)
    place = f"{tag['path']}:{tag['line']}: {tag['name']}"
    if length > FUNCTION_MAX:
        problems.append(f"{place}: {length} lines, at most {FUNCTION_MAX}")
    n = n_parameters(tag.get("signature", ""))
    if n > PARAMETERS_MAX:
        problems.append(f"{place}: {n} parameters, at most {PARAMETERS_MAX}; use a struct")
for path in files():
    n = len(path.read_text(errors="replace").splitlines())
    limit = HEADER_MAX if path.suffix == ".h" else FILE_MAX
    if n > limit:
        problems.append(f"{name(path)}: {n} lines, at most {limit}")
lengths.sort()
summary = "no functions"
if lengths:
    p95 = lengths[min(len(lengths) - 1, int(len(lengths) * 0.95))]
    median = statistics.median(lengths)
    summary = f"{len(lengths)} functions: median {median:g}, p95 {p95}, longest {lengths[-1]} lines"
    if p95 > FUNCTION_P95:
        problems.append(f"p95 of function length is {p95}, at most {FUNCTION_P95}")
    if median > FUNCTION_MEDIAN:
        problems.append(f"median function length is {median:g}, at most {FUNCTION_MEDIAN}")
finish(problems, summary)
