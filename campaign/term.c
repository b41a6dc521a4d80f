/* What a user sees while it runs. On a terminal: a few lines that are redrawn in place some five
 * times a second, with events and log lines scrolling above them. Elsewhere: one plain line every
 * few seconds and one for each event, so that a CI log stays readable. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/log.h"
#include "campaign/observer.h"
#include "campaign/report_fmt.h"

#define DRAW_EVERY_NS (190 * NS_PER_MS)
#define PLAIN_EVERY_NS (5 * NS_PER_SEC)
#define WIDTH_DEFAULT 100
#define BAR_MAX 40

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define CYAN "\033[36m"
#define BOLD "\033[1m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* What of an activation was told already. */
enum told { TOLD_EFFECTIVE = 1, TOLD_REVERTED = 2, TOLD_RECOVERED = 4, TOLD_ERROR = 8 };

struct term {
    struct observer observer;
    pthread_mutex_t lock; /* log lines come from any thread */
    int fd;
    bool live, colour, sink_is_ours;
    unsigned char *told; /* [n_told], enum told */
    size_t n_told;
    uint64_t drawn_ns; /* t of the last picture or plain line; T_NONE: none yet */
    struct buf picture;
    unsigned picture_lines;
};

static void put(const struct term *t, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(t->fd, text, len);
        if (n <= 0)
            return; /* a terminal that went away must not end the run */
        text += n;
        len -= (size_t)n;
    }
}

