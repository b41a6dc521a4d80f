/* Heads of HTTP/1.1 messages: read one, look a field up, write it again with changes. Kept apart
 * from the framing (http_parser.c) because a head is judged as a whole, once it is complete. */
#include "chaoslib/proxy/http_msg.h"

#include <string.h>
#include <strings.h>

bool http_span_is(struct http_span s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

bool http_span_is_nocase(struct http_span s, const char *text)
{
    return s.n == strlen(text) && strncasecmp(s.p, text, s.n) == 0;
}

static bool is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool span_is_token(struct http_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

/* Visible text: no control characters but the tab. */
static bool span_is_text(struct http_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static struct http_span trimmed(struct http_span s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Cuts the next line off `rest`; false when there is none. */
static bool cut_line(struct http_span *rest, struct http_span *line)
{
    const char *lf = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;

    if (!lf || lf == rest->p || lf[-1] != '\r')
        return false;
    line->p = rest->p;
    line->n = (size_t)(lf - rest->p) - 1;
    rest->n -= (size_t)(lf + 1 - rest->p);
    rest->p = lf + 1;
    return true;
}

static bool version_minor(struct http_span s, int *ret)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/1.", 7) != 0 || s.p[7] < '0' || s.p[7] > '9')
        return false;
    *ret = s.p[7] - '0';
    return true;
}

size_t http_method_len(struct http_span s)
{
    size_t n = 0;

    while (n < s.n && n < HTTP_MSG_METHOD_MAX &&
           ((s.p[n] >= 'A' && s.p[n] <= 'Z') || s.p[n] == '-'))
        n++;
    return n;
}

static int request_line(struct http_head *h)
{
    struct http_span line = h->line;
    const char *one = memchr(line.p, ' ', line.n);
    const char *two = one ? memrchr(line.p, ' ', line.n) : NULL;

    if (!one || two == one || one == line.p)
        return -1;
    h->method = (struct http_span){ line.p, (size_t)(one - line.p) };
    h->target = (struct http_span){ one + 1, (size_t)(two - one) - 1 };
    struct http_span version = { two + 1, (size_t)(line.p + line.n - two) - 1 };
    if (http_method_len(h->method) != h->method.n || h->target.n == 0 ||
        !version_minor(version, &h->minor))
        return -1;
    for (size_t i = 0; i < h->target.n; i++)
        if ((unsigned char)h->target.p[i] <= 0x20 || h->target.p[i] == 0x7f)
            return -1;
    return 0;
}

static int status_line(struct http_head *h)
{
    struct http_span s = h->line;

    if (s.n < 12 || !version_minor((struct http_span){ s.p, 8 }, &h->minor) || s.p[8] != ' ')
        return -1;
    for (size_t i = 9; i < 12; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
    h->status = (s.p[9] - '0') * 100 + (s.p[10] - '0') * 10 + (s.p[11] - '0');
    if (h->status < 100 || h->status > 599 || (s.n > 12 && s.p[12] != ' ') || !span_is_text(s))
        return -1;
    return 0;
}

static int length_read(struct http_head *h, struct http_span v)
{
    uint64_t n = 0;

    if (v.n == 0 || v.n > 18)
        return -1;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return -1;
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (h->has_length && h->length != n)
        return -1;
    h->has_length = true;
    h->length = n;
    return 0;
}

/* Is `word` one of the comma-separated words of `list`? */
static bool list_has(struct http_span list, const char *word)
{
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;

        if (http_span_is_nocase(trimmed((struct http_span){ list.p, n }), word))
            return true;
        n += comma ? 1 : 0;
        list.p += n;
        list.n -= n;
    }
    return false;
}

static int field_note(struct http_head *h, struct http_span name, struct http_span value)
{
    if (http_span_is_nocase(name, "content-length"))
        return length_read(h, value);
    if (http_span_is_nocase(name, "transfer-encoding")) {
        if (h->chunked || !http_span_is_nocase(value, "chunked"))
            return -1;
        h->chunked = true;
    }
    if (http_span_is_nocase(name, "connection")) {
        h->close = h->close || list_has(value, "close");
        h->keep_alive = h->keep_alive || list_has(value, "keep-alive");
    }
    if (http_span_is_nocase(name, "expect"))
        h->expect_continue = true;
    return 0;
}

static bool field_cut(struct http_span line, struct http_span *name, struct http_span *value)
{
    const char *colon = line.n > 0 ? memchr(line.p, ':', line.n) : NULL;

    if (!colon)
        return false;
    *name = (struct http_span){ line.p, (size_t)(colon - line.p) };
    *value = trimmed((struct http_span){ colon + 1, (size_t)(line.p + line.n - colon) - 1 });
    return span_is_token(*name) && span_is_text(*value);
}

int http_head_parse(struct http_span text, bool is_response, struct http_head *ret)
{
    struct http_head h = { .text = text };
    struct http_span rest = text, line, name, value;

    if (!cut_line(&rest, &h.line))
        return -1;
    if ((is_response ? status_line(&h) : request_line(&h)) < 0)
        return -1;
    for (;;) {
        if (!cut_line(&rest, &line))
            return -1;
        if (line.n == 0)
            break;
        if (!field_cut(line, &name, &value) || field_note(&h, name, value) < 0)
            return -1;
    }
    if (rest.n > 0 || (h.chunked && (h.has_length || h.minor == 0)))
        return -1;
    *ret = h;
    return 0;
}

bool http_head_next(const struct http_head *h, size_t *pos, struct http_span *name,
                    struct http_span *value)
{
    size_t at = *pos ? *pos : h->line.n + 2;
    struct http_span rest = { h->text.p + at, h->text.n - at }, line;

    if (!cut_line(&rest, &line) || line.n == 0)
        return false;
    *pos = (size_t)(rest.p - h->text.p);
    return field_cut(line, name, value);
}

bool http_head_find(const struct http_head *h, const char *name, struct http_span *ret)
{
    struct http_span n, v;

    for (size_t pos = 0; http_head_next(h, &pos, &n, &v);) {
        if (!http_span_is_nocase(n, name))
            continue;
        *ret = v;
        return true;
    }
    return false;
}

bool http_head_persists(const struct http_head *h)
{
    return !h->close && (h->minor > 0 || h->keep_alive);
}

static bool is_dropped(struct http_span name, const char *const *drop)
{
    for (; drop && *drop; drop++)
        if (http_span_is_nocase(name, *drop))
            return true;
    return false;
}

void http_head_copy(const struct http_head *h, struct http_span line, const char *const *drop,
                    const char *add, struct buf *out)
{
    struct http_span name, value;

    if (line.n == 0)
        line = h->line;
    buf_add(out, line.p, line.n);
    buf_adds(out, "\r\n");
    for (size_t pos = 0; http_head_next(h, &pos, &name, &value);) {
        if (is_dropped(name, drop))
            continue;
        buf_add(out, name.p, name.n);
        buf_adds(out, ": ");
        buf_add(out, value.p, value.n);
        buf_adds(out, "\r\n");
    }
    buf_adds(out, add);
    buf_adds(out, "\r\n");
}
