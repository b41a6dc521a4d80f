/* `faults:`: each item is one fault kind's key beside the timing keys. The kind's own parameters
 * are read by chaoslib; here is when it happens, and whether all of it can happen at all. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/plan_internal.h"
#include "chaoslib/clock/clock.h"

#define KINDS_MAX 128
#define FAULT_NAME_MAX 100

/* ---- at: 30s, or between(10s, 20s) ---- */

static bool split_between(const char *text, char a[40], char b[40])
{
    const char *open = strchr(text, '('), *comma = strchr(text, ','), *close = strchr(text, ')');

    if (strncmp(text, "between(", 8) != 0 || !comma || !close || close[1] || comma > close)
        return false;
    snprintf(a, 40, "%.*s", (int)MIN(comma - open - 1, 39), open + 1);
    comma += 1 + strspn(comma + 1, " ");
    snprintf(b, 40, "%.*s", (int)MIN(close - comma, 39), comma);
    return true;
}

static void at_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    struct fault_plan *f = CONTAINER_OF(field, struct fault_plan, at_ns);
    bool flag = ctx->from_flags || (d->source && d->source[0] == '-');
    unsigned flags = flag ? PARSE_BARE_SECONDS : PARSE_UNIT;
    char a[40], b[40];
    struct err err = { 0 };

    if (d->kind != DOC_SCALAR) {
        diag_add(ctx->diag, d, "expected an instant such as 30s or between(10s, 20s), not %s",
                 doc_kind_name(d->kind));
        return;
    }
    if (strncmp(d->text, "between", 7) != 0) {
        if (parse_duration(d->text, flags, &f->at_ns, &err) < 0)
            diag_add(ctx->diag, d, "%s", err.msg);
        f->at_max_ns = f->at_ns;
        return;
    }
    if (!split_between(d->text, a, b))
        diag_add(ctx->diag, d, "'%.60s' is not complete: write between(10s, 20s)", d->text);
    else if (parse_duration(a, flags, &f->at_ns, &err) < 0 ||
             parse_duration(b, flags, &f->at_max_ns, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
    else if (f->at_ns > f->at_max_ns)
        diag_add(ctx->diag, d, "'%.60s': the first must not be above the second", d->text);
}

static const struct param timing_rows[] = {
    PARAM(CUSTOM, "at", struct fault_plan, at_ns, .load = at_load,
          .type_text = "duration, or between(10s, 20s)", .schema_json = "{\"type\":\"string\"}",
          .help = "when, from the start of the run; with 'after', from the end of that fault "
                  "(default then: at once); between draws an instant with the seed"),
    PARAM(DURATION, "duration", struct fault_plan, duration_ns,
          .help = "how long it is held; kinds that happen at once (kill, restart, exec) have none"),
    PARAM(DURATION, "every", struct fault_plan, every_ns,
          .help = "again and again, from one beginning to the next"),
    PARAM(INT, "count", struct fault_plan, count, .lo = 1, .hi = ACTIVATIONS_MAX,
          .help = "how often, with 'every'; default: until the load ends"),
    PARAM(STR, "after", struct fault_plan, after, .type_text = "name of a fault",
          .help = "begins when the last activation of that fault has ended"),
    PARAM(STR, "name", struct fault_plan, name,
          .help = "what reports and thresholds call it; default: kind and target, 'kill shop'"),
    PARAM(BOOL, "serial", struct fault_plan, serial, .def = "false",
          .help = "waits while another fault is active, instead of overlapping it"),
};
const struct param_table fault_timing_table = { "faults[]", timing_rows, ARRAY_LEN(timing_rows),
                                                NULL };

/* ---- one item ---- */

/* Names of all kinds, each once; NULL-terminated. */
static size_t kind_names(const char **out)
{
    size_t n = 0;

    for (const struct fault_kind *const *k = fault_catalog; *k && n + 1 < KINDS_MAX; k++) {
        bool there = false;

        for (size_t i = 0; i < n; i++)
            there |= strcmp(out[i], (*k)->name) == 0;
        if (!there)
            out[n++] = (*k)->name;
    }
    out[n] = NULL;
    return n;
}

static bool is_timing_key(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(timing_rows); i++)
        if (strcmp(timing_rows[i].name, key) == 0)
            return true;
    return false;
}

