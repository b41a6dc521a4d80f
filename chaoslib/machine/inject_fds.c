/* fd-exhaustion of this machine: its table of open files is full. */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#include "chaoslib/machine/machine.h"

#define KEEP_FILES UINT64_C(1024) /* for whoever must still log in */
#define OWN_FILES 64              /* what a worker has open besides */

struct fds_params {
    struct place_at at;
    int64_t count;
    double percent;
};

static int files_left(uint64_t *ret, struct err *err)
{
    FILE *f = fopen("/proc/sys/fs/file-nr", "re");
    unsigned long long used = 0, unused = 0, max = 0;
    int n = f ? fscanf(f, "%llu %llu %llu", &used, &unused, &max) : 0; // NOLINT(cert-err34-c)

    if (f)
        fclose(f);
    if (n != 3)
        return err_set(err, ERR_PREPARE, EIO, "/proc/sys/fs/file-nr cannot be read");
    *ret = max - MIN(max, used + KEEP_FILES);
    return 0;
}

static int fds_plan(const void *params, struct hog *h, struct err *err)
{
    const struct fds_params *p = params;
    struct rlimit limit = { .rlim_max = 1024 };
    uint64_t left = 0;

    if (files_left(&left, err) < 0)
        return -1;
    uint64_t count = p->count ? (uint64_t)p->count : (uint64_t)(p->percent * (double)left);
    if (count > left)
        return err_set(err, ERR_PREPARE, ENFILE,
                       "count: %llu more files can be opened on this machine",
                       (unsigned long long)left);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot read our own limits");
    uint64_t each = MAX(limit.rlim_max, 2 * OWN_FILES) - OWN_FILES;
    uint64_t workers = (count + each - 1) / each;
    if (workers > HOG_WORKERS_MAX)
        return err_set(err, ERR_PREPARE, EMFILE,
                       "%llu processes would be needed at our limit of open files: raise it "
                       "(ulimit -Hn), or take less",
                       (unsigned long long)workers);
    h->workers = (unsigned)MAX(workers, 1);
    h->want = MAX(count, 1);
    json_put_u64(h->spec, "count", h->want);
    return 0;
}

const struct hog_kind hog_fds = { .name = "fd-exhaustion", .plan = fds_plan };

static void fds_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct fds_params *p = base;

    if ((p->count > 0) == (p->percent > 0))
        diag_add(ctx->diag, d, "give it count (10000) or percent (90%%), and not both");
}

static const struct param fds_rows[] = {
    HOG_ON_HOST(struct fds_params),
    PARAM(INT, "count", struct fds_params, count, .lo = 1, .hi = 1e9,
          .help = "how many files to open"),
    PARAM(PERCENT, "percent", struct fds_params, percent,
          .help = "the same as a share of what is left in the machine's file table"),
};
static const struct param_table fds_table = { .title = "faults[].fd-exhaustion",
                                              .rows = fds_rows,
                                              .n = ARRAY_LEN(fds_rows),
                                              .check = fds_check };

HOG_KIND(fault_host_fds, "fd-exhaustion", "host", "use up this machine's table of open files",
         fds_table, struct fds_params);
