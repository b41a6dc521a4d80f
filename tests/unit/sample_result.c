/* See sample_result.h. The figures of phases and totals are merges of the seconds, as in a real
 * run. */
#include "sample_result.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

#define SECONDS 90
#define KILL_AT 30
#define KILL_WELL 35
#define LATENCY_AT 60
#define LATENCY_END 75

static const struct {
    const char *name, *method, *user_class;
    double per_sec, mean_ms;
} endpoints[] = {
    { "GET /", "GET", "website", 60, 8 },
    { "GET /health", "GET", "website", 20, 1.2 },
    { "POST /items", "POST", "website", 25, 22 },
    { "GET /items/[id] with a rather long name that no narrow screen can hold", "GET", "api", 12,
      14 },
    { HOSTILE_NAME, "GET", "api", 3, 5 },
    { "GET /never", "GET", "api", 0, 1 },
};
#define N_ENDPOINTS ARRAY_LEN(endpoints)

static const struct {
    const char *name;
    enum phase_kind kind;
    int fault;
    unsigned start_s, end_s;
} phases[] = {
    { "warm-up", PHASE_WARM_UP, -1, 0, 5 },
    { "baseline", PHASE_BASELINE, -1, 5, KILL_AT },
    { "inject kill shop #1", PHASE_INJECT, 0, KILL_AT, KILL_AT + 2 },
    { "recovery kill shop #1", PHASE_RECOVERY, 0, KILL_AT + 2, LATENCY_AT },
    { "inject latency shop", PHASE_INJECT, 1, LATENCY_AT, LATENCY_END },
    { "recovery latency shop", PHASE_RECOVERY, 1, LATENCY_END, 85 },
    { "cool-down", PHASE_COOL_DOWN, -1, 85, SECONDS },
};

static uint64_t at_s(double s)
{
    return (uint64_t)llround(s * 1e9);
}

static size_t phase_at(unsigned second)
{
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(phases) && second >= phases[i].end_s)
        i++;
    return i;
}

/* One request of that second: what became of it. */
static struct sample one_request(struct rng *rng, size_t e, unsigned second)
{
    uint64_t sched = at_s(second + rng_unit(rng)) + 1;
    double ms = endpoints[e].mean_ms * exp(0.45 * rng_normal(rng));
    struct sample s = { .task = (uint32_t)e, .status = 200, .sched = sched, .bytes_in = 640 };

    if (second >= LATENCY_AT && second < LATENCY_END)
        ms += 180 + 40 * rng_unit(rng);
    if (second >= KILL_AT && second < KILL_AT + 3) {
        s.fail = second == KILL_AT && rng_unit(rng) < 0.4 ? FAIL_RESET : FAIL_REFUSED;
        s.status = 0;
        ms = 0.4;
        s.bytes_in = 0;
    } else if (second >= KILL_AT + 3 && second < KILL_WELL) {
        ms *= 6;
        if (rng_unit(rng) < 0.08) {
            s.fail = FAIL_STATUS;
            s.status = 503;
        } else if (rng_unit(rng) < 0.02) {
            s.fail = FAIL_RESPONSE_TIMEOUT;
            s.status = 0;
            ms = 2000;
        }
    } else if (e == 2 && rng_unit(rng) < 0.004) {
        s.fail = FAIL_EXPECTATION;
    }
    s.start = sched + 20000;
    s.send = s.start + 30000;
    s.done = s.send + (uint64_t)llround(ms * 1e6);
    s.first = s.status ? s.done - 1000 : 0;
    s.stage_ns[STAGE_WAIT] = s.done - s.send;
    s.bytes_out = 180;
    return s;
}

static struct cell *make_cell(struct rng *rng, size_t e, unsigned second)
{
    double ramp = second < 5 ? (second + 1) / 6.0 : 1;
    unsigned n = (unsigned)lround(endpoints[e].per_sec * ramp * (0.9 + 0.2 * rng_unit(rng)));
    struct cell *c = NULL;

    for (unsigned i = 0; i < n; i++) {
        struct sample s = one_request(rng, e, second);
        if (!c)
            c = cell_new();
        cell_record(c, &s);
    }
    return c;
}

