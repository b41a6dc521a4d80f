/* Two texts of the kernel, joined: /proc/PID/cgroup says the path inside each hierarchy, mountinfo
 * says where that hierarchy, or a part of it, can be seen. */
#include "chaoslib/machine/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 20)

/* ---- text ---- */

static void read_text(const char *path, struct buf *out)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0;

    do {
        char *to = fd < 0 ? NULL : buf_reserve(out, 4096);
        n = to ? read(fd, to, 4096) : 0;
        out->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    buf_add(out, "", 1);
    out->len--;
}

/* A number in a small file; `absent` for "max", and when there is none. */
static uint64_t read_number(const char *dir, const char *name, uint64_t absent)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    auto_buf struct buf text = BUF_INIT(TEXT_MAX);
    char *end;

    read_text(path, &text);
    uint64_t n = strtoull(buf_str(&text), &end, 10);
    return end == buf_str(&text) || *buf_str(&text) == '-' ? absent : n;
}

/* "key 123" in a file of such lines. */
static uint64_t read_stat(const char *dir, const char *name, const char *key)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    auto_buf struct buf text = BUF_INIT(TEXT_MAX);
    size_t len = strlen(key);

    read_text(path, &text);
    for (const char *s = buf_str(&text); *s; s += strcspn(s, "\n"), s += *s == '\n')
        if (strncmp(s, key, len) == 0 && s[len] == ' ')
            return strtoull(s + len, NULL, 10);
    return 0;
}

/* `word` is one of the comma separated names. */
static bool lists(const char *names, size_t len, const char *word, size_t word_len)
{
    for (const char *s = names; s < names + len;) {
        const char *comma = memchr(s, ',', (size_t)(names + len - s));
        size_t n = (size_t)((comma ? comma : names + len) - s);
        if (n == word_len && memcmp(s, word, n) == 0)
            return true;
        s += n + 1;
    }
    return false;
}

/* ---- mountinfo ---- */

struct piece {
    const char *at;
    size_t len;
};

struct mount {
    struct piece root, point, type, options;
};

static struct piece next_word(const char **s, const char *end)
{
    while (*s < end && **s == ' ')
        ++*s;
    struct piece p = { .at = *s };
    while (*s < end && **s != ' ')
        ++*s;
    p.len = (size_t)(*s - p.at);
    return p;
}

static bool is_text(struct piece p, const char *text)
{
    return p.len == strlen(text) && memcmp(p.at, text, p.len) == 0;
}

/* "36 35 0:29 /root /point rw,relatime shared:1 - cgroup cgroup rw,cpu" */
static bool mount_read(const char *line, const char *end, struct mount *ret)
{
    struct piece word;

    for (int i = 0; i < 3; i++)
        next_word(&line, end);
    ret->root = next_word(&line, end);
    ret->point = next_word(&line, end);
    do
        word = next_word(&line, end);
    while (word.len && !is_text(word, "-"));
    ret->type = next_word(&line, end);
    next_word(&line, end);
    ret->options = next_word(&line, end);
    return ret->options.len > 0;
}

/* The kernel writes blanks and the like as \040. */
static size_t unescape(struct piece p, char *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < p.len; i++) {
        unsigned char c = (unsigned char)p.at[i];
        if (c == '\\' && i + 3 < p.len) {
            c = (unsigned char)((p.at[i + 1] & 7) << 6 | (p.at[i + 2] & 7) << 3 |
                                (p.at[i + 3] & 7));
            i += 3;
        }
        if (n + 1 >= max || c == '\0')
            return 0;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return n;
}

/* ---- both together ---- */

struct line {
    struct piece controllers, path;
};

static bool shows(const struct mount *m, const struct line *l)
{
    if (l->controllers.len == 0)
        return is_text(m->type, "cgroup2");
    const char *comma = memchr(l->controllers.at, ',', l->controllers.len);
    size_t first = comma ? (size_t)(comma - l->controllers.at) : l->controllers.len;
    return is_text(m->type, "cgroup") &&
           lists(m->options.at, m->options.len, l->controllers.at, first);
}

/* Where `path` is below the mount; false when the mount shows another part of the hierarchy. */
static bool dir_of(const struct mount *m, struct piece path, char out[CGROUP_PATH_MAX])
{
    char root[CGROUP_PATH_MAX], point[CGROUP_PATH_MAX];
    size_t len = unescape(m->root, root, sizeof(root));

    if (len == 0 || unescape(m->point, point, sizeof(point)) == 0)
        return false;
    if (len == 1) /* "/" */
        len = 0;
    if (path.len < len || memcmp(path.at, root, len) != 0 ||
        (path.len > len && path.at[len] != '/') || memmem(path.at, path.len, "/..", 3))
        return false;
    int n = snprintf(out, CGROUP_PATH_MAX, "%s%.*s", point, (int)(path.len - len), path.at + len);
    return n < CGROUP_PATH_MAX;
}

