/* How much load, from flags: -u -r -t -i --stages --arrivals. Without a plan they make its `load`;
 * with one they change it. -t shortens whatever is there, stages included, so that a plan of an
 * hour can be tried for ten seconds. */
#include <math.h>
#include <string.h>

#include "base/parse.h"
#include "cli/flags.h"
#include "cli/words.h"

#define STAGES_FLAG_MAX 1000

static const char *const for_names[] = { "for", "duration", "run_time" };
static const char *const spawn_names[] = { "spawn", "spawn_rate" };
static const char *const users_names[] = { "users" };
static const char *const iterations_names[] = { "iterations" };

/* Replaces the key under the name by which the plan already calls it. */
static void put_as(const struct flags *f, struct doc *map, const char *const *names, size_t n,
                   struct doc *value)
{
    for (size_t i = 0; i < n; i++)
        if (doc_get(map, names[i])) {
            doc_map_put(f->arena, map, names[i], value);
            return;
        }
    doc_map_put(f->arena, map, names[0], value);
}

static struct doc *text_node(const struct flags *f, const char *source, const char *text)
{
    struct doc *d = doc_scalar(f->arena, source, text);

    if (!d)
        diag_add(f->diag, NULL, "the command line is too large");
    return d;
}

static const struct doc *get_as(const struct doc *map, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (doc_get(map, names[i]))
            return doc_get(map, names[i]);
    return NULL;
}

/* ---- --stages 30s:100,1m:500 and --arrivals '500/s poisson' ---- */

static bool add_stage(const struct flags *f, struct doc *list, char *text, int *is_rate)
{
    char *colon = strchr(text, ':');
    struct doc *stage = doc_new(f->arena, DOC_MAP, "--stages");
    int rate = colon && strchr(colon, '/');

    if (!colon || colon == text || !colon[1]) {
        diag_add(f->diag, NULL, "--stages: '%.60s' is not DURATION:USERS; write 30s:100,1m:500",
                 text);
        return false;
    }
    if (*is_rate >= 0 && *is_rate != rate) {
        diag_add(f->diag, NULL, "--stages: either users (30s:100) or rates (30s:100/s), not both");
        return false;
    }
    *is_rate = rate;
    *colon = '\0';
    flags_put_text(f, stage, "--stages", "for", text);
    flags_put_text(f, stage, "--stages", rate ? "rate" : "users", colon + 1);
    doc_list_add(f->arena, list, stage);
    return true;
}

/* 1: of rates, 0: of users, -1: none or a mistake. */
static int stages_from(const struct flags *f, struct doc **ret)
{
    const char *value = opt_value(f->args, "stages");
    int is_rate = -1;
    char *text, *save = NULL;

    if (!value)
        return -1;
    *ret = doc_new(f->arena, DOC_LIST, "--stages");
    text = arena_strdup(f->arena, value);
    if (!*ret || !text)
        return -1;
    for (char *one = strtok_r(text, ", ", &save); one; one = strtok_r(NULL, ", ", &save))
        if ((*ret)->n_items >= STAGES_FLAG_MAX || !add_stage(f, *ret, one, &is_rate))
            return -1;
    if (is_rate < 0)
        diag_add(f->diag, NULL, "--stages: empty; write 30s:100,1m:500");
    return is_rate;
}

static struct doc *arrivals_from(const struct flags *f)
{
    const char *value = opt_value(f->args, "arrivals");
    struct doc *map = doc_new(f->arena, DOC_MAP, "--arrivals");
    struct err err = { 0 };
    struct words w;

    if (!value)
        return map;
    if (words_split(value, f->arena, &w, &err) < 0) {
        diag_add(f->diag, NULL, "--arrivals: %s", err.msg);
        return map;
    }
    for (size_t i = 0; i < w.n; i++) {
        size_t len;
        const char *text = word_value(w.v[i], &len);
        const char *key = text ? arena_strndup(f->arena, w.v[i], len) : i == 0 ? "rate" : "process";

        if (key)
            flags_put_text(f, map, "--arrivals", key, text ? text : w.v[i]);
    }
    return map;
}

/* ---- -t ---- */

static uint64_t duration_of(const struct doc *d, bool *ret_ok)
{
    bool flag = d && d->source && d->source[0] == '-';
    uint64_t ns = 0;

    *ret_ok = d && d->kind == DOC_SCALAR &&
              parse_duration(d->text, flag ? PARSE_BARE_SECONDS : PARSE_UNIT, &ns, NULL) == 0;
    return ns;
}

