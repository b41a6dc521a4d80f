/* `report`: all reports again, from result.json or from the rows that a killed run left behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "campaign/campaign.h"
#include "campaign/report_locust.h"
#include "cli/verbs.h"
#include "edge/json.h"

#define READ_MAX JSON_SIZE_MAX
#define WIDTH_PLAIN 100

static int read_file(const char *path, struct buf *text, struct err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    auto_close int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(err, ERR_USAGE, errno, "read '%s'", path);
    for (;;) {
        char chunk[64 << 10];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_USAGE, errno, "read '%s'", path);
        if (n == 0)
            break;
        buf_add(text, chunk, (size_t)n);
        if (buf_failed(text))
            return err_set(err, ERR_LIMIT, EFBIG, "read '%s': more than %zu MiB", path,
                           READ_MAX >> 20);
    }
    return 0;
}

/* A line of rows.ndjson begins with its type; result.json has none. */
static bool looks_like_rows(const struct buf *text)
{
    static const char begin[] = "{\"type\":\"header\"";

    return text->len >= sizeof(begin) - 1 && memcmp(text->data, begin, sizeof(begin) - 1) == 0;
}

static int load(const char *path, struct result **ret, struct err *err)
{
    auto_buf struct buf text = BUF_INIT(READ_MAX);
    auto(json) struct json *j = NULL;

    if (read_file(path, &text, err) < 0)
        return -EINVAL;
    if (looks_like_rows(&text)) {
        if (result_from_rows(buf_str(&text), text.len, ret, err) < 0)
            return err_wrap(err, "'%s'", path);
        return 0;
    }
    if (json_parse(buf_str(&text), text.len, &j, err) < 0 || result_from_json(j, ret, err) < 0)
        return err_wrap(err, "'%s' is neither a result.json nor a rows.ndjson", path);
    return 0;
}

/* In a folder the younger of result.json and rows.ndjson speaks: a run that was killed leaves rows
 * that are younger than the result of the run before it. */
static char *inside(const char *dir, struct err *err)
{
    static const char *const names[] = { "result.json", "rows.ndjson" };
    struct timespec best = { 0 };
    char *ret = NULL;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]);
        struct stat st;
        if (stat(path, &st) < 0)
            continue;
        bool younger = st.st_mtim.tv_sec > best.tv_sec ||
                       (st.st_mtim.tv_sec == best.tv_sec && st.st_mtim.tv_nsec > best.tv_nsec);
        if (ret && !younger)
            continue;
        free(ret);
        ret = TAKE(path);
        best = st.st_mtim;
    }
    if (!ret)
        err_ignore(err_set(err, ERR_USAGE, ENOENT,
                           "folder '%s' has neither result.json nor rows.ndjson", dir),
                   "told by NULL");
    return ret;
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

typedef void render_fn(const struct result *r, struct buf *out);

static int render_to(render_fn *render, const struct result *r, const char *path, struct err *err)
{
    auto_buf struct buf text = BUF_INIT((size_t)512 << 20);

    render(r, &text);
    return report_write_file(path, &text, err);
}

static int write_csv(const struct result *r, const char *prefix, struct err *err)
{
    static const struct {
        const char *suffix;
        render_fn *render;
    } files[] = {
        { "_stats.csv", report_locust_stats_csv },
        { "_stats_history.csv", report_locust_history_csv },
        { "_failures.csv", report_locust_failures_csv },
        { "_exceptions.csv", report_locust_exceptions_csv },
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        auto_free char *path = xasprintf("%s%s", prefix, files[i].suffix);
        if (render_to(files[i].render, r, path, err) < 0)
            return -EIO;
    }
    return 0;
}

static const struct {
    const char *opt;
    render_fn *render;
} single_files[] = {
    { "html", report_html },
    { "markdown", report_markdown },
    { "junit", report_junit },
    { "json-file", report_locust_json },
};

static int write_what_was_asked(const struct result *r, const struct verb_args *args,
                                const char *dir, struct err *err)
{
    const char *csv = opt_value(args, "csv");

    if (dir && report_write_all(r, dir, err) < 0)
        return -EIO;
    for (size_t i = 0; i < ARRAY_LEN(single_files); i++) {
        const char *path = opt_value(args, single_files[i].opt);
        if (path && render_to(single_files[i].render, r, path, err) < 0)
            return -EIO;
    }
    if (csv && write_csv(r, csv, err) < 0)
        return -EIO;
    if (opt_given(args, "json") && render_to(report_locust_json, r, "-", err) < 0)
        return -EIO;
    return 0;
}

