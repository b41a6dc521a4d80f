/* rows.ndjson back into a result. Everything that was measured is rebuilt by merging the rows, so
 * totals, phases and endpoints are exactly those that the run had. Without an "end" line the run
 * was killed: the verdict is then an error that says so, and `complete` is false. The last line may
 * be torn; a second without its closing line does not count. */
#include <errno.h>
#include <string.h>

#include "campaign/observer.h"
#include "campaign/result_cell.h"
#include "campaign/rows.h"

struct reader {
    struct result *r;
    struct row *pending; /* rows of the second that is not closed yet; cells owned */
    size_t n_pending, max_pending;
    bool has_header, has_end;
};

static void pending_clear(struct reader *rd)
{
    for (size_t i = 0; i < rd->n_pending; i++) {
        /* The observer's row borrows its cell; these are the reader's own. */
        cell_free((struct cell *)(uintptr_t)rd->pending[i].cell);
    }
    rd->n_pending = 0;
}

static void reader_done(struct reader *rd)
{
    pending_clear(rd);
    free(rd->pending);
    result_free(rd->r);
}
#define auto_reader __attribute__((cleanup(reader_done)))

/* Phases up to and including `index` exist afterwards. */
static int make_phases(struct result *r, uint64_t index, struct err *err)
{
    if (index >= RESULT_PHASES_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "phase %zu: at most %d are allowed", (size_t)index,
                       RESULT_PHASES_MAX);
    if (index < r->n_phases)
        return 0;
    r->phases = xrealloc(r->phases, index + 1, sizeof(*r->phases));
    for (; r->n_phases <= index; r->n_phases++)
        r->phases[r->n_phases] = (struct result_phase){
            .name = xstrdup("unnamed"), .kind = PHASE_BASELINE, .fault = -1, .end_ns = T_NONE
        };
    return 0;
}

static int read_phase(struct result *r, uint64_t index, const struct json *j, struct err *err)
{
    struct result_phase meta = { 0 };

    if (make_phases(r, index, err) < 0)
        return -E2BIG;
    if (phase_from_json(j, &meta, err) < 0) {
        free(meta.name);
        return err_wrap(err, "phase %zu", (size_t)index);
    }
    struct result_phase *p = &r->phases[index];
    free(p->name);
    p->name = meta.name;
    p->kind = meta.kind;
    p->fault = meta.fault;
    p->start_ns = meta.start_ns;
    p->end_ns = meta.end_ns;
    return 0;
}

static int read_phases(struct result *r, const struct json *list, struct err *err)
{
    uint64_t index = 0;

    for (const struct json *p = json_is_array(list) ? json_first(list) : NULL; p; p = json_next(p))
        if (read_phase(r, index++, p, err) < 0)
            return -EINVAL;
    return 0;
}

static int read_fault(struct result *r, uint64_t index, const struct json *j, struct err *err)
{
    struct result_fault f = { 0 };

    if (index >= RESULT_FAULTS_MAX || index > r->n_faults)
        return err_set(err, ERR_USAGE, EINVAL, "fault %zu: there are only %zu before it",
                       (size_t)MIN(index, SIZE_MAX), r->n_faults);
    if (fault_from_json(j, &f, err) < 0) {
        result_fault_done(&f);
        return err_wrap(err, "fault");
    }
    if (index == r->n_faults) {
        r->faults = xrealloc(r->faults, r->n_faults + 1, sizeof(*r->faults));
        r->n_faults++;
    } else {
        result_fault_done(&r->faults[index]);
    }
    r->faults[index] = f;
    return 0;
}

static void drop_faults(struct result *r)
{
    for (size_t i = 0; i < r->n_faults; i++)
        result_fault_done(&r->faults[i]);
    free(r->faults);
    r->faults = NULL;
    r->n_faults = 0;
}

static void drop_thresholds(struct result *r)
{
    for (size_t i = 0; i < r->n_thresholds; i++) {
        free(r->thresholds[i].expression);
        free(r->thresholds[i].phase);
        free(r->thresholds[i].unit);
    }
    free(r->thresholds);
    r->thresholds = NULL;
    r->n_thresholds = 0;
}

static void drop_head(struct result *r)
{
    char **const texts[] = { &r->run_id,  &r->name,      &r->description, &r->target, &r->engine,
                             &r->version, &r->seed_text, &r->plan_text,   &r->reason };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(*texts[i]);
        *texts[i] = NULL;
    }
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i]);
    free(r->notes);
    r->notes = NULL;
    r->n_notes = 0;
}

static int read_endpoints(struct result *r, const struct json *list, struct err *err)
{
    size_t n = json_is_array(list) ? json_len(list) : 0;

    if (n > RESULT_ENDPOINTS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "endpoints: %zu, at most %d are allowed", n,
                       RESULT_ENDPOINTS_MAX);
    r->endpoints = xcalloc(n + 1, sizeof(*r->endpoints));
    for (const struct json *e = n ? json_first(list) : NULL; e; e = json_next(e))
        endpoint_from_json(e, &r->endpoints[r->n_endpoints++]);
    return 0;
}

/* What header and end share; the end replaces what the header said. */
static int read_parts(struct result *r, const struct json *j, struct err *err)
{
    drop_head(r);
    drop_faults(r);
    drop_thresholds(r);
    if (result_head_from_json(j, r, err) < 0 || read_phases(r, json_get(j, "phases"), err) < 0 ||
        faults_from_json(j, r, err) < 0)
        return -EINVAL;
    return thresholds_from_json(j, r, err);
}

