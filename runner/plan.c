/* The load part of a plan, whole: reads the root's keys, then checks what needs all of them at once
 * and numbers series and forms. Independent mistakes are all reported; what depends on a part with
 * mistakes is left unsaid. */
#include "runner/plan.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "base/rng.h"
#include "runner/plan_internal.h"
#include "runner/url.h"

#define CLASSES_MAX 1000

static const struct param load_root_rows[] = {
    PARAM(STR, "target", struct load_root, target, .type_text = "URL",
          .help = "where requests go: http://host:port, https://host, unix:/path.sock"),
    PARAM(LIST, "users", struct load_root, users, .table = &user_class_table,
          .item_size = sizeof(struct user_class_row), .help = "user classes"),
    PARAM(CUSTOM, "load", struct load_root, load, .load = parts_load, .table = &load_table,
          .schema_json = parts_schema, .type_text = "a part, or a list of parts",
          .help = "how much load and for how long; default: one user until Ctrl-C"),
    PARAM(TABLE, "http", struct load_root, http, .table = &http_table,
          .help = "how requests travel"),
    PARAM(DURATION, "graceful_stop", struct load_root, graceful_stop_ns, .def = "30s", .lo = 0,
          .hi = 3600, .help = "at the end, requests in flight may take so long to finish"),
    PARAM(DURATION, "warmup", struct load_root, warmup_ns, .def = "0s",
          .help = "the first so much is phase warm-up and counts for no threshold of baseline"),
    PARAM(INT, "threads", struct load_root, threads, .def = "0", .lo = 0, .hi = 256,
          .help = "worker threads; 0: one per CPU, at most one per 50 users"),
    PARAM(DURATION, "max_lag", struct load_root, max_lag_ns, .def = "100ms", .lo = 0.001, .hi = 60,
          .help = "the run is Invalid when the generator's own p99 lateness passes this"),
    PARAM(INT, "seed", struct load_root, seed, .lo = 0, .hi = 9007199254740991.0,
          .help = "makes random choices repeat; default: drawn, and written in the result"),
};
const struct param_table load_root_table = { "", load_root_rows, ARRAY_LEN(load_root_rows), NULL };

