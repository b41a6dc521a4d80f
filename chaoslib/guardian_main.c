/* The guardian itself: a process of the same binary that does nothing until its runner is dead, or
 * one fault has outlived its deadline.
 *
 * It holds on to nothing that the runner's surroundings wait for: own session, no terminal, no
 * inherited descriptor (a CI step would otherwise wait for its output to close), cwd /. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "chaoslib/guardian.h"
#include "chaoslib/guardian_wire.h"
#include "chaoslib/journal_file.h"
#include "chaoslib/wait.h"

#define ARMED_MAX JOURNAL_RECORDS_MAX
#define KEPT_MAX 4096
#define OOM_PATH "/proc/self/oom_score_adj"
/* A deadline whose revert failed is tried again so much later. */
#define AGAIN_NS (30 * NS_PER_SEC)

struct armed {
    uint64_t seq, deadline_ns;
};

struct kept {
    uint64_t seq;
    char key[sizeof(((struct guardian_msg *)NULL)->key) + 1];
    char *hex;
};

struct watch {
    const char *journal_path;
    struct armed *armed;
    size_t n_armed;
    struct kept *kept;
    size_t n_kept;
    char oom_score[16]; /* as it was: what we restart must not inherit ours */
    pid_t run;
};

/* ---- what was kept ---- */

static void forget(struct watch *w, uint64_t seq)
{
    for (size_t i = w->n_kept; i-- > 0;) {
        if (w->kept[i].seq != seq)
            continue;
        mem_wipe(w->kept[i].hex, strlen(w->kept[i].hex));
        free(w->kept[i].hex);
        w->kept[i] = w->kept[--w->n_kept];
    }
}

/* As hex: an environment has NULs between its entries, and JSON has none. */
static char *hex_of(const unsigned char *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = xcalloc(2 * len + 1, 1);

    for (size_t i = 0; i < len; i++) {
        hex[2 * i] = digits[data[i] >> 4];
        hex[2 * i + 1] = digits[data[i] & 15];
    }
    return hex;
}

static void keep(struct watch *w, const struct guardian_msg *m, const void *data)
{
    if (w->n_kept == KEPT_MAX)
        return;
    w->kept = xrealloc(w->kept, w->n_kept + 1, sizeof(*w->kept));
    struct kept *k = &w->kept[w->n_kept++];
    *k = (struct kept){ .seq = m->seq, .hex = hex_of(data, m->len) };
    memcpy(k->key, m->key, sizeof(m->key));
}

static struct json *kept_of(void *arg, uint64_t seq)
{
    const struct watch *w = arg;
    struct json *j = json_object();

    for (size_t i = 0; i < w->n_kept; i++)
        if (w->kept[i].seq == seq)
            json_put_str(j, w->kept[i].key, w->kept[i].hex);
    return j;
}

/* ---- what is armed ---- */

static void disarm(struct watch *w, uint64_t seq)
{
    for (size_t i = w->n_armed; i-- > 0;)
        if (w->armed[i].seq == seq)
            w->armed[i] = w->armed[--w->n_armed];
}

static void arm(struct watch *w, uint64_t seq, uint64_t deadline_ns)
{
    disarm(w, seq);
    if (w->n_armed == ARMED_MAX)
        return;
    w->armed = xrealloc(w->armed, w->n_armed + 1, sizeof(*w->armed));
    w->armed[w->n_armed++] = (struct armed){ seq, deadline_ns };
}

static struct armed *first_due(const struct watch *w)
{
    struct armed *first = NULL;

    for (size_t i = 0; i < w->n_armed; i++)
        if (!first || w->armed[i].deadline_ns < first->deadline_ns)
            first = &w->armed[i];
    return first;
}

/* What it keeps may be secret: no core file of it, and nobody may look into its memory. What it
 * starts is not bound by that. */
static void keep_secrets(bool yes)
{
    prctl(PR_SET_DUMPABLE, yes ? 0 : 1);
}

/* Who may not be dumped may not open its own file either, for a moment. */
static void set_oom_score(const char *text)
{
    keep_secrets(false);
    auto_close int fd = open(OOM_PATH, O_WRONLY | O_CLOEXEC);

    if (fd >= 0)
        err_ignore((int)write(fd, text, strlen(text)), "a wish: lowering it needs a privilege");
    keep_secrets(true);
}

static enum recover_result recover(struct watch *w, uint64_t only_seq)
{
    set_oom_score(w->oom_score);
    return journal_recover_with(&(struct recovery){
        .path = w->journal_path,
        .kept = kept_of,
        .kept_arg = w,
        .only_seq = only_seq,
        .writer_is_dead = true,
    });
}

