/* Files: every report is written whole beside its place and then renamed, so that a reader never
 * sees half of one and an old report survives a full disk. files_observer writes all that the user
 * asked for when the run ends, also when it ended badly; one file that cannot be written does not
 * keep the others from being written. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "campaign/campaign.h"
#include "campaign/report_file.h"
#include "campaign/report_locust.h"
#include "campaign/result_cell.h"

#define REPORT_MAX ((size_t)512 << 20)

int report_make_dir(const char *dir, struct err *err)
{
    auto_free char *path = xstrdup(dir);

    for (char *p = path + 1; *path && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        err_ignore(mkdir(path, 0777), "what matters is whether the last one exists");
        *p = '/';
    }
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        return err_sys(err, ERR_PREPARE, errno, "make folder '%s'", dir);
    return 0;
}

int report_make_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path)
        return 0;
    auto_free char *dir = xstrndup(path, (size_t)(slash - path));
    return report_make_dir(dir, err);
}

static int write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* /dev/stdout, a FIFO: what is there and is no plain file is written in place, never replaced. */
static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static int write_in_place(const char *path, const struct buf *text, struct err *err)
{
    bool is_stdout = strcmp(path, "-") == 0;
    auto_close int fd = is_stdout ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : write_all(fd, buf_str(text), text->len);

    if (rc < 0)
        return err_sys(err, ERR_GENERIC, -rc, "write '%s'", is_stdout ? "standard output" : path);
    return 0;
}

int report_write_file(const char *path, const struct buf *text, struct err *err)
{
    if (buf_failed(text))
        return err_set(err, ERR_LIMIT, E2BIG, "write '%s': the report is larger than %zu bytes",
                       path, text->max);
    if (strcmp(path, "-") == 0 || is_special(path))
        return write_in_place(path, text, err);
    if (report_make_parent(path, err) < 0)
        return -EIO;
    auto_free char *temp = xasprintf("%s.%ld.tmp", path, (long)getpid());
    auto_close int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_sys(err, ERR_GENERIC, errno, "write '%s'", path);
    int rc = write_all(fd, buf_str(text), text->len);
    if (rc == 0 && rename(temp, path) < 0)
        rc = -errno;
    if (rc < 0) {
        unlink(temp);
        return err_sys(err, ERR_GENERIC, -rc, "write '%s'", path);
    }
    return 0;
}

static void result_text(const struct result *r, struct buf *out)
{
    auto(json) struct json *j = result_to_json(r);
    auto_free char *text = json_print(j, false);

    buf_adds(out, text);
    buf_addc(out, '\n');
}

typedef void render_fn(const struct result *r, struct buf *out);

static int render_to(render_fn *render, const struct result *r, const char *path, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(REPORT_MAX);

    if (!path)
        return 0;
    render(r, &text);
    return report_write_file(path, &text, err);
}

/* The first failure is told; the rest is written all the same. */
static void keep_first(int rc, const struct err *now, int *ret, struct err *err)
{
    if (rc == 0 || *ret < 0)
        return;
    *ret = rc;
    if (err)
        *err = *now;
}

int report_write_all(const struct result *r, const char *dir, struct err *err)
{
    static const struct {
        const char *name;
        render_fn *render;
    } files[] = {
        { "result.json", result_text },
        { "report.html", report_html },
        { "summary.md", report_markdown },
        { "junit.xml", report_junit },
        { "locust_stats.csv", report_locust_stats_csv },
        { "locust_stats_history.csv", report_locust_history_csv },
        { "locust_failures.csv", report_locust_failures_csv },
        { "locust_exceptions.csv", report_locust_exceptions_csv },
    };
    int ret = 0;

    if (report_make_dir(dir, err) < 0)
        return -EIO;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        auto_free char *path = xasprintf("%s/%s", dir, files[i].name);
        struct err now = { 0 };
        keep_first(render_to(files[i].render, r, path, &now), &now, &ret, err);
    }
    return ret;
}

struct files {
    struct observer observer;
    const struct output_plan *out;
};

static int files_end(void *arg, const struct plan *p, const struct result *r, struct err *err)
{
    const struct output_plan *out = ((const struct files *)arg)->out;
    const struct {
        const char *path;
        render_fn *render;
    } files[] = {
        { out->result_path, result_text },
        { out->html, report_html },
        { out->markdown, report_markdown },
        { out->junit, report_junit },
        { out->json_file, report_locust_json },
        { out->json_stdout ? "-" : NULL, report_locust_json },
    };
    struct err now = { 0 };
    int ret = 0;

    (void)p;
    if (out->out_dir)
        keep_first(report_write_all(r, out->out_dir, &now), &now, &ret, err);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        keep_first(render_to(files[i].render, r, files[i].path, &now), &now, &ret, err);
    return ret;
}

/* What cannot be written at the end should be known before the load starts. */
static int check_places(const struct output_plan *out, struct err *err)
{
    const char *const paths[] = { out->html, out->json_file, out->junit, out->markdown,
                                  out->result_path };

    if (out->out_dir) {
        if (report_make_dir(out->out_dir, err) < 0)
            return -EIO;
        if (access(out->out_dir, W_OK | X_OK) < 0)
            return err_sys(err, ERR_PREPARE, errno, "write into folder '%s'", out->out_dir);
    }
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (paths[i] && strcmp(paths[i], "-") != 0 && report_make_parent(paths[i], err) < 0)
            return -EIO;
    return 0;
}

struct observer *files_observer_new(const struct output_plan *out, struct err *err)
{
    if (check_places(out, err) < 0)
        return NULL;
    struct files *f = xcalloc(1, sizeof(*f));
    f->out = out;
    f->observer = (struct observer){ .arg = f, .end = files_end, .free = free };
    return &f->observer;
}