void target_check(const struct param_ctx *ctx, const struct doc *d, const char *text)
{
    struct url url;
    struct err err = { 0 };

    if (url_parse(text, strlen(text), &url, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
    else if (memchr(url.rest ? url.rest : "", '?', url.rest_len))
        diag_add(ctx->diag, d, "a target has no query; write it in the tasks");
}

static void read_target(const struct param_ctx *ctx, const struct doc *root, struct load_plan *ret)
{
    const struct doc *d = doc_get(root, "target");

    if (d && d->kind == DOC_MAP)
        ret->target = TARGET_LATER;
    else if (!ret->target && (!d || d->kind == DOC_NULL))
        diag_add(ctx->diag, d ? d : root, "target is missing: write target: http://127.0.0.1:5001");
    else if (ret->target)
        target_check(ctx, d, ret->target);
}

/* ---- classes ---- */

static void name_classes(const struct param_ctx *ctx, const struct doc *users,
                         struct load_plan *ret)
{
    for (size_t i = 0; i < ret->n_classes; i++) {
        struct user_class *c = &ret->classes[i];

        if (!c->name)
            c->name = i == 0 ? "users" : arena_printf(ctx->arena, "users%zu", i + 1);
        if (!c->name) {
            diag_add(ctx->diag, users, "the plan is too large");
            return;
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(ret->classes[k].name, c->name) == 0) {
                diag_add(ctx->diag, users->items[i], "the class '%s' is already there", c->name);
                break;
            }
    }
}

static void weights_check(const struct param_ctx *ctx, const struct doc *users,
                          const struct load_plan *p)
{
    double weights = 0;
    int64_t fixed = 0;

    for (size_t i = 0; i < p->n_classes; i++) {
        weights += p->classes[i].fixed_count ? 0 : p->classes[i].weight;
        fixed += p->classes[i].fixed_count;
    }
    if (weights <= 0 && fixed == 0)
        diag_add(ctx->diag, users, "all user classes have weight 0, so no user would ever start");
}

static void read_classes(const struct param_ctx *ctx, const struct doc *root,
                         const struct items *items, struct load_plan *ret)
{
    const struct user_class_row *rows = items->v;
    const struct doc *users = doc_get(root, "users");

    if (!users || (users->kind == DOC_LIST && items->n == 0)) {
        diag_add(ctx->diag, users ? users : root, "no users: write users: [{tasks: [{get: /}]}]");
        return;
    }
    if (items->n > CLASSES_MAX) {
        diag_add(ctx->diag, users, "more than %d user classes", CLASSES_MAX);
        return;
    }
    ret->classes = arena_alloc(ctx->arena, MAX(items->n, 1) * sizeof(*ret->classes));
    if (!ret->classes) {
        diag_add(ctx->diag, users, "the plan is too large");
        return;
    }
    for (size_t i = 0; i < items->n; i++)
        ret->classes[i] = rows[i].cls;
    ret->n_classes = items->n;
}

/* ---- series and forms ---- */

static void number_task(struct load_plan *p, struct task *t, uint32_t user_class)
{
    t->user_class = user_class;
    t->form = p->n_forms;
    p->forms[p->n_forms++] = t;
    if (p->n_series > STATS_TASKS_MAX)
        return;
    for (uint32_t i = 0; i < p->n_series; i++)
        if (p->series[i]->user_class == user_class && strcmp(p->series[i]->name, t->name) == 0) {
            t->index = i;
            return;
        }
    t->index = p->n_series;
    if (p->n_series < STATS_TASKS_MAX) {
        p->series[p->n_series] = t;
        p->misdeeds[p->n_series] = MISDEED_NONE;
    }
    p->n_series++;
}

static size_t count_forms(const struct load_plan *p)
{
    size_t n = 0;

    for (size_t c = 0; c < p->n_classes; c++)
        for (size_t i = 0; i < p->classes[c].n_tasks; i++)
            n += p->classes[c].tasks[i].steps ? p->classes[c].tasks[i].n_steps : 1;
    return n;
}

static void number_steps(struct load_plan *p, struct task *t, uint32_t user_class)
{
    if (!t->steps) {
        number_task(p, t, user_class);
        return;
    }
    for (size_t k = 0; k < t->n_steps; k++)
        number_task(p, &t->steps[k], user_class);
    t->index = t->steps[0].index;
}

/* After the honest series, one for each of them and all that its class may do wrong. */
static int number_misdeeds(struct load_plan *p)
{
    for (uint32_t i = 0; i < p->n_honest; i++)
        for (unsigned m = 1; m < MISDEED_MAX; m++) {
            if (!(p->classes[p->series[i]->user_class].misdeeds & 1U << m))
                continue;
            if (p->n_series == STATS_TASKS_MAX)
                return -E2BIG;
            p->series[p->n_series] = p->series[i];
            p->misdeeds[p->n_series++] = (uint8_t)m;
        }
    return 0;
}

/* Returns -E2BIG when there are more series than statistics can hold. */
static int number_tasks(struct load_plan *p)
{
    p->n_series = 0;
    p->n_forms = 0;
    for (uint32_t c = 0; c < p->n_classes; c++)
        for (size_t i = 0; i < p->classes[c].n_tasks; i++) {
            struct task *t = &p->classes[c].tasks[i];

            t->user_class = c;
            number_steps(p, t, c);
            if (p->n_series > STATS_TASKS_MAX)
                return -E2BIG;
        }
    p->n_honest = p->n_series;
    return number_misdeeds(p);
}

static void read_series(const struct param_ctx *ctx, const struct doc *root, struct load_plan *p)
{
    size_t n = count_forms(p);

    p->forms = arena_alloc(ctx->arena, MAX(n, 1) * sizeof(struct task *));
    p->series = arena_alloc(ctx->arena, STATS_TASKS_MAX * sizeof(struct task *));
    p->misdeeds = arena_alloc(ctx->arena, STATS_TASKS_MAX * sizeof(*p->misdeeds));
    if (!p->forms || !p->series || !p->misdeeds)
        diag_add(ctx->diag, root, "the plan is too large");
    else if (number_tasks(p) < 0)
        diag_add(ctx->diag, doc_get(root, "users"),
                 "more than %d endpoints; give tasks of one kind the same name", STATS_TASKS_MAX);
}

/* ---- misdeeds ---- */

int load_plan_misbehave(struct load_plan *p, int64_t user_class, enum misdeed_kind m,
                        struct err *err)
{
    for (size_t c = 0; c < p->n_classes; c++)
        if (user_class < 0 || (size_t)user_class == c)
            p->classes[c].misdeeds |= 1U << m;
    if (number_tasks(p) == 0)
        return 0;
    return err_set(err, ERR_LIMIT, E2BIG,
                   "more than %d endpoints, with those of misbehaving users; give tasks of one "
                   "kind the same name",
                   STATS_TASKS_MAX);
}

uint32_t load_plan_series(const struct load_plan *p, uint32_t honest, enum misdeed_kind m)
{
    const struct task *t = p->series[honest];

    for (uint32_t i = p->n_honest; i < p->n_series; i++)
        if (p->series[i] == t && p->misdeeds[i] == m)
            return i;
    return honest;
}

const char *load_plan_series_name(const struct load_plan *p, struct arena *a, uint32_t series)
{
    const char *name = p->series[series]->name;
    const char *full = NULL;

    if (p->misdeeds[series])
        full =
            arena_printf(a, "%s (%s)", name, misdeed_name((enum misdeed_kind)p->misdeeds[series]));
    return full ? full : name;
}

/* ---- load ---- */

static const struct user_class *class_by_name(const struct load_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_classes; i++)
        if (strcmp(p->classes[i].name, name) == 0)
            return &p->classes[i];
    return NULL;
}

static const struct doc *part_doc(const struct doc *root, size_t i)
{
    const struct doc *d = doc_get(root, "load");

    return d && d->kind == DOC_LIST ? d->items[i] : d;
}

static void class_of_part_check(const struct param_ctx *ctx, const struct doc *root,
                                const struct load_plan *p, size_t i)
{
    const struct load_plan_part *part = &p->parts[i];
    const char *names[CLASSES_MAX];
    const char *near;

    if (!part->only_class || class_by_name(p, part->only_class))
        return;
    for (size_t k = 0; k < p->n_classes; k++)
        names[k] = p->classes[k].name;
    near = nearest_name(part->only_class, names, p->n_classes);
    diag_add(ctx->diag, doc_get(part_doc(root, i), "class"), "no user class '%s'%s%s%s",
             part->only_class, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* An open schedule says when iterations begin; a pause after one would say it a second time. */
static void think_in_open_load_check(const struct param_ctx *ctx, const struct doc *root,
                                     const struct load_plan *p)
{
    const struct doc *users = doc_get(root, "users");

    for (size_t c = 0; c < p->n_classes; c++) {
        bool closed = false;

        for (size_t i = 0; i < p->n_parts; i++) {
            const char *only = p->parts[i].only_class;

            if (p->parts[i].kind == LOAD_CLOSED && (!only || strcmp(only, p->classes[c].name) == 0))
                closed = true;
        }
        if (!closed && p->classes[c].think.kind != THINK_NONE)
            diag_add_key(ctx->diag, doc_get(users->items[c], "think"),
                         "think times have no effect with arrivals, where the schedule says when "
                         "an iteration begins; remove think, or write load: {users: ...}");
    }
}

static double peak_users(const struct load_plan_part *p)
{
    double peak = p->start_value;

    if (p->kind == LOAD_OPEN)
        return (double)p->max_users;
    for (size_t i = 0; i < p->n_stages; i++)
        peak = MAX(peak, p->stages[i].target);
    return peak;
}

static void read_parts(const struct param_ctx *ctx, const struct doc *root, struct load_plan *p)
{
    double users = 0;

    for (size_t i = 0; i < p->n_parts; i++) {
        struct load_plan_part *part = &p->parts[i];

        if (!part->name)
            part->name = p->n_parts == 1 ? "load" : arena_printf(ctx->arena, "load%zu", i + 1);
        class_of_part_check(ctx, root, p, i);
        users += peak_users(part);
        if (part->duration_ns > 0 && part->start_ns + part->duration_ns > p->duration_ns)
            p->duration_ns = part->start_ns + part->duration_ns;
    }
    for (size_t i = 0; i < p->n_parts; i++)
        if (p->parts[i].duration_ns == 0)
            p->duration_ns = 0;
    if (users > USERS_MAX)
        diag_add(ctx->diag, doc_get(root, "load"),
                 "all parts together may run %.0f users, more "
                 "than %d",
                 users, USERS_MAX);
    think_in_open_load_check(ctx, root, p);
}

/* ---- the whole ---- */

static void default_load(const struct param_ctx *ctx, struct load_root *row)
{
    row->load.v = arena_alloc(ctx->arena, sizeof(*row->load.v));
    if (row->load.v)
        row->load.v->stages = arena_alloc(ctx->arena, sizeof(*row->load.v->stages));
    if (!row->load.v || !row->load.v->stages) {
        diag_add(ctx->diag, NULL, "the plan is too large");
        return;
    }
    row->load.n = 1;
    row->load.v->n_stages = 1;
    row->load.v->start_value = 1;
    row->load.v->stages[0].target = 1;
}

/* Only the keys of our table: the rest of the root map is read by others. */
static void read_rows(const struct param_ctx *ctx, const struct doc *root, struct load_root *row)
{
    err_ignore((int)param_load(ctx, &load_root_table, NULL, row, NULL),
               "defaults have no mistakes");
    for (size_t i = 0; i < ARRAY_LEN(load_root_rows); i++) {
        const struct param *p = &load_root_rows[i];
        const struct doc *d = doc_get(root, p->name);

        if (d && !(strcmp(p->name, "target") == 0 && d->kind == DOC_MAP))
            param_load_one(ctx, p, d, (char *)row + p->offset);
    }
    if (!doc_get(root, "load"))
        default_load(ctx, row);
}

static void copy_rows(const struct load_root *row, const struct doc *root, struct load_plan *ret)
{
    *ret = (struct load_plan){
        .target = row->target,
        .http = row->http,
        .parts = row->load.v,
        .n_parts = row->load.n,
        .graceful_stop_ns = row->graceful_stop_ns,
        .warmup_ns = row->warmup_ns,
        .threads = row->threads,
        .max_lag_ns = row->max_lag_ns,
        .seed = doc_get(root, "seed") ? (uint64_t)row->seed : rng_entropy() >> 11,
    };
}

void load_plan_read(const struct param_ctx *ctx, const struct doc *root, struct load_plan *ret)
{
    struct load_root row = { 0 };
    const struct doc *users = doc_get(root, "users");
    unsigned before = ctx->diag->n;

    read_rows(ctx, root, &row);
    copy_rows(&row, root, ret);
    read_target(ctx, root, ret);
    if (ctx->diag->n == before || !users)
        read_classes(ctx, root, &row.users, ret);
    if (ctx->diag->n != before)
        return;
    name_classes(ctx, users, ret);
    weights_check(ctx, users, ret);
    for (size_t i = 0; i < ret->n_classes; i++)
        templates_check(ctx, users, &ret->classes[i], i);
    read_series(ctx, root, ret);
    if (ctx->diag->n == before)
        read_parts(ctx, root, ret);
}

/* ---- tags ---- */

static bool has_tag(const struct task *t, const struct strs *tags)
{
    for (size_t i = 0; i < t->n_tags; i++)
        for (size_t k = 0; k < tags->n; k++)
            if (strcmp(t->tags[i], tags->v[k]) == 0)
                return true;
    return false;
}

int load_plan_filter_tags(struct load_plan *p, const struct strs *tags, const struct strs *exclude,
                          struct err *err)
{
    for (size_t c = 0; c < p->n_classes; c++) {
        struct user_class *cls = &p->classes[c];
        size_t n = 0;

        for (size_t i = 0; i < cls->n_tasks; i++) {
            bool stays = (!tags || tags->n == 0 || has_tag(&cls->tasks[i], tags)) &&
                         !(exclude && has_tag(&cls->tasks[i], exclude));

            if (stays)
                cls->tasks[n++] = cls->tasks[i];
        }
        cls->n_tasks = n;
        if (n == 0)
            return err_set(err, ERR_USAGE, EINVAL,
                           "the user class '%s' has no task left after --tags and --exclude-tags",
                           cls->name);
    }
    /* Fewer tasks than before: the arrays are large enough. */
    err_ignore(number_tasks(p), "cannot pass the limit it kept before");
    return 0;
}
