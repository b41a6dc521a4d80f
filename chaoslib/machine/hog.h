/* The hog: a helper whose worker processes use something up. Both sides' shared words.
 *
 * A worker is a child of the helper, with a process group of its own, killed by the kernel when the
 * helper is gone; what it holds (time, memory, files without a name, descriptors) goes with it.
 * Only workers enter the target's cgroups, so that the helper still answers when they are
 * throttled. Inside chaoslib only. */
#ifndef CHAOSLIB_MACHINE_HOG_H
#define CHAOSLIB_MACHINE_HOG_H

#include <stdatomic.h>

#include "chaoslib/helper.h"

#define HOG_WORKERS_MAX 512
#define HOG_ROLE "hog"

enum hog_phase { HOG_STARTING, HOG_WORKING, HOG_FAILED };

/* One page of memory that worker and helper share. */
struct hog_stat {
    _Atomic int phase;
    _Atomic uint64_t cpu_ns;
    _Atomic uint64_t done; /* bytes, or descriptors, that are held; for io: that went through */
    char error[ERR_MSG_MAX];
};

struct hog_worker {
    const struct json *spec;
    struct hog_stat *stat;
    unsigned index, n; /* which of how many */
    const int *fds;    /* what the helper was given */
    size_t n_fds;
};

/* Works until it is killed; returns only with an error. */
typedef int hog_work_fn(const struct hog_worker *w, struct err *err);
hog_work_fn hog_burn, hog_eat, hog_churn, hog_fill, hog_open;

/* This worker's part of the whole, so that the parts add up. */
uint64_t hog_share(const struct hog_worker *w, uint64_t whole);
/* Now it counts as started. */
void hog_begin(const struct hog_worker *w);

/* A file without a name in the folder; by open and unlink where the file system cannot. */
int hog_file(int dirfd, int flags, struct err *err) MUST_CHECK;

extern const struct helper_role hog_role;

#endif
