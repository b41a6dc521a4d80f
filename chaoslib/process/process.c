/* The registry of named processes: which process a name means now, and the children that the plan
 * starts and that end with us.
 *
 * A child is spawned by a thread that lives as long as the registry: it dies with the *thread* that
 * spawned it, and a fault thread, which brings a killed child back, ends long before the run. A
 * dead child stays a zombie until we bury it, so that its pid cannot come to mean someone else. */
#include "chaoslib/process/process.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "chaoslib/clock/skew.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/offspring.h"
#include "chaoslib/process/spawner.h"
#include "chaoslib/wait.h"

extern char **environ;

struct member {
    const struct process_plan *plan;
    struct proc_id id; /* of the child, or of who replaced a foreign process; pid 0: none */
    int pidfd;         /* of the child; -1 */
    uint64_t seq;      /* of the child, in the journal; 0: none */
    bool exited;       /* the child: dead, not buried yet */
    bool expected;     /* an exit is meant */
    bool reported;
    struct skew *skew; /* of the child's clocks; NULL: they cannot be */
    char how[48];      /* "exited with status 3" */
    char *sentence;
};

struct processes {
    pthread_mutex_t lock;
    struct spawner *spawner; /* made for the first child */
    struct offspring offspring;
    struct member *members;
    size_t n;
};

struct processes *processes_new(const struct process_plan *rows, size_t n)
{
    struct processes *p = xcalloc(1, sizeof(*p));

    pthread_mutex_init(&p->lock, NULL);
    p->members = xcalloc(n ? n : 1, sizeof(*p->members));
    p->n = n;
    for (size_t i = 0; i < n; i++)
        p->members[i] = (struct member){ .plan = &rows[i], .pidfd = -1 };
    return p;
}

void processes_guard(struct processes *p, const struct chaos_env *env)
{
    p->offspring = (struct offspring){ env->journal, env->guardian, env->run_id };
}

static struct member *member_find(struct processes *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->members[i].plan->name, name) == 0)
            return &p->members[i];
    return NULL;
}

static bool is_child(const struct member *m)
{
    return m && m->plan->run.n > 0;
}

/* ---- life and death of one child; under the lock ---- */

static void describe_exit(struct member *m, const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        snprintf(m->how, sizeof(m->how), "exited with status %d", info->si_status);
    else
        snprintf(m->how, sizeof(m->how), "was ended by SIG%s",
                 sigabbrev_np(info->si_status) ? sigabbrev_np(info->si_status) : "?");
}