static unsigned terminal_width(const struct term *t)
{
    struct winsize size;

    if (ioctl(t->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return WIDTH_DEFAULT;
}

/* Moves to where the picture began and clears from there on. */
static void erase_picture(const struct term *t, struct buf *out)
{
    if (t->picture_lines)
        buf_addf(out, "\033[%uA", t->picture_lines);
    buf_adds(out, "\r\033[J");
}

/* A line that stays: above the picture, or just the next one. The lock is held. */
static void put_above(struct term *t, const char *line, size_t len)
{
    auto_buf struct buf out = BUF_INIT((size_t)1 << 20);

    if (t->live)
        erase_picture(t, &out);
    buf_add(&out, line, len);
    if (t->live)
        buf_add(&out, buf_str(&t->picture), t->picture.len);
    put(t, buf_str(&out), out.len);
}

static void on_log_line(void *arg, const char *line, size_t len)
{
    struct term *t = arg;

    pthread_mutex_lock(&t->lock);
    put_above(t, line, len);
    pthread_mutex_unlock(&t->lock);
}

/* ---- a line made of coloured pieces that never gets wider than the terminal ---- */

struct line {
    struct buf *out;
    size_t room;
    bool colour;
};

static void piece(struct line *l, const char *colour, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void piece(struct line *l, const char *colour, const char *fmt, ...)
{
    auto_buf struct buf safe = BUF_INIT((size_t)64 << 10);
    auto_buf struct buf fit = BUF_INIT((size_t)64 << 10);
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n <= 0 || l->room == 0)
        return;
    text_plain(&safe, text);
    text_fit(&fit, buf_str(&safe), l->room);
    l->room -= MIN(l->room, text_width(buf_str(&fit)));
    if (l->colour && colour)
        buf_addf(l->out, "%s%s" PLAIN, colour, buf_str(&fit));
    else
        buf_adds(l->out, buf_str(&fit));
}

/* "1:05" "1:02:07" */
static void put_clock(struct line *l, const char *colour, uint64_t ns)
{
    unsigned s = (unsigned)(ns / NS_PER_SEC);

    if (s < 3600)
        piece(l, colour, "%u:%02u", s / 60, s % 60);
    else
        piece(l, colour, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}

static void put_bar(struct line *l, const struct live *v)
{
    char bar[BAR_MAX * 4 + 1] = "";
    unsigned width = (unsigned)MIN(BAR_MAX, l->room / 3), at = 0;
    double done = (double)v->t_ns / (double)v->planned_duration_ns;
    unsigned full = (unsigned)(done >= 1 ? width : done * width);

    for (unsigned i = 0; i < width; i++)
        at += (unsigned)snprintf(bar + at, sizeof(bar) - at, "%s", i < full ? "█" : "░");
    piece(l, CYAN, "%s", bar);
    piece(l, BOLD, " %3.0f %%  ", done >= 1 ? 100 : done * 100);
}

static void put_progress(struct line *l, const struct live *v)
{
    piece(l, NULL, "  ");
    if (v->planned_duration_ns)
        put_bar(l, v);
    put_clock(l, BOLD, v->t_ns);
    if (v->planned_duration_ns) {
        piece(l, DIM, " / ");
        put_clock(l, DIM, v->planned_duration_ns);
    }
    if (v->phase)
        piece(l, v->phase->kind == PHASE_INJECT ? YELLOW : CYAN, "  %s",
              text_or_empty(v->phase->name));
    if (v->stopping)
        piece(l, RED, "  stopping…");
}

static void put_load(struct line *l, const struct live *v)
{
    char rate[FMT_LEN], fails[FMT_LEN], a[FMT_LEN], b[FMT_LEN];

    piece(l, DIM, "  users ");
    piece(l, BOLD, "%s", fmt_count(v->users, a));
    if (v->users_wanted != v->users)
        piece(l, DIM, "/%s", fmt_count(v->users_wanted, b));
    piece(l, DIM, "  rate ");
    piece(l, BOLD, "%s", fmt_rate(v->rate, rate));
    piece(l, DIM, "  failing ");
    piece(l, v->fail_rate > 0 ? RED : GREEN, "%s", fmt_rate(v->fail_rate, fails));
    piece(l, DIM, "  in flight ");
    piece(l, NULL, "%s", fmt_count(v->in_flight, a));
    if (v->arrivals_dropped)
        piece(l, RED, "  dropped %s", fmt_count(v->arrivals_dropped, a));
}

static void put_latency(struct line *l, const struct live *v)
{
    char a[FMT_LEN], b[FMT_LEN], c[FMT_LEN], d[FMT_LEN], e[FMT_LEN];

    piece(l, DIM, "  p50 ");
    piece(l, BOLD, "%s", fmt_time(v->p50_ns, a));
    piece(l, DIM, "  p95 ");
    piece(l, BOLD, "%s", fmt_time(v->p95_ns, b));
    piece(l, DIM, "  p99 ");
    piece(l, BOLD, "%s", fmt_time(v->p99_ns, c));
    piece(l, DIM, "  total ");
    piece(l, NULL, "%s", fmt_count(v->requests, d));
    piece(l, DIM, "  failed ");
    piece(l, v->failures ? RED : NULL, "%s", fmt_count(v->failures, e));
}

static void put_active(struct line *l, const struct live *v)
{
    if (v->n_active == 0)
        piece(l, DIM, "  no fault active");
    for (size_t i = 0; i < v->n_active; i++)
        piece(l, YELLOW, "  ⚡ %s%s%s", text_or_empty(v->active[i]->name),
              v->active[i]->target[0] ? " → " : "", v->active[i]->target);
    if (v->next_fault && v->next_fault_ns != T_NONE && v->next_fault_ns > v->t_ns) {
        piece(l, DIM, "  next %s in ", v->next_fault);
        put_clock(l, DIM, v->next_fault_ns - v->t_ns + NS_PER_SEC / 2);
    } else if (v->next_fault) {
        piece(l, DIM, "  next %s", v->next_fault);
    }
}

static unsigned n_broken(const struct result *r)
{
    unsigned n = 0;

    for (size_t i = 0; r && i < r->n_thresholds; i++)
        n += r->thresholds[i].has_value && !r->thresholds[i].ok;
    return n;
}

static void put_broken(struct line *l, const struct live *v)
{
    const struct result *r = v->so_far;
    unsigned broken = n_broken(r);

    if (broken == 0) {
        piece(l, GREEN, "  ✓ %zu threshold%s hold so far", r->n_thresholds,
              r->n_thresholds == 1 ? "" : "s");
        return;
    }
    for (size_t i = 0; i < r->n_thresholds; i++) {
        const struct result_threshold *h = &r->thresholds[i];
        char value[FMT_LEN];
        if (h->has_value && !h->ok)
            piece(l, RED, "  ✗ %s (%s)", text_or_empty(h->expression), fmt_measured(h, value));
    }
}

/* ---- the picture ---- */

static void draw(struct term *t, const struct live *v)
{
    static void (*const lines[])(struct line * l, const struct live *v) = { put_progress, put_load,
                                                                            put_latency, put_active,
                                                                            put_broken };
    auto_buf struct buf out = BUF_INIT((size_t)1 << 20);
    size_t n = ARRAY_LEN(lines) - (v->so_far && v->so_far->n_thresholds ? 0 : 1);
    unsigned width = terminal_width(t);

    erase_picture(t, &out);
    buf_clear(&t->picture);
    for (size_t i = 0; i < n; i++) {
        /* One column stays free: terminals wrap when the last one is written. */
        struct line l = { .out = &t->picture,
                          .room = width > 1 ? width - 1 : 1,
                          .colour = t->colour };
        lines[i](&l, v);
        buf_addc(&t->picture, '\n');
    }
    t->picture_lines = (unsigned)n;
    buf_add(&out, buf_str(&t->picture), t->picture.len);
    put(t, buf_str(&out), out.len);
}

static void plain_line(struct term *t, const struct live *v)
{
    auto_buf struct buf out = BUF_INIT((size_t)64 << 10);
    struct line l = { .out = &out, .room = 400, .colour = t->colour };
    char a[FMT_LEN], b[FMT_LEN], c[FMT_LEN], d[FMT_LEN], e[FMT_LEN], f[FMT_LEN];

    piece(&l, NULL, "%7.1f s  users %s  rate %s  failing %s  p50 %s  p95 %s  p99 %s",
          ns_to_sec(v->t_ns), fmt_count(v->users, a), fmt_rate(v->rate, b),
          fmt_rate(v->fail_rate, c), fmt_time(v->p50_ns, d), fmt_time(v->p95_ns, e),
          fmt_time(v->p99_ns, f));
    if (v->phase)
        piece(&l, NULL, "  [%s]", text_or_empty(v->phase->name));
    buf_addc(&out, '\n');
    put_above(t, buf_str(&out), out.len);
}

static void term_tick(void *arg, const struct live *v)
{
    struct term *t = arg;
    uint64_t every = t->live ? DRAW_EVERY_NS : PLAIN_EVERY_NS;

    if (t->drawn_ns == T_NONE && !t->live)
        t->drawn_ns = v->t_ns; /* the first plain line when there is something to tell */
    if (t->drawn_ns != T_NONE && v->t_ns < t->drawn_ns + every)
        return;
    t->drawn_ns = v->t_ns;
    pthread_mutex_lock(&t->lock);
    if (t->live)
        draw(t, v);
    else
        plain_line(t, v);
    pthread_mutex_unlock(&t->lock);
}

/* ---- events ---- */

static void event(struct term *t, uint64_t t_ns, const char *colour, const char *text)
{
    auto_buf struct buf out = BUF_INIT((size_t)64 << 10);
    struct line l = { .out = &out, .room = 400, .colour = t->colour };

    if (t_ns == T_NONE)
        piece(&l, DIM, "%9s  ", "");
    else
        piece(&l, DIM, "%7.1f s  ", ns_to_sec(t_ns));
    piece(&l, colour, "%s", text);
    buf_addc(&out, '\n');
    pthread_mutex_lock(&t->lock);
    put_above(t, buf_str(&out), out.len);
    pthread_mutex_unlock(&t->lock);
}

static void term_begin(void *arg, const struct plan *p, const struct result *r)
{
    struct term *t = arg;
    auto_buf struct buf title = BUF_INIT((size_t)64 << 10);

    run_title(r, &title);
    const char *target = text_or_empty(r->target);
    bool named = *target && !strstr(buf_str(&title), target);
    auto_free char *text =
        xasprintf("▶ %s%s%s  seed %llu", buf_str(&title), named ? "  against " : "",
                  named ? target : "", (unsigned long long)r->seed);

    (void)p;
    event(t, 0, BOLD, text);
    if (!t->live)
        return;
    put(t, "\033[?25l", 6); /* the cursor would jump about */
    log_set_sink(on_log_line, t);
    t->sink_is_ours = true;
}

static void term_phase(void *arg, const struct result *r, size_t phase)
{
    const struct result_phase *p = &r->phases[phase];
    auto_free char *text = xasprintf("phase %s", text_or_empty(p->name));

    event(arg, p->start_ns, p->kind == PHASE_INJECT ? YELLOW : CYAN, text);
}

static bool is_news(struct term *t, size_t fault, enum told what, bool happened)
{
    if (!happened || (t->told[fault] & what))
        return false;
    t->told[fault] |= (unsigned char)what;
    return true;
}

static void term_fault(void *arg, const struct result *r, size_t fault)
{
    struct term *t = arg;
    const struct result_fault *f = &r->faults[fault];
    auto_buf struct buf name = BUF_INIT((size_t)64 << 10);
    char text[FMT_LEN];

    if (fault >= t->n_told) {
        t->told = xrealloc(t->told, fault + 1, 1);
        memset(t->told + t->n_told, 0, fault + 1 - t->n_told);
        t->n_told = fault + 1;
    }
    fault_title(r, f, &name);
    if (is_news(t, fault, TOLD_EFFECTIVE, f->effective_ns != T_NONE)) {
        auto_free char *line =
            xasprintf("⚡ %s: in effect on %s", buf_str(&name), text_or_empty(f->target));
        event(t, f->effective_ns, YELLOW, line);
    }
    if (is_news(t, fault, TOLD_REVERTED, f->reverted_ns != T_NONE)) {
        auto_free char *line = xasprintf("↺ %s: reverted", buf_str(&name));
        event(t, f->reverted_ns, CYAN, line);
    }
    if (is_news(t, fault, TOLD_RECOVERED, f->felt && f->time_to_recover_ns != T_NONE)) {
        auto_free char *line = xasprintf("✓ %s: users recovered after %s", buf_str(&name),
                                         fmt_time(f->time_to_recover_ns, text));
        event(t, T_NONE, GREEN, line);
    }
    if (is_news(t, fault, TOLD_ERROR, f->error != NULL)) {
        auto_free char *line = xasprintf("✗ %s: %s", buf_str(&name), f->error);
        event(t, T_NONE, RED, line);
    }
}

/* The picture leaves, what was told above it stays, the cursor is back. */
static void leave(struct term *t)
{
    auto_buf struct buf out = BUF_INIT((size_t)64 << 10);

    if (!t->sink_is_ours)
        return;
    log_set_sink(NULL, NULL);
    t->sink_is_ours = false;
    pthread_mutex_lock(&t->lock);
    erase_picture(t, &out);
    buf_adds(&out, "\033[?25h");
    put(t, buf_str(&out), out.len);
    buf_clear(&t->picture);
    t->picture_lines = 0;
    pthread_mutex_unlock(&t->lock);
}

static int term_end(void *arg, const struct plan *p, const struct result *r, struct err *err)
{
    struct term *t = arg;
    auto_buf struct buf out = BUF_INIT(0);

    (void)err;
    leave(t);
    report_text(r, t->colour, terminal_width(t), &out);
    if (p && p->out.out_dir) {
        buf_adds(&out, "  report: ");
        text_plain(&out, p->out.out_dir);
        buf_adds(&out, "/report.html\n\n");
    }
    pthread_mutex_lock(&t->lock);
    put(t, buf_str(&out), out.len);
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static void term_free(void *arg)
{
    struct term *t = arg;

    leave(t);
    buf_done(&t->picture);
    free(t->told);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

struct observer *term_observer_new(int fd, enum term_mode mode, bool colour)
{
    struct term *t = xcalloc(1, sizeof(*t));

    pthread_mutex_init(&t->lock, NULL);
    t->fd = fd;
    t->live = mode == TERM_LIVE || (mode == TERM_AUTO && isatty(fd));
    t->colour = colour;
    t->drawn_ns = T_NONE;
    t->picture = BUF_INIT((size_t)1 << 20);
    t->observer = (struct observer){ .arg = t, .free = term_free };
    if (mode == TERM_QUIET)
        return &t->observer;
    t->observer.begin = term_begin;
    t->observer.phase = term_phase;
    t->observer.fault = term_fault;
    t->observer.tick = term_tick;
    t->observer.end = term_end;
    return &t->observer;
}
