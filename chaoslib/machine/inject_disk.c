/* io and disk-fill: a file system is busy, or full. */
#include <errno.h>
#include <sys/statvfs.h>

#include "chaoslib/machine/machine.h"

#define KEEP_FREE_DEFAULT "64MiB"
#define IO_BYTES_MIN (UINT64_C(64) << 10)

/* ---- io ---- */

struct io_params {
    struct place_at at;
    const char *path;
    uint64_t bytes, rate;
    int64_t workers;
};

static int io_plan(const void *params, struct hog *h, struct err *err)
{
    const struct io_params *p = params;
    struct statvfs v;

    h->dirfd = hog_folder(h, p->path, err);
    if (h->dirfd < 0)
        return -1;
    uint64_t need = p->bytes * (uint64_t)p->workers;
    if (fstatvfs(h->dirfd, &v) == 0 && need > (uint64_t)v.f_bavail * v.f_frsize)
        return err_set(err, ERR_PREPARE, ENOSPC,
                       "'%s' has no room for the hog's files of %llu MiB: lower bytes or workers",
                       p->path, (unsigned long long)(need >> 20));
    h->workers = (unsigned)p->workers;
    json_put_u64(h->spec, "bytes", p->bytes);
    json_put_u64(h->spec, "rate", p->rate / 8);
    return 0;
}

const struct hog_kind hog_io = { .name = "io", .plan = io_plan };

/* ---- disk-fill ---- */

struct fill_params {
    struct place_at at;
    const char *path;
    uint64_t size;
    double percent;
    uint64_t keep_free;
};

static uint64_t free_in(int dirfd)
{
    struct statvfs v;

    return fstatvfs(dirfd, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* As df counts: of what is used and what an ordinary user can still have. */
static uint64_t to_percent(const struct statvfs *v, double percent)
{
    uint64_t used = (uint64_t)(v->f_blocks - v->f_bfree) * v->f_frsize;
    uint64_t all = used + (uint64_t)v->f_bavail * v->f_frsize;
    uint64_t want = (uint64_t)(percent * (double)all);

    return want > used ? want - used : 0;
}

static int fill_plan(const void *params, struct hog *h, struct err *err)
{
    const struct fill_params *p = params;
    struct statvfs v;

    h->dirfd = hog_folder(h, p->path, err);
    if (h->dirfd < 0)
        return -1;
    if (fstatvfs(h->dirfd, &v) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot ask how full '%s' is", p->path);
    uint64_t avail = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t room = avail - MIN(avail, p->keep_free), size = p->size;
    if (p->percent > 0)
        size = to_percent(&v, p->percent);
    else if (size == 0)
        size = room;
    if (size == 0)
        return err_set(err, ERR_PREPARE, EALREADY, "'%s' is that full already", p->path);
    if (size > room)
        return err_set(err, ERR_PREPARE, ENOSPC,
                       "'%s' has %llu MiB free, of which %llu MiB are kept free, and the hog is to "
                       "take %llu MiB: take less, or keep_free: 0B",
                       p->path, (unsigned long long)(avail >> 20),
                       (unsigned long long)(p->keep_free >> 20), (unsigned long long)(size >> 20));
    h->workers = 1;
    h->want = size - size / 20; /* the last blocks may be the file system's own */
    h->free_before = avail;
    json_put_u64(h->spec, "size", size);
    return 0;
}

/* Half of it, since others write and remove there, too. */
static int fill_check(const struct hog *h)
{
    return free_in(h->dirfd) + h->want / 2 <= h->free_before ? 0 : 1;
}

static void fill_note_end(struct hog *h)
{
    h->free_at_end = free_in(h->dirfd);
}

/* Others may have taken as much since the beginning: half of it is back since the end, or as much
 * is free as ever. */
static int fill_check_out(const struct hog *h)
{
    uint64_t now = free_in(h->dirfd), half = h->want / 2;

    return h->n_ids == 0 || now >= h->free_at_end + half || now + half > h->free_before ? 0 : 1;
}

const struct hog_kind hog_disk_fill = {
    .name = "disk-fill",
    .plan = fill_plan,
    .check = fill_check,
    .note_end = fill_note_end,
    .check_out = fill_check_out,
};

static void check_path(const struct param_ctx *ctx, const struct doc *d, const char *path)
{
    if (path[0] != '/')
        diag_add(ctx->diag, doc_get(d, "path"), "'%s' is no absolute path: begin it with /", path);
}

static void io_cross_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct io_params *p = base;

    check_path(ctx, d, p->path);
    if (p->bytes < IO_BYTES_MIN)
        diag_add(ctx->diag, doc_get(d, "bytes"), "a file of less than 64KiB keeps no disk busy");
}

static void fill_cross_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct fill_params *p = base;

    check_path(ctx, d, p->path);
    if (p->size > 0 && p->percent > 0)
        diag_add(ctx->diag, doc_get(d, "percent"), "give it size or percent, and not both");
    else if (!p->size && p->percent <= 0 && !doc_get(d, "keep_free"))
        diag_add(ctx->diag, d,
                 "how full? give it size (2GiB), percent (95%%) or keep_free (" KEEP_FREE_DEFAULT
                 ")");
}

/* ---- tables ---- */

#define IO_ROWS                                                                               \
    PARAM(STR, "path", struct io_params, path, .def = "/tmp",                                 \
          .help = "a folder on the file system that is to be busy, as the target sees it"),   \
        PARAM(SIZE, "bytes", struct io_params, bytes, .def = "64MiB",                         \
              .help = "size of each worker's file, which is written, synced and read again"), \
        PARAM(INT, "workers", struct io_params, workers, .def = "1", .lo = 1,                 \
              .hi = HOG_WORKERS_MAX, .help = "how many at once"),                             \
        PARAM(BANDWIDTH, "rate", struct io_params, rate,                                      \
              .help = "no more than this, of all workers together")

#define FILL_ROWS                                                                           \
    PARAM(STR, "path", struct fill_params, path, .required = true,                          \
          .help = "a folder on the file system that is to be full, as the target sees it"), \
        PARAM(SIZE, "size", struct fill_params, size, .help = "how much to take"),          \
        PARAM(PERCENT, "percent", struct fill_params, percent,                              \
              .help = "how full it is afterwards, as df counts"),                           \
        PARAM(SIZE, "keep_free", struct fill_params, keep_free, .def = KEEP_FREE_DEFAULT,   \
              .help = "never less is left free; alone: fill it up to this")

static const struct param io_process_rows[] = { HOG_ON_PROCESS(struct io_params), IO_ROWS,
                                                HOG_PLACEMENT(struct io_params) };
static const struct param io_docker_rows[] = { HOG_ON_DOCKER(struct io_params), IO_ROWS,
                                               HOG_PLACEMENT(struct io_params) };
static const struct param io_host_rows[] = { HOG_ON_HOST(struct io_params), IO_ROWS };
static const struct param fill_process_rows[] = { HOG_ON_PROCESS(struct fill_params), FILL_ROWS };
static const struct param fill_docker_rows[] = { HOG_ON_DOCKER(struct fill_params), FILL_ROWS };
static const struct param fill_host_rows[] = { HOG_ON_HOST(struct fill_params), FILL_ROWS };

static const struct param_table io_process_table = { .title = "faults[].io",
                                                     .rows = io_process_rows,
                                                     .n = ARRAY_LEN(io_process_rows),
                                                     .check = io_cross_check };
static const struct param_table io_host_table = { .title = "faults[].io",
                                                  .rows = io_host_rows,
                                                  .n = ARRAY_LEN(io_host_rows),
                                                  .check = io_cross_check };
static const struct param_table io_docker_table = { .title = "faults[].io",
                                                    .rows = io_docker_rows,
                                                    .n = ARRAY_LEN(io_docker_rows),
                                                    .check = io_cross_check };
static const struct param_table fill_process_table = { .title = "faults[].disk-fill",
                                                       .rows = fill_process_rows,
                                                       .n = ARRAY_LEN(fill_process_rows),
                                                       .check = fill_cross_check };
static const struct param_table fill_host_table = { .title = "faults[].disk-fill",
                                                    .rows = fill_host_rows,
                                                    .n = ARRAY_LEN(fill_host_rows),
                                                    .check = fill_cross_check };
static const struct param_table fill_docker_table = { .title = "faults[].disk-fill",
                                                      .rows = fill_docker_rows,
                                                      .n = ARRAY_LEN(fill_docker_rows),
                                                      .check = fill_cross_check };

HOG_KIND(fault_process_io, "io", "process", "keep a file system of a process busy",
         io_process_table, struct io_params);
HOG_KIND(fault_docker_io, "io", "docker", "keep a file system of a container busy", io_docker_table,
         struct io_params);
HOG_KIND(fault_host_io, "io", "host", "keep a file system of this machine busy", io_host_table,
         struct io_params);
HOG_KIND(fault_process_disk_fill, "disk-fill", "process", "fill a file system of a process",
         fill_process_table, struct fill_params);
HOG_KIND(fault_docker_disk_fill, "disk-fill", "docker", "fill a file system of a container",
         fill_docker_table, struct fill_params);
HOG_KIND(fault_host_disk_fill, "disk-fill", "host", "fill a file system of this machine",
         fill_host_table, struct fill_params);