static int on_header(struct reader *rd, const struct json *j, struct err *err)
{
    const char *schema = json_str(j, "schema", "");

    if (rd->has_header)
        return err_set(err, ERR_USAGE, EINVAL, "a second header");
    if (strcmp(schema, ROWS_SCHEMA) != 0)
        return err_set(err, ERR_USAGE, EINVAL, "schema: '%.60s' is not '" ROWS_SCHEMA "'", schema);
    rd->has_header = true;
    if (read_endpoints(rd->r, json_get(j, "endpoints"), err) < 0)
        return -EINVAL;
    return read_parts(rd->r, j, err);
}

static int on_row(struct reader *rd, const struct json *j, struct err *err)
{
    uint64_t phase = json_u64(j, "phase", UINT64_MAX);
    uint64_t endpoint = json_u64(j, "endpoint", UINT64_MAX);

    if (endpoint >= rd->r->n_endpoints)
        return err_set(err, ERR_USAGE, EINVAL, "endpoint: there is no such endpoint");
    if (make_phases(rd->r, phase, err) < 0)
        return -EINVAL;
    if (rd->n_pending == rd->max_pending) {
        rd->max_pending = rd->max_pending ? 2 * rd->max_pending : 16;
        rd->pending = xrealloc(rd->pending, rd->max_pending, sizeof(*rd->pending));
    }
    struct cell *cell = cell_new();
    rd->pending[rd->n_pending++] = (struct row){ .t_ns = json_ms(j, "t_ms", 0),
                                                 .phase = (uint32_t)phase,
                                                 .endpoint = (uint32_t)endpoint,
                                                 .cell = cell };
    return cell_from_json(j, cell, err);
}

static void merge_pending(struct reader *rd, struct result_row *second)
{
    for (size_t i = 0; i < rd->n_pending; i++) {
        const struct row *row = &rd->pending[i];
        cell_merge(&rd->r->endpoints[row->endpoint].cell, row->cell);
        cell_merge(result_phase_cell(rd->r, row->phase, row->endpoint), row->cell);
        if (!endpoint_is_honest(&rd->r->endpoints[row->endpoint]))
            continue;
        cell_merge(&rd->r->total, row->cell);
        cell_merge(&rd->r->phases[row->phase].cell, row->cell);
        result_row_count(second, row->cell);
    }
}

static int on_second(struct reader *rd, const struct json *j, struct err *err)
{
    struct result *r = rd->r;
    uint64_t phase = json_u64(j, "phase", UINT64_MAX);
    struct result_row second = {
        .t_ns = json_ms(j, "t_ms", 0),
        .phase = phase < RESULT_PHASES_MAX ? (int)phase : -1,
        .users = json_u64(j, "users", 0),
        .in_flight = json_u64(j, "in_flight", 0),
    };

    if (r->n_rows == RESULT_ROWS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "more than %d seconds", RESULT_ROWS_MAX);
    merge_pending(rd, &second);
    result_add_second(r, &second, rd->pending, rd->n_pending);
    hist_done(&second.response);
    hist_done(&second.failed);
    pending_clear(rd);
    health_from_json(j, r);
    examples_from_json(j, r);
    r->duration_ns = MAX(json_ms(j, "duration_ms", 0), second.t_ns);
    return 0;
}

static int on_phase(struct reader *rd, const struct json *j, struct err *err)
{
    return read_phase(rd->r, json_u64(j, "index", UINT64_MAX), json_get(j, "phase"), err);
}

static int on_fault(struct reader *rd, const struct json *j, struct err *err)
{
    return read_fault(rd->r, json_u64(j, "index", UINT64_MAX), json_get(j, "fault"), err);
}

static int on_end(struct reader *rd, const struct json *j, struct err *err)
{
    rd->has_end = true;
    return read_parts(rd->r, j, err);
}

static const struct {
    const char *type;
    int (*read)(struct reader *rd, const struct json *j, struct err *err);
} line_types[] = {
    { "row", on_row },     { "second", on_second }, { "phase", on_phase },
    { "fault", on_fault }, { "header", on_header }, { "end", on_end },
};

static int read_line(struct reader *rd, const struct json *j, struct err *err)
{
    const char *type = json_str(j, "type", "");

    if (!rd->has_header && strcmp(type, "header") != 0)
        return err_set(err, ERR_USAGE, EINVAL, "the first line is no header: not a rows file");
    for (size_t i = 0; i < ARRAY_LEN(line_types); i++)
        if (strcmp(line_types[i].type, type) == 0)
            return line_types[i].read(rd, j, err);
    return 0; /* a newer writer may know more types */
}

static void close_open_run(struct result *r)
{
    free(r->reason);
    r->verdict = VERDICT_ERROR;
    r->exit_code = 3;
    r->complete = false;
    r->reason = xasprintf("the run was cut off after %.0f s: rebuilt from its rows, thresholds "
                          "were not judged",
                          (double)r->duration_ns / (double)NS_PER_SEC);
    for (size_t i = 0; i < r->n_thresholds; i++) {
        r->thresholds[i].has_value = false;
        r->thresholds[i].ok = false;
    }
}

int result_from_rows(const char *text, size_t len, struct result **ret, struct err *err)
{
    auto_reader struct reader rd = { .r = result_new() };
    const char *end = text + len;
    size_t number = 0;

    for (const char *line = text; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        auto(json) struct json *j = NULL;
        if (!stop)
            break; /* torn: it was being written when the run died */
        number++;
        if ((size_t)(stop - line) > ROWS_LINE_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "rows: line %zu is too long", number);
        if (json_parse(line, (size_t)(stop - line), &j, err) < 0 || read_line(&rd, j, err) < 0)
            return err_wrap(err, "rows: line %zu", number);
        line = stop + 1;
    }
    if (!rd.has_header)
        return err_set(err, ERR_USAGE, EINVAL, "rows: there is no header line: nothing to rebuild");
    if (!rd.has_end)
        close_open_run(rd.r);
    *ret = TAKE(rd.r);
    return 0;
}
