/* See log.h. */
#include "chaoslib/pumba/log.h"

#include <stdio.h>
#include <string.h>

#include "edge/json.h"

static void keep(char *to, size_t size, const struct json *line)
{
    const char *error = json_str(line, "error", "");

    snprintf(to, size, "%.200s%s%.90s", json_str(line, "msg", ""), *error ? ": " : "", error);
}

static void take_line(struct pumba_log *log, const char *text, size_t len)
{
    auto(json) struct json *line = NULL;

    log->n_lines++;
    if (json_parse(text, len, &line, NULL) < 0 || !json_is_object(line)) {
        log->n_broken++;
        return;
    }
    const char *level = json_str(line, "level", "");
    const char *msg = json_str(line, "msg", "");
    if (strcmp(msg, "no containers found") == 0)
        log->n_found_nothing++;
    else if (strcmp(msg, "skipping error") == 0)
        log->n_skipped++;
    else if (strcmp(level, "fatal") == 0 || strcmp(level, "panic") == 0)
        keep(log->fatal, sizeof(log->fatal), line);
    else if (strcmp(level, "warning") == 0 || strcmp(level, "error") == 0)
        keep(log->warning, sizeof(log->warning), line);
}

void pumba_log_read(const char *text, size_t len, struct pumba_log *ret)
{
    *ret = (struct pumba_log){ 0 };
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t n = end ? (size_t)(end - text) - at : len - at;
        if (n)
            take_line(ret, text + at, n);
        at += n + 1;
    }
}
