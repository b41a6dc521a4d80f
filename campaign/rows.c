/* rows.ndjson: what happened, second by second, in lines that are flushed as they are written, so
 * that a run which is killed loses at most its last second. One header line; then, for each second,
 * a "row" line per series followed by one "second" line that closes it (a second without that line
 * is torn and does not count); "phase" and "fault" lines when something about one changed; one
 * "end" line with the verdict. rows_read.c turns it back into a result. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "campaign/report_file.h"
#include "campaign/result_cell.h"
#include "campaign/rows.h"

struct rows_writer {
    struct observer observer;
    FILE *file;
    char *path;
    int error; /* the first errno of a failed write; told at the end */
};

static struct json *line_new(const char *type)
{
    struct json *j = json_object();

    json_put_str(j, "type", type);
    return j;
}

/* Takes `j`. */
static void put_line(struct rows_writer *w, struct json *j)
{
    auto_free char *text = json_print(j, false);

    json_free(j);
    errno = 0;
    if (fprintf(w->file, "%s\n", text) < 0 && w->error == 0)
        w->error = errno ? errno : EIO;
}

static void flush_lines(struct rows_writer *w)
{
    errno = 0;
    if (fflush(w->file) != 0 && w->error == 0)
        w->error = errno ? errno : EIO;
}

static void put_parts(struct json *j, const struct result *r)
{
    struct json *endpoints = json_put(j, "endpoints", json_array());
    struct json *phases = json_put(j, "phases", json_array());
    struct json *faults = json_put(j, "faults", json_array());
    struct json *thresholds = json_put(j, "thresholds", json_array());

    for (size_t i = 0; i < r->n_endpoints; i++)
        json_put(endpoints, NULL, endpoint_json(&r->endpoints[i]));
    for (size_t i = 0; i < r->n_phases; i++)
        json_put(phases, NULL, phase_json(&r->phases[i], false));
    for (size_t i = 0; i < r->n_faults; i++)
        json_put(faults, NULL, fault_json(&r->faults[i]));
    for (size_t i = 0; i < r->n_thresholds; i++)
        json_put(thresholds, NULL, threshold_json(&r->thresholds[i]));
}

static void rows_begin(void *arg, const struct plan *p, const struct result *r)
{
    struct rows_writer *w = arg;
    struct json *j = line_new("header");

    (void)p;
    json_put_str(j, "schema", ROWS_SCHEMA);
    result_put_head(j, r);
    put_parts(j, r);
    put_line(w, j);
    flush_lines(w);
}

static void put_phase(struct rows_writer *w, const struct result *r, size_t i)
{
    struct json *j = line_new("phase");

    json_put_u64(j, "index", i);
    json_put(j, "phase", phase_json(&r->phases[i], false));
    put_line(w, j);
}

static void rows_phase(void *arg, const struct result *r, size_t phase)
{
    struct rows_writer *w = arg;

    if (phase > 0)
        put_phase(w, r, phase - 1); /* its end is known now */
    put_phase(w, r, phase);
    flush_lines(w);
}

static void rows_fault(void *arg, const struct result *r, size_t fault)
{
    struct rows_writer *w = arg;
    struct json *j = line_new("fault");

    json_put_u64(j, "index", fault);
    json_put(j, "fault", fault_json(&r->faults[fault]));
    put_line(w, j);
    flush_lines(w);
}

static void rows_second(void *arg, const struct result *r, const struct result_row *second,
                        const struct row *rows, size_t n)
{
    struct rows_writer *w = arg;

    for (size_t i = 0; i < n; i++) {
        struct json *j = line_new("row");
        json_put_ms(j, "t_ms", rows[i].t_ns);
        json_put_u64(j, "phase", rows[i].phase);
        json_put_u64(j, "endpoint", rows[i].endpoint);
        cell_put_json(j, rows[i].cell, false);
        put_line(w, j);
    }
    struct json *j = line_new("second");
    json_put_ms(j, "t_ms", second->t_ns);
    json_put_num(j, "phase", second->phase);
    json_put_u64(j, "users", second->users);
    json_put_u64(j, "in_flight", second->in_flight);
    json_put_u64(j, "successes", second->ok);
    json_put_u64(j, "failures", second->fail);
    json_put_u64(j, "dropped", second->dropped);
    json_put_ms(j, "duration_ms", r->duration_ns);
    health_put_json(j, r);
    examples_put_json(j, r);
    put_line(w, j);
    flush_lines(w);
}

static int rows_end(void *arg, const struct plan *p, const struct result *r, struct err *err)
{
    struct rows_writer *w = arg;
    struct json *j = line_new("end");

    (void)p;
    result_put_head(j, r);
    put_parts(j, r);
    put_line(w, j);
    flush_lines(w);
    if (w->error)
        return err_sys(err, ERR_GENERIC, w->error, "write '%s'", w->path);
    return 0;
}

static void rows_free(void *arg)
{
    struct rows_writer *w = arg;

    err_ignore(fclose(w->file), "each line was flushed before; rows_end told what failed");
    free(w->path);
    free(w);
}

struct observer *rows_observer_new(const char *path, struct err *err)
{
    if (report_make_parent(path, err) < 0)
        return NULL;
    FILE *file = fopen(path, "we");
    if (!file) {
        err_ignore(err_sys(err, ERR_PREPARE, errno, "write '%s'", path), "told by NULL");
        return NULL;
    }
    struct rows_writer *w = xcalloc(1, sizeof(*w));
    w->file = file;
    w->path = xstrdup(path);
    w->observer = (struct observer){ .arg = w,
                                     .begin = rows_begin,
                                     .phase = rows_phase,
                                     .fault = rows_fault,
                                     .second = rows_second,
                                     .end = rows_end,
                                     .free = rows_free };
    return &w->observer;
}
