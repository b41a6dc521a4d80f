/* See log.h. The one place with mutable globals: there is one stderr. */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static struct {
    pthread_mutex_t lock;
    enum log_level level;
    enum log_format format;
    bool colour;
    log_sink_fn *sink;
    void *sink_arg;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO };

static const char *const level_name[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
};
static const char *const level_colour[] = { [LOG_ERROR] = "\033[31m",
                                            [LOG_WARN] = "\033[33m",
                                            [LOG_INFO] = "\033[32m",
                                            [LOG_DEBUG] = "\033[2m" };

void log_setup(enum log_level level, enum log_format format, bool colour)
{
    pthread_mutex_lock(&state.lock);
    state.level = level;
    state.format = format;
    state.colour = colour;
    pthread_mutex_unlock(&state.lock);
}

void log_set_sink(log_sink_fn *sink, void *arg)
{
    pthread_mutex_lock(&state.lock);
    state.sink = sink;
    state.sink_arg = arg;
    pthread_mutex_unlock(&state.lock);
}

static void add_json_text(struct buf *out, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c < 0x20)
            buf_addf(out, "\\u%04x", c);
        else
            buf_addc(out, (char)c);
    }
}

static void format_line(struct buf *out, enum log_level level, const char *event, const char *text)
{
    char when[CLOCK_ISO_LEN];

    clock_iso(clock_wall_ns(), when);
    if (state.format == LOG_JSON) {
        buf_addf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"message\":\"", when,
                 level_name[level], event);
        add_json_text(out, text);
        buf_adds(out, "\"}\n");
        return;
    }
    buf_addf(out, "%.12s %s%-5s%s %s %s\n", when + 11, state.colour ? level_colour[level] : "",
             level_name[level], state.colour ? "\033[0m" : "", event, text);
}

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    auto_buf struct buf text = BUF_INIT((size_t)64 << 10);
    auto_buf struct buf line = BUF_INIT((size_t)256 << 10);
    char first[1024];
    va_list ap;

    if (level > state.level)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(first, sizeof(first), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    buf_adds(&text, first);
    pthread_mutex_lock(&state.lock);
    format_line(&line, level, event, buf_str(&text));
    if (state.sink)
        state.sink(state.sink_arg, buf_str(&line), line.len);
    else
        fwrite(buf_str(&line), 1, line.len, stderr);
    pthread_mutex_unlock(&state.lock);
}