/* The item's one kind; with a message when there is none, or more than one. */
static const struct doc *kind_of(const struct param_ctx *ctx, const struct doc *d,
                                 const char *const *names, size_t n_names)
{
    const struct doc *found = NULL;
    bool unknown = false;

    for (size_t i = 0; i < d->n_items; i++) {
        bool known = false;

        for (size_t k = 0; k < n_names; k++)
            known |= strcmp(names[k], d->items[i]->key) == 0;
        unknown |= !known && !is_timing_key(d->items[i]->key);
        if (known && found) {
            diag_add_key(ctx->diag, d->items[i],
                         "this fault is already a '%s'; begin another item for it", found->key);
            return NULL;
        }
        if (known)
            found = d->items[i];
    }
    if (!found && !unknown)
        diag_add(ctx->diag, d, "what is broken? write for example kill: {process: shop}");
    return found;
}

/* It lasts as long as the run does. */
static void watch_check(const struct param_ctx *ctx, const struct doc *d)
{
    static const char *const keys[] = { "at", "duration", "every", "count", "after", "serial" };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (doc_get(d, keys[i]))
            diag_add_key(ctx->diag, doc_get(d, keys[i]),
                         "a watch goes on from the beginning of the run to its end: leave it out");
}

static void timing_check(const struct param_ctx *ctx, const struct doc *d,
                         const struct fault_plan *f)
{
    bool watches = f->spec.kind && (fault_spec_flags(&f->spec) & FAULT_WATCH);

    if (watches)
        watch_check(ctx, d);
    if (!watches && !doc_get(d, "at") && !f->after)
        diag_add(ctx->diag, d, "when? add at: 30s, or after: <fault>");
    if (f->count > 0 && !f->every_ns)
        diag_add_key(ctx->diag, doc_get(d, "count"),
                     "needs 'every', the time from one to the next");
    if (doc_get(d, "every") && f->every_ns < NS_PER_MS)
        diag_add(ctx->diag, doc_get(d, "every"), "must be above 0");
    else if (f->every_ns && f->duration_ns >= f->every_ns)
        diag_add(ctx->diag, doc_get(d, "duration"),
                 "is not shorter than 'every', so it would never be taken back in between");
}

static void name_check(const struct param_ctx *ctx, const struct doc *d, const struct fault_plan *f)
{
    if (f->name && (!*f->name || strlen(f->name) > FAULT_NAME_MAX || strpbrk(f->name, "\"\r\n\t")))
        diag_add(ctx->diag, doc_get(d, "name"),
                 "a name has 1 to %d characters on one line, without double quotes",
                 FAULT_NAME_MAX);
}

static void duration_check(const struct param_ctx *ctx, const struct doc *d,
                           const struct fault_plan *f)
{
    const struct fault_kind *kind = f->spec.kind;
    const struct doc *duration = doc_get(d, "duration");
    unsigned flags = kind ? fault_spec_flags(&f->spec) : 0;

    if (!kind || (flags & FAULT_WATCH))
        return;
    if ((flags & FAULT_ONE_SHOT) && duration)
        diag_add_key(ctx->diag, duration, "%s happens at once and has no duration", kind->name);
    if (!(flags & (FAULT_ONE_SHOT | FAULT_TIMED)) && !duration)
        diag_add(ctx->diag, d, "how long? add duration: 10s");
    if (!(flags & FAULT_ONE_SHOT) && duration && !f->duration_ns)
        diag_add(ctx->diag, duration, "must be above 0");
}

static void fault_load(const struct param_ctx *ctx, const struct doc *d, struct fault_plan *f)
{
    const char *names[KINDS_MAX];
    size_t n = kind_names(names);
    const struct doc *kind;
    unsigned before = ctx->diag->n;

    if (d->kind != DOC_MAP) {
        diag_add(ctx->diag, d, "expected a map such as {kill: {process: shop}, at: 30s}, not %s",
                 doc_kind_name(d->kind));
        return;
    }
    kind = kind_of(ctx, d, names, n);
    param_load(ctx, &fault_timing_table, d, f, names);
    f->doc = d;
    f->after_index = -1;
    if (kind)
        fault_spec_read(ctx, kind->key, kind, &f->spec);
    if (ctx->diag->n == before || f->spec.kind)
        duration_check(ctx, d, f);
    if (ctx->diag->n == before)
        timing_check(ctx, d, f);
    if (ctx->diag->n == before)
        name_check(ctx, d, f);
    if (!f->every_ns)
        f->count = 1;
}

