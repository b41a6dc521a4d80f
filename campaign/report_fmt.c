/* Numbers as people read them, and foreign texts made harmless. */
#include "campaign/report_fmt.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

const char *fmt_time(uint64_t ns, char out[FMT_LEN])
{
    double ms = (double)ns / (double)NS_PER_MS;
    double sec = (double)ns / (double)NS_PER_SEC;

    if (ns == T_NONE)
        snprintf(out, FMT_LEN, "–");
    else if (ns == 0)
        snprintf(out, FMT_LEN, "0 ms");
    else if (ms < 9.995)
        snprintf(out, FMT_LEN, "%.2f ms", ms);
    else if (ms < 99.95)
        snprintf(out, FMT_LEN, "%.1f ms", ms);
    else if (ms < 999.5)
        snprintf(out, FMT_LEN, "%.0f ms", ms);
    else if (sec < 59.95)
        snprintf(out, FMT_LEN, sec < 9.995 ? "%.2f s" : "%.1f s", sec);
    else if (sec < 3599.5)
        snprintf(out, FMT_LEN, "%d m %02d s", (int)(lround(sec) / 60), (int)(lround(sec) % 60));
    else
        snprintf(out, FMT_LEN, "%ld h %02ld m", lround(sec / 60) / 60, lround(sec / 60) % 60);
    return out;
}

const char *fmt_instant(uint64_t ns, char out[FMT_LEN])
{
    if (ns == T_NONE)
        snprintf(out, FMT_LEN, "–");
    else
        snprintf(out, FMT_LEN, "%.3f s", (double)ns / (double)NS_PER_SEC);
    return out;
}

const char *fmt_count(uint64_t n, char out[FMT_LEN])
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    size_t at = 0;

    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *fmt_rate(double per_sec, char out[FMT_LEN])
{
    char count[FMT_LEN];

    if (!(per_sec > 0 && per_sec < 1e15))
        snprintf(out, FMT_LEN, "0/s");
    else if (per_sec < 10)
        snprintf(out, FMT_LEN, "%.2f/s", per_sec);
    else if (per_sec < 100)
        snprintf(out, FMT_LEN, "%.1f/s", per_sec);
    else
        snprintf(out, FMT_LEN, "%s/s", fmt_count((uint64_t)llround(per_sec), count));
    return out;
}

const char *fmt_share(double fraction, char out[FMT_LEN])
{
    double pct = fraction * 100;

    if (!(pct > 0))
        snprintf(out, FMT_LEN, "0 %%");
    else if (pct < 0.1)
        snprintf(out, FMT_LEN, "%.3f %%", pct);
    else if (pct >= 99.995 || pct < 9.995)
        snprintf(out, FMT_LEN, pct >= 99.995 ? "%.0f %%" : "%.2f %%", pct);
    else
        snprintf(out, FMT_LEN, "%.1f %%", pct);
    return out;
}

const char *fmt_bytes(double bytes, char out[FMT_LEN])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    size_t i = 0;

    while (bytes >= 1024 && i + 1 < ARRAY_LEN(units)) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, FMT_LEN, i == 0 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
    return out;
}

const char *fmt_value(double value, const char *unit, char out[FMT_LEN])
{
    unit = text_or_empty(unit);
    if (strcmp(unit, "ms") == 0 && value >= 0 && value < 1e12)
        return fmt_time((uint64_t)llround(value * (double)NS_PER_MS), out);
    if (strcmp(unit, "ratio") == 0)
        return fmt_share(value, out);
    if (strcmp(unit, "/s") == 0)
        return fmt_rate(value, out);
    if (value >= 0 && value < 1e15 && value == floor(value))
        return fmt_count((uint64_t)value, out);
    snprintf(out, FMT_LEN, "%.4g%s%.8s", value, *unit ? " " : "", unit);
    return out;
}

const char *fmt_measured(const struct result_threshold *t, char out[FMT_LEN])
{
    char value[FMT_LEN];

    snprintf(out, FMT_LEN, "%s%.*s", t->at_least ? "≥ " : "", FMT_LEN - 8,
             fmt_value(t->value, t->unit, value));
    return out;
}

double rate_over(uint64_t n, uint64_t span_ns)
{
    return span_ns ? (double)n * (double)NS_PER_SEC / (double)span_ns : 0;
}

static bool is_service_judged(const struct result *r)
{
    return r->judged_by && strcmp(r->judged_by, "service_time") == 0;
}

const struct hist *judged_hist(const struct result *r, const struct cell *c)
{
    return is_service_judged(r) ? &c->service : &c->response;
}

const char *judged_name(const struct result *r)
{
    return is_service_judged(r) ? "service time" : "response time";
}

void run_title(const struct result *r, struct buf *out)
{
    const char *name = text_or_empty(r->name);

    if (*name && strcmp(name, "unnamed") != 0)
        buf_adds(out, name);
    else if (r->target && *r->target)
        buf_addf(out, "load on %s", r->target);
    else
        buf_adds(out, "unnamed run");
}

