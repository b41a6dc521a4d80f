/* See confine.h. Processes are moved one by one, and looked for again until a look finds none: what
 * is forked meanwhile is born where its parent is. */
#include "chaoslib/machine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/process/find.h"

#define PERIOD_US 100000
#define FILE_BYTES_MAX ((size_t)4 << 20)
#define LOOKS_MAX 1000
#define LEAVE_NS (5 * NS_PER_SEC)
#define LOOK_NS (5 * NS_PER_MS)

enum controller { CPU, MEMORY, PIDS, CONTROLLER_MAX };
static const char *const controllers[CONTROLLER_MAX] = { "cpu", "memory", "pids" };

/* ---- small files ---- */

static int read_file(const char *dir, const char *name, struct buf *out)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    if (fd < 0)
        return -errno;
    do {
        char *to = buf_reserve(out, 4096);
        n = to ? read(fd, to, 4096) : 0;
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    buf_add(out, "", 1);
    out->len--;
    return 0;
}

static int write_file(const char *dir, const char *name, const char *text)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static bool has_file(const char *dir, const char *name)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);

    return access(path, F_OK) == 0;
}

/* One of the words in a file such as cgroup.controllers. */
static bool file_lists(const char *dir, const char *name, const char *word)
{
    auto_buf struct buf text = BUF_INIT(FILE_BYTES_MAX);
    size_t len = strlen(word);

    if (read_file(dir, name, &text) < 0)
        return false;
    for (const char *s = buf_str(&text); *s; s += strspn(s, " \n")) {
        size_t n = strcspn(s, " \n");
        if (n == len && memcmp(s, word, n) == 0)
            return true;
        s += n;
    }
    return false;
}

/* ---- planning ---- */

struct plan {
    const struct cgroups *groups;
    const char *tag;
    struct json *list, *enabled;
    struct err *err;
};

static bool is_v2(const struct plan *p, const char *dir)
{
    for (size_t i = 0; i < p->groups->n; i++)
        if (p->groups->v[i].dir == dir)
            return p->groups->v[i].controllers[0] == '\0';
    return false;
}

/* Where a sibling goes; the root of v2 is where children go. */
static int base_of(const struct plan *p, const char *dir, char out[CGROUP_PATH_MAX])
{
    int len = snprintf(out, CGROUP_PATH_MAX, "%s", dir);

    if (len > 1 && out[len - 1] == '/') /* of the root */
        out[len - 1] = '\0';
    if (!is_v2(p, dir) || !has_file(dir, "cgroup.type"))
        return 0;
    *strrchr(out, '/') = '\0';
    if (has_file(out, "cgroup.controllers"))
        return 0;
    return err_set(p->err, ERR_PREPARE, ENOTSUP,
                   "the cgroup '%s' is the topmost that can be seen from here, and has processes: "
                   "cgroup v2 allows no limits below it; run chaos-load outside of the container",
                   dir);
}

static struct json *group_at(const struct plan *p, const char *base, const char *back)
{
    auto_free char *dir = xasprintf("%s/%s%s", base, CONFINE_PREFIX, p->tag);

    for (const struct json *g = json_first(p->list); g; g = json_next(g))
        if (strcmp(json_str(g, "dir", ""), dir) == 0)
            return (struct json *)(uintptr_t)g; /* ours: made below */
    struct json *g = json_put(p->list, NULL, json_object());
    json_put_str(g, "dir", dir);
    json_put_str(g, "back", back);
    json_put(g, "set", json_array());
    return g;
}

static struct json *put_set(struct json *g, const char *file, const char *value)
{
    struct json *list = (struct json *)(uintptr_t)json_get(g, "set"); /* ours */
    struct json *one = json_put(list, NULL, json_object());

    json_put_str(one, "file", file);
    json_put_str(one, "value", value);
    return one;
}

