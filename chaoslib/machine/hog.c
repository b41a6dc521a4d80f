/* The helper's side: starts the workers, answers, sees them die, ends them. */
#include "chaoslib/machine/hog.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "chaoslib/machine/cgroup.h"

#define LOOK_NS (20 * NS_PER_MS)
#define STARTED_STEP_NS (200 * NS_PER_US)
#define STARTED_MAX_NS (20 * NS_PER_SEC)

struct hogs {
    const struct helper_job *job;
    hog_work_fn *work;
    struct hog_stat *stats;
    pid_t pids[HOG_WORKERS_MAX];
    unsigned n;
    uint64_t oom_kills; /* of the whole machine, before we began */
};

static const struct {
    const char *name;
    hog_work_fn *work;
} works[] = {
    { "cpu", hog_burn },       { "memory", hog_eat },         { "io", hog_churn },
    { "disk-fill", hog_fill }, { "fd-exhaustion", hog_open },
};

uint64_t hog_share(const struct hog_worker *w, uint64_t whole)
{
    return whole / w->n + (w->index < whole % w->n ? 1 : 0);
}

void hog_begin(const struct hog_worker *w)
{
    atomic_store(&w->stat->phase, HOG_WORKING);
}

static uint64_t oom_kills(void)
{
    FILE *f = fopen("/proc/vmstat", "re");
    unsigned long long n = 0;
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "oom_kill ", 9) == 0)
            n = strtoull(line + 9, NULL, 10);
    if (f)
        fclose(f);
    return n;
}

/* ---- a worker ---- */

static void NORETURN worker_main(const struct hogs *h, unsigned index, pid_t helper)
{
    const struct hog_worker w = { .spec = h->job->spec,
                                  .stat = &h->stats[index],
                                  .index = index,
                                  .n = h->n,
                                  .fds = h->job->fds,
                                  .n_fds = h->job->n_fds };
    struct err err = { 0 };

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != helper)
        _exit(1);
    setpgid(0, 0);
    close(HELPER_FD); /* else its end-of-file would not come */
    prctl(PR_SET_NAME, "chaos-hog");
    if (cgroups_join(json_get(w.spec, "join"), &err) == 0)
        err_ignore(h->work(&w, &err), "said in err");
    snprintf(w.stat->error, sizeof(w.stat->error), "%s", err.msg);
    atomic_store(&w.stat->phase, HOG_FAILED);
    _exit(1);
}

/* ---- the helper ---- */

static void end_workers(const struct hogs *h)
{
    for (unsigned i = 0; i < h->n; i++)
        if (h->pids[i] > 0)
            kill(h->pids[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

static const char *first_error(const struct hogs *h)
{
    for (unsigned i = 0; i < h->n; i++)
        if (atomic_load(&h->stats[i].phase) == HOG_FAILED)
            return h->stats[i].error;
    return NULL;
}

/* Negative when a worker has ended: none does so of its own will. */
static int check_workers(struct hogs *h, struct err *err)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);

    if (pid <= 0)
        return 0;
    for (unsigned i = 0; i < h->n; i++)
        h->pids[i] = h->pids[i] == pid ? 0 : h->pids[i];
    const char *why = first_error(h);
    if (why)
        return err_set(err, ERR_INJECT, EIO, "%s", why);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && oom_kills() > h->oom_kills)
        return err_set(err, ERR_INJECT, ENOMEM, "the hog was killed by the OOM killer");
    return err_set(err, ERR_INJECT, ECHILD, "the hog was ended by signal %d",
                   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static bool all_started(const struct hogs *h)
{
    for (unsigned i = 0; i < h->n; i++)
        if (atomic_load(&h->stats[i].phase) == HOG_STARTING)
            return false;
    return true;
}

static int start_workers(struct hogs *h, struct err *err)
{
    pid_t self = getpid();
    uint64_t until = clock_now_ns() + STARTED_MAX_NS;

    h->oom_kills = oom_kills();
    for (unsigned i = 0; i < h->n; i++) {
        h->pids[i] = fork();
        if (h->pids[i] == 0)
            worker_main(h, i, self);
        if (h->pids[i] < 0)
            return err_sys(err, ERR_INJECT, errno, "cannot start worker %u of %u", i + 1, h->n);
    }
    while (!all_started(h)) {
        if (check_workers(h, err) < 0)
            return -1;
        if (clock_now_ns() > until)
            return err_set(err, ERR_INJECT, ETIMEDOUT, "the workers of the hog do not start");
        clock_sleep_until(clock_now_ns() + STARTED_STEP_NS);
    }
    return check_workers(h, err);
}

static void reply_figures(const struct hogs *h)
{
    auto(json) struct json *j = json_object();
    struct json *pids = json_put(j, "pids", json_array());
    uint64_t cpu = 0, done = 0;

    for (unsigned i = 0; i < h->n; i++) {
        cpu += atomic_load(&h->stats[i].cpu_ns);
        done += atomic_load(&h->stats[i].done);
        json_put_u64(pids, NULL, (uint64_t)h->pids[i]);
    }
    json_put_u64(j, "cpu_ns", cpu);
    json_put_u64(j, "done", done);
    helper_reply(j);
}

/* Until we are told, or a worker died: then that is our last word. */
static int serve(struct hogs *h, struct err *err)
{
    bool started = false;

    for (;;) {
        struct json *q = NULL;
        int rc = helper_next(clock_now_ns() + LOOK_NS, &q);
        bool starts = rc == 0 && strcmp(json_str(q, "do", ""), "start") == 0;
        json_free(q);
        if (rc == 1)
            return 0;
        if ((starts && start_workers(h, err) < 0) || (started && check_workers(h, err) < 0))
            return -1;
        started |= starts;
        if (rc == 0)
            reply_figures(h);
    }
}

static int hog_run(struct helper_job *job)
{
    struct hogs h = { .job = job, .n = (unsigned)json_u64(job->spec, "workers", 1) };
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(works); i++)
        if (strcmp(works[i].name, json_str(job->spec, "kind", "")) == 0)
            h.work = works[i].work;
    if (!h.work || h.n == 0 || h.n > HOG_WORKERS_MAX)
        return 2;
    void *shared = mmap(NULL, h.n * sizeof(*h.stats), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        err_ignore(err_sys(&err, ERR_INJECT, errno, "no memory for a hog"), "it is told");
        helper_reply_error(&err);
        return 1;
    }
    h.stats = shared;
    signal(SIGCHLD, SIG_DFL); // NOLINT(concurrency-mt-unsafe): there is one thread
    helper_reply_ok();
    int rc = serve(&h, &err);
    end_workers(&h);
    if (rc < 0)
        helper_reply_error(&err);
    return rc < 0 ? 1 : 0;
}

const struct helper_role hog_role = { .name = HOG_ROLE, .run = hog_run };
