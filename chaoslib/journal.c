/* Writing the journal: a file that appears whole and locked, gets one synced line per record, and
 * is gone when nothing is open any more. A write that fails half-way (disk full) is cut off again,
 * so that later lines never stick to a torn one. */
#include "chaoslib/journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "chaoslib/journal_file.h"
#include "chaoslib/wait.h"

struct journal {
    pthread_mutex_t lock;
    int fd;
    char *path;
    _Atomic uint64_t last_seq;
    uint64_t *settled; /* records that are closed, although the file does not say so */
    size_t n_settled;
};

/* ---- where ---- */

static int make_dirs(char *path, struct err *err)
{
    for (char *p = path + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char keep = *p;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_sys(err, ERR_PREPARE, errno,
                           "cannot make the state directory '%s'; set CHAOS_LOAD_STATE to one that "
                           "can be written",
                           path);
        *p = keep;
        if (!keep)
            return 0;
    }
}

/* Others must not be able to put a journal there: recovering it runs what it says. */
static int check_dir(const char *path, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_sys(err, ERR_PREPARE, errno, "state directory '%s'", path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_PREPARE, ENOTDIR, "state directory '%s' is not a directory", path);
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return err_set(err, ERR_PREPARE, EPERM,
                       "state directory '%s' belongs to or can be written by others: chown it to "
                       "yourself and chmod it to 0700, or set CHAOS_LOAD_STATE to another",
                       path);
    return 0;
}

static const char *env_text(const char *name)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nothing here sets any

    return value && *value ? value : NULL;
}

static const char *env_path(const char *name)
{
    const char *value = env_text(name);

    return value && value[0] == '/' ? value : NULL;
}

int journal_dir(char out[256], struct err *err)
{
    const char *state = env_text("CHAOS_LOAD_STATE"), *xdg = env_path("XDG_STATE_HOME"),
               *home = env_path("HOME");
    char path[256];
    int n;

    if (state)
        n = snprintf(path, sizeof(path), "%s", state);
    else if (xdg)
        n = snprintf(path, sizeof(path), "%s/chaos-load", xdg);
    else if (home)
        n = snprintf(path, sizeof(path), "%s/.local/state/chaos-load", home);
    else
        n = snprintf(path, sizeof(path), "/var/tmp/chaos-load-%u", (unsigned)geteuid());
    if (n < 0 || (size_t)n >= sizeof(path))
        return err_set(err, ERR_PREPARE, ENAMETOOLONG,
                       "the path of the state directory is longer than %zu bytes: set "
                       "CHAOS_LOAD_STATE to a shorter one",
                       sizeof(path) - 1);
    if (make_dirs(path, err) < 0 || check_dir(path, err) < 0)
        return err ? -err->code : -EIO;
    memcpy(out, path, (size_t)n + 1);
    return 0;
}

/* ---- locks ---- */