/* Swap: not every kernel counts it. */
static void put_if_there(struct json *g, const char *file, const char *value)
{
    json_put_bool(put_set(g, file, value), "optional", true);
}

/* "max" is no limit; "50000 100000" is half of one. */
static double limit_of(const char *text)
{
    char *end;
    double n = strtod(text, &end);

    if (end == text || n < 0)
        return -1;
    double period = strtod(end, NULL);
    return period > 0 ? n / period : n;
}

/* Beside its old cgroup of v2 a process would lose the limits of that: they are taken along.
 * Without a `value` of ours that is all. */
static int put_v2(const struct plan *p, struct json *g, const char *file, const char *value)
{
    const char *back = json_str(g, "back", "");
    auto_buf struct buf text = BUF_INIT(4096);
    int rc = read_file(back, file, &text);
    auto_free char *old = xstrndup(buf_str(&text), strcspn(buf_str(&text), "\n"));
    bool has_old = rc == 0 && limit_of(old) >= 0;

    if (has_old && value && limit_of(old) < limit_of(value))
        return err_set(p->err, ERR_PREPARE, EINVAL,
                       "the process has a tighter limit already: %s of '%s' is %s", file, back,
                       old);
    if (has_old && !value)
        put_set(g, file, old);
    if (value)
        put_set(g, file, value);
    return 0;
}

static int put_cpu(const struct plan *p, struct json *g, bool v2, double cpu)
{
    auto_free char *quota = xasprintf("%d", (int)(cpu * PERIOD_US));
    auto_free char *both = xasprintf("%s %d", quota, PERIOD_US);

    if (v2)
        return put_v2(p, g, "cpu.max", cpu > 0 ? both : NULL);
    auto_free char *period = xasprintf("%d", PERIOD_US);
    put_set(g, "cpu.cfs_period_us", period);
    put_set(g, "cpu.cfs_quota_us", quota);
    return 0;
}

/* And no swap, where the kernel counts that. */
static int put_memory(const struct plan *p, struct json *g, bool v2, uint64_t bytes)
{
    auto_free char *value = xasprintf("%llu", (unsigned long long)bytes);

    if (!v2) {
        put_set(g, "memory.limit_in_bytes", value);
        put_if_there(g, "memory.memsw.limit_in_bytes", value);
        return 0;
    }
    if (put_v2(p, g, "memory.max", bytes ? value : NULL) < 0 ||
        put_v2(p, g, "memory.high", NULL) < 0)
        return -EINVAL;
    if (bytes)
        put_if_there(g, "memory.swap.max", "0");
    return bytes ? 0 : put_v2(p, g, "memory.swap.max", NULL);
}

static int put_pids(const struct plan *p, struct json *g, bool v2, uint64_t n)
{
    auto_free char *value = xasprintf("%llu", (unsigned long long)n);

    if (v2)
        return put_v2(p, g, "pids.max", n ? value : NULL);
    put_set(g, "pids.max", value);
    return 0;
}

static int put_limit(const struct plan *p, struct json *g, bool v2, enum controller c,
                     const struct confine_limits *l)
{
    if (c == CPU)
        return put_cpu(p, g, v2, l->cpu);
    return c == MEMORY ? put_memory(p, g, v2, l->memory) : put_pids(p, g, v2, l->pids);
}

/* The children of `base` must have the controller; one that we switch on is noted. */
static int want_v2(const struct plan *p, const char *base, const char *controller)
{
    if (!file_lists(base, "cgroup.controllers", controller))
        return err_set(p->err, ERR_PREPARE, ENOTSUP,
                       "the controller '%s' of cgroup v2 is not to be had at '%s': the kernel has "
                       "none, a v1 hierarchy has it, or nobody enabled it above",
                       controller, base);
    if (file_lists(base, "cgroup.subtree_control", controller))
        return 0;
    struct json *one = json_put(p->enabled, NULL, json_object());
    json_put_str(one, "dir", base);
    json_put_str(one, "controller", controller);
    return 0;
}

