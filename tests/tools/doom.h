/* Death by SIGKILL at a step of a fault's contract, for the programs of the safety matrix
 * (tests/e2e/test_safety.py).
 *
 *     intent   the intent is synced, and nothing is done yet
 *     inject   while it is put in, so long after it began; when that is over sooner, at its end
 *     hold     it is in, and verified
 *     revert   while it is taken out, likewise
 *     soon     so long after doom_at, whatever happens
 *     none     never
 *
 * `both`: its guardian dies at the same moment. */
#ifndef TESTS_DOOM_H
#define TESTS_DOOM_H

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/guardian.h"
#include "chaoslib/helper.h"
#include "chaoslib/process/find.h"

#define DOOM_DELAY_MAX_US 10000000

struct doom {
    const char *begins, *ends; /* steps; NULL: none */
    bool both, waits;
    uint64_t delay_ns;
};

static inline bool doom_read(struct doom *d, const char *when, const char *who, const char *delay)
{
    static const struct {
        const char *word, *begins, *ends;
    } words[] = {
        { "intent", "inject", NULL },
        { "inject", "inject", "verify-in" },
        { "hold", "hold", NULL },
        { "revert", "revert", "verify-out" },
        { "soon", "the program", "its end" },
        { "none", NULL, NULL },
    };
    uint64_t us = 0;

    if (parse_u64(delay, 0, DOOM_DELAY_MAX_US, &us, NULL) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].word, when) != 0)
            continue;
        *d = (struct doom){ .begins = words[i].begins,
                            .ends = words[i].ends,
                            .both = strcmp(who, "both") == 0,
                            .waits = words[i].ends != NULL,
                            .delay_ns = us * NS_PER_US };
        return true;
    }
    return false;
}

static inline bool doom_kill_guardian(void *arg, pid_t pid)
{
    const pid_t *driver = arg;
    auto_free char **argv = proc_argv(pid);

    if (argv && argv[0] && argv[1] && strcmp(argv[1], "guardian") == 0 &&
        (pid_t)process_stat_field(pid, 4) == *driver)
        kill(pid, SIGKILL);
    return true;
}

static inline void doom_die(const struct doom *d)
{
    pid_t self = getpid();

    if (d->both)
        err_ignore(process_each("/proc", doom_kill_guardian, &self), "there is always /proc");
    kill(self, SIGKILL);
}

static inline void *doom_later(void *arg)
{
    const struct doom *d = arg;

    clock_sleep_until(clock_now_ns() + d->delay_ns);
    doom_die(d);
    return NULL;
}

/* A step begins: called on the fault's thread. */
static inline void doom_at(struct doom *d, const char *step)
{
    pthread_t thread;

    if (d->begins && strcmp(step, d->begins) == 0) {
        if (!d->waits || pthread_create(&thread, NULL, doom_later, d) != 0)
            doom_die(d);
    }
    if (d->ends && strcmp(step, d->ends) == 0)
        doom_die(d);
}

/* The program is its own guardian and its own helpers; -1: it is neither now. */
static inline int doom_other_role(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "guardian") == 0)
        return guardian_main(argv[2]);
    if (argc == 3 && strcmp(argv[1], "helper") == 0)
        return helper_main(argv[2]);
    return -1;
}

#endif