/* What only the run itself can let go of (a process it holds by ptrace), while it was stopped by
 * Ctrl-Z or SIGSTOP: a fault that is not undone is worse than one that goes on against a wish. */
static void wake_run(const struct watch *w)
{
    if (w->run > 1 && getppid() == w->run && proc_state(w->run) == 'T')
        kill(w->run, SIGCONT);
}

static void revert_overdue(struct watch *w)
{
    for (struct armed *a = first_due(w); a && a->deadline_ns <= clock_now_ns(); a = first_due(w)) {
        uint64_t seq = a->seq;
        if (recover(w, seq) != RECOVER_STUCK) {
            disarm(w, seq);
            continue;
        }
        a->deadline_ns = clock_now_ns() + AGAIN_NS;
        wake_run(w);
    }
}

/* ---- listening ---- */

enum heard { HEARD_MSG, HEARD_STOP, HEARD_DEATH };

static bool read_all(void *data, size_t len)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = recv(GUARDIAN_FD, p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool take_kept(struct watch *w, const struct guardian_msg *m)
{
    auto_free char *data = xcalloc(1, m->len + 1);
    bool whole = read_all(data, m->len);

    if (whole)
        keep(w, m, data);
    mem_wipe(data, m->len);
    return whole;
}

static void answer(void)
{
    const char c = GUARDIAN_ANSWER;

    err_ignore((int)send(GUARDIAN_FD, &c, 1, MSG_NOSIGNAL), "a runner that died is noticed next");
}

static enum heard listen_once(struct watch *w)
{
    struct guardian_msg m;

    if (!read_all(&m, sizeof(m)) || m.len > GUARDIAN_KEEP_MAX)
        return HEARD_DEATH;
    if (m.len && !take_kept(w, &m))
        return HEARD_DEATH;
    if (m.verb == GUARDIAN_ARM)
        arm(w, m.seq, m.deadline_ns);
    if (m.verb == GUARDIAN_DISARM) {
        disarm(w, m.seq);
        forget(w, m.seq);
    }
    answer();
    return m.verb == GUARDIAN_STOP ? HEARD_STOP : HEARD_MSG;
}

static enum heard watch_over(struct watch *w)
{
    for (;;) {
        const struct armed *due = first_due(w);
        uint64_t until = due ? due->deadline_ns : clock_now_ns() + 3600 * NS_PER_SEC;
        if (wait_fd(GUARDIAN_FD, NULL, until) != WAIT_READY) {
            revert_overdue(w);
            continue;
        }
        enum heard h = listen_once(w);
        if (h != HEARD_MSG)
            return h;
    }
}

/* ---- life ---- */

/* The kernel should take us last when memory runs out. */
static void stay_alive(struct watch *w)
{
    auto_close int fd = open(OOM_PATH, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, w->oom_score, sizeof(w->oom_score) - 1) : 0;

    w->oom_score[MAX(n, 0)] = '\0';
    if (n > 0)
        set_oom_score("-500");
}

static void ignore_signals(void)
{
    const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP };
    struct sigaction sa = { .sa_handler = SIG_IGN };

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        sigaction(ignored[i], &sa, NULL);
}

static void let_go(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC); /* closed below, with all above 3 */

    ignore_signals();
    for (int fd = 0; null >= 0 && fd < GUARDIAN_FD; fd++)
        dup2(null, fd);
    close_range(GUARDIAN_FD + 1, ~0U, 0);
    if (chdir("/") < 0)
        err_ignore(-errno, "then the file system of the cwd stays busy, no more");
    fcntl(GUARDIAN_FD, F_SETFD, FD_CLOEXEC);
    prctl(PR_SET_NAME, "chaos-guardian");
}

int guardian_main(const char *journal_path)
{
    struct watch w = { 0 };
    int exit_code = 0;

    auto_free char *path = realpath(journal_path, NULL);
    if (!path || fcntl(GUARDIAN_FD, F_GETFD) < 0) {
        fprintf(stderr, "chaos-load guardian: it is started by chaos-load run, not by hand\n");
        return 2;
    }
    w.journal_path = path;
    w.run = getppid();
    let_go();
    stay_alive(&w);
    keep_secrets(true);
    answer(); /* armed */
    if (watch_over(&w) == HEARD_DEATH || w.n_armed > 0)
        exit_code = (int)recover(&w, 0);
    while (w.n_kept > 0)
        forget(&w, w.kept[0].seq);
    keep_secrets(false); /* a leak checker at our end looks into our memory */
    free(w.kept);
    free(w.armed);
    return exit_code;
}
