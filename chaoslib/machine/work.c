/* What a worker does: burn time, eat memory, open descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/rng.h"
#include "chaoslib/machine/duty.h"
#include "chaoslib/machine/hog.h"

#define BURN_ROUNDS 2000 /* some microseconds between two looks at the clock */
#define EAT_STEP_NS (5 * NS_PER_MS)
#define EAT_CHUNK ((size_t)1 << 20)

/* ---- cpu ---- */

static void burn_until(uint64_t cpu_ns, uint64_t mono_ns)
{
    volatile uint64_t x = cpu_ns;

    while (clock_cpu_ns() < cpu_ns && clock_now_ns() < mono_ns)
        for (unsigned i = 0; i < BURN_ROUNDS; i++)
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
}

int hog_burn(const struct hog_worker *w, struct err *err)
{
    struct duty d = { .load = json_num(w->spec, "load", 1),
                      .ramp_ns = json_u64(w->spec, "ramp_ns", 0) };
    int nice = (int)json_num(w->spec, "nice", 0);
    uint64_t start = clock_now_ns(), cpu_start = clock_cpu_ns(), end = start;

    if (nice && setpriority(PRIO_PROCESS, 0, nice) < 0)
        return err_sys(err, ERR_INJECT, errno, "nice: %d is not allowed here", nice);
    hog_begin(w);
    for (;;) {
        end += DUTY_PERIOD_NS;
        if (end < clock_now_ns()) /* kept from running for longer than a period */
            end = clock_now_ns() + DUTY_PERIOD_NS;
        uint64_t used = clock_cpu_ns() - cpu_start;
        uint64_t due = duty_due_ns(&d, end - start, used);
        burn_until(cpu_start + used + due, end);
        atomic_store(&w->stat->cpu_ns, clock_cpu_ns() - cpu_start);
        clock_sleep_until(end);
    }
}

/* ---- memory ---- */

static int set_oom_score(int64_t score, struct err *err)
{
    auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    char text[24];
    int n = snprintf(text, sizeof(text), "%lld", (long long)score);

    if (fd < 0 || write(fd, text, (size_t)n) != n)
        return err_sys(err, ERR_INJECT, errno, "oom_score_adj: %lld is not allowed here",
                       (long long)score);
    return 0;
}

/* Bytes of chance, so that neither same-page merging nor compression gives any back. */
static void touch(unsigned char *at, size_t len, struct rng *rng)
{
    for (size_t i = 0; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
        uint64_t x = rng_u64(rng);
        memcpy(at + i, &x, sizeof(x));
    }
    if (len % sizeof(uint64_t))
        at[len - 1] = 1;
}

int hog_eat(const struct hog_worker *w, struct err *err)
{
    size_t size = hog_share(w, json_u64(w->spec, "size", 0)), done = 0;
    uint64_t ramp_ns = json_u64(w->spec, "ramp_ns", 0), start = clock_now_ns();
    struct rng rng = { 0 };

    rng_seed(&rng, start, w->index);
    if (set_oom_score((int64_t)json_num(w->spec, "oom_score_adj", 1000), err) < 0)
        return -1;
    unsigned char *all = mmap(NULL, MAX(size, 1), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return err_sys(err, ERR_INJECT, errno, "no address space for %zu bytes", size);
    hog_begin(w);
    for (;;) {
        size_t want = (size_t)((double)size * ramp_share(clock_now_ns() - start, ramp_ns));
        for (want = MIN(want, size); done < want;) {
            size_t n = MIN(want - done, EAT_CHUNK);
            touch(all + done, n, &rng);
            done += n;
            atomic_store(&w->stat->done, done);
        }
        clock_sleep_until(clock_now_ns() + (done < size ? EAT_STEP_NS : NS_PER_SEC));
    }
}

/* ---- descriptors ---- */

int hog_open(const struct hog_worker *w, struct err *err)
{
    uint64_t count = hog_share(w, json_u64(w->spec, "count", 0));
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            return err_sys(err, ERR_INJECT, errno, "cannot open up to the hard limit");
    }
    for (uint64_t i = 0; i < count; i++) {
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) /* one entry each in the file table */
            return err_sys(err, ERR_INJECT, errno, "only %llu of %llu files can be opened",
                           (unsigned long long)i, (unsigned long long)count);
        atomic_store(&w->stat->done, i + 1);
    }
    hog_begin(w);
    for (;;)
        pause();
}
