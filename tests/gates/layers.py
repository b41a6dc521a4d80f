"""Who may include whom (docs/ARCHITECTURE.md), and third parties in edge/*.c only, one library per file."""
import re

from sources import FOLDERS, files, finish, name, root

MAY_USE = {
    "base": {"base"},
    "edge": {"base", "edge"},
    "runner": {"base", "edge", "runner"},
    "chaoslib": {"base", "edge", "chaoslib"},
    "campaign": {"base", "edge", "runner", "chaoslib", "campaign"},
    "experiments": {"base", "experiments"},
    "web": {"base", "edge", "web"},
    "cli": set(FOLDERS),
}
# By the first part of a header's name.
LIBRARIES = {
    "event2": "libevent", "event.h": "libevent", "evhttp.h": "libevent", "openssl": "openssl", "curl": "libcurl",
    "yaml.h": "libyaml", "cjson": "cJSON", "zlib.h": "zlib", "libwebsockets.h": "libwebsockets", "zmq.h": "zmq",
    "msgpack.h": "msgpack", "msgpack": "msgpack", "sqlite3.h": "sqlite",
    "nghttp2": "nghttp2",
    # libmnl carries the other two: one family.
    "libmnl": "netfilter", "libnftnl": "netfilter", "libnetfilter_queue": "netfilter",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            yield number, m.group(1), m.group(2)


def judge(path):
    here = name(path)
    folder = here.split("/")[0]
    libraries = set()
    for number, quote, target in includes(path):
        first = target.split("/")[0]
        library = LIBRARIES.get(first)
        if quote == "<" and library:
            libraries.add(library)
            if folder != "edge" or path.suffix != ".c":
                yield f"{here}:{number}: <{target}> belongs in edge/*.c"
        if quote == '"' and "/" not in target and not target.endswith(".inc"):
            yield f"{here}:{number}: write the path from the root: \"{folder}/{target}\""
        if quote == '"' and first in FOLDERS and first not in MAY_USE[folder]:
            yield f"{here}:{number}: {folder} may not use {first} ({target})"
        if folder == "experiments" and quote == '"' and first == "chaoslib" and target != "chaoslib/chaos.h":
            yield f"{here}:{number}: experiments may use chaoslib/chaos.h only"
        if quote == '"' and first in FOLDERS and target.endswith(".h") and not (root() / target).exists():
            yield f"{here}:{number}: no such file: {target}"
    if len(libraries) > 1:
        yield f"{here}: one library per file, not {' and '.join(sorted(libraries))}"


MAY_USE["experiments"].add("chaoslib")
finish([p for f in files() for p in judge(f)])