static int ofd_lock(int fd, int cmd, short type)
{
    struct flock l = { .l_type = type, .l_whence = SEEK_SET };
    int rc;

    do
        rc = fcntl(fd, cmd, &l);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int journal_lock(int fd, struct err *err)
{
    if (ofd_lock(fd, F_OFD_SETLKW, F_WRLCK) < 0)
        return err_sys(err, ERR_GENERIC, errno, "cannot lock the journal");
    return 0;
}

void journal_unlock(int fd)
{
    err_ignore(ofd_lock(fd, F_OFD_SETLK, F_UNLCK), "closing the file unlocks it too");
}

bool journal_has_writer(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        return errno == EWOULDBLOCK;
    flock(fd, LOCK_UN);
    return false;
}

/* ---- opening ---- */

static int check_run_id(const char *run_id, struct err *err)
{
    size_t n = strspn(run_id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    if (n == 0 || n >= sizeof(((struct journal_scan *)NULL)->run_id) || run_id[n] ||
        run_id[0] == '.')
        return err_set(err, ERR_PREPARE, EINVAL,
                       "run id '%.80s' is not 1 to 63 letters, digits, '_', '-' or '.'", run_id);
    return 0;
}

/* A file without a name, so that a SIGKILL leaves nothing; where the file system has none (NFS,
 * some overlays) one with a name that `recover` clears away. *ret_hidden stays NULL without. */
static int open_new(const char *dir, const char *run_id, char **ret_hidden)
{
    const int flags = O_RDWR | O_APPEND | O_CLOEXEC;
    int fd = open(dir, flags | O_TMPFILE, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL))
        return fd;
    *ret_hidden = xasprintf("%s/.%s" JOURNAL_NEW_SUFFIX, dir, run_id);
    return open(*ret_hidden, flags | O_CREAT | O_EXCL, 0600);
}

static int give_name(int fd, const char *hidden, const char *path)
{
    char self[64];

    if (hidden)
        return renameat2(AT_FDCWD, hidden, AT_FDCWD, path, RENAME_NOREPLACE);
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* It gets its name only once it is locked: a `recover` that runs meanwhile must not take it for
 * the journal of a dead run. */
static int publish(int fd, const char *hidden, const char *path, struct err *err)
{
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_sys(err, ERR_PREPARE, errno, "cannot lock the journal '%s'", path);
    if (give_name(fd, hidden, path) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot make the journal '%s'", path);
    return 0;
}

static void sync_dir(const char *dir)
{
    auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0)
        err_ignore(fsync(fd), "some file systems cannot sync a directory");
}

static int write_begin(struct journal *j, const char *run_id, struct err *err)
{
    auto(json) struct json *begin = json_object();

    json_put_str(begin, "type", "begin");
    json_put_str(begin, "run", run_id);
    json_put_str(begin, "version", CHAOS_LOAD_VERSION);
    json_put_u64(begin, "pid", (uint64_t)getpid());
    return journal_write(j, begin, err);
}

struct journal *journal_open(const char *dir, const char *run_id, struct err *err)
{
    if (check_run_id(run_id, err) < 0)
        return NULL;
    auto_free char *path = xasprintf("%s/%s" JOURNAL_SUFFIX, dir, run_id);
    auto_free char *hidden = NULL;
    auto_close int fd = open_new(dir, run_id, &hidden);
    if (fd < 0) {
        err_sys(err, ERR_PREPARE, errno, "cannot make the journal '%s'", path);
        return NULL;
    }
    if (publish(fd, hidden, path, err) < 0) {
        if (hidden)
            unlink(hidden);
        return NULL;
    }
    struct journal *j = xcalloc(1, sizeof(*j));
    pthread_mutex_init(&j->lock, NULL);
    j->fd = fd_take(&fd);
    j->path = TAKE(path);
    if (write_begin(j, run_id, err) < 0) {
        unlink(j->path);
        journal_close(j);
        return NULL;
    }
    sync_dir(dir);
    return j;
}

const char *journal_path(const struct journal *j)
{
    return j->path;
}

uint64_t journal_next_seq(struct journal *j)
{
    return atomic_fetch_add(&j->last_seq, 1) + 1;
}

/* ---- writing ---- */

static int write_all(int fd, const struct buf *line)
{
    ssize_t n;

    do
        n = write(fd, line->data, line->len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == line->len ? 0 : -ENOSPC;
}

int journal_append(int fd, const struct json *record, bool sync, struct err *err)
{
    auto_buf struct buf line = BUF_INIT(2 * JOURNAL_LINE_MAX);
    off_t before = lseek(fd, 0, SEEK_END);

    if (before < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot write the journal");
    if (journal_line(record, &line, err) < 0)
        return err ? -err->code : -EMSGSIZE;
    if ((size_t)before + line.len > JOURNAL_FILE_MAX)
        return err_set(err, ERR_LIMIT, EFBIG, "the journal has reached its maximum of %zu bytes",
                       JOURNAL_FILE_MAX);
    int rc = write_all(fd, &line);
    if (rc == 0 && sync && fdatasync(fd) < 0)
        rc = -errno;
    if (rc == 0)
        return 0;
    err_ignore(ftruncate(fd, before), "then a reader sees a torn last line, which it ignores");
    return err_sys(err, ERR_PREPARE, -rc, "cannot write the journal");
}

static int append(struct journal *j, const struct json *record, bool sync, struct err *err)
{
    pthread_mutex_lock(&j->lock);
    int rc = journal_lock(j->fd, err);
    if (rc == 0) {
        rc = journal_append(j->fd, record, sync, err);
        journal_unlock(j->fd);
    }
    pthread_mutex_unlock(&j->lock);
    return rc < 0 ? err_wrap(err, "journal '%s'", j->path) : 0;
}

int journal_write(struct journal *j, const struct json *record, struct err *err)
{
    return append(j, record, true, err);
}

int journal_note(struct journal *j, const struct json *record, struct err *err)
{
    return append(j, record, false, err);
}

int journal_settle(struct journal *j, const struct json *record, struct err *err)
{
    int rc = append(j, record, false, err);

    if (rc == 0)
        return 0;
    pthread_mutex_lock(&j->lock);
    j->settled = xrealloc(j->settled, j->n_settled + 1, sizeof(*j->settled));
    j->settled[j->n_settled++] = json_u64(record, "seq", 0);
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static bool is_settled(const struct journal *j, uint64_t seq)
{
    for (size_t i = 0; i < j->n_settled; i++)
        if (j->settled[i] == seq)
            return true;
    return false;
}

static bool nothing_is_open(const struct journal *j)
{
    struct journal_scan scan = { 0 };
    size_t valid;
    bool clean = journal_scan_fd(j->fd, &scan, &valid, NULL) == 0;

    for (const struct json *r = json_first(scan.open); r && clean; r = json_next(r))
        clean = is_settled(j, json_u64(r, "seq", 0));
    journal_scan_done(&scan);
    return clean;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (nothing_is_open(j)) {
        auto(json) struct json *end = json_object();
        json_put_str(end, "type", "end");
        err_ignore(journal_note(j, end, NULL), "the file is removed next");
        unlink(j->path);
    }
    close(j->fd);
    pthread_mutex_destroy(&j->lock);
    free(j->path);
    free(j->settled);
    free(j);
}
