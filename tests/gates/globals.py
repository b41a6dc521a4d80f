"""No mutable variables of static life but in cli and base/log.c: looks into the built libraries.

usage: globals.py ROOT LIBRARY.a...      section .data or .bss means mutable; .data.rel.ro does not.
"""
import pathlib
import re
import subprocess
import sys

from sources import finish

EXEMPT = {("base", "log.c.o"), ("base", "log.o")}
MEMBER = re.compile(r"^(\S+\.o):\s+file format")
SYMBOL = re.compile(r"^[0-9a-f]+\s.*\sO\s+\.(?:data|bss|tbss|tdata)(?!\.rel\.ro)\S*\s+[0-9a-f]+\s+(?:\.hidden\s+)?(\S+)$")
OF_THE_TOOLS = re.compile(r"^(__asan|__odr_asan|__ubsan|__tsan|__gcov|__llvm|__sanitizer|\.L)")

problems = []
for library in sys.argv[2:]:
    folder = pathlib.Path(library).stem.removeprefix("lib")
    out = subprocess.run(["objdump", "-t", library], check=True, capture_output=True, text=True).stdout
    member = "?"
    for line in out.splitlines():
        m = MEMBER.match(line)
        if m:
            member = m.group(1)
        m = SYMBOL.match(line)
        if m and (folder, member) not in EXEMPT and not OF_THE_TOOLS.match(m.group(1)):
            problems.append(f"{folder}/{member.removesuffix('.o')}: '{m.group(1)}' can change and lives for ever; "
                            "make it const, or a field of someone's struct")
finish(problems)
