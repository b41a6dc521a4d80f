/* Bringing a foreign process back with its own command line, directory and environment.
 *
 * Two things can go wrong, and both are worse than not doing it: starting something else than what
 * ran (so what cannot be repeated is refused before the kill), and starting it twice (so whoever
 * runs the same command since then counts as the one brought back). */
#include "chaoslib/process/revival.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/parse.h"
#include "chaoslib/process/find.h"
#include "chaoslib/secret.h"

#define ENV_MAX ((size_t)2 << 20)
#define LOOK_AGAIN_NS (10 * NS_PER_MS)

/* ---- /proc ---- */

static void proc_path(char out[64], pid_t pid, const char *what)
{
    snprintf(out, 64, "/proc/%d/%s", pid, what);
}

static char *read_link(pid_t pid, const char *what)
{
    char path[64], text[PATH_MAX];

    proc_path(path, pid, what);
    ssize_t n = readlink(path, text, sizeof(text) - 1);
    if (n <= 0)
        return NULL;
    return xstrndup(text, (size_t)n);
}

static int read_env(pid_t pid, struct revival *v)
{
    char path[64];
    ssize_t n = 1;
    size_t len = 0;

    proc_path(path, pid, "environ");
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? secret_new(ENV_MAX) : NULL;
    while (text && len < ENV_MAX && (n = read(fd, text + len, ENV_MAX - len)) > 0)
        len += (size_t)n;
    v->env = text && n == 0 ? secret_new(len) : NULL;
    if (v->env) {
        memcpy(v->env, text, len);
        v->env_len = len;
    }
    secret_free(text, ENV_MAX);
    return v->env ? 0 : -EIO;
}

/* Only a plain file can be written on; a pipe's or terminal's other end is someone else's. */
static char *output_file(pid_t pid)
{
    char path[64];
    struct stat by_fd, by_name;
    auto_free char *name = read_link(pid, "fd/1");

    proc_path(path, pid, "fd/1");
    if (!name || stat(path, &by_fd) < 0 || !S_ISREG(by_fd.st_mode) || stat(name, &by_name) < 0 ||
        by_fd.st_ino != by_name.st_ino || by_fd.st_dev != by_name.st_dev)
        return NULL;
    return TAKE(name);
}

static uint64_t ticks_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    return (uint64_t)t.tv_sec * hz + (uint64_t)t.tv_nsec * hz / NS_PER_SEC;
}

/* The kernel notes starts in steps of 10 ms. Waiting for the next step tells those that ran before
 * from those that begin after. */
static uint64_t next_tick(void)
{
    uint64_t next = ticks_now() + 1;

    while (ticks_now() < next)
        clock_sleep_until(clock_now_ns() + NS_PER_MS);
    return next;
}

/* ---- can it be repeated ---- */

static const char *env_of(const struct revival *v, const char *key)
{
    size_t n = strlen(key);

    for (const char *s = v->env; s && s < v->env + v->env_len; s += strlen(s) + 1)
        if (strncmp(s, key, n) == 0 && s[n] == '=')
            return s + n + 1;
    return NULL;
}

static bool is_same_file(const char *path, const struct stat *exe)
{
    struct stat st;

    return stat(path, &st) == 0 && st.st_ino == exe->st_ino && st.st_dev == exe->st_dev;
}

/* argv[0] as a path: relative to its directory, or on its PATH. NULL when that is another program
 * than the one that runs (a renamed title, a replaced file). */
static char *program_of(const struct revival *v, const struct stat *exe)
{
    const char *dirs = env_of(v, "PATH");
    auto_free char *path = NULL;

    if (v->argv[0][0] == '/')
        return is_same_file(v->argv[0], exe) ? xstrdup(v->argv[0]) : NULL;
    if (strchr(v->argv[0], '/')) {
        path = xasprintf("%s/%s", v->cwd, v->argv[0]);
        return is_same_file(path, exe) ? TAKE(path) : NULL;
    }
    if (!dirs)
        dirs = "/usr/local/bin:/usr/bin:/bin";
    while (*dirs) {
        int n = (int)strcspn(dirs, ":");
        free(path);
        path = xasprintf("%.*s/%s", n, dirs, v->argv[0]);
        if (is_same_file(path, exe))
            return TAKE(path);
        dirs += n + (dirs[n] == ':');
    }
    return NULL;
}

