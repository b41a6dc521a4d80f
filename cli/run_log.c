/* See run_log.h. */
#include "cli/run_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "campaign/campaign.h"

void run_log_to_file(void *arg, const char *line, size_t len)
{
    const int *fd = arg;

    err_ignore(write(*fd, line, len) < 0, "a log line has nowhere else to go");
}

static int pick(const struct verb_args *args, const char *name, const char *const *words,
                int absent)
{
    const char *value = opt_value(args, name);

    for (int i = 0; value && words[i]; i++)
        if (strcasecmp(words[i], value) == 0)
            return i;
    if (value)
        fprintf(stderr, "--%s: unknown value '%s'; see 'chaos-load run --help'\n", name, value);
    return value ? -1 : absent;
}

bool run_wants_colour(const struct verb_args *args)
{
    const char *no_color = getenv("NO_COLOR"); // NOLINT(concurrency-mt-unsafe): no thread runs yet

    if (opt_given(args, "no-color") || (no_color && *no_color && !opt_given(args, "color")))
        return false;
    return opt_given(args, "color") || isatty(STDERR_FILENO);
}

int run_log_set(const struct verb_args *args, int *log_fd)
{
    static const char *const levels[] = { "error",   "warn",     "info", "debug",
                                          "warning", "critical", NULL };
    static const enum log_level level_of[] = { LOG_ERROR, LOG_WARN, LOG_INFO,
                                               LOG_DEBUG, LOG_WARN, LOG_ERROR };
    static const char *const formats[] = { "text", "json", NULL };
    int level = pick(args, "loglevel", levels, opt_given(args, "quiet") ? 1 : 2);
    int format = pick(args, "log-format", formats, 0);
    const char *path = opt_value(args, "logfile");

    if (level < 0 || format < 0)
        return EXIT_USAGE;
    log_setup(level_of[level], (enum log_format)format, run_wants_colour(args) && !path);
    if (!path)
        return 0;
    *log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*log_fd < 0) {
        fprintf(stderr, "--logfile: '%s': %s\n", path,
                strerror(errno)); // NOLINT(concurrency-mt-unsafe)
        return EXIT_USAGE;
    }
    log_set_sink(run_log_to_file, log_fd);
    return 0;
}
