"""Calls that are not made here, each with what to use instead. Comments and texts are not looked at."""
import re

from sources import FOLDERS, files, finish, name

INSTEAD = {
    "strcpy": "snprintf or struct buf", "strcat": "struct buf", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "strcspn", "atoi": "parse_i64", "atol": "parse_i64", "atoll": "parse_i64",
    "atof": "parse_double", "strncpy": "snprintf or memcpy", "strncat": "struct buf", "gets": "read", "scanf": "base/parse.h",
    "system": "proc_run", "popen": "proc_run", "alloca": "xcalloc", "setjmp": "an error",
    "longjmp": "an error", "rand": "base/rng.h", "srand": "base/rng.h", "random": "base/rng.h", "usleep": "clock_sleep_until",
    "mktemp": "mkstemp", "tmpnam": "mkstemp", "vfork": "proc_spawn", "putenv": "an env array", "setenv": "an env array",
    "setlocale": "nothing: the C locale is relied on",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(INSTEAD) + r")\s*\(")
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
LABEL = re.compile(r"^\s*([A-Za-z_]\w*):(?!:)\s*(?:;|$)", re.M)
GOTO = re.compile(r"\bgoto\s+(\w+)\s*;")


def code_only(text):
    """The text with comments and literals blanked out, line for line."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def judge(path):
    code = code_only(path.read_text(errors="replace"))
    for m in CALL.finditer(code):
        yield f"{name(path)}:{code.count(chr(10), 0, m.start()) + 1}: {m.group(1)}() is not used here: use {INSTEAD[m.group(1)]}"
    for m in GOTO.finditer(code):
        forward = re.search(r"^\s*" + m.group(1) + r":", code[m.end():], re.M)
        end_of_function = code.find("\n}\n", m.end())
        if not forward or (0 <= end_of_function < forward.start() + m.end()):
            yield f"{name(path)}:{code.count(chr(10), 0, m.start()) + 1}: goto goes forward only, to cleanup"


finish([p for f in files(FOLDERS + ("bench",)) for p in judge(f)])