static void add(const struct line *l, const char *mountinfo, struct cgroups *g)
{
    struct cgroup *c = &g->v[g->n];
    struct mount m;

    if (l->controllers.len >= sizeof(c->controllers))
        return;
    for (const char *s = mountinfo; *s; s += *s == '\n') {
        const char *end = s + strcspn(s, "\n");
        if (mount_read(s, end, &m) && shows(&m, l) && dir_of(&m, l->path, c->dir)) {
            snprintf(c->controllers, sizeof(c->controllers), "%.*s", (int)l->controllers.len,
                     l->controllers.at);
            g->n++;
            return;
        }
        s = end;
    }
}

int cgroups_parse(const char *cgroup, const char *mountinfo, struct cgroups *ret, struct err *err)
{
    ret->n = 0;
    for (const char *s = cgroup; *s; s += *s == '\n') {
        const char *end = s + strcspn(s, "\n");
        const char *one = memchr(s, ':', (size_t)(end - s));
        const char *two = one ? memchr(one + 1, ':', (size_t)(end - one - 1)) : NULL;
        if (!two || two[1] != '/')
            return err_set(err, ERR_PREPARE, EINVAL, "'%.*s' is not a line of /proc/PID/cgroup",
                           (int)MIN(end - s, 80), s);
        if (ret->n == CGROUPS_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "a process in more than %d cgroups", CGROUPS_MAX);
        struct line l = { .controllers = { one + 1, (size_t)(two - one - 1) },
                          .path = { two + 1, (size_t)(end - two - 1) } };
        add(&l, mountinfo, ret);
        s = end;
    }
    return 0;
}

int cgroups_of(pid_t pid, struct cgroups *ret, struct err *err)
{
    auto_free char *path = xasprintf("/proc/%d/cgroup", (int)pid);
    auto_buf struct buf cgroup = BUF_INIT(TEXT_MAX), mounts = BUF_INIT(TEXT_MAX);

    read_text(path, &cgroup);
    read_text("/proc/self/mountinfo", &mounts);
    return cgroups_parse(buf_str(&cgroup), buf_str(&mounts), ret, err);
}

bool cgroups_equal(const struct cgroups *a, const struct cgroups *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->v[i].dir, b->v[i].dir) != 0)
            return false;
    return true;
}

const char *cgroups_dir(const struct cgroups *g, const char *controller)
{
    const char *v2 = NULL;

    for (size_t i = 0; i < g->n; i++) {
        const char *names = g->v[i].controllers;
        if (lists(names, strlen(names), controller, strlen(controller)))
            return g->v[i].dir;
        if (!*names)
            v2 = g->v[i].dir;
    }
    return v2;
}

/* ---- getting in ---- */

static bool is_wanted(const char *controllers)
{
    static const char *const never[] = { "freezer", "devices" };
    size_t len = strlen(controllers);

    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (lists(controllers, len, never[i], strlen(never[i])))
            return false;
    return strncmp(controllers, "name=", 5) != 0;
}

struct json *cgroups_to_join(const struct cgroups *g)
{
    struct json *list = json_array();

    for (size_t i = 0; i < g->n; i++) {
        auto_free char *path = xasprintf("%s/cgroup.procs", g->v[i].dir);
        if (is_wanted(g->v[i].controllers))
            json_put_str(list, NULL, path);
    }
    return list;
}

int cgroups_join(const struct json *procs_files, struct err *err)
{
    for (const struct json *j = json_first(procs_files); j; j = json_next(j)) {
        const char *path = json_str(j, "", "");
        auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            return err_sys(err, ERR_INJECT, errno,
                           "cannot enter the target's cgroup '%s' (root is needed, or "
                           "placement: own)",
                           path);
    }
    return 0;
}

/* ---- what they allow ---- */

unsigned cgroups_cpus(const struct cgroups *g)
{
    const char *dir = cgroups_dir(g, "cpu");

    if (!dir)
        return 0;
    uint64_t quota = read_number(dir, "cpu.cfs_quota_us", 0);
    uint64_t period = read_number(dir, "cpu.cfs_period_us", 100000);
    if (!quota && (quota = read_number(dir, "cpu.max", 0)) > 0) {
        auto_free char *path = xasprintf("%s/cpu.max", dir);
        auto_buf struct buf text = BUF_INIT(TEXT_MAX);
        read_text(path, &text);
        const char *blank = strchr(buf_str(&text), ' ');
        period = blank ? strtoull(blank, NULL, 10) : period;
    }
    return quota && period ? (unsigned)MIN((quota + period - 1) / period, 4096) : 0;
}

struct cgroup_memory cgroups_memory(const struct cgroups *g)
{
    const char *dir = cgroups_dir(g, "memory");
    struct cgroup_memory m = { .limit = UINT64_MAX };

    if (!dir)
        return m;
    m.limit = read_number(dir, "memory.limit_in_bytes", UINT64_MAX);
    if (m.limit == UINT64_MAX)
        m.limit = read_number(dir, "memory.max", UINT64_MAX);
    if (m.limit >= (uint64_t)1 << 60) /* v1 says "none" by a huge number */
        m.limit = UINT64_MAX;
    m.used = read_number(dir, "memory.usage_in_bytes", 0);
    uint64_t cache = read_stat(dir, "memory.stat", "total_inactive_file");
    if (!m.used) {
        m.used = read_number(dir, "memory.current", 0);
        cache = read_stat(dir, "memory.stat", "inactive_file");
    }
    m.used -= MIN(cache, m.used);
    return m;
}
