/* See diag.h. What is quoted here comes from files of strangers: a line is capped, and control
 * characters, with which a text could repaint the terminal, are shown as '?'. */
#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LINE_LEN_MAX 1000

struct place {
    const char *source;
    uint32_t line, col;
    const struct doc *node;
};

void diag_init(struct diag *d)
{
    *d = (struct diag){ .text = BUF_INIT((size_t)DIAG_MAX * (LINE_LEN_MAX + 2)) };
}

void diag_done(struct diag *d)
{
    if (!d)
        return;
    buf_done(&d->text);
    d->n = 0;
}

static void add_place(char *line, size_t size, const struct place *at)
{
    auto_buf struct buf path = BUF_INIT(LINE_LEN_MAX / 2);
    size_t used = 0;

    if (at->source && at->line)
        used = (size_t)snprintf(line, size, "%.200s:%u:%u: ", at->source, at->line, at->col);
    else if (at->source)
        used = (size_t)snprintf(line, size, "%.200s: ", at->source);
    doc_path(at->node, &path);
    if (path.len)
        snprintf(line + used, size - used, "%s: ", buf_str(&path));
}

static PRINTF_LIKE(3, 0) void add(struct diag *d, const struct place *at, const char *fmt,
                                  va_list ap)
{
    char line[LINE_LEN_MAX] = "";

    if (d->n++ >= DIAG_MAX)
        return;
    add_place(line, sizeof(line), at);
    size_t used = strlen(line);
    vsnprintf(line + used, sizeof(line) - used, fmt, ap);
    for (char *p = line; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    buf_adds(&d->text, line);
    buf_addc(&d->text, '\n');
}

void diag_add(struct diag *d, const struct doc *at, const char *fmt, ...)
{
    struct place place = { 0 };
    va_list ap;

    if (at)
        place = (struct place){ at->source, at->line, at->col, at };
    va_start(ap, fmt);
    add(d, &place, fmt, ap);
    va_end(ap);
}

void diag_add_key(struct diag *d, const struct doc *at, const char *fmt, ...)
{
    struct place place = { 0 };
    va_list ap;

    if (at)
        place = (struct place){ at->source, at->key_line ? at->key_line : at->line,
                                at->key_line ? at->key_col : at->col, at };
    va_start(ap, fmt);
    add(d, &place, fmt, ap);
    va_end(ap);
}

void diag_add_at(struct diag *d, const char *source, uint32_t line, uint32_t col, const char *fmt,
                 ...)
{
    struct place place = { source, line, col, NULL };
    va_list ap;

    va_start(ap, fmt);
    add(d, &place, fmt, ap);
    va_end(ap);
}