/* Whether standard output already belongs to a report. */
static bool stdout_is_taken(const struct verb_args *args)
{
    bool taken = opt_given(args, "json");

    for (size_t i = 0; i < ARRAY_LEN(single_files); i++) {
        const char *path = opt_value(args, single_files[i].opt);
        taken = taken || (path && strcmp(path, "-") == 0);
    }
    return taken;
}

static void print_summary(const struct result *r, const struct verb_args *args)
{
    auto_buf struct buf text = BUF_INIT(0);
    struct winsize size = { 0 };
    bool is_terminal = isatty(STDOUT_FILENO) == 1;
    const char *no_color = getenv("NO_COLOR"); // NOLINT(concurrency-mt-unsafe): no thread runs
    bool colour = is_terminal && !(no_color && *no_color) && !opt_given(args, "no-color");

    if (opt_given(args, "quiet") || stdout_is_taken(args))
        return;
    if (is_terminal)
        err_ignore(ioctl(STDOUT_FILENO, TIOCGWINSZ, &size), "0 columns mean the default");
    report_text(r, colour, size.ws_col ? size.ws_col : WIDTH_PLAIN, &text);
    fputs(buf_str(&text), stdout);
}

static int report(const char *given, const struct verb_args *args, struct err *err)
{
    bool from_dir = is_dir(given);
    auto_free char *path = from_dir ? inside(given, err) : xstrdup(given);
    auto(result) struct result *r = NULL;
    const char *out = opt_value(args, "out");
    bool asks = out || opt_given(args, "csv") || stdout_is_taken(args);

    if (!path || load(path, &r, err) < 0)
        return EXIT_USAGE;
    for (size_t i = 0; i < ARRAY_LEN(single_files); i++)
        asks = asks || opt_given(args, single_files[i].opt);
    if (!out && from_dir && !asks)
        out = given;
    if (write_what_was_asked(r, args, out, err) < 0)
        return EXIT_COULD_NOT_RUN;
    print_summary(r, args);
    return EXIT_PASS;
}

static int run(const struct verb *v, const struct verb_args *args)
{
    struct err err = { 0 };

    if (args->n_rest != 1) {
        fprintf(stderr,
                "chaos-load report: name one result.json, rows.ndjson or folder; usage: %s\n",
                v->usage);
        return EXIT_USAGE;
    }
    int rc = report(args->rest[0], args, &err);
    if (err_is_set(&err))
        fprintf(stderr, "chaos-load report: %s\n", err.msg);
    return rc;
}

static const struct opt opts[] = {
    { "out", 'o', OPT_ONE, "DIR", "all reports into this folder", "Output", "dir" },
    { "html", 0, OPT_ONE, "FILE", "the page; - is standard output", NULL, "file" },
    { "markdown", 0, OPT_ONE, "FILE", "the summary for pull requests", NULL, "file" },
    { "junit", 0, OPT_ONE, "FILE", "test cases for a CI server", NULL, "file" },
    { "csv", 0, OPT_ONE, "PREFIX", "the four CSV files that Locust writes", NULL, "file" },
    { "json", 0, OPT_NONE, NULL, "statistics as Locust's --json has them, to standard output", NULL,
      NULL },
    { "json-file", 0, OPT_ONE, "FILE", "the same into a file", NULL, "file" },
    { "quiet", 'q', OPT_NONE, NULL, "no summary on standard output", NULL, NULL },
    { "no-color", 0, OPT_NONE, NULL, "no colours in the summary", NULL, NULL },
    { 0 },
};

const struct verb verb_report = {
    .name = "report",
    .summary = "make all reports again, also of a run that was killed",
    .usage = "report [OPTIONS] result.json|rows.ndjson|DIR",
    .description =
        "Reads a result.json, or the rows.ndjson of a run, and writes what the options ask for and "
        "a summary to standard output. A folder without such an option is rebuilt in place, from "
        "the younger of the two files.\n\n"
        "A run that was killed leaves rows.ndjson up to its last whole second: the report then "
        "says "
        "that the run was cut off, and its thresholds were not judged.",
    .examples = "chaos-load report results/\n"
                "chaos-load report results/result.json --html page.html\n"
                "chaos-load report results/rows.ndjson --out rebuilt/",
    .opts = opts,
    .run = run,
};