void faults_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    struct fault_rows *rows = field;

    if (d->kind == DOC_NULL)
        return;
    if (d->kind != DOC_LIST) {
        diag_add(ctx->diag, d, "expected a list of faults ('- kill: ...'), not %s",
                 doc_kind_name(d->kind));
        return;
    }
    if (d->n_items > FAULTS_MAX) {
        diag_add(ctx->diag, d, "more than %d faults", FAULTS_MAX);
        return;
    }
    rows->v = arena_alloc(ctx->arena, MAX(d->n_items, 1) * sizeof(*rows->v));
    if (!rows->v) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    rows->n = d->n_items;
    for (size_t i = 0; i < d->n_items; i++)
        fault_load(ctx, d->items[i], &rows->v[i]);
}

/* ---- all of them: names ---- */

const char *fault_target(const struct fault_plan *f)
{
    const struct doc *d = doc_get(doc_get(f->doc, f->spec.kind->name), f->spec.kind->backend);

    return d && d->kind == DOC_SCALAR ? d->text : "";
}

static int find_fault(const struct plan *p, const char *name, size_t end)
{
    for (size_t i = 0; i < end; i++)
        if (p->faults[i].name && strcmp(p->faults[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void name_faults(const struct param_ctx *ctx, struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++)
        if (p->faults[i].name && find_fault(p, p->faults[i].name, i) >= 0)
            diag_add(ctx->diag, doc_get(p->faults[i].doc, "name"), "there is already a fault '%s'",
                     p->faults[i].name);
    for (size_t i = 0; i < p->n_faults; i++) {
        struct fault_plan *f = &p->faults[i];
        const char *base;

        if (f->name)
            continue;
        base = arena_printf(ctx->arena, "%s%s%.80s", f->spec.kind->name,
                            *fault_target(f) ? " " : "", fault_target(f));
        const char *name = base;
        for (unsigned n = 2; name && find_fault(p, name, p->n_faults) >= 0; n++)
            name = arena_printf(ctx->arena, "%s %u", base, n);
        f->name = name ? name : "fault";
    }
}

/* ---- order ---- */

static void link_followers(const struct param_ctx *ctx, struct plan *p)
{
    const char *names[FAULTS_MAX];

    for (size_t i = 0; i < p->n_faults; i++)
        names[i] = p->faults[i].name;
    for (size_t i = 0; i < p->n_faults; i++) {
        struct fault_plan *f = &p->faults[i];
        const struct doc *at = doc_get(f->doc, "after");

        if (!f->after)
            continue;
        f->after_index = find_fault(p, f->after, p->n_faults);
        const char *near = nearest_name(f->after, names, p->n_faults);
        if (f->after_index >= 0)
            continue;
        if (near)
            diag_add(ctx->diag, at, "no fault '%s', did you mean '%s'?", f->after, near);
        else
            diag_add(ctx->diag, at, "no fault '%s'; give that fault a name: %s", f->after,
                     f->after);
    }
}

static void cycles_check(const struct param_ctx *ctx, const struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++) {
        int at = (int)i;

        for (size_t steps = 0; at >= 0 && steps <= p->n_faults; steps++) {
            at = p->faults[at].after_index;
            if (at == (int)i) {
                diag_add(ctx->diag, doc_get(p->faults[i].doc, "after"),
                         "waits in the end for itself, so it would never begin");
                break;
            }
        }
    }
}

/* ---- time ---- */

/* The earliest instant of its first activation, and of the end of its last; without cycles. */
static uint64_t earliest(const struct plan *p, size_t i)
{
    uint64_t t = 0;

    for (int at = (int)i; at >= 0; at = p->faults[at].after_index) {
        const struct fault_plan *f = &p->faults[at];

        t += f->at_ns;
        if (at != (int)i)
            t += f->duration_ns + (f->count > 1 ? (uint64_t)(f->count - 1) * f->every_ns : 0);
    }
    return t;
}

static void end_check(const struct param_ctx *ctx, const struct plan *p, size_t i)
{
    const struct fault_plan *f = &p->faults[i];
    const struct doc *at = doc_get(f->doc, "at");
    uint64_t first = f->after ? earliest(p, i) : f->at_max_ns;
    char when[DURATION_TEXT_MAX], end[DURATION_TEXT_MAX];

    if (p->load.duration_ns == 0 && f->every_ns && f->count == 0)
        diag_add(ctx->diag, f->doc,
                 "how often? the load has no end, so add count: 3, or give the load an end");
    if (p->load.duration_ns == 0 || first < p->load.duration_ns)
        return;
    diag_add(ctx->diag, at ? at : f->doc, "'%s' would begin at %s, but the load ends at %s",
             f->name, duration_text(first, when), duration_text(p->load.duration_ns, end));
}

static void activations_check(const struct param_ctx *ctx, const struct doc *root,
                              const struct plan *p)
{
    uint64_t n = 0;

    for (size_t i = 0; i < p->n_faults; i++) {
        const struct fault_plan *f = &p->faults[i];
        uint64_t left = p->load.duration_ns - MIN(p->load.duration_ns, f->at_ns);
        uint64_t own = f->every_ns ? (left + f->every_ns - 1) / f->every_ns : 1;

        if (f->count > 0 && (p->load.duration_ns == 0 || (uint64_t)f->count < own))
            own = (uint64_t)f->count;
        n += own;
    }
    if (n > ACTIVATIONS_MAX)
        diag_add(ctx->diag, doc_get(root, "faults"),
                 "would happen %llu times in all, more than %d; add count, or a longer every",
                 (unsigned long long)n, ACTIVATIONS_MAX);
}

/* ---- proxies ---- */

static bool is_declared(const struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_proxies; i++)
        if (strcmp(p->proxies[i].name, name) == 0)
            return true;
    return false;
}

static void undeclared_proxy(const struct param_ctx *ctx, struct plan *p,
                             const struct fault_plan *f)
{
    const char *name = fault_target(f);
    const struct doc *kind = doc_get(f->doc, f->spec.kind->name);

    if (p->target_proxy && strcmp(p->target_proxy, name) != 0) {
        diag_add(ctx->diag, doc_get(kind, f->spec.kind->backend),
                 "no proxy '%s': only one name that is not in proxies: can stand before the "
                 "target, and that is '%s'",
                 name, p->target_proxy);
        return;
    }
    p->target_proxy = name;
    bool looks = strncmp(f->spec.kind->name, "http-", 5) == 0 ||
                 strncmp(f->spec.kind->name, "grpc-", 5) == 0;
    if (strncmp(p->load.target, "https:", 6) == 0 && looks)
        diag_add_key(ctx->diag, kind,
                     "cannot look into https; use latency, reset and the like, or an http target");
}

static void proxies_check(const struct param_ctx *ctx, struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++) {
        const struct fault_plan *f = &p->faults[i];

        if (strcmp(f->spec.kind->backend, "proxy") == 0 && !is_declared(p, fault_target(f)))
            undeclared_proxy(ctx, p, f);
    }
}

