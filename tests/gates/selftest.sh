#!/usr/bin/env bash
# A gate that cannot fail is none: each is shown a tree that keeps its rule, and one that breaks it.
# shellcheck disable=SC2317,SC2016  # functions are called by name; what is printed is code
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# A fresh small tree that breaks nothing.
tree() {
    rm -rf "$work/t"
    mkdir -p "$work/t"/{base,edge,runner,chaoslib,campaign,cli,scripts,tests/{unit,fuzz/corpus/fuzz_a,e2e,gates}}
    cd "$work/t" || exit 2
    printf '#ifndef A_H\n#define A_H\nint a(int x);\n#endif\n' >base/a.h
    printf '#include "base/a.h"\n\nint a(int x)\n{\n    return x;\n}\n' >base/a.c
    printf 'unit_test(test_a LIBS base)\n' >tests/unit/base.cmake
    printf 'fuzz_target(fuzz_a LIBS base)\n' >tests/fuzz/base.cmake
    touch tests/unit/test_a.c tests/fuzz/fuzz_a.c tests/fuzz/corpus/fuzz_a/one
    printf '#!/bin/sh\necho hello\n' >scripts/a.sh
    cp "$here/../../.clang-format" "$here/../../.clang-tidy" .
    : >tests/gates/complexity.allow
}

run_gate() {
    local gate=$1
    shift
    if [ -f "$here/$gate.py" ]; then
        python3 "$here/$gate.py" "$work/t" "$@"
    else
        bash "$here/$gate.sh" "$work/t" "$@"
    fi
}

# passes GATE [arguments] / fails GATE "what must be said" [arguments]
passes() {
    local out rc=0
    out=$(run_gate "$@" 2>&1) || rc=$?
    [ "$rc" -eq 0 ] || [ "$rc" -eq 77 ] || {
        printf '%s refuses a good tree (%s):\n%s\n' "$1" "$rc" "$out"
        failed=1
    }
}

fails() {
    local gate=$1 words=$2 out rc=0
    shift 2
    out=$(run_gate "$gate" "$@" 2>&1) || rc=$?
    [ "$rc" -eq 77 ] && return
    if [ "$rc" -eq 0 ] || ! grep -qF -- "$words" <<<"$out"; then
        printf '%s does not say "%s" (exit %s):\n%s\n' "$gate" "$words" "$rc" "$out"
        failed=1
    fi
}

# A function NAME of N lines in FILE.
long_function() {
    {
        printf 'int %s(int x)\n{\n' "$1"
        for ((i = 5; i <= $2; i++)); do echo '    x++;'; done
        printf '    return x;\n}\n'
    } >>"$3"
}

layers() {
    tree
    passes layers
    echo '#include "edge/x.h"' >>base/a.c
    fails layers "base may not use edge"
    tree
    touch chaoslib/c.h
    echo '#include "chaoslib/c.h"' >runner/r.c
    fails layers "runner may not use chaoslib"
    tree
    echo '#include <curl/curl.h>' >runner/r.c
    fails layers "belongs in edge/*.c"
    tree
    echo '#include <yaml.h>' >edge/e.h
    fails layers "belongs in edge/*.c"
    tree
    printf '#include <yaml.h>\n#include <zlib.h>\n' >edge/e.c
    fails layers "one library per file, not libyaml and zlib"
    tree
    echo '#include "a.h"' >>base/a.c
    fails layers "write the path from the root"
    tree
    echo '#include "base/gone.h"' >>base/a.c
    fails layers "no such file"
}

sizes() {
    tree
    passes size
    long_function f 80 base/b.c
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21; do long_function "s$i" 5 base/c.c; done
    passes size
    long_function g 81 base/b.c
    fails size "g: 81 lines, at most 80"
    tree
    long_function f 60 base/b.c
    fails size "p95 of function length is 60"
    tree
    for i in 1 2 3; do long_function "s$i" 20 base/c.c; done
    fails size "median function length"
    tree
    echo 'int f(int a, int b, int c, int d, int e, int g, int h) { return a; }' >base/b.c
    fails size "7 parameters, at most 6"
    tree
    for ((i = 0; i < 601; i++)); do echo; done >base/b.c
    fails size "base/b.c: 601 lines, at most 600"
    tree
    for ((i = 0; i < 201; i++)); do echo; done >base/b.h
    fails size "base/b.h: 201 lines, at most 200"
}

branches() {
    {
        printf 'int %s(int x)\n{\n' "$1"
        for ((i = 1; i < $2; i++)); do echo "    if (x == $i) x = 0;"; done
        printf '    return x;\n}\n'
    } >"$3"
}