/* The stage in which the end falls: shortened, its target where the ramp is then. */
static struct doc *cut_stage(const struct flags *f, const struct doc *stage, double from,
                             double share, uint64_t left_ns)
{
    struct doc *copy = doc_new(f->arena, DOC_MAP, "--run-time");
    const char *key = doc_get(stage, "rate") ? "rate" : "users";
    const struct doc *target = doc_get(stage, key);
    char text[DURATION_TEXT_MAX];
    double to = 0;

    for (size_t i = 0; copy && i < stage->n_items; i++) {
        struct doc *item = doc_new(f->arena, DOC_NULL, NULL);
        if (item) {
            *item = *stage->items[i];
            doc_map_put(f->arena, copy, stage->items[i]->key, item);
        }
    }
    put_as(f, copy, for_names, 2, text_node(f, "--run-time", duration_text(left_ns, text)));
    bool is_rate = strcmp(key, "rate") == 0;
    int rc = !target || target->kind != DOC_SCALAR ? -1
             : is_rate ? parse_rate(target->text, PARSE_BARE_SECONDS, &to, NULL)
                       : parse_double(target->text, 0, 1e9, &to, NULL);
    if (rc == 0 && !get_as(stage, spawn_names, ARRAY_LEN(spawn_names))) {
        const char *there = is_rate
                                ? arena_printf(f->arena, "%.9g/s", from + (to - from) * share)
                                : arena_printf(f->arena, "%.0f", round(from + (to - from) * share));
        if (there)
            doc_map_put(f->arena, copy, key, text_node(f, "--run-time", there));
    }
    return copy;
}

static double target_of(const struct doc *stage)
{
    const struct doc *d = doc_get(stage, doc_get(stage, "rate") ? "rate" : "users");
    double v = 0;

    if (d && d->kind == DOC_SCALAR && parse_rate(d->text, PARSE_BARE_SECONDS, &v, NULL) < 0)
        v = 0;
    return v;
}

static void cut_stages(const struct flags *f, struct doc *holder, const struct doc *stages,
                       uint64_t end_ns)
{
    struct doc *list = doc_new(f->arena, DOC_LIST, "--run-time");
    bool is_rate = stages->n_items && doc_get(stages->items[0], "rate");
    double from = is_rate ? target_of(stages->items[0]) : 0;
    uint64_t t = 0;

    for (size_t i = 0; list && i < stages->n_items; i++) {
        struct doc *stage = stages->items[i];
        bool ok;
        uint64_t ns = duration_of(get_as(stage, for_names, 2), &ok);

        if (!ok)
            return; /* the plan's own mistake, told when it is read */
        if (t + ns > end_ns)
            stage = cut_stage(f, stage, from, (double)(end_ns - t) / (double)ns, end_ns - t);
        doc_list_add(f->arena, list, stage);
        from = target_of(stage);
        t += ns;
        if (t >= end_ns)
            break;
    }
    doc_map_put(f->arena, holder, "stages", list);
}

static void cut_part(const struct flags *f, struct doc *part, const char *text, uint64_t end_ns)
{
    struct doc *holder = doc_get_mutable(part, "arrivals");
    bool ok;
    uint64_t start = duration_of(doc_get(part, "start"), &ok);
    char rest[DURATION_TEXT_MAX];

    if (!holder || holder->kind != DOC_MAP)
        holder = part;
    if (holder->kind != DOC_MAP)
        return;
    if (ok && start >= end_ns) {
        diag_add(f->diag, part, "--run-time %s ends before this part starts", text);
        return;
    }
    if (ok && start)
        text = duration_text(end_ns - start, rest);
    if (doc_get(holder, "stages"))
        cut_stages(f, holder, doc_get(holder, "stages"), end_ns - (ok ? start : 0));
    else
        put_as(f, holder, for_names, ARRAY_LEN(for_names), text_node(f, "--run-time", text));
}

static void apply_run_time(const struct flags *f, struct doc *load)
{
    const char *text = opt_value(f->args, "run-time");
    struct err err = { 0 };
    uint64_t ns;

    if (!text)
        return;
    if (parse_duration(text, PARSE_BARE_SECONDS, &ns, &err) < 0) {
        diag_add(f->diag, NULL, "--run-time: %s", err.msg);
        return;
    }
    if (load->kind != DOC_LIST) {
        cut_part(f, load, text, ns);
        return;
    }
    for (size_t i = 0; i < load->n_items; i++)
        cut_part(f, load->items[i], text, ns);
}