static void add_second(struct sample_run *s, struct rng *rng, unsigned second)
{
    struct result *r = s->r;
    size_t phase = phase_at(second);
    struct sample_second *to = &s->seconds[s->n_seconds++];

    to->rows = xcalloc(N_ENDPOINTS, sizeof(*to->rows));
    to->row = (struct result_row){ .t_ns = at_s(second),
                                   .phase = (int)phase,
                                   .users = second < 5 ? (second + 1) * 20 : 100,
                                   .in_flight = 7 };
    for (size_t e = 0; e < N_ENDPOINTS; e++) {
        struct cell *c = make_cell(rng, e, second);
        if (!c)
            continue;
        to->rows[to->n++] = (struct row){
            .t_ns = to->row.t_ns, .phase = (uint32_t)phase, .endpoint = (uint32_t)e, .cell = c
        };
        cell_merge(&r->total, c);
        cell_merge(&r->endpoints[e].cell, c);
        cell_merge(&r->phases[phase].cell, c);
        cell_merge(result_phase_cell(r, phase, e), c);
        result_row_count(&to->row, c);
    }
    result_add_second(r, &to->row, to->rows, to->n);
}

static struct result_hit *sample_hits(void)
{
    struct result_hit *v = xcalloc(2, sizeof(*v));

    v[0] = (struct result_hit){ xstrdup("shop-1"), xstrdup("pid 4711"), at_s(30.0008),
                                at_s(30.0021), at_s(32.4) };
    v[1] = (struct result_hit){ xstrdup("shop-2 <i>"), xstrdup("pid 4712"), at_s(30.0009), T_NONE,
                                T_NONE };
    return v;
}

static void add_faults(struct result *r)
{
    r->n_faults = 3;
    r->faults = xcalloc(r->n_faults, sizeof(*r->faults));
    r->faults[0] = (struct result_fault){
        .name = xstrdup("kill shop"),
        .kind = xstrdup("kill"),
        .backend = xstrdup("process"),
        .target = xstrdup("process shop (pid 4711)"),
        .mechanism = xstrdup("pidfd"),
        .hits = sample_hits(),
        .n_hits = 2,
        .planned_ns = at_s(KILL_AT),
        .requested_ns = at_s(30.0008),
        .effective_ns = at_s(30.0021),
        .revert_requested_ns = at_s(32.0),
        .reverted_ns = at_s(32.4),
        .one_shot = true,
        .observed = true,
        .verified_in = true,
        .verified_out = true,
        .ended_by = ENDED_BY_PLAN,
        .felt = true,
        .time_to_impact_ns = at_s(0.012),
        .time_to_recover_ns = at_s(4.998),
        .time_to_recover_after_removal_ns = at_s(2.6),
        .recover_hold_ns = at_s(5),
        .resolution_ns = at_s(0.1),
        .requests_lost = 412,
        .requests_slow = 190,
        .worst_window_ns = at_s(30),
        .worst_window_error_rate = 1,
        .worst_window_p95_ns = 0,
        .good_share = 0.31,
    };
    r->faults[1] = (struct result_fault){
        .name = xstrdup("latency shop"),
        .kind = xstrdup("latency"),
        .backend = xstrdup("proxy"),
        .target = xstrdup("proxy shop (127.0.0.1:40001 → 127.0.0.1:5001)"),
        .planned_ns = at_s(LATENCY_AT),
        .requested_ns = at_s(60.0004),
        .effective_ns = at_s(60.0006),
        .revert_requested_ns = at_s(75.0002),
        .reverted_ns = at_s(75.0003),
        .duration_ns = at_s(15),
        .verified_in = true,
        .verified_out = true,
        .ended_by = ENDED_BY_PLAN,
        .felt = true,
        .time_to_impact_ns = at_s(0.2),
        .time_to_recover_ns = T_NONE,
        .time_to_recover_after_removal_ns = T_NONE,
        .recover_hold_ns = at_s(5),
        .resolution_ns = at_s(0.1),
        .requests_slow = 1800,
        .worst_window_ns = at_s(64),
        .worst_window_error_rate = 0.01,
        .worst_window_p95_ns = at_s(0.262),
        .good_share = 0.02,
    };
    r->faults[2] = (struct result_fault){
        .name = xstrdup("pause <b>db</b>"),
        .kind = xstrdup("pause"),
        .backend = xstrdup("process"),
        .target = xstrdup(HOSTILE_NAME),
        .planned_ns = at_s(80),
        .requested_ns = T_NONE,
        .effective_ns = T_NONE,
        .revert_requested_ns = T_NONE,
        .reverted_ns = T_NONE,
        .duration_ns = at_s(2),
        .ended_by = ENDED_BY_ERROR,
        .time_to_impact_ns = T_NONE,
        .time_to_recover_ns = T_NONE,
        .time_to_recover_after_removal_ns = T_NONE,
        .worst_window_ns = T_NONE,
        .error = xstrdup("prepare: process 'db' is not in the plan; declare it under processes:"),
    };
}