const char *fmt_found(uint64_t ns, uint64_t resolution_ns, char out[FMT_LEN])
{
    char text[FMT_LEN];

    if (ns == T_NONE || ns >= resolution_ns)
        return fmt_time(ns, out);
    snprintf(out, FMT_LEN, "< %.40s", fmt_time(resolution_ns, text));
    return out;
}

void fault_title(const struct result *r, const struct result_fault *f, struct buf *out)
{
    unsigned same = 0;

    for (size_t i = 0; i < r->n_faults; i++)
        same += strcmp(text_or_empty(r->faults[i].name), text_or_empty(f->name)) == 0;
    buf_adds(out, text_or_empty(f->name));
    if (same > 1)
        buf_addf(out, " #%u", f->activation + 1);
}

/* The length of the UTF-8 sequence at s (1..4), 0 when there is none. */
static size_t utf8_len(const unsigned char *s)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {
        { 0x80, 0, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 }
    };

    for (size_t n = 0; n < ARRAY_LEN(forms); n++) {
        if ((s[0] & forms[n].mask) != forms[n].lead)
            continue;
        uint32_t code = s[0] & (unsigned char)~forms[n].mask;
        for (size_t i = 1; i <= n; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            code = code << 6 | (s[i] & 0x3f);
        }
        bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
        return code < forms[n].least || code > 0x10ffff || is_surrogate ? 0 : n + 1;
    }
    return 0;
}

/* C1 controls (U+0080..U+009F) are as active in terminals as ESC, and the bidi overrides reorder
 * what a reader sees. */
static bool is_unsafe(const unsigned char *s, size_t n)
{
    if (n == 1)
        return s[0] < 0x20 || s[0] == 0x7f;
    if (n == 2)
        return s[0] == 0xc2 && s[1] < 0xa0;
    if (n == 3 && s[0] == 0xe2)
        return (s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae) ||
               (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9);
    return n == 3 && s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe;
}

/* Copies s; a character that has an entry in `map` is written so. */
struct escape {
    char c;
    const char *as;
};

static void escape(struct buf *out, const char *s, const struct escape *map, size_t n_map)
{
    const unsigned char *p = (const unsigned char *)text_or_empty(s);

    while (*p) {
        size_t n = utf8_len(p), i = 0;
        if (n == 0) {
            buf_adds(out, REPLACEMENT);
            p++;
            continue;
        }
        while (i < n_map && (char)*p != map[i].c)
            i++;
        if (i < n_map)
            buf_adds(out, map[i].as);
        else if (is_unsafe(p, n))
            buf_addc(out, ' ');
        else
            buf_add(out, p, n);
        p += n;
    }
}

void text_utf8(struct buf *out, const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        size_t n = utf8_len(p);
        if (n)
            buf_add(out, p, n);
        else
            buf_adds(out, REPLACEMENT);
        p += n ? n : 1;
    }
}

void text_plain(struct buf *out, const char *s)
{
    escape(out, s, NULL, 0);
}

void text_html(struct buf *out, const char *s)
{
    static const struct escape map[] = {
        { '&', "&amp;" }, { '<', "&lt;" },   { '>', "&gt;" },
        { '"', "&#34;" }, { '\'', "&#39;" }, { '\n', "\n" },
    };
    escape(out, s, map, ARRAY_LEN(map));
}

void text_xml(struct buf *out, const char *s)
{
    static const struct escape map[] = {
        { '&', "&amp;" }, { '<', "&lt;" },   { '>', "&gt;" },
        { '"', "&#34;" }, { '\'', "&#39;" }, { '\n', "&#10;" },
    };
    escape(out, s, map, ARRAY_LEN(map));
}

void text_markdown(struct buf *out, const char *s)
{
    /* Entities rather than backslashes: they work in tables, too, where "\|" is the only escape. */
    static const struct escape map[] = {
        { '&', "&amp;" }, { '<', "&lt;" },   { '>', "&gt;" },  { '|', "&#124;" }, { '*', "&#42;" },
        { '_', "&#95;" }, { '`', "&#96;" },  { '[', "&#91;" }, { ']', "&#93;" },  { '@', "&#64;" },
        { '#', "&#35;" }, { '~', "&#126;" }, { '!', "&#33;" }, { '\\', "&#92;" },
    };
    escape(out, s, map, ARRAY_LEN(map));
}

void json_for_script(struct buf *out, const char *json_text)
{
    for (const char *p = json_text; *p; p++) {
        if (*p == '<' || *p == '>' || *p == '&')
            buf_addf(out, "\\u%04x", (unsigned)*p);
        else
            buf_addc(out, *p);
    }
}

size_t text_width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void text_fit(struct buf *out, const char *s, size_t width)
{
    size_t all = text_width(s);
    const char *p = s;

    if (all <= width) {
        buf_adds(out, s);
        return;
    }
    for (size_t n = 0; *p && n + 1 < width; n++) {
        do
            p++;
        while (((unsigned char)*p & 0xc0) == 0x80);
    }
    buf_add(out, s, (size_t)(p - s));
    if (width > 0)
        buf_adds(out, "…");
}
