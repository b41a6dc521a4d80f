/* From a journal to a healthy target: what `chaos-load recover` does by hand and the guardian by
 * itself. Idempotent, and safe beside others: whoever gets the lock second reads again and finds
 * nothing left to do.
 *
 * "Already gone" is success, "cannot tell" is not: a record that could not be undone stays open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "chaoslib/chaos.h"
#include "chaoslib/journal_file.h"

/* ---- reading a file ---- */

static int read_file(int fd, struct buf *out, struct err *err)
{
    off_t at = 0;

    for (;;) {
        char *room = buf_reserve(out, 64 << 10);
        if (!room)
            return err_set(err, ERR_LIMIT, EFBIG, "the journal is larger than %zu bytes",
                           JOURNAL_FILE_MAX);
        ssize_t n = pread(fd, room, 64 << 10, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_GENERIC, errno, "cannot read the journal");
        if (n == 0)
            return 0;
        out->len += (size_t)n;
        out->data[out->len] = '\0';
        at += n;
    }
}

/* A record of another boot cannot be in effect any more; without a boot id we must assume it. */
static bool is_same_boot(const struct json *record, const char *now)
{
    const char *then = json_str(record, "boot_id", "");

    return !*now || !*then || strcmp(now, then) == 0;
}

static bool all_same_boot(const struct json *open)
{
    char now[40];

    proc_boot_id(now);
    for (const struct json *r = json_first(open); r; r = json_next(r))
        if (!is_same_boot(r, now))
            return false;
    return true;
}

int journal_scan_fd(int fd, struct journal_scan *ret, size_t *ret_valid, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(JOURNAL_FILE_MAX + (128 << 10));

    if (read_file(fd, &text, err) < 0)
        return err ? -err->code : -EIO;
    if (journal_parse_lines(buf_str(&text), text.len, ret, ret_valid, err) < 0)
        return -EBADMSG;
    ret->same_boot = all_same_boot(ret->open);
    return 0;
}

int journal_scan(const char *path, struct journal_scan *ret, struct err *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t valid;

    if (fd < 0)
        return err_sys(err, ERR_GENERIC, errno, "cannot open the journal '%s'", path);
    if (journal_scan_fd(fd, ret, &valid, err) < 0)
        return err_wrap(err, "journal '%s'", path);
    ret->writer_alive = journal_has_writer(fd);
    return 0;
}

/* ---- undoing ---- */

struct task {
    const struct recovery *r;
    int fd;
    unsigned undone, stuck;
    const char *run_id;
};

static PRINTF_LIKE(2, 3) void tell(const struct recovery *r, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    if (!r->say)
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    r->say(r->arg, line);
}

static void note(const struct task *t, const char *type, uint64_t seq, const char *key,
                 const char *text)
{
    auto(json) struct json *j = json_object();
    struct err err = { 0 };

    json_put_str(j, "type", type);
    json_put_u64(j, "seq", seq);
    json_put_str(j, key, text);
    if (journal_append(t->fd, j, true, &err) < 0)
        tell(t->r, "%s: record %llu: %s", t->r->path, (unsigned long long)seq, err.msg);
}

/* The undo part as the kind wrote it, with what was kept in memory put beside it. */
static struct json *undo_part(const struct task *t, const struct json *record, uint64_t seq)
{
    auto_free char *text = json_print(json_get(record, "undo"), false);
    struct json *part = NULL;
    struct json *kept = t->r->kept ? t->r->kept(t->r->kept_arg, seq) : NULL;

    if (json_parse(text, strlen(text), &part, NULL) < 0)
        part = json_object();
    if (kept)
        json_put(part, "kept", kept);
    return part;
}

/* 0 undone, 1 nothing was to do, negative: could not. */
static int undo_record(const struct task *t, const struct json *record, uint64_t seq,
                       struct err *err)
{
    const char *name = json_str(record, "kind", ""), *backend = json_str(record, "backend", "");
    const struct fault_kind *kind = fault_kind_find(name, backend);
    char boot_id[40];

    if (!json_is_object(json_get(record, "undo")))
        return 1;
    if (!kind || !kind->undo)
        return err_set(err, ERR_REVERT, ENOTSUP,
                       "this version does not know how to undo '%s' on '%s': use the version that "
                       "injected it",
                       name, backend);
    proc_boot_id(boot_id);
    if (!(kind->flags & FAULT_SURVIVES_BOOT) && !is_same_boot(record, boot_id))
        return 1;
    auto(json) struct json *part = undo_part(t, record, seq);
    return kind->undo(part, err);
}