/* ---- clocks ---- */

static bool is_started_by_us(const struct plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_processes; i++)
        if (strcmp(p->processes[i].name, name) == 0)
            return p->processes[i].run.n > 0;
    return p->embedded && strcmp(p->embedded, name) == 0;
}

static void clocks_check(const struct param_ctx *ctx, const struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++) {
        const struct fault_plan *f = &p->faults[i];
        const char *name = clock_skew_process(&f->spec);

        if (name && !is_started_by_us(p, name))
            diag_add(ctx->diag, doc_get(doc_get(f->doc, f->spec.kind->name), "process"),
                     "only the clocks of a process that the run starts can be skewed: give '%s' "
                     "a run: under processes:",
                     name);
    }
}

void faults_check(const struct param_ctx *ctx, const struct doc *root, struct plan *p)
{
    unsigned before = ctx->diag->n;

    name_faults(ctx, p);
    link_followers(ctx, p);
    proxies_check(ctx, p);
    clients_check(ctx, p);
    clocks_check(ctx, p);
    if (ctx->diag->n == before)
        cycles_check(ctx, p);
    if (ctx->diag->n != before)
        return;
    for (size_t i = 0; i < p->n_faults; i++)
        end_check(ctx, p, i);
    if (ctx->diag->n == before)
        activations_check(ctx, root, p);
}
