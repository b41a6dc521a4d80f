/* What the fault tests share: a state directory, victims, and one activation from a text like
 * "kill process=shop restart_after=50ms". Header-only, since each test is one program. */
#ifndef TESTS_FAULT_FIXTURE_H
#define TESTS_FAULT_FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "chaoslib/chaos.h"
#include "chaoslib/guardian.h"
#include "chaoslib/journal.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/process.h"

/* ---- a directory of its own, removed at the end ---- */

static inline char *scratch_dir(void)
{
    char *dir = xstrdup("/tmp/chaos-test-XXXXXX");

    if (!mkdtemp(dir))
        abort();
    return dir;
}

static inline void scratch_remove(char *dir)
{
    DIR *d = opendir(dir);

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        auto_free char *path = xasprintf("%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
    free(dir);
}

static inline unsigned scratch_count(const char *dir, const char *suffix)
{
    DIR *d = opendir(dir);
    unsigned n = 0;

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        size_t len = strlen(e->d_name), want = strlen(suffix);
        n += len >= want && strcmp(e->d_name + len - want, suffix) == 0;
    }
    if (d)
        closedir(d);
    return n;
}

/* ---- "kind key=value …" to a fault; a value with commas is a list ---- */

static inline struct doc *fixture_value(struct arena *a, char *text)
{
    char *save = NULL;

    if (!strchr(text, ','))
        return doc_scalar(a, "test", text);
    struct doc *list = doc_new(a, DOC_LIST, "test");
    for (char *item = strtok_r(text, ",", &save); item; item = strtok_r(NULL, ",", &save))
        doc_list_add(a, list, doc_scalar(a, "test", item));
    return list;
}

struct fixture_spec {
    struct arena *arena;
    struct diag diag;
    struct fault_spec spec;
};

static inline void fixture_spec_read(struct fixture_spec *f, const char *text)
{
    auto_free char *copy = xstrdup(text);
    char *save = NULL, *kind = strtok_r(copy, " ", &save);

    *f = (struct fixture_spec){ .arena = arena_new(0) };
    diag_init(&f->diag);
    struct doc *map = doc_new(f->arena, DOC_MAP, "test");
    for (char *kv = strtok_r(NULL, " ", &save); kv; kv = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(kv, '=');
        *eq = '\0';
        doc_map_put(f->arena, map, kv, fixture_value(f->arena, eq + 1));
    }
    const struct param_ctx ctx = { .arena = f->arena, .diag = &f->diag };
    fault_spec_read(&ctx, kind, map, &f->spec);
}

static inline void fixture_spec_done(struct fixture_spec *f)
{
    diag_done(&f->diag);
    arena_free(f->arena);
}

/* ---- waiting, with a generous end ---- */

#define EVENTUALLY(condition)                                                   \
    do {                                                                        \
        uint64_t until_ = clock_now_ns() + 20 * NS_PER_SEC;                     \
        bool is_so_ = (condition);                                              \
        while (!is_so_ && clock_now_ns() < until_) {                            \
            clock_sleep_until(clock_now_ns() + NS_PER_MS);                      \
            is_so_ = (condition);                                               \
        }                                                                       \
        if (!is_so_)                                                            \
            fail_msg("%s:%d: not in 20 s: %s", __FILE__, __LINE__, #condition); \
    } while (0)

/* A process of the test, outside any registry. Not a child that dies with us: killed by name. */
static inline struct proc_id victim_start(const char *const *argv, const char *log)
{
    struct proc_id id = { 0 };
    struct err err = { 0 };
    struct proc_spawn_opts opts = { .argv = argv, .log_path = log, .new_session = true };

    if (proc_spawn(&opts, &id, &err) < 0)
        fail_msg("%s", err.msg);
    return id;
}

static inline void victim_end(const struct proc_id *id)
{
    if (id->pid <= 1)
        return;
    kill(id->pid, SIGCONT);
    kill(id->pid, SIGKILL);
    waitpid(id->pid, NULL, 0);
}

/* The guardian that this process started; 0: none. */
static inline pid_t guardian_of(pid_t parent)
{
    DIR *proc = opendir("/proc");
    pid_t found = 0;

    for (struct dirent *e = proc ? readdir(proc) : NULL; e && !found; e = readdir(proc)) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid <= 1 || (pid_t)process_stat_field(pid, 4) != parent)
            continue;
        auto_free char **argv = proc_argv(pid);
        if (argv && argv[1] && strcmp(argv[1], "guardian") == 0)
            found = pid;
    }
    if (proc)
        closedir(proc);
    return found;
}

#endif