static void settle_record(struct task *t, const struct json *record)
{
    uint64_t seq = json_u64(record, "seq", 0);
    struct err err = { 0 };
    int rc = undo_record(t, record, seq, &err);
    const char *kind = json_str(record, "kind", ""), *target = json_str(record, "target", "");

    if (rc < 0) {
        t->stuck++;
        note(t, "orphan", seq, "reason", err.msg);
        tell(t->r, "run %s: %s of %s: COULD NOT BE UNDONE: %s", t->run_id, kind, target, err.msg);
        return;
    }
    t->undone += rc == 0;
    note(t, "reverted", seq, "verified", rc == 0 ? "undone from the journal" : "nothing to undo");
    tell(t->r, "run %s: %s of %s: %s%s%s", t->run_id, kind, target,
         rc == 0 ? "undone" : "nothing to undo", err.msg[0] ? ": " : "", err.msg);
}

/* ---- a whole file ---- */

static void finish_file(const struct task *t, bool ended)
{
    auto(json) struct json *end = json_object();

    json_put_str(end, "type", "end");
    if (!ended)
        err_ignore(journal_append(t->fd, end, false, NULL), "the file is removed next");
    if (unlink(t->r->path) < 0 && errno != ENOENT)
        tell(t->r, "%s: all is undone, but the file cannot be removed: %s", t->r->path,
             strerrordesc_np(errno));
}

static void settle_all(struct task *t, const struct journal_scan *scan, size_t valid)
{
    if (scan->torn) {
        tell(t->r, "%s: the last line is torn: it announced nothing that was done", t->r->path);
        err_ignore(ftruncate(t->fd, (off_t)valid),
                   "then our own records are not read, and undone again");
    }
    for (const struct json *r = json_first(scan->open); r; r = json_next(r))
        if (!t->r->only_seq || json_u64(r, "seq", 0) == t->r->only_seq)
            settle_record(t, r);
    if (!t->r->only_seq && !t->stuck)
        finish_file(t, scan->ended);
    else if (t->stuck)
        tell(t->r,
             "%s is kept: run recover again, or remove it when you have undone by hand what "
             "it lists",
             t->r->path);
}

static enum recover_result recover_locked(const struct recovery *r, int fd)
{
    struct journal_scan scan = { 0 };
    struct task t = { .r = r, .fd = fd };
    struct err err = { 0 };
    size_t valid = 0;

    if (journal_scan_fd(fd, &scan, &valid, &err) < 0) {
        tell(r, "%s: %s: it is left alone; look at it and remove it by hand", r->path, err.msg);
        return RECOVER_STUCK;
    }
    t.run_id = scan.run_id;
    settle_all(&t, &scan, valid);
    journal_scan_done(&scan);
    if (t.stuck)
        return RECOVER_STUCK;
    return t.undone ? RECOVER_REVERTED : RECOVER_CLEAN;
}

enum recover_result journal_recover_with(const struct recovery *r)
{
    auto_close int fd = open(r->path, O_RDWR | O_APPEND | O_CLOEXEC);
    struct err err = { 0 };

    if (fd < 0 && errno == ENOENT)
        return RECOVER_CLEAN; /* ended, or recovered by someone else */
    if (fd < 0) {
        tell(r, "%s: cannot open it: %s", r->path, strerrordesc_np(errno));
        return RECOVER_STUCK;
    }
    if (!r->writer_is_dead && journal_has_writer(fd)) {
        tell(r, "%s: its run is still going, so nothing is undone", r->path);
        return RECOVER_CLEAN;
    }
    if (journal_lock(fd, &err) < 0) {
        tell(r, "%s: %s", r->path, err.msg);
        return RECOVER_STUCK;
    }
    return recover_locked(r, fd);
}

enum recover_result journal_recover(const char *path, recover_say_fn *say, void *arg)
{
    return journal_recover_with(&(struct recovery){ .path = path, .say = say, .arg = arg });
}

/* ---- a whole directory ---- */

#define UNBORN_SECONDS 60

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), len = strlen(end);

    return n > len && strcmp(name + n - len, end) == 0;
}

static int is_journal(const struct dirent *e)
{
    return e->d_name[0] != '.' && ends_with(e->d_name, JOURNAL_SUFFIX);
}

static int is_unborn(const struct dirent *e)
{
    return e->d_name[0] == '.' && ends_with(e->d_name, JOURNAL_NEW_SUFFIX);
}

