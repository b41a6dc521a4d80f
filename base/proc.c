/* See proc.h. Between fork and exec only async-signal-safe calls are made, because the program has
 * threads; a pipe that closes on exec carries the errno of a failed exec back to the parent. */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"

#define CMDLINE_MAX ((size_t)1 << 20)
#define STAT_START_FIELD 22

/* ---- who is it ---- */

/* Reads a small file of /proc whole; false when it cannot be opened. */
static bool read_proc(const char *path, struct buf *out)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    for (;;) {
        char *to = buf_reserve(out, 4096);
        ssize_t n = to ? read(fd, to, 4096) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    if (out->data)
        out->data[out->len] = '\0';
    return out->len > 0;
}

/* State letter and start time; false when the process is gone. The name in field 2 may hold blanks
 * and brackets, so counting starts after the last bracket. */
static bool read_stat(pid_t pid, char *ret_state, uint64_t *ret_start)
{
    auto_buf struct buf text = BUF_INIT(8192);
    char path[40];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (pid <= 0 || !read_proc(path, &text))
        return false;
    const char *p = strrchr(text.data, ')');
    if (!p || p[1] != ' ')
        return false;
    p += 2;
    *ret_state = *p;
    for (int field = 3; field < STAT_START_FIELD; field++) {
        p = strchr(p, ' ');
        if (!p)
            return false;
        p++;
    }
    *ret_start = strtoull(p, NULL, 10);
    return true;
}

int proc_identify(pid_t pid, struct proc_id *ret, struct err *err)
{
    struct proc_id id = { .pid = pid };
    char state;

    if (pid <= 0)
        return err_set(err, ERR_TARGET, EINVAL, "'%d' is not a process id", (int)pid);
    if (!read_stat(pid, &state, &id.start_ticks) || state == 'Z' || state == 'X')
        return 1;
    *ret = id;
    return 0;
}

bool proc_is_alive(const struct proc_id *id)
{
    uint64_t start;
    char state;

    return read_stat(id->pid, &state, &start) && start == id->start_ticks && state != 'Z' &&
           state != 'X';
}

char proc_state(pid_t pid)
{
    uint64_t start;
    char state;

    return read_stat(pid, &state, &start) ? state : '\0';
}

char **proc_argv(pid_t pid)
{
    auto_buf struct buf text = BUF_INIT(CMDLINE_MAX);
    char path[40];
    size_t n = 0;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    if (pid <= 0 || !read_proc(path, &text))
        return NULL;
    if (text.data[text.len - 1] != '\0')
        buf_addc(&text, '\0');
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\0';
    char **argv = xcalloc(1, (n + 1) * sizeof(*argv) + text.len);
    char *copy = (char *)(argv + n + 1);
    memcpy(copy, text.data, text.len);
    for (size_t i = 0; i < n; i++) {
        argv[i] = copy;
        copy += strlen(copy) + 1;
    }
    return argv;
}

void proc_boot_id(char out[40])
{
    auto_buf struct buf text = BUF_INIT(8192);

    out[0] = '\0';
    if (!read_proc("/proc/sys/kernel/random/boot_id", &text))
        return;
    snprintf(out, 40, "%.*s", (int)strcspn(text.data, "\n"), text.data);
}

/* ---- start one ---- */

/* All that the child needs, made ready before the fork. */
struct launch {
    const struct proc_spawn_opts *opts;
    int in, out, err;
    int report; /* write end; errno of a failure goes here */
    pid_t parent;
};

static void NORETURN report_and_exit(const struct launch *l)
{
    int code = errno;

    if (write(l->report, &code, sizeof(code)) < 0)
        _exit(126);
    _exit(127);
}

/* Handlers are reset by exec, but what is ignored or blocked would stay so. */
static void reset_signals(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            signal(sig, SIG_DFL);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* Standard input, output, error, and what the caller passes as 3; all else closes on exec. */
static bool place_descriptors(const struct launch *l)
{
    int pass = l->opts->pass_fd;

    if (dup2(l->in, 0) < 0 || dup2(l->out, 1) < 0 || dup2(l->err, 2) < 0)
        return false;
    if (pass == 3 && fcntl(3, F_SETFD, 0) < 0)
        return false;
    if (pass > 0 && pass != 3 && dup2(pass, 3) < 0)
        return false;
    close_range(pass > 0 ? 4 : 3, ~0U, CLOSE_RANGE_CLOEXEC);
    return true;
}

static bool enter_world(const struct launch *l)
{
    const struct proc_spawn_opts *o = l->opts;

    reset_signals();
    if (o->new_session)
        setsid();
    int death_signal = o->death_signal ? o->death_signal : SIGKILL;
    if (o->die_with_parent && prctl(PR_SET_PDEATHSIG, death_signal) < 0)
        return false;
    if (o->die_with_parent && getppid() != l->parent)
        _exit(126); /* it died before the request to die with it was made */
    return !o->cwd || chdir(o->cwd) == 0;
}

static void NORETURN run_child(const struct launch *l)
{
    const struct proc_spawn_opts *o = l->opts;

    if (!enter_world(l) || !place_descriptors(l))
        report_and_exit(l);
    char *const *argv = (char *const *)(uintptr_t)o->argv;
    if (o->env)
        execvpe(o->argv[0], argv, (char *const *)(uintptr_t)o->env);
    else
        execvp(o->argv[0], argv);
    report_and_exit(l);
}

/* A copy of fd that cannot collide with 0..3 in the child; fd is closed. */
static int move_high(int fd)
{
    if (fd < 0)
        return fd;
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 10);
    int saved = errno;
    close(fd);
    errno = saved;
    return high;
}

