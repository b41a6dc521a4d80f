/* One row of `processes:`: its keys, and what must fit together. */
#include <limits.h>
#include <regex.h>
#include <string.h>

#include "chaoslib/process/process.h"
#include "chaoslib/process/ready.h"

#define ROW(type, name, field, ...) PARAM(type, name, struct process_plan, field, __VA_ARGS__)

static const struct param process_rows[] = {
    ROW(STR, "name", name, .required = true, .help = "what faults call it"),
    ROW(STRS, "run", run,
        .help = "start this program and end it with the run: a list of arguments, or one text that "
                "is split at blanks (quotes keep words together; there is no shell)"),
    ROW(STR, "cwd", cwd, .help = "run: its working directory"),
    ROW(PAIRS, "env", env, .help = "run: environment variables added to ours"),
    ROW(STR, "log", log,
        .help = "run: file that its output is appended to; <out>/<name>.log when there is --out"),
    ROW(INT, "pid", pid, .lo = 2, .hi = INT_MAX, .help = "a running process, by number"),
    ROW(STR, "pidfile", pidfile, .help = "a running process, whose number this file holds"),
    ROW(STR, "command", command,
        .help = "the one running process whose command line matches this POSIX extended regular "
                "expression"),
    ROW(STR, "ready", ready,
        .help = "when it is ready to serve: tcp:HOST:PORT accepts, or http://HOST:PORT/PATH "
                "answers 2xx or 3xx; at once when empty"),
    ROW(DURATION, "ready_timeout", ready_timeout_ns, .def = "10s", .lo = 0.001, .hi = 3600,
        .help = "how long it may take to become ready"),
    ROW(DURATION, "stop_grace", stop_grace_ns, .def = "5s", .lo = 0, .hi = 3600,
        .help = "how long it may take to end after SIGTERM, before SIGKILL"),
};

/* ---- `run: python3 -m shop` ---- */

/* Copies one word to `out`, without its quotes; returns where it ended, NULL for an open quote. */
static const char *take_word(const char *s, char *out)
{
    char quote = '\0';

    for (; *s && (quote || !strchr(" \t\n", *s)); s++) {
        if (quote && *s == quote)
            quote = '\0';
        else if (!quote && (*s == '\'' || *s == '"'))
            quote = *s;
        else
            *out++ = *s;
    }
    *out = '\0';
    return quote ? NULL : s;
}

static void split_run(const struct param_ctx *ctx, const struct doc *d, struct strs *run)
{
    const char *s = run->v[0];
    size_t max = strlen(s) / 2 + 1;
    struct strs words = { .v = arena_alloc(ctx->arena, (max + 1) * sizeof(char *)) };
    char *room = arena_alloc(ctx->arena, strlen(s) + max + 1);

    if (!words.v || !room) {
        diag_add(ctx->diag, d, "too long");
        return;
    }
    for (s += strspn(s, " \t\n"); *s; s += strspn(s, " \t\n")) {
        s = take_word(s, room);
        if (!s) {
            diag_add(ctx->diag, d, "a quote is not closed");
            return;
        }
        words.v[words.n++] = room;
        room += strlen(room) + 1;
    }
    *run = words;
}

/* ---- checks ---- */

static void check_one_of(const struct param_ctx *ctx, const struct doc *d,
                         const struct process_plan *p)
{
    int n = (p->run.n > 0) + (p->pid != 0) + (p->pidfile != NULL) + (p->command != NULL);

    if (n != 1)
        diag_add(ctx->diag, d,
                 "%s: give exactly one of run: (we start it), pid:, pidfile: or command: (it runs "
                 "already)",
                 n ? "more than one way to find the process" : "no way to find the process");
}

static void check_only_run(const struct param_ctx *ctx, const struct doc *d,
                           const struct process_plan *p)
{
    static const char *const keys[] = { "cwd", "env", "log", "stop_grace" };

    for (size_t i = 0; i < ARRAY_LEN(keys) && !p->run.n; i++)
        if (doc_get(d, keys[i]))
            diag_add_key(ctx->diag, doc_get(d, keys[i]), "is of use only together with run:");
}

static void check_command(const struct param_ctx *ctx, const struct doc *d,
                          const struct process_plan *p)
{
    regex_t re;
    char why[128];

    if (!p->command)
        return;
    int rc = regcomp(&re, p->command, REG_EXTENDED | REG_NOSUB);
    if (rc == 0) {
        regfree(&re);
        return;
    }
    regerror(rc, &re, why, sizeof(why));
    diag_add(ctx->diag, doc_get(d, "command"), "'%s' is not a regular expression: %s", p->command,
             why);
}

static void check_row(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct process_plan *p = base;
    const struct doc *run = doc_get(d, "run");
    struct err err = { 0 };

    if (run && run->kind == DOC_SCALAR && p->run.n == 1)
        split_run(ctx, run, &p->run);
    check_one_of(ctx, d, p);
    check_only_run(ctx, d, p);
    check_command(ctx, d, p);
    if (p->ready && *p->ready && process_ready_check(p->ready, &err) < 0)
        diag_add(ctx->diag, doc_get(d, "ready"), "%s", err.msg);
}

const struct param_table process_table = {
    .title = "processes[]",
    .rows = process_rows,
    .n = ARRAY_LEN(process_rows),
    .check = check_row,
};