static int cannot(const struct proc_id *id, const char *why, struct err *err)
{
    return err_set(err, ERR_PREPARE, EPERM,
                   "process %d cannot be started again as it was: %s; let the plan start it with "
                   "run:, or bring it back with exec",
                   id->pid, why);
}

static bool same_namespace(pid_t pid, const char *what)
{
    char path[64], ours[64];
    struct stat a, b;

    proc_path(path, pid, what);
    snprintf(ours, sizeof(ours), "/proc/self/%s", what);
    return stat(path, &a) < 0 || stat(ours, &b) < 0 || a.st_ino == b.st_ino;
}

static int check_surroundings(const struct proc_id *id, struct err *err)
{
    static const char *const spaces[] = { "ns/mnt", "ns/net", "ns/pid", "ns/user" };
    char path[64];
    struct stat st;

    proc_path(path, id->pid, "");
    if (stat(path, &st) == 0 && st.st_uid != geteuid())
        return cannot(id, "it belongs to another user", err);
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
        if (!same_namespace(id->pid, spaces[i]))
            return cannot(id, "it runs in another namespace (a container?)", err);
    return 0;
}

static int check_program(const struct proc_id *id, struct revival *v, struct err *err)
{
    char path[64];
    struct stat exe;

    proc_path(path, id->pid, "exe");
    if (stat(path, &exe) < 0)
        return cannot(id, "its program file cannot be read", err);
    for (size_t i = 0; v->argv[i]; i++)
        if (!utf8_is_valid(v->argv[i], strlen(v->argv[i])))
            return cannot(id, "its command line is not UTF-8", err);
    auto_free char *program = program_of(v, &exe);
    if (!program)
        return cannot(id, "its command line does not name the program it runs", err);
    if (!strchr(v->argv[0], '/'))
        v->program = TAKE(program);
    return 0;
}

int revival_read(const struct proc_id *id, struct revival *ret, struct err *err)
{
    struct revival v = { .argv = proc_argv(id->pid),
                         .cwd = read_link(id->pid, "cwd"),
                         .log = output_file(id->pid) };
    int rc = 0;

    if (!v.argv || !v.argv[0] || !v.cwd || read_env(id->pid, &v) < 0)
        rc = cannot(id, "its command line, directory and environment cannot be read", err);
    if (rc == 0)
        rc = check_surroundings(id, err);
    if (rc == 0)
        rc = check_program(id, &v, err);
    if (rc < 0) {
        revival_done(&v);
        return rc;
    }
    v.since_ticks = next_tick();
    *ret = v;
    return 0;
}

void revival_done(struct revival *v)
{
    secret_free(v->env, v->env_len);
    free(v->argv);
    free(v->program);
    free(v->cwd);
    free(v->log);
    *v = (struct revival){ 0 };
}

/* ---- the journal ---- */

void revival_write(const struct revival *v, struct json *record)
{
    struct json *argv = json_put(record, "argv", json_array());

    for (size_t i = 0; v->argv[i]; i++)
        json_put_str(argv, NULL, v->argv[i]);
    json_put_str(record, "program", v->program);
    json_put_str(record, "cwd", v->cwd);
    json_put_str(record, "log", v->log);
    json_put_u64(record, "since_ticks", v->since_ticks);
}

static char **argv_from(const struct json *list)
{
    size_t n = json_len(list), bytes = 0;

    for (const struct json *j = json_first(list); j; j = json_next(j))
        bytes += strlen(json_str(j, "", "")) + 1;
    char **argv = xcalloc(1, (n + 1) * sizeof(*argv) + bytes);
    char *room = (char *)(argv + n + 1);
    size_t i = 0;
    for (const struct json *j = json_first(list); j; j = json_next(j)) {
        size_t len = strlen(json_str(j, "", "")) + 1;
        memcpy(room, json_str(j, "", ""), len);
        argv[i++] = room;
        room += len;
    }
    return argv;
}

static int nibble(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : 0;
}