static int open_high(const char *path, int flags)
{
    return move_high(open(path, flags | O_CLOEXEC, 0644));
}

/* Forks and waits until exec has succeeded or failed. `l` is complete but for .report and .parent.
 */
static int fork_and_exec(struct launch *l, struct proc_id *ret, struct err *err)
{
    const char *program = l->opts->argv[0];
    int ends[2], code = 0;
    ssize_t n;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, ERR_PREPARE, errno, "start '%s': pipe", program);
    auto_close int from_child = ends[0];
    l->report = move_high(ends[1]);
    l->parent = getpid();
    pid_t pid = l->report < 0 ? -1 : fork();
    if (pid == 0)
        run_child(l);
    int fork_errno = errno;
    if (l->report >= 0)
        close(l->report);
    if (pid < 0)
        return err_sys(err, ERR_PREPARE, fork_errno, "start '%s': fork", program);
    do
        n = read(from_child, &code, sizeof(code));
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(code)) {
        waitpid(pid, NULL, 0);
        return err_sys(err, ERR_PREPARE, code, "start '%s'", program);
    }
    uint64_t start = 0;
    char state;
    err_ignore(!read_stat(pid, &state, &start),
               "one that has ended already is the caller's to see");
    *ret = (struct proc_id){ .pid = pid, .start_ticks = start };
    return 0;
}

int proc_spawn(const struct proc_spawn_opts *opts, struct proc_id *ret, struct err *err)
{
    if (!opts->argv || !opts->argv[0] || !*opts->argv[0])
        return err_set(err, ERR_USAGE, EINVAL, "no command to start");
    auto_close int in = open_high("/dev/null", O_RDONLY);
    auto_close int out = opts->log_path ? open_high(opts->log_path, O_WRONLY | O_CREAT | O_APPEND)
                                        : open_high("/dev/null", O_WRONLY);
    if (in < 0 || out < 0)
        return err_sys(err, ERR_PREPARE, errno, "start '%s': open '%s'", opts->argv[0],
                       opts->log_path ? opts->log_path : "/dev/null");
    struct launch l = { .opts = opts, .in = in, .out = out, .err = out };
    return fork_and_exec(&l, ret, err);
}

/* ---- run one to its end ---- */

/* Takes what is there without waiting; false at end of file. What passes the buffer's max is read
 * and lost, and the buffer is marked failed. */
static bool drain(int fd, struct buf *out)
{
    char chunk[8192];

    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        if (out)
            buf_add(out, chunk, (size_t)n);
    }
}

/* 0 when the process has ended, 1 when time ran out. */
static int wait_and_drain(int pidfd, int from, uint64_t timeout_ms, struct buf *out)
{
    uint64_t until = clock_now_ns() + timeout_ms * NS_PER_MS;
    struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN }, { .fd = from, .events = POLLIN } };

    for (;;) {
        uint64_t now = clock_now_ns();
        if (now >= until)
            return 1;
        int ms = (int)MIN((until - now) / NS_PER_MS + 1, 1000);
        if (poll(fds, ARRAY_LEN(fds), ms) <= 0)
            continue;
        if (fds[1].fd >= 0 && fds[1].revents && !drain(from, out))
            fds[1].fd = -1;
        if (fds[0].revents)
            return 0;
    }
}

static int reap(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Moves a descriptor out of its scope, as TAKE does for pointers. */
static int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

/* Starts argv with its stdout in a pipe; the reading end, or negative. */
static int start_piped(const char *const *argv, const char *const *env, struct proc_id *ret,
                       struct err *err)
{
    struct proc_spawn_opts opts = {
        .argv = argv, .env = env, .die_with_parent = true, .new_session = true
    };
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_sys(err, ERR_PREPARE, errno, "run '%s': pipe", argv[0]);
    auto_close int from = ends[0];
    auto_close int to = move_high(ends[1]);
    auto_close int null = open_high("/dev/null", O_RDWR);
    if (to < 0 || null < 0 || fcntl(from, F_SETFL, O_NONBLOCK) < 0)
        return err_sys(err, ERR_PREPARE, errno, "run '%s'", argv[0]);
    struct launch l = { .opts = &opts, .in = null, .out = to, .err = null };
    int rc = fork_and_exec(&l, ret, err);
    if (rc < 0)
        return rc;
    return take_fd(&from);
}

int proc_run(const char *const *argv, uint64_t timeout_ms, struct buf *ret_out, struct err *err)
{
    return proc_run_env(argv, NULL, timeout_ms, ret_out, err);
}

int proc_run_env(const char *const *argv, const char *const *env, uint64_t timeout_ms,
                 struct buf *ret_out, struct err *err)
{
    struct proc_id id = { 0 };

    if (!argv || !argv[0] || !*argv[0])
        return err_set(err, ERR_USAGE, EINVAL, "no command to run");
    auto_close int from = start_piped(argv, env, &id, err);
    if (from < 0)
        return from;
    auto_close int pidfd = pidfd_open(id.pid, 0);
    int late = pidfd < 0 ? 1 : wait_and_drain(pidfd, from, timeout_ms, ret_out);
    if (late)
        kill(-id.pid, SIGKILL);
    int status = reap(id.pid);
    if (late)
        return err_set(err, ERR_TIMEOUT, ETIMEDOUT,
                       "'%s' did not end within %llu ms and was killed", argv[0],
                       (unsigned long long)timeout_ms);
    err_ignore(drain(from, ret_out), "the last output; the process is gone");
    return status;
}