/* ---- all ---- */

static bool any_given(const struct flags *f)
{
    static const char *const names[] = { "users",      "spawn-rate", "run-time",
                                         "iterations", "stages",     "arrivals" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (opt_given(f->args, names[i]))
            return true;
    return false;
}

/* A new shape of load keeps only how long the old one was. */
static struct doc *new_load(const struct flags *f, const struct doc *old)
{
    struct doc *load = doc_new(f->arena, DOC_MAP, "--users");
    const struct doc *length = get_as(old, for_names, ARRAY_LEN(for_names));

    if (!length)
        length = get_as(doc_get(old, "arrivals"), for_names, ARRAY_LEN(for_names));
    if (load && length && length->kind == DOC_SCALAR)
        put_as(f, load, for_names, 1, text_node(f, length->source, length->text));
    doc_map_put(f->arena, f->root, "load", load);
    return load;
}

static struct doc *open_load(const struct flags *f, struct doc *load, struct doc *stages)
{
    struct doc *fresh = new_load(f, load);
    struct doc *arrivals = arrivals_from(f);
    const struct doc *length = get_as(fresh, for_names, 1);

    if (stages)
        doc_map_put(f->arena, arrivals, "stages", stages);
    else if (length)
        put_as(f, arrivals, for_names, 1, text_node(f, length->source, length->text));
    struct doc *only = doc_new(f->arena, DOC_MAP, "--arrivals");
    doc_map_put(f->arena, only, "arrivals", arrivals);
    doc_map_put(f->arena, f->root, "load", only);
    return only;
}

static struct doc *stages_load(const struct flags *f, struct doc *stages)
{
    struct doc *only = doc_new(f->arena, DOC_MAP, "--stages");

    doc_map_put(f->arena, only, "stages", stages);
    doc_map_put(f->arena, f->root, "load", only);
    return only;
}

static struct doc *users_load(const struct flags *f, struct doc *load)
{
    const char *users = opt_value(f->args, "users");
    bool closed =
        load && load->kind == DOC_MAP && !doc_get(load, "arrivals") && !doc_get(load, "stages");

    if (load && (!users || closed || load->kind == DOC_LIST))
        return load;
    load = new_load(f, load);
    flags_put_text(f, load, "--users", "users", users ? users : "1");
    return load;
}

static struct doc *shape_of(const struct flags *f, struct doc *load)
{
    struct doc *stages = NULL;
    int kind = stages_from(f, &stages);
    bool arrivals = opt_given(f->args, "arrivals");

    if (opt_given(f->args, "users") && (kind >= 0 || arrivals))
        diag_add(f->diag, NULL, "--users and %s exclude each other",
                 kind >= 0 ? "--stages" : "--arrivals");
    if (kind == 0 && arrivals)
        diag_add(f->diag, NULL, "--stages of users and --arrivals exclude each other");
    if (kind == 0)
        return stages_load(f, stages);
    if (kind == 1 || arrivals)
        return open_load(f, load, stages);
    return users_load(f, load);
}

void flags_load(const struct flags *f)
{
    struct doc *load = doc_get_mutable(f->root, "load");
    static const struct {
        const char *opt, *source;
        const char *const *names;
        size_t n;
    } keys[] = { { "users", "--users", users_names, 1 },
                 { "spawn-rate", "--spawn-rate", spawn_names, ARRAY_LEN(spawn_names) },
                 { "iterations", "--iterations", iterations_names, 1 } };

    if (!any_given(f))
        return;
    load = shape_of(f, load);
    for (size_t i = 0; load && i < ARRAY_LEN(keys); i++) {
        const char *value = opt_value(f->args, keys[i].opt);

        if (value && load->kind == DOC_LIST)
            diag_add(f->diag, NULL, "%s: the plan's load has several parts; change it there",
                     keys[i].source);
        else if (value && (load->kind == DOC_MAP) && !(i == 0 && doc_get(load, "arrivals")) &&
                 !(i == 0 && doc_get(load, "stages")))
            put_as(f, load, keys[i].names, keys[i].n, text_node(f, keys[i].source, value));
    }
    if (load)
        apply_run_time(f, load);
}