static int refuse_again(const struct plan *p, const char *dir)
{
    const char *name = strrchr(dir, '/');

    if (!name || strncmp(name + 1, CONFINE_PREFIX, strlen(CONFINE_PREFIX)) != 0)
        return 0;
    return err_set(p->err, ERR_TARGET, EBUSY,
                   "the process is in '%s', with limits of another fault: let that end first, or "
                   "run chaos-load recover",
                   dir);
}

static int plan_one(const struct plan *p, enum controller c, const struct confine_limits *l)
{
    const char *dir = cgroups_dir(p->groups, controllers[c]);
    char base[CGROUP_PATH_MAX];

    if (!dir)
        return err_set(p->err, ERR_PREPARE, ENOTSUP,
                       "no cgroup of the process with the controller '%s' can be seen: mount "
                       "cgroups at /sys/fs/cgroup",
                       controllers[c]);
    if (refuse_again(p, dir) < 0 || base_of(p, dir, base) < 0)
        return -ENOTSUP;
    bool v2 = is_v2(p, dir);
    size_t len = strlen(dir);
    auto_free char *back = xstrndup(dir, dir[len - 1] == '/' ? len - 1 : len);
    if (v2 && want_v2(p, base, controllers[c]) < 0)
        return -ENOTSUP;
    return put_limit(p, group_at(p, base, back), v2, c, l);
}

/* The old limits of the controllers that were not asked for. */
static int plan_kept(const struct plan *p, const bool *asked)
{
    static const struct confine_limits none = { 0 };

    for (const struct json *j = json_first(p->list); j; j = json_next(j)) {
        struct json *g = (struct json *)(uintptr_t)j; /* ours */
        const char *dir = json_str(g, "dir", ""), *slash = strrchr(dir, '/');
        auto_free char *base = xstrndup(dir, (size_t)(slash - dir));
        if (strcmp(base, json_str(g, "back", "")) == 0)
            continue;
        for (int c = 0; c < CONTROLLER_MAX; c++)
            if (!asked[c] && file_lists(base, "cgroup.subtree_control", controllers[c]) &&
                put_limit(p, g, true, (enum controller)c, &none) < 0)
                return -EINVAL;
    }
    return 0;
}

int confine_plan(pid_t pid, const struct confine_limits *limits, const char *tag,
                 struct json *record, struct err *err)
{
    const bool asked[CONTROLLER_MAX] = {
        [CPU] = limits->cpu > 0, [MEMORY] = limits->memory > 0, [PIDS] = limits->pids > 0
    };
    struct cgroups groups;

    if (cgroups_of(pid, &groups, err) < 0)
        return -EINVAL;
    const struct plan p = { .groups = &groups,
                            .tag = tag,
                            .list = json_put(record, "groups", json_array()),
                            .enabled = json_put(record, "enabled", json_array()),
                            .err = err };
    for (int c = 0; c < CONTROLLER_MAX; c++)
        if (asked[c] && plan_one(&p, (enum controller)c, limits) < 0)
            return -ENOTSUP;
    return plan_kept(&p, asked);
}

/* ---- moving ---- */

/* Who descends from a process, and who belongs to its session. */
struct family {
    pid_t head;
    bool whole_session;
    pid_t *pids, *parents; /* all that run, in the order of /proc */
    bool *is_in;
    size_t n;
};

static bool note_process(void *arg, pid_t pid)
{
    struct family *f = arg;

    if (f->n % 256 == 0) {
        f->pids = xrealloc(f->pids, f->n + 256, sizeof(*f->pids));
        f->parents = xrealloc(f->parents, f->n + 256, sizeof(*f->parents));
        f->is_in = xrealloc(f->is_in, f->n + 256, sizeof(*f->is_in));
    }
    f->pids[f->n] = pid;
    f->parents[f->n] = (pid_t)process_stat_field(pid, 4);
    f->is_in[f->n] = pid == f->head || (f->whole_session && getsid(pid) == f->head);
    f->n++;
    return true;
}

