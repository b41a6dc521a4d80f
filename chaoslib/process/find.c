/* Whom a name or a pattern means. A selection that finds nobody, or more than one, is an error that
 * shows what was seen: breaking the wrong process is worse than breaking none. */
#include "chaoslib/process/find.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/parse.h"

#define SHOWN_MAX 10
#define ANCESTORS_MAX 64
#define LOOKS_MAX 5
#define LOOK_AGAIN_NS (5 * NS_PER_MS)
#define COMMAND_MAX ((size_t)128 << 10)

/* ---- /proc ---- */

static ssize_t read_small(const char *path, char *out, size_t size)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;

    out[MAX(n, 0)] = '\0';
    return n;
}

int process_each(const char *path, process_each_fn *fn, void *arg)
{
    DIR *dir = opendir(path);
    bool go_on = true;

    if (!dir)
        return -errno;
    while (go_on) {
        const struct dirent *e = readdir(dir); // NOLINT(concurrency-mt-unsafe): our own stream
        uint64_t pid;
        if (!e)
            break;
        if (parse_u64(e->d_name, 1, INT_MAX, &pid, NULL) == 0)
            go_on = fn(arg, (pid_t)pid);
    }
    closedir(dir);
    return 0;
}

uint64_t process_stat_field(pid_t pid, unsigned n)
{
    char path[64], text[1024];
    struct err err;
    uint64_t value = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (read_small(path, text, sizeof(text)) <= 0)
        return 0;
    char *s = strrchr(text, ')'); /* the name may hold blanks and parentheses */
    for (unsigned field = 2; s && field < n; field++)
        s = strchr(s + 1, ' ');
    if (!s)
        return 0;
    s[1 + strcspn(s + 1, " \n")] = '\0';
    return parse_u64(s + 1, 0, UINT64_MAX, &value, &err) == 0 ? value : 0;
}

static void join_argv(char *const *argv, struct buf *out)
{
    for (size_t i = 0; argv && argv[i]; i++) {
        if (i)
            buf_addc(out, ' ');
        buf_adds(out, argv[i]);
    }
}

void process_command_text(pid_t pid, size_t max, struct buf *out)
{
    auto_free char **argv = proc_argv(pid);
    auto_buf struct buf text = BUF_INIT(COMMAND_MAX);

    join_argv(argv, &text);
    for (size_t i = 0; i < text.len; i++) /* it goes into messages and journals */
        if ((unsigned char)text.data[i] < ' ' || (unsigned char)text.data[i] > '~')
            text.data[i] = '?';
    buf_add(out, buf_str(&text), MIN(text.len, max));
    if (text.len > max)
        buf_adds(out, "...");
}

/* ---- who is never meant ---- */

struct exclusions {
    pid_t ancestors[ANCESTORS_MAX]; /* us first */
    size_t n;
    struct stat self;
};

static void exclusions_init(struct exclusions *x)
{
    pid_t pid = getpid();

    *x = (struct exclusions){ 0 };
    while (pid > 0 && x->n < ANCESTORS_MAX) {
        x->ancestors[x->n++] = pid;
        pid = (pid_t)process_stat_field(pid, 4);
    }
    err_ignore(stat("/proc/self/exe", &x->self), "then no guardian is recognised, by zeroes");
}

