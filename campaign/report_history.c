/* Locust's four --csv files while the run goes on: a history row each second (one for each endpoint
 * too with full history), the others rewritten every few seconds and at the end, so that, unlike
 * Locust's, they hold the last second as well. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "campaign/report_file.h"
#include "campaign/report_fmt.h"
#include "campaign/report_locust.h"

#define REWRITE_EVERY 5 /* seconds */

struct history {
    struct observer observer;
    char *prefix;
    bool full;
    FILE *file;
    int error; /* the first errno of a failed write */
    struct locust_track total;
    struct locust_track *endpoints; /* [n], with full history */
    size_t n;
    unsigned seconds;
};

static void append(struct history *h, const struct buf *text)
{
    errno = 0;
    if ((fwrite(buf_str(text), 1, text->len, h->file) != text->len || fflush(h->file) != 0) &&
        h->error == 0)
        h->error = errno ? errno : EIO;
}

static int rewrite(const struct history *h, const struct result *r, struct err *err)
{
    static const struct {
        const char *suffix;
        void (*render)(const struct result *r, struct buf *out);
    } files[] = {
        { "_stats.csv", report_locust_stats_csv },
        { "_failures.csv", report_locust_failures_csv },
        { "_exceptions.csv", report_locust_exceptions_csv },
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        auto_buf struct buf text = BUF_INIT(0);
        auto_free char *path = xasprintf("%s%s", h->prefix, files[i].suffix);
        files[i].render(r, &text);
        if (report_write_file(path, &text, err) < 0)
            return -EIO;
    }
    return 0;
}

static uint64_t wall_s(const struct result *r, uint64_t t_ns)
{
    return (r->started_wall_ns + t_ns) / NS_PER_SEC;
}

static void history_begin(void *arg, const struct plan *p, const struct result *r)
{
    struct history *h = arg;
    auto_buf struct buf text = BUF_INIT(0);
    struct locust_row row = { .wall_s = wall_s(r, 0), .method = "", .name = "Aggregated" };

    (void)p;
    h->n = h->full ? r->n_endpoints : 0;
    h->endpoints = xcalloc(h->n + 1, sizeof(*h->endpoints));
    locust_history_header(&text);
    locust_track_row(&h->total, &row, &text);
    append(h, &text);
}

static void count(struct locust_second *s, const struct cell *c)
{
    s->requests += cell_requests(c);
    s->failures += c->n_fail;
    s->bytes += c->bytes_in;
    hist_merge(&s->times, &c->response);
    hist_merge(&s->times, &c->failed);
}

/* Only endpoints that were used have rows, as in Locust. */
static void put_endpoint(struct history *h, const struct result *r, size_t k,
                         const struct locust_row *second, struct buf *out)
{
    const struct result_endpoint *e = &r->endpoints[k];
    struct locust_row row = *second;

    if (h->endpoints[k].requests == 0)
        return;
    row.method = text_or_empty(e->method);
    row.name = locust_name(e);
    locust_track_row(&h->endpoints[k], &row, out);
}

static void add_endpoint(struct history *h, size_t k, const struct row *rows, size_t n)
{
    struct locust_second s = { 0 };

    for (size_t i = 0; i < n; i++)
        if (rows[i].endpoint == k)
            count(&s, rows[i].cell);
    locust_track_add(&h->endpoints[k], &s);
    hist_done(&s.times);
}

static void history_second(void *arg, const struct result *r, const struct result_row *second,
                           const struct row *rows, size_t n)
{
    struct history *h = arg;
    auto_buf struct buf text = BUF_INIT(0);
    struct locust_second all = { 0 };
    struct locust_row row = { .wall_s = wall_s(r, second->t_ns) + 1,
                              .users = second->users,
                              .method = "",
                              .name = "Aggregated",
                              .recent = h->full };

    for (size_t i = 0; i < n; i++)
        count(&all, rows[i].cell);
    locust_track_add(&h->total, &all);
    hist_done(&all.times);
    for (size_t k = 0; k < h->n; k++) {
        add_endpoint(h, k, rows, n);
        put_endpoint(h, r, k, &row, &text);
    }
    locust_track_row(&h->total, &row, &text);
    append(h, &text);
    if (++h->seconds % REWRITE_EVERY == 0)
        err_ignore(rewrite(h, r, NULL), "the end writes them again and tells");
}

static int history_end(void *arg, const struct plan *p, const struct result *r, struct err *err)
{
    struct history *h = arg;

    (void)p;
    if (rewrite(h, r, err) < 0)
        return -EIO;
    if (h->error)
        return err_sys(err, ERR_GENERIC, h->error, "write '%s_stats_history.csv'", h->prefix);
    return 0;
}

static void history_free(void *arg)
{
    struct history *h = arg;

    err_ignore(fclose(h->file), "each row was flushed; history_end told what failed");
    locust_track_done(&h->total);
    for (size_t i = 0; i < h->n; i++)
        locust_track_done(&h->endpoints[i]);
    free(h->endpoints);
    free(h->prefix);
    free(h);
}

struct observer *locust_csv_observer_new(const char *prefix, bool full_history, struct err *err)
{
    auto_free char *path = xasprintf("%s_stats_history.csv", prefix);

    if (report_make_parent(path, err) < 0)
        return NULL;
    FILE *file = fopen(path, "we");
    if (!file) {
        err_ignore(err_sys(err, ERR_PREPARE, errno, "write '%s'", path), "told by NULL");
        return NULL;
    }
    struct history *h = xcalloc(1, sizeof(*h));
    h->prefix = xstrdup(prefix);
    h->full = full_history;
    h->file = file;
    h->observer = (struct observer){ .arg = h,
                                     .begin = history_begin,
                                     .second = history_second,
                                     .end = history_end,
                                     .free = history_free };
    return &h->observer;
}