static bool family_has(const struct family *f, pid_t pid)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->pids[i] == pid)
            return f->is_in[i];
    return false;
}

static int family_find(struct family *f)
{
    int rc = process_each("/proc", note_process, f);
    bool more = true;

    while (more) {
        more = false;
        for (size_t i = 0; i < f->n; i++)
            if (!f->is_in[i] && family_has(f, f->parents[i]))
                f->is_in[i] = more = true;
    }
    return rc;
}

static void family_done(struct family *f)
{
    free(f->pids);
    free(f->parents);
    free(f->is_in);
}

/* Moves those of `from` that belong to the family (NULL: all) to `to`. How many; negative: not. */
static int move_some(const char *from, const char *to, const struct family *f)
{
    auto_buf struct buf procs = BUF_INIT(FILE_BYTES_MAX);
    int moved = 0, rc = read_file(from, "cgroup.procs", &procs);

    if (rc < 0)
        return rc == -ENOENT || rc == -ENODEV ? 0 : rc;
    for (const char *s = buf_str(&procs); *s; s += strcspn(s, "\n"), s += *s == '\n') {
        pid_t pid = (pid_t)strtol(s, NULL, 10);
        char text[16];
        if (pid <= 0 || (f && !family_has(f, pid)))
            continue;
        snprintf(text, sizeof(text), "%d", (int)pid);
        rc = write_file(to, "cgroup.procs", text);
        if (rc < 0 && rc != -ESRCH) /* it has ended */
            return rc;
        moved += rc == 0;
    }
    return moved;
}

static int move_all(const char *from, const char *to)
{
    int n = 1;

    for (int looks = 0; n > 0 && looks < LOOKS_MAX; looks++)
        n = move_some(from, to, NULL);
    return n > 0 ? -EAGAIN : n;
}

/* ---- in ---- */

static int enable(const struct json *record, struct err *err)
{
    for (const struct json *e = json_first(json_get(record, "enabled")); e; e = json_next(e)) {
        const char *dir = json_str(e, "dir", ""), *controller = json_str(e, "controller", "");
        auto_free char *plus = xasprintf("+%s", controller);
        int rc = write_file(dir, "cgroup.subtree_control", plus);
        if (rc < 0)
            return err_sys(err, ERR_INJECT, -rc, "cannot enable the controller '%s' below '%s'",
                           controller, dir);
    }
    return 0;
}

static int make_group(const struct json *g, struct err *err)
{
    const char *dir = json_str(g, "dir", "");

    if (mkdir(dir, 0755) < 0)
        return err_sys(err, ERR_INJECT, errno, "cannot make the cgroup '%s' (root is needed)", dir);
    for (const struct json *s = json_first(json_get(g, "set")); s; s = json_next(s)) {
        const char *file = json_str(s, "file", ""), *value = json_str(s, "value", "");
        int rc = write_file(dir, file, value);
        if (rc == -ENOENT && json_bool(s, "optional", false))
            continue;
        if (rc == -EINVAL)
            return err_set(err, ERR_INJECT, EINVAL,
                           "the kernel does not take %s for %s of '%s': its parent may allow less",
                           value, file, dir);
        if (rc < 0)
            return err_sys(err, ERR_INJECT, -rc, "cannot set %s of '%s'", file, dir);
    }
    return 0;
}

/* One look for the family, and all that are found are moved. How many. */
static int move_family(const struct json *groups, pid_t pid, bool whole_session, struct err *err)
{
    struct family f = { .head = pid, .whole_session = whole_session };
    int moved = 0, rc = family_find(&f);

    for (const struct json *g = json_first(groups); g && rc >= 0; g = json_next(g)) {
        rc = move_some(json_str(g, "back", ""), json_str(g, "dir", ""), &f);
        moved += MAX(rc, 0);
    }
    family_done(&f);
    return rc < 0 ? err_sys(err, ERR_INJECT, -rc, "cannot move process %d into a cgroup of its own",
                            (int)pid)
                  : moved;
}