complexities() {
    tree
    branches f 15 base/b.c
    passes complexity
    branches f 16 base/b.c
    fails complexity "base/b.c:f: complexity 16, at most 15"
    echo 'base/b.c:f 16' >tests/gates/complexity.allow
    passes complexity
    branches f 17 base/b.c
    fails complexity "complexity 17, at most 16"
    branches f 3 base/b.c
    fails complexity "no longer needs its line"
    have_git || return
    tree
    new_repository
    commit "tests: begin"
    branches f 16 base/b.c
    echo 'base/b.c:f 16' >>tests/gates/complexity.allow
    commit "tests: allow one more"
    fails complexity "may only shrink: base/b.c:f 16"
}

calls() {
    tree
    printf '/* strcpy(a, b) */ const char *s = "system(x)"; // gets(x)\nint my_system(int x);\n' >>base/a.c
    passes forbidden
    local call
    for call in strcpy strcat sprintf strtok atoi atol strncpy gets system popen alloca; do
        tree
        echo "void f(void) { $call(0); }" >>base/a.c
        fails forbidden "$call() is not used here"
    done
    tree
    printf 'void f(void)\n{\nagain:\n    goto again;\n}\n' >>base/a.c
    fails forbidden "goto goes forward only"
    tree
    printf 'void f(void)\n{\n    goto out;\nout:\n    return;\n}\n' >>base/a.c
    passes forbidden
}

globals() {
    tree
    printf 'static const int t[] = {1};\nconst int *u(void) { return t; }\nstatic const char *const n[] = {"a"};\nconst char *v(int i) { return n[i]; }\n' >>base/a.c
    gcc -fPIC -fno-common -c base/a.c -I. -o a.o && ar rc libbase.a a.o
    passes globals libbase.a
    printf 'int f(void) { static int calls; return ++calls; }\n' >>base/a.c
    gcc -c base/a.c -I. -o a.o && ar rc libbase.a a.o
    fails globals "can change and lives for ever" libbase.a
    printf 'int level = 3;\n' >base/log.c
    gcc -c base/log.c -o log.c.o && rm libbase.a && ar rc libbase.a log.c.o
    passes globals libbase.a
}

headers() {
    tree
    passes headers
    echo 'size_t n(void);' >base/b.h
    fails headers "base/b.h does not stand alone"
}

formats() {
    tree
    passes format
    echo 'int b( int x ){return x;}' >>base/a.c
    fails format "run clang-format -i on it"
}

tidies() {
    tree
    printf '[{"directory": "%s", "file": "base/a.c", "command": "cc -I. -c base/a.c"}]\n' "$work/t" >compile_commands.json
    passes tidy "$work/t"
    printf 'int b(int x);\n\nint b(int x)\n{\n    return x ? b(x - 1) : 0;\n}\n' >>base/a.c
    fails tidy "misc-no-recursion" "$work/t"
    fails tidy "misc-no-recursion" "$work/t"
}

shells() {
    tree
    passes shell
    printf '#!/bin/bash\nrm $1/*\n' >scripts/b.sh
    fails shell "SC2086"
}

spellings() {
    tree
    passes spelling
    local wrong
    wrong=$(printf '%s%s' d efinately)
    echo "This is $wrong wrong." >README.md
    fails spelling "$wrong ==> definitely"
}

registrations() {
    tree
    passes registered
    touch tests/unit/test_b.c
    fails registered "tests/unit/test_b.c is not registered"
    tree
    rm tests/unit/test_a.c
    fails registered "test_a.c is registered and does not exist"
    tree
    rm tests/fuzz/corpus/fuzz_a/one
    fails registered "corpus/fuzz_a is empty"
    tree
    touch tests/e2e/test_x.py
    fails registered "tests/e2e/test_x.py is not registered"
}

have_git() { command -v git >/dev/null; }

new_repository() { git init -q . && git config user.email a@example.org && git config user.name a; }

commit() {
    git add -A && git commit -q -m "$1" -m "${2-As it was, it hurt; now it does not.}"
}

commits() {
    tree
    passes commits
    have_git || return
    new_repository
    commit "base: add a"
    passes commits
    echo >>base/a.c
    commit "Add b"
    fails commits 'not "scope: verb the thing"'
    echo >>base/a.c
    git commit -q -a --amend -m "base: this subject is one that goes on and on for far too long" -m why
    fails commits "at most 60"
    git commit -q --amend -m "base: add a"
    fails commits "80 % must"
    git commit -q --amend -m "base: add b" -m "$(printf 'x%.0s' {1..90})"
    fails commits "a line of the body has 90 characters"
}

for gate in layers sizes complexities calls globals headers formats tidies shells spellings registrations commits; do
    echo "$gate"
    "$gate"
done
[ "$failed" -eq 0 ] && echo ok
exit "$failed"