/* A run that died while it made its journal had nothing to write into it yet. A young one may not
 * have come to lock it. */
static void clear_unborn(const char *path)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > 0)
        return;
    if (time(NULL) - st.st_mtime > UNBORN_SECONDS && !journal_has_writer(fd))
        unlink(path);
}

static void clear_all_unborn(const char *dir)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_unborn, alphasort);

    for (int i = 0; i < n; i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]->d_name);
        clear_unborn(path);
        free(names[i]);
    }
    free(names);
}

enum recover_result journal_recover_all(const char *dir, recover_say_fn *say, void *arg)
{
    struct dirent **names = NULL;
    struct recovery r = { .path = dir, .say = say, .arg = arg };
    enum recover_result worst = RECOVER_CLEAN;
    int n = scandir(dir, &names, is_journal, alphasort);

    if (n < 0 && errno == ENOENT)
        return RECOVER_CLEAN;
    if (n < 0) {
        tell(&r, "%s: cannot read it: %s", dir, strerrordesc_np(errno));
        return RECOVER_STUCK;
    }
    for (int i = 0; i < n; i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]->d_name);
        enum recover_result result = journal_recover(path, say, arg);
        worst = MAX(worst, result);
        free(names[i]);
    }
    free(names);
    clear_all_unborn(dir);
    return worst;
}

/* ---- other runs ---- */

static bool is_same_process(const struct json *a, const struct json *b)
{
    uint64_t pid = json_u64(a, "pid", 0);

    return pid && pid == json_u64(b, "pid", 0) &&
           json_u64(a, "start_ticks", 0) == json_u64(b, "start_ticks", 1);
}

void journal_claim(struct json *undo, const char *what)
{
    if (!json_get(undo, "exclusive"))
        json_put(undo, "exclusive", json_array());
    /* the list is ours: it was made by a setter, and setters take what is not const */
    json_put_str((struct json *)(uintptr_t)json_get(undo, "exclusive"), NULL, what);
}

static bool claims(const struct json *list, const char *what)
{
    for (const struct json *j = json_is_array(list) ? json_first(list) : NULL; j; j = json_next(j))
        if (strcmp(json_str(j, "", ""), what) == 0)
            return true;
    return false;
}

static bool is_same_claim(const struct json *a, const struct json *b)
{
    const struct json *mine = json_get(a, "exclusive"), *theirs = json_get(b, "exclusive");

    for (const struct json *j = json_is_array(mine) ? json_first(mine) : NULL; j; j = json_next(j))
        if (*json_str(j, "", "") && claims(theirs, json_str(j, "", "")))
            return true;
    return false;
}

/* A `run` is a process that we started, not something that was done to one. */
static bool is_same_target(const struct json *undo, const struct json *record)
{
    const struct json *other = json_get(record, "undo");

    return strcmp(json_str(record, "kind", ""), "run") != 0 &&
           (is_same_process(undo, other) || is_same_claim(undo, other));
}

static int check_other(const char *path, const struct json *undo, struct err *err)
{
    struct journal_scan scan = { 0 };
    int rc = 0;

    if (journal_scan(path, &scan, NULL) < 0)
        return 0; /* gone by now, or for recover to complain about */
    for (const struct json *r = scan.writer_alive ? json_first(scan.open) : NULL; r && rc == 0;
         r = json_next(r))
        if (is_same_target(undo, r))
            rc = err_set(err, ERR_TARGET, EBUSY,
                         "%s is hit by %s of run %s just now: let that run end first, or stop it "
                         "with Ctrl-C",
                         json_str(r, "target", "it"), json_str(r, "kind", "a fault"), scan.run_id);
    journal_scan_done(&scan);
    return rc;
}

int journal_check_others(const struct journal *j, const struct json *undo, struct err *err)
{
    const char *own = journal_path(j), *slash = strrchr(own, '/');
    auto_free char *dir = xstrndup(own, (size_t)(slash - own));
    struct dirent **names = NULL;
    bool may_clash = json_u64(undo, "pid", 0) || json_get(undo, "exclusive");
    int rc = 0, n = may_clash ? scandir(dir, &names, is_journal, alphasort) : 0;

    for (int i = 0; i < n; i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]->d_name);
        if (rc == 0 && strcmp(names[i]->d_name, slash + 1) != 0)
            rc = check_other(path, undo, err);
        free(names[i]);
    }
    free(names);
    return rc;
}