int confine_enter(const struct json *record, pid_t pid, bool whole_session, struct err *err)
{
    const struct json *groups = json_get(record, "groups");
    int moved = 1;

    if (enable(record, err) < 0)
        return -EIO;
    for (const struct json *g = json_first(groups); g; g = json_next(g))
        if (make_group(g, err) < 0)
            return -EIO;
    for (int looks = 0; moved > 0 && looks < LOOKS_MAX; looks++)
        moved = move_family(groups, pid, whole_session, err);
    return MIN(moved, 0);
}

int confine_look(const struct json *record, pid_t pid, struct err *err)
{
    struct cgroups now;

    if (cgroups_of(pid, &now, err) < 0)
        return -EINVAL;
    for (const struct json *g = json_first(json_get(record, "groups")); g; g = json_next(g)) {
        bool is_in = false;
        for (size_t i = 0; i < now.n; i++)
            is_in |= strcmp(now.v[i].dir, json_str(g, "dir", "")) == 0;
        if (!is_in)
            return 1;
    }
    return 0;
}

/* ---- out ---- */

/* The old cgroup, or what is left of the path to it. */
static char *nearest_left(const char *back)
{
    char *at = xstrdup(back), *slash;

    while (!has_file(at, "cgroup.procs") && (slash = strrchr(at, '/')) && slash != at)
        *slash = '\0';
    return at;
}

static int leave_group(const struct json *g, struct err *err)
{
    const char *dir = json_str(g, "dir", ""), *name = strrchr(dir, '/');
    auto_free char *back = nearest_left(json_str(g, "back", ""));
    uint64_t until = clock_now_ns() + LEAVE_NS;

    if (!name || strncmp(name + 1, CONFINE_PREFIX, strlen(CONFINE_PREFIX)) != 0)
        return err_set(err, ERR_REVERT, EINVAL, "'%.200s' is not a cgroup of ours", dir);
    for (;;) {
        int rc = access(dir, F_OK) < 0 ? 1 : move_all(dir, back);
        if (rc == 1)
            return 1;
        if (rc == 0 && rmdir(dir) == 0)
            return 0;
        int code = rc < 0 ? -rc : errno;
        if (code == ENOENT)
            return 1;
        if (clock_now_ns() >= until)
            return err_sys(err, ERR_REVERT, code,
                           "cannot empty and remove the cgroup '%s': move what is in its "
                           "cgroup.procs to '%s' by hand",
                           dir, back);
        clock_sleep_until(clock_now_ns() + LOOK_NS);
    }
}

/* A controller that somebody needs by now stays on: the kernel refuses. */
static void disable(const struct json *record)
{
    for (const struct json *e = json_first(json_get(record, "enabled")); e; e = json_next(e)) {
        auto_free char *minus = xasprintf("-%s", json_str(e, "controller", ""));
        err_ignore(write_file(json_str(e, "dir", ""), "cgroup.subtree_control", minus),
                   "it costs nothing");
    }
}

int confine_leave(const struct json *record, struct err *err)
{
    int failed = 0, left = 1;

    for (const struct json *g = json_first(json_get(record, "groups")); g; g = json_next(g)) {
        int rc = leave_group(g, err);
        failed = rc < 0 ? rc : failed;
        left = MIN(left, MAX(rc, 0));
    }
    if (failed == 0)
        disable(record);
    return failed < 0 ? failed : left;
}

bool confine_is_left(const struct json *record)
{
    for (const struct json *g = json_first(json_get(record, "groups")); g; g = json_next(g))
        if (access(json_str(g, "dir", ""), F_OK) == 0)
            return false;
    return true;
}