static void env_from_hex(struct revival *v, const char *hex)
{
    v->env = secret_new(strlen(hex) / 2);
    v->env_len = v->env ? strlen(hex) / 2 : 0;
    for (size_t i = 0; i < v->env_len; i++)
        v->env[i] = (char)(nibble(hex[2 * i]) * 16 + nibble(hex[2 * i + 1]));
}

int revival_from(const struct json *record, struct revival *ret, struct err *err)
{
    const struct json *argv = json_get(record, "argv");
    const char *cwd = json_str(record, "cwd", NULL), *log = json_str(record, "log", NULL);
    const char *hex = json_str(record, "kept.env", NULL);
    const char *program = json_str(record, "program", NULL);

    if (json_len(argv) == 0 || !*json_str(argv, "0", "") || !cwd)
        return err_set(err, ERR_REVERT, EINVAL,
                       "the journal does not say how to start the process again");
    *ret = (struct revival){ .argv = argv_from(argv),
                             .program = program ? xstrdup(program) : NULL,
                             .cwd = xstrdup(cwd),
                             .log = log ? xstrdup(log) : NULL,
                             .since_ticks = json_u64(record, "since_ticks", 0) };
    if (hex)
        env_from_hex(ret, hex);
    return 0;
}

/* ---- starting ---- */

static bool is_same_command(const struct revival *v, char *const *argv)
{
    size_t i = 1;

    if (strcmp(v->argv[0], argv[0]) != 0 && (!v->program || strcmp(v->program, argv[0]) != 0))
        return false;
    while (v->argv[i] && argv[i] && strcmp(v->argv[i], argv[i]) == 0)
        i++;
    return !v->argv[i] && !argv[i];
}

struct search {
    const struct revival *v;
    struct proc_id found; /* pid 0: nobody */
};

static bool replaces(const struct revival *v, pid_t pid, struct proc_id *ret)
{
    auto_free char **argv = proc_argv(pid);

    if (!argv || !argv[0] || !is_same_command(v, argv))
        return false;
    auto_free char *cwd = read_link(pid, "cwd");
    return cwd && strcmp(cwd, v->cwd) == 0 && proc_identify(pid, ret, NULL) == 0 &&
           ret->start_ticks >= v->since_ticks;
}

/* Looked at twice: what a process of the same command is about to start looks like it until the
 * exec. */
static bool look_for_replacement(void *arg, pid_t pid)
{
    struct search *s = arg;
    struct proc_id id;

    if (!replaces(s->v, pid, &id))
        return true;
    clock_sleep_until(clock_now_ns() + LOOK_AGAIN_NS);
    if (replaces(s->v, pid, &id))
        s->found = id;
    return s->found.pid == 0;
}

static const char **env_list(const struct revival *v)
{
    size_t n = 0, i = 0;

    for (size_t at = 0; at < v->env_len; at++)
        n += v->env[at] == '\0';
    const char **list = xcalloc(n + 2, sizeof(*list));
    for (const char *s = v->env; s < v->env + v->env_len; s += strlen(s) + 1)
        list[i++] = s;
    return list;
}

static const char **argv_list(const struct revival *v)
{
    size_t n = 0;

    while (v->argv[n])
        n++;
    const char **list = xcalloc(n + 1, sizeof(*list));
    for (size_t i = 0; i < n; i++)
        list[i] = v->argv[i];
    if (v->program)
        list[0] = v->program;
    return list;
}

int revival_start(const struct revival *v, struct proc_id *ret, struct err *err)
{
    static const char *const minimal[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL
    };
    auto_free const char **env = v->env ? env_list(v) : NULL;
    auto_free const char **argv = argv_list(v);

    struct search s = { .v = v };
    err_ignore(process_each("/proc", look_for_replacement, &s), "then nobody replaces it");
    if (s.found.pid) {
        *ret = s.found;
        return 1;
    }
    return proc_spawn(
        &(struct proc_spawn_opts){
            .argv = argv,
            .env = env ? env : (const char **)(uintptr_t)minimal,
            .cwd = v->cwd,
            .log_path = v->log,
            .new_session = true,
        },
        ret, err);
}