static void add_thresholds(struct result *r)
{
    static const struct {
        const char *expression, *phase, *unit;
        double value, limit, broken_s;
        bool has_value, ok;
    } rows[] = {
        { "errors: rate < 1% in baseline", "baseline", "ratio", 0.0008, 0.01, 0, true, true },
        { "response_time: p(95) < 500ms in recovery", "recovery", "ms", 41.2, 500, 0, true, true },
        { "response_time{GET /}: p(99) < 100ms over 10s", "", "ms", 231.4, 100, 61.2, true, false },
        { "requests: rate > 100/s", "", "/s", 117.3, 100, 0, true, true },
        { "recovery_time: max < 5s", "", "ms", 4998, 5000, 0, true, true },
        { "errors{" HOSTILE_NAME "}: count < 1", "", "", 0, 1, 0, false, false },
    };

    r->n_thresholds = ARRAY_LEN(rows);
    r->thresholds = xcalloc(r->n_thresholds, sizeof(*r->thresholds));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        r->thresholds[i] =
            (struct result_threshold){ .expression = xstrdup(rows[i].expression),
                                       .phase = xstrdup(rows[i].phase),
                                       .unit = xstrdup(rows[i].unit),
                                       .value = rows[i].value,
                                       .limit = rows[i].limit,
                                       .has_value = rows[i].has_value,
                                       .ok = rows[i].ok,
                                       .first_broken_ns =
                                           rows[i].broken_s > 0 ? at_s(rows[i].broken_s) : T_NONE };
}

static void add_head(struct result *r)
{
    r->run_id = xstrdup("20261121-081500-7f3a");
    r->name = xstrdup("the shop survives a killed replica");
    r->description = xstrdup("100 users, one kill, one slow network");
    r->target = xstrdup("http://127.0.0.1:5001");
    r->engine = xstrdup("native");
    r->version = xstrdup("0.1.0");
    r->seed_text = xstrdup("17446744073709551615");
    r->plan_text = xstrdup("apiVersion: chaos-load/v1\nname: shop\n# </script> in a comment\n");
    r->reason = xstrdup("2 of 6 thresholds do not hold: response_time{GET /}: p(99) < 100ms over "
                        "10s was 231 ms");
    r->verdict = VERDICT_FAIL;
    r->exit_code = 1;
    r->seed = UINT64_C(17446744073709551615);
    r->started_wall_ns = UINT64_C(1795248900123456789);
    r->duration_ns = at_s(SECONDS);
    r->judged_by = "response_time";
    r->users_max = 100;
    r->threads = 2;
    r->iterations = 9876;
    r->cpu_share_max = 0.37;
    r->lag_p99_ns = 90000;
    r->complete = true;
    r->examples[FAIL_REFUSED] = xstrdup("GET /: connect 127.0.0.1:5001: Connection refused");
    r->examples[FAIL_EXPECTATION] = xstrdup("POST /items: the body is '" HOSTILE_NAME "'");
    r->n_notes = 2;
    r->notes = xcalloc(r->n_notes, sizeof(*r->notes));
    r->notes[0] = xstrdup("open files: raised from 1024 to 4096");
    r->notes[1] = xstrdup("engine: native HTTP/1.1 <keep-alive>");
}