/* The pidfd is asked first: waitid would also see the stops of a child that a fault traces. */
static bool member_has_exited(struct member *m)
{
    siginfo_t info = { 0 };

    if (m->exited || m->pidfd < 0)
        return m->exited;
    if (wait_fd(m->pidfd, NULL, 0) != WAIT_READY)
        return false;
    m->exited = true;
    if (waitid(P_PID, (id_t)m->id.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
        describe_exit(m, &info);
    else
        snprintf(m->how, sizeof(m->how), "ended");
    return true;
}

static void signal_group(const struct member *m, int signo)
{
    if (m->id.pid > 1)
        err_ignore(kill(-m->id.pid, signo), "the group is gone: that is what we want");
}

/* The leader's zombie holds the number of the group until here. */
static void member_bury(struct processes *p, struct member *m)
{
    if (!m->id.pid || !is_child(m))
        return;
    signal_group(m, SIGKILL);
    err_ignore(offspring_end(&m->id, NULL), "the group has gone; another group may have the rest");
    while (waitpid(m->id.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (m->pidfd >= 0)
        close(m->pidfd);
    m->pidfd = -1;
    m->id = (struct proc_id){ 0 };
    offspring_retire(&p->offspring, m->seq);
    m->seq = 0;
}

/* ---- starting ---- */

#define PRELOAD "LD_PRELOAD"

static bool is_key(const char *entry, const char *key)
{
    size_t n = strlen(key);

    return strncmp(entry, key, n) == 0 && entry[n] == '=';
}

static bool is_overridden(const struct member *m, const char *entry)
{
    const struct pairs *env = &m->plan->env;

    for (size_t i = 0; i < env->n; i++)
        if (is_key(entry, env->keys[i]))
            return true;
    return m->skew && (is_key(entry, PRELOAD) || is_key(entry, CLOCK_PAGE_ENV));
}

/* What it would have preloaded without us. */
static const char *preload_of(const struct member *m)
{
    const struct pairs *env = &m->plan->env;

    for (size_t i = 0; i < env->n; i++)
        if (strcmp(env->keys[i], PRELOAD) == 0)
            return env->values[i];
    for (char **e = environ; e && *e; e++)
        if (is_key(*e, PRELOAD))
            return *e + sizeof(PRELOAD);
    return NULL;
}

static size_t add_skew(const struct member *m, char **own)
{
    const char *also = preload_of(m);

    own[0] = xasprintf(PRELOAD "=%s%s%s", skew_object(m->skew), also && *also ? ":" : "",
                       also ? also : "");
    own[1] = xasprintf(CLOCK_PAGE_ENV "=%s", skew_page(m->skew));
    return 2;
}

/* Ours, with the plan's instead of or beside them. The block of texts comes back in `own`. */
static const char **environment(const struct member *m, const char *mark, char ***ret_own)
{
    const struct pairs *env = &m->plan->env;
    size_t ours = 0, n = 0, n_own = 0;

    while (environ && environ[ours])
        ours++;
    const char **all = xcalloc(ours + env->n + 4, sizeof(*all));
    char **own = xcalloc(env->n + 3, sizeof(*own));
    for (size_t i = 0; i < ours; i++)
        if (!is_overridden(m, environ[i]))
            all[n++] = environ[i];
    for (size_t i = 0; i < env->n; i++)
        if (!m->skew || strcmp(env->keys[i], PRELOAD) != 0)
            own[n_own++] = xasprintf("%s=%s", env->keys[i], env->values[i]);
    if (m->skew)
        n_own += add_skew(m, own + n_own);
    for (size_t i = 0; i < n_own; i++)
        all[n++] = own[i];
    all[n++] = mark;
    *ret_own = own;
    return all;
}

static int spawn_child(struct processes *p, struct member *m, const char *mark, struct err *err)
{
    char **own;
    auto_free const char **argv = xcalloc(m->plan->run.n + 1, sizeof(*argv));
    auto_free const char **env = environment(m, mark, &own);

    memcpy(argv, m->plan->run.v, m->plan->run.n * sizeof(*argv));
    if (!p->spawner)
        p->spawner = spawner_new();
    int rc = spawner_spawn(p->spawner,
                           &(struct proc_spawn_opts){
                               .argv = argv,
                               .env = env,
                               .cwd = m->plan->cwd,
                               .log_path = m->plan->log,
                               .die_with_parent = true,
                               .new_session = true,
                           },
                           &m->id, err);
    for (size_t i = 0; own[i]; i++)
        free(own[i]);
    free(own);
    return rc;
}

static int member_start(struct processes *p, struct member *m, struct err *err)
{
    m->exited = m->reported = false;
    m->how[0] = '\0';
    uint64_t expected;
    auto_free char *mark = xasprintf(OFFSPRING_MARK "=%s.%d.%llx", m->plan->name, getpid(),
                                     (unsigned long long)rng_entropy());
    int rc = offspring_expect(&p->offspring, m->plan->name, mark, &expected, err);
    if (rc == 0)
        rc = spawn_child(p, m, mark, err);
    if (rc < 0) {
        offspring_retire(&p->offspring, expected);
        return err_wrap(err, "cannot start process '%s'", m->plan->name);
    }
    m->pidfd = pidfd_open(m->id.pid, 0);
    if (m->pidfd < 0)
        rc = err_sys(err, ERR_PREPARE, errno, "cannot watch process '%s'", m->plan->name);
    else
        rc = offspring_announce(&p->offspring, m->plan->name, &m->id, &m->seq, err);
    if (rc < 0)
        member_bury(p, m);
    offspring_retire(&p->offspring, expected);
    return rc;
}

static int start_or_find(struct processes *p, struct member *m, struct err *err)
{
    struct proc_id id;

    if (!is_child(m))
        return processes_resolve(p, m->plan->name, &id, err);
    pthread_mutex_lock(&p->lock);
    int rc = member_start(p, m, err);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* All are spawned first, so that they become ready side by side. */
static int start_all(struct processes *p, struct err *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (start_or_find(p, &p->members[i], err) < 0)
            return -1;
    for (size_t i = 0; i < p->n; i++) {
        const struct member *m = &p->members[i];
        if (is_child(m) && processes_wait_ready(p, m->plan->name, &m->id, NULL, err) < 0)
            return -1;
    }
    return 0;
}

int processes_start(struct processes *p, struct err *err)
{
    struct err why = { 0 };

    if (start_all(p, &why) == 0)
        return 0;
    processes_stop(p);
    if (err)
        *err = why;
    return -(why.code ? why.code : EIO);
}

/* ---- ending ---- */

static void wait_for_end(struct processes *p, struct member *m, uint64_t deadline_ns)
{
    if (m->pidfd >= 0 && wait_fd(m->pidfd, NULL, deadline_ns) != WAIT_READY) {
        signal_group(m, SIGKILL);
        err_ignore(wait_fd(m->pidfd, NULL, clock_now_ns() + 5 * NS_PER_SEC),
                   "burying waits for it in any case");
    }
    member_bury(p, m);
}

void processes_stop(struct processes *p)
{
    uint64_t now = clock_now_ns();

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n; i++) {
        if (p->members[i].pidfd < 0)
            continue;
        signal_group(&p->members[i], SIGTERM);
        signal_group(&p->members[i], SIGCONT); /* a stopped one would not hear it */
    }
    for (size_t i = 0; i < p->n; i++)
        if (p->members[i].pidfd >= 0)
            wait_for_end(p, &p->members[i], now + p->members[i].plan->stop_grace_ns);
    pthread_mutex_unlock(&p->lock);
}

void processes_free(struct processes *p)
{
    if (!p)
        return;
    processes_stop(p);
    spawner_free(p->spawner);
    for (size_t i = 0; i < p->n; i++) {
        free(p->members[i].sentence);
        skew_free(p->members[i].skew);
    }
    free(p->members);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- whom a name means ---- */

static int resolve_child(struct member *m, struct proc_id *ret, struct err *err)
{
    const char *name = m->plan->name;

    if (m->pidfd < 0)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' is not running", name);
    if (member_has_exited(m))
        return err_set(err, ERR_TARGET, ESRCH, "process '%s' is not running: it %s", name, m->how);
    *ret = m->id;
    return 0;
}

static int resolve_foreign(const struct process_plan *row, struct proc_id *ret, struct err *err)
{
    if (row->pid)
        return process_find_pid(row->name, (pid_t)row->pid, ret, err);
    if (row->pidfile)
        return process_find_pidfile(row->name, row->pidfile, ret, err);
    return process_find_command(row->name, row->command, ret, err);
}

int processes_resolve(struct processes *p, const char *name, struct proc_id *ret, struct err *err)
{
    struct member *m = member_find(p, name);
    int rc = 1;

    if (!m)
        return process_find_name(name, ret, err);
    pthread_mutex_lock(&p->lock);
    if (is_child(m)) {
        rc = resolve_child(m, ret, err);
    } else if (m->id.pid && proc_is_alive(&m->id)) {
        *ret = m->id;
        rc = 0;
    }
    pthread_mutex_unlock(&p->lock);
    return rc == 1 ? resolve_foreign(m->plan, ret, err) : rc;
}

int processes_make_skewable(struct processes *p, const char *name, struct err *err)
{
    struct member *m = member_find(p, name);

    if (!is_child(m) || m->skew)
        return 0; /* the fault will say that it is none of ours */
    m->skew = skew_new(err);
    return m->skew ? 0 : -EIO;
}

struct skew *processes_skew(struct processes *p, const char *name)
{
    const struct member *m = member_find(p, name);

    return m ? m->skew : NULL;
}

bool processes_is_child(struct processes *p, const char *name)
{
    return is_child(member_find(p, name));
}

void processes_adopt(struct processes *p, const char *name, const struct proc_id *id)
{
    struct member *m = member_find(p, name);

    if (!m || is_child(m))
        return;
    pthread_mutex_lock(&p->lock);
    m->id = *id;
    pthread_mutex_unlock(&p->lock);
}

/* ---- for faults ---- */

int processes_respawn(struct processes *p, const char *name, struct proc_id *ret, struct err *err)
{
    struct member *m = member_find(p, name);

    if (!is_child(m))
        return err_set(err, ERR_REVERT, EINVAL, "process '%s' was not started by this run", name);
    pthread_mutex_lock(&p->lock);
    int rc = 0;
    if (m->pidfd >= 0 && !member_has_exited(m)) {
        rc = err_set(err, ERR_REVERT, EBUSY, "process '%s' is still running", name);
    } else {
        member_bury(p, m);
        rc = member_start(p, m, err);
    }
    if (rc == 0)
        *ret = m->id;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void processes_expect_exit(struct processes *p, const char *name, bool expected)
{
    struct member *m = member_find(p, name);

    if (!m)
        return;
    pthread_mutex_lock(&p->lock);
    m->expected = expected;
    pthread_mutex_unlock(&p->lock);
}

static void report(struct member *m)
{
    m->reported = true;
    free(m->sentence);
    m->sentence =
        xasprintf("process '%s' %s, which no fault asked for%s%s", m->plan->name, m->how,
                  m->plan->log ? "; its output is in " : "", m->plan->log ? m->plan->log : "");
}

const char *processes_unexpected_exit(struct processes *p)
{
    const char *sentence = NULL;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->n && !sentence; i++) {
        struct member *m = &p->members[i];
        if (m->pidfd < 0 || m->expected || m->reported || !member_has_exited(m))
            continue;
        report(m);
        sentence = m->sentence;
    }
    pthread_mutex_unlock(&p->lock);
    return sentence;
}

/* ---- ready ---- */

static int died_early(struct processes *p, const char *name, struct err *err)
{
    struct member *m = member_find(p, name);
    const char *log = m && m->plan->log ? m->plan->log : NULL;
    char how[sizeof(m->how)] = "ended";

    pthread_mutex_lock(&p->lock);
    if (is_child(m) && member_has_exited(m))
        memcpy(how, m->how, sizeof(how));
    pthread_mutex_unlock(&p->lock);
    return err_set(err, ERR_PREPARE, ECHILD, "process '%s' %s before it was ready%s%s", name, how,
                   log ? "; its output is in " : "; give it log: to see its output",
                   log ? log : "");
}

#define READY_SLICE_NS (200 * NS_PER_MS)

int processes_wait_ready(struct processes *p, const char *name, const struct proc_id *id,
                         struct latch *hurry, struct err *err)
{
    const struct member *m = member_find(p, name);
    const char *ready = m ? m->plan->ready : NULL;
    uint64_t deadline_ns = clock_now_ns() + (m ? m->plan->ready_timeout_ns : 0);
    int rc = -EAGAIN;

    while (rc < 0) {
        uint64_t now = clock_now_ns();
        if (!proc_is_alive(id))
            return died_early(p, name, err);
        if (latch_is_set(hurry))
            break;
        rc = process_wait_ready(ready, MIN(deadline_ns, now + READY_SLICE_NS), err);
        if (rc < 0 && clock_now_ns() >= deadline_ns)
            return err_wrap(err, "process '%s'", name);
    }
    if (err)
        err_clear(err); /* of attempts that came too early */
    return 0;
}
