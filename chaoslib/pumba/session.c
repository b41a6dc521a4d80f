/* See session.h. */
#include "chaoslib/pumba/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "chaoslib/process/find.h"
#include "chaoslib/process/offspring.h"
#include "chaoslib/wait.h"

#define LOOK_NS (20 * NS_PER_MS)
#define ENV_MAX 4096

struct pumba_session {
    struct pumba_box *box; /* NULL: a process of ours */
    struct proc_id id;
    int log_fd; /* a memfd */
    bool over;
    int status;
};

extern char **environ;

/* ---- what is started ---- */

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *pumba_program(struct err *err)
{
    const char *named = getenv("PUMBA"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    const char *path = getenv("PATH");   // NOLINT(concurrency-mt-unsafe): as above

    if (named && *named) {
        if (is_program(named))
            return xstrdup(named);
        err_set(err, ERR_PREPARE, ENOENT, "PUMBA is '%.200s', which is no program", named);
        return NULL;
    }
    for (const char *p = path; p && *p;) {
        size_t n = strcspn(p, ":");
        char *full = xasprintf("%.*s/pumba", (int)n, p);
        if (is_program(full))
            return full;
        free(full);
        p += n + (p[n] == ':');
    }
    err_set(err, ERR_PREPARE, ENOENT,
            "there is no pumba in the path: install it, or set PUMBA to where it is");
    return NULL;
}

char **pumba_argv(const char *program, const struct pumba_line *l, const char *host)
{
    const char *ours[] = { "--host", host, "--json", "--log-level", "debug" };
    char **argv = xcalloc(l->words.n + ARRAY_LEN(ours) + 2, sizeof(*argv));
    size_t n = 0;

    argv[n++] = xstrdup(program);
    for (size_t i = 0; i < l->command_at; i++)
        argv[n++] = xstrdup(l->words.v[i]);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) /* the last one given counts */
        argv[n++] = xstrdup(ours[i]);
    for (size_t i = l->command_at; i < l->words.n; i++)
        argv[n++] = xstrdup(l->words.v[i]);
    return argv;
}

void pumba_argv_free(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++)
        free(argv[i]);
    free(argv);
}

static const char **environment_with(const char *mark)
{
    size_t n = 0;

    while (environ[n] && n < ENV_MAX)
        n++;
    const char **env = xcalloc(n + 2, sizeof(*env));
    for (size_t i = 0; i < n; i++)
        env[i] = environ[i];
    env[n] = mark;
    return env;
}

struct pumba_session *pumba_session_start(char *const *argv, const char *mark, struct err *err)
{
    struct pumba_session *s = xcalloc(1, sizeof(*s));
    char path[40];

    s->log_fd = memfd_create("pumba-log", MFD_CLOEXEC);
    if (s->log_fd < 0) {
        err_sys(err, ERR_PREPARE, errno, "memfd");
        free(s);
        return NULL;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->log_fd);
    auto_free const char **env = environment_with(mark);
    struct proc_spawn_opts opts = { .argv = (const char *const *)(uintptr_t)argv,
                                    .env = env,
                                    .log_path = path,
                                    .die_with_parent = true,
                                    .death_signal = SIGTERM,
                                    .new_session = true };
    if (proc_spawn(&opts, &s->id, err) < 0) {
        close(s->log_fd);
        free(s);
        return NULL;
    }
    return s;
}

struct pumba_session *pumba_session_boxed(const struct pumba_box_opts *opts, struct err *err)
{
    struct pumba_session *s = xcalloc(1, sizeof(*s));

    s->log_fd = -1;
    s->box = pumba_box_start(opts, err);
    if (s->box)
        return s;
    free(s);
    return NULL;
}

/* ---- while it runs ---- */

bool pumba_session_is_over(struct pumba_session *s, int *ret_status)
{
    int status = 0;

    if (s->box)
        return pumba_box_is_over(s->box, ret_status);
    if (!s->over && waitpid(s->id.pid, &status, WNOHANG) == s->id.pid) {
        s->over = true;
        s->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    if (s->over && ret_status)
        *ret_status = s->status;
    return s->over;
}

void pumba_session_log(struct pumba_session *s, struct pumba_log *ret)
{
    auto_buf struct buf text = BUF_INIT(PUMBA_LOG_MAX);
    ssize_t n = s->box ? 0 : 1;

    if (s->box)
        pumba_box_log(s->box, &text);
    while (n > 0) {
        char *to = buf_reserve(&text, 65536);
        n = to ? pread(s->log_fd, to, 65536, (off_t)text.len) : 0;
        text.len += (size_t)MAX(n, 0);
    }
    pumba_log_read(buf_str(&text), text.len, ret);
}

static bool wait_over(struct pumba_session *s, uint64_t until_ns, struct latch *hurry)
{
    while (!pumba_session_is_over(s, NULL)) {
        uint64_t now = clock_now_ns();
        if (now >= until_ns || (hurry && latch_is_set(hurry)))
            return false;
        clock_sleep_until(MIN(until_ns, now + LOOK_NS));
    }
    return true;
}

/* Ours, and not reaped: the number is its own. */
static void send(struct pumba_session *s, int sig)
{
    if (s->box)
        pumba_box_signal(s->box, sig == SIGKILL ? "SIGKILL" : "SIGTERM");
    else
        kill(s->id.pid, sig);
}

int pumba_session_end(struct pumba_session *s, uint64_t grace_ns, struct latch *hurry)
{
    if (pumba_session_is_over(s, NULL))
        return 0;
    send(s, SIGTERM);
    /* Even in a hurry it gets a moment: what it undoes in it nobody else could. */
    if (wait_over(s, clock_now_ns() + MIN(grace_ns, 3 * NS_PER_SEC), NULL) ||
        wait_over(s, clock_now_ns() + grace_ns, hurry))
        return 0;
    send(s, SIGKILL);
    wait_over(s, clock_now_ns() + 5 * NS_PER_SEC, NULL);
    return 1;
}

void pumba_session_free(struct pumba_session *s)
{
    if (!s)
        return;
    err_ignore(pumba_session_end(s, 5 * NS_PER_SEC, NULL), "whoever cares has looked before");
    pumba_box_free(s->box);
    if (s->log_fd >= 0)
        close(s->log_fd);
    free(s);
}

/* ---- from another process ---- */

int pumba_end_marked(const char *mark, uint64_t grace_ns, struct err *err)
{
    uint64_t until = clock_now_ns() + grace_ns;
    auto(json) struct json *record = json_object();
    int first = offspring_ask(mark, SIGTERM, err);

    for (int n = first; n > 0 && clock_now_ns() < until;) {
        clock_sleep_until(clock_now_ns() + LOOK_NS);
        n = offspring_ask(mark, 0, err);
    }
    if (first < 0)
        return first;
    json_put_str(record, "mark", mark);
    int rc = fault_process_run.undo(record, err);
    return rc < 0 ? rc : first;
}