void sample_init(struct sample_run *s)
{
    struct rng rng;

    *s = (struct sample_run){ .r = result_new() };
    rng_seed(&rng, 7, 1);
    add_head(s->r);
    s->r->n_endpoints = N_ENDPOINTS;
    s->r->endpoints = xcalloc(N_ENDPOINTS, sizeof(*s->r->endpoints));
    for (size_t i = 0; i < N_ENDPOINTS; i++) {
        s->r->endpoints[i].name = xstrdup(endpoints[i].name);
        s->r->endpoints[i].method = xstrdup(endpoints[i].method);
        s->r->endpoints[i].user_class = xstrdup(endpoints[i].user_class);
    }
    s->r->n_phases = ARRAY_LEN(phases);
    s->r->phases = xcalloc(ARRAY_LEN(phases), sizeof(*s->r->phases));
    for (size_t i = 0; i < ARRAY_LEN(phases); i++)
        s->r->phases[i] = (struct result_phase){ .name = xstrdup(phases[i].name),
                                                 .kind = phases[i].kind,
                                                 .fault = phases[i].fault,
                                                 .start_ns = at_s(phases[i].start_s),
                                                 .end_ns = at_s(phases[i].end_s) };
    add_faults(s->r);
    add_thresholds(s->r);
    s->seconds = xcalloc(SECONDS, sizeof(*s->seconds));
    for (unsigned i = 0; i < SECONDS; i++)
        add_second(s, &rng, i);
}

void sample_done(struct sample_run *s)
{
    for (size_t i = 0; i < s->n_seconds; i++) {
        for (size_t k = 0; k < s->seconds[i].n; k++) {
            struct cell *own;
            memcpy(&own, &s->seconds[i].rows[k].cell, sizeof(own));
            cell_free(own);
        }
        free(s->seconds[i].rows);
        hist_done(&s->seconds[i].row.response);
        hist_done(&s->seconds[i].row.failed);
    }
    free(s->seconds);
    result_free(s->r);
}

static void play_tick(const struct sample_run *s, const struct observer *o, size_t second,
                      unsigned tenth)
{
    const struct result_row *row = &s->seconds[second].row;
    struct live live = { .t_ns = row->t_ns + tenth * NS_PER_SEC / 10,
                         .planned_duration_ns = s->r->duration_ns,
                         .users = row->users,
                         .users_wanted = 100,
                         .in_flight = row->in_flight,
                         .rate = (double)(row->ok + row->fail),
                         .fail_rate = (double)row->fail,
                         .requests = row->ok,
                         .failures = row->fail,
                         .p50_ns = hist_quantile_ns(&row->response, 0.5),
                         .p95_ns = hist_quantile_ns(&row->response, 0.95),
                         .p99_ns = hist_quantile_ns(&row->response, 0.99),
                         .phase = &s->r->phases[row->phase],
                         .next_fault = second < LATENCY_AT ? "latency shop" : NULL,
                         .next_fault_ns = at_s(LATENCY_AT),
                         .so_far = s->r };

    if (o->tick)
        o->tick(o->arg, &live);
}

static void play_events(const struct sample_run *s, const struct observer *o, size_t second)
{
    for (size_t i = 0; o->phase && i < ARRAY_LEN(phases); i++)
        if (phases[i].start_s == second)
            o->phase(o->arg, s->r, i);
    for (size_t i = 0; o->fault && i < s->r->n_faults; i++)
        if (s->r->faults[i].planned_ns / NS_PER_SEC == second)
            o->fault(o->arg, s->r, i);
}

int sample_play(const struct sample_run *s, const struct observer *o, size_t seconds,
                struct err *err)
{
    if (o->begin)
        o->begin(o->arg, NULL, s->r);
    for (size_t i = 0; i < seconds && i < s->n_seconds; i++) {
        play_events(s, o, i);
        for (unsigned tenth = 0; tenth < 10; tenth++)
            play_tick(s, o, i, tenth);
        if (o->second)
            o->second(o->arg, s->r, &s->seconds[i].row, s->seconds[i].rows, s->seconds[i].n);
    }
    if (seconds >= s->n_seconds && o->end)
        return o->end(o->arg, NULL, s->r, err);
    return 0;
}