static bool is_guardian(const struct exclusions *x, pid_t pid, char *const *argv)
{
    char path[64];
    struct stat st;

    if (!argv[0] || !argv[1] || strcmp(argv[1], "guardian") != 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    return stat(path, &st) == 0 && st.st_ino == x->self.st_ino && st.st_dev == x->self.st_dev;
}

static bool is_excluded(const struct exclusions *x, pid_t pid, char *const *argv)
{
    if (pid == 1)
        return true;
    for (size_t i = 0; i < x->n; i++)
        if (x->ancestors[i] == pid)
            return true;
    return is_guardian(x, pid, argv);
}

/* ---- does it match ---- */

struct query {
    const char *name;  /* as the user calls it, for messages */
    const regex_t *re; /* NULL: by name */
    const char *re_text;
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool is_interpreter(const char *base)
{
    static const char *const names[] = { "python", "pypy", "node", "ruby", "perl", "bash",
                                         "sh",     "dash", "php",  "lua",  "zsh" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (strncmp(base, names[i], n) == 0 && strspn(base + n, "0123456789.") == strlen(base + n))
            return true;
    }
    return false;
}

/* "shop.py" is called "shop.py" or "shop". */
static bool is_called(const char *base, const char *name)
{
    size_t n = strlen(name);

    if (strncmp(base, name, n) != 0)
        return false;
    return !base[n] ||
           (base[n] == '.' && !strchr(base + n + 1, '.') && isalpha((unsigned char)base[n + 1]));
}

static bool matches_name(char *const *argv, const char *name)
{
    const char *base = base_of(argv[0]);

    if (is_called(base, name))
        return true;
    if (!is_interpreter(base))
        return false;
    for (size_t i = 1; argv[i]; i++)
        if (argv[i][0] != '-') /* the script, or the module after -m */
            return is_called(base_of(argv[i]), name);
    return false;
}

static bool matches(const struct query *q, char *const *argv)
{
    auto_buf struct buf text = BUF_INIT(COMMAND_MAX);

    if (!q->re)
        return matches_name(argv, q->name);
    join_argv(argv, &text);
    return regexec(q->re, buf_str(&text), 0, NULL, 0) == 0;
}

/* ---- the search ---- */

struct found {
    pid_t pids[SHOWN_MAX];
    size_t n;      /* also those past SHOWN_MAX */
    size_t looked; /* how many were looked at */
};

struct look {
    const struct query *q;
    struct exclusions x;
    struct found *f;
};

static bool look_at(void *arg, pid_t pid)
{
    struct look *l = arg;
    auto_free char **argv = proc_argv(pid);

    if (!argv || !argv[0] || is_excluded(&l->x, pid, argv))
        return true;
    l->f->looked++;
    if (!matches(l->q, argv) || proc_state(pid) == 'Z')
        return true;
    if (l->f->n < SHOWN_MAX)
        l->f->pids[l->f->n] = pid;
    l->f->n++;
    return true;
}

static int search(const struct query *q, struct found *f, struct err *err)
{
    struct look l = { .q = q, .f = f };

    exclusions_init(&l.x);
    int rc = process_each("/proc", look_at, &l);
    return rc < 0 ? err_sys(err, ERR_TARGET, -rc, "cannot look for processes in /proc") : 0;
}

static int none_found(const struct query *q, const struct found *f, struct err *err)
{
    if (q->re)
        return err_set(err, ERR_TARGET, ESRCH,
                       "process '%s': no running process matches '%s' (%zu were looked at)",
                       q->name, q->re_text, f->looked);
    return err_set(err, ERR_TARGET, ESRCH,
                   "process '%s': not declared under processes:, and no running program or script "
                   "has that name (%zu were looked at)",
                   q->name, f->looked);
}

static int several_found(const struct query *q, const struct found *f, struct err *err)
{
    auto_buf struct buf list = BUF_INIT(4096);

    for (size_t i = 0; i < MIN(f->n, SHOWN_MAX); i++) {
        buf_addf(&list, "%s%d (", i ? ", " : "", f->pids[i]);
        process_command_text(f->pids[i], 24, &list);
        buf_addc(&list, ')');
    }
    if (f->n > SHOWN_MAX)
        buf_addf(&list, " and %zu more", f->n - SHOWN_MAX);
    return err_set(err, ERR_TARGET, E2BIG,
                   "process '%s': %zu processes match, name one by pid: or pidfile: under "
                   "processes: %s",
                   q->name, f->n, buf_str(&list));
}

static int find_one(const struct query *q, struct proc_id *ret, struct err *err)
{
    struct found f = { .n = 2 };

    /* A process that starts another shows its own command line twice, until the exec. */
    for (unsigned i = 0; i < LOOKS_MAX && f.n > 1; i++) {
        f = (struct found){ 0 };
        if (i)
            clock_sleep_until(clock_now_ns() + LOOK_AGAIN_NS);
        if (search(q, &f, err) < 0)
            return -EIO;
    }
    if (f.n == 0)
        return none_found(q, &f, err);
    if (f.n > 1)
        return several_found(q, &f, err);
    int rc = proc_identify(f.pids[0], ret, err);
    return rc == 1 ? none_found(q, &f, err) : rc;
}

int process_find_command(const char *name, const char *regex, struct proc_id *ret, struct err *err)
{
    regex_t re;
    char why[128];
    int rc = regcomp(&re, regex, REG_EXTENDED | REG_NOSUB);

    if (rc != 0) {
        regerror(rc, &re, why, sizeof(why));
        return err_set(err, ERR_TARGET, EINVAL, "process '%s': command '%s': %s", name, regex, why);
    }
    rc = find_one(&(struct query){ .name = name, .re = &re, .re_text = regex }, ret, err);
    regfree(&re);
    return rc;
}

int process_find_name(const char *name, struct proc_id *ret, struct err *err)
{
    return find_one(&(struct query){ .name = name }, ret, err);
}

int process_find_pid(const char *name, pid_t pid, struct proc_id *ret, struct err *err)
{
    if (pid == getpid() || pid == 1)
        return err_set(err, ERR_TARGET, EPERM,
                       "process '%s': pid %d is %s, which is never a target", name, pid,
                       pid == 1 ? "init" : "chaos-load itself");
    int rc = proc_identify(pid, ret, err);
    if (rc == 1)
        return err_set(err, ERR_TARGET, ESRCH, "process '%s': there is no process with pid %d",
                       name, pid);
    return rc;
}

int process_find_pidfile(const char *name, const char *path, struct proc_id *ret, struct err *err)
{
    char text[32];
    uint64_t pid;

    if (read_small(path, text, sizeof(text)) < 0)
        return err_sys(err, ERR_TARGET, errno, "process '%s': pidfile '%s'", name, path);
    text[strcspn(text, " \t\r\n")] = '\0';
    if (parse_u64(text, 1, INT_MAX, &pid, NULL) < 0)
        return err_set(err, ERR_TARGET, EINVAL,
                       "process '%s': pidfile '%s' does not begin with a process number", name,
                       path);
    if (process_find_pid(name, (pid_t)pid, ret, err) < 0)
        return err_wrap(err, "pidfile '%s'", path);
    return 0;
}
