/* The helpers and hogs of a run, as /proc shows them. Header-only, as fault_fixture.h is. */
#ifndef TESTS_HOGS_SEEN_H
#define TESTS_HOGS_SEEN_H

#include "chaoslib/helper.h"
#include "tests/unit/fault_fixture.h"

#define WORKERS_MAX 16

struct found {
    pid_t parent;
    const char *comm;
    pid_t v[WORKERS_MAX];
    size_t n;
};

static inline bool has_name(pid_t pid, const char *want)
{
    auto_free char *path = xasprintf("/proc/%d/comm", pid);
    FILE *f = fopen(path, "re");
    char comm[32] = "";

    if (f && !fgets(comm, sizeof(comm), f))
        comm[0] = '\0';
    if (f)
        fclose(f);
    return strncmp(comm, want, strlen(want)) == 0;
}

static inline bool collect(void *arg, pid_t pid)
{
    struct found *f = arg;

    if ((pid_t)process_stat_field(pid, 4) == f->parent && has_name(pid, f->comm) &&
        proc_state(pid) != 'Z' && f->n < WORKERS_MAX)
        f->v[f->n++] = pid;
    return true;
}

static inline struct found children(pid_t parent, const char *comm)
{
    struct found f = { .parent = parent, .comm = comm };

    assert_int_equal(process_each("/proc", collect, &f), 0);
    return f;
}

/* Of the only helper that `run` has. */
static inline struct found workers_of(pid_t run)
{
    struct found helpers = children(run, "chaos-helper");

    return helpers.n ? children(helpers.v[0], "chaos-hog") : (struct found){ 0 };
}

static inline bool is_gone(pid_t pid)
{
    char state = proc_state(pid);

    return state == '\0' || state == 'Z';
}

static inline bool all_gone(const struct found *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (!is_gone(f->v[i]))
            return false;
    return true;
}

static inline uint64_t cpu_ns_of(pid_t pid)
{
    uint64_t ticks = process_stat_field(pid, 14) + process_stat_field(pid, 15);

    return ticks * (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

static inline uint64_t resident(const struct found *f)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < f->n; i++)
        pages += process_stat_field(f->v[i], 24);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif
