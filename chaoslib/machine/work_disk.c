/* What a worker does on disks: fill them, keep them busy. Its files have no name, so that the space
 * is free again when it is gone, however it went. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "chaoslib/machine/hog.h"

#define ALLOCATE_STEP ((off_t)256 << 20)
#define BLOCK ((size_t)64 << 10)
#define ALIGN 4096

int hog_file(int dirfd, int flags, struct err *err)
{
    char name[64];
    int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);

    if (fd >= 0 || errno == EACCES || errno == EROFS || errno == ENOSPC)
        return fd >= 0 ? fd : err_sys(err, ERR_INJECT, errno, "cannot make a file in the folder");
    snprintf(name, sizeof(name), ".chaos-load-%d-%llx", (int)getpid(),
             (unsigned long long)clock_now_ns());
    fd = openat(dirfd, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot make a file in the folder");
    unlinkat(dirfd, name, 0);
    return fd;
}

/* Our own limit on file sizes is no part of the fault. */
static void lift_file_limit(void)
{
    struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

    signal(SIGXFSZ, SIG_IGN); // NOLINT(concurrency-mt-unsafe): there is one thread
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        return; /* then a write says so */
}

static uint64_t allocated(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Block by block, where space cannot be had without writing. */
static int write_up_to(const struct hog_worker *w, int fd, uint64_t size, struct err *err)
{
    auto_free unsigned char *block = xcalloc(1, BLOCK);

    memset(block, 0xA5, BLOCK);
    for (uint64_t done = 0; done < size;) {
        ssize_t n = pwrite(fd, block, (size_t)MIN(size - done, BLOCK), (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_sys(err, ERR_INJECT, errno, "no more than %llu of %llu bytes can be filled",
                           (unsigned long long)done, (unsigned long long)size);
        done += (uint64_t)n;
        atomic_store(&w->stat->done, done);
    }
    return 0;
}

int hog_fill(const struct hog_worker *w, struct err *err)
{
    uint64_t size = json_u64(w->spec, "size", 0), done = 0;
    int fd = hog_file(w->fds[0], 0, err);
    int rc = 0;

    if (fd < 0)
        return -1;
    lift_file_limit();
    hog_begin(w);
    while (done < size && rc == 0) {
        off_t n = (off_t)MIN(size - done, (uint64_t)ALLOCATE_STEP);
        rc = fallocate(fd, 0, (off_t)done, n);
        done += rc == 0 ? (uint64_t)n : 0;
        atomic_store(&w->stat->done, MIN(allocated(fd), size));
    }
    if (rc < 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return err_sys(err, ERR_INJECT, errno, "no more than %llu of %llu bytes can be filled",
                       (unsigned long long)done, (unsigned long long)size);
    if (rc < 0 && write_up_to(w, fd, size, err) < 0)
        return -1;
    for (;;)
        pause();
}

/* ---- io ---- */

struct churn {
    const struct hog_worker *w;
    int fd;
    unsigned char *block;
    uint64_t bytes, rate, start_ns, moved;
};

/* Keeps the bandwidth: waits until as much time has gone by as `moved` takes. */
static void pace(struct churn *c, size_t n)
{
    c->moved += n;
    atomic_store(&c->w->stat->done, c->moved);
    if (c->rate)
        clock_sleep_until(c->start_ns +
                          (uint64_t)((double)c->moved / (double)c->rate * (double)NS_PER_SEC));
}

static int pass(struct churn *c, bool writes, struct err *err)
{
    for (uint64_t at = 0; at < c->bytes; at += BLOCK) {
        ssize_t n = writes ? pwrite(c->fd, c->block, BLOCK, (off_t)at)
                           : pread(c->fd, c->block, BLOCK, (off_t)at);
        if (n < 0 && errno != EINTR)
            return err_sys(err, ERR_INJECT, errno, "cannot %s the hog's file",
                           writes ? "write" : "read");
        pace(c, n > 0 ? (size_t)n : 0);
    }
    if (writes && fsync(c->fd) < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot sync the hog's file");
    return 0;
}

/* O_DIRECT where the file system has it: else the page cache would be what is kept busy. */
int hog_churn(const struct hog_worker *w, struct err *err)
{
    struct churn c = { .w = w,
                       .bytes = MAX(json_u64(w->spec, "bytes", 0), BLOCK) / BLOCK * BLOCK,
                       .rate = json_u64(w->spec, "rate", 0) / w->n };

    lift_file_limit();
    c.fd = hog_file(w->fds[0], O_DIRECT, NULL);
    if (c.fd < 0)
        c.fd = hog_file(w->fds[0], 0, err);
    if (c.fd < 0)
        return -1;
    c.block = aligned_alloc(ALIGN, BLOCK);
    if (!c.block)
        return err_set(err, ERR_INJECT, ENOMEM, "no memory for a block");
    memset(c.block, 0xA5, BLOCK);
    hog_begin(w);
    c.start_ns = clock_now_ns();
    while (pass(&c, true, err) == 0 && pass(&c, false, err) == 0)
        ;
    return -1;
}
