/* The whole plan from one document. The load's keys are read by runner, processes and proxies and
 * fault parameters by chaoslib; here are the root, the outputs, and the order of it all: every part
 * reports its own mistakes, and what needs several parts is checked only when those are sound. */
#include "campaign/plan.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/plan_internal.h"
#include "campaign/threshold_names.h"

#define THRESHOLDS_MAX 256
#define ROWS_OF_ONE_KIND_MAX 64
#define NAME_MAX_LEN 200
#define LOAD_KEYS_MAX 32

static const struct param output_rows[] = {
    PARAM(STR, "dir", struct output_plan, out_dir,
          .help =
              "folder for all of them: result.json rows.ndjson report.html summary.md junit.xml "
              "and Locust's CSV files"),
    PARAM(STR, "result", struct output_plan, result_path,
          .help = "file for result.json; - is standard output"),
    PARAM(STR, "html", struct output_plan, html, .help = "file for the HTML report"),
    PARAM(STR, "markdown", struct output_plan, markdown,
          .help = "file for the summary in Markdown"),
    PARAM(STR, "junit", struct output_plan, junit,
          .help = "file for the thresholds as JUnit XML, for CI"),
    PARAM(STR, "rows", struct output_plan, rows,
          .help = "file for one line per second and endpoint, written while it runs"),
    PARAM(STR, "csv", struct output_plan, csv_prefix, .type_text = "prefix of files",
          .help = "Locust's CSV files: PREFIX_stats.csv, PREFIX_stats_history.csv, "
                  "PREFIX_failures.csv, PREFIX_exceptions.csv"),
    PARAM(BOOL, "csv_full_history", struct output_plan, csv_full_history, .def = "false",
          .help = "the history has each endpoint, not only the sum"),
    PARAM(STR, "json", struct output_plan, json_file, .help = "file for Locust-shaped JSON"),
};
const struct param_table output_table = { "out", output_rows, ARRAY_LEN(output_rows), NULL };

struct threshold_list {
    struct threshold *v;
    size_t n;
};

/* What plan_root_table fills. */
struct plan_row {
    struct plan plan;
    struct items processes, proxies;
    struct fault_rows faults;
    struct threshold_list thresholds;
};

/* `thresholds:` is a list; or, as k6 writes them, a map of metric to one or several conditions. */
static void add_condition(const struct param_ctx *ctx, const struct doc *d, const char *metric,
                          struct threshold_list *list)
{
    struct threshold *t = &list->v[list->n++];

    if (!metric) {
        threshold_load(ctx, d, t);
        return;
    }
    if (d->kind != DOC_SCALAR) {
        diag_add(ctx->diag, d,
                 "expected a condition such as 'p(95) < 500ms', not %s; write "
                 "{on: %s, is: ..., abort: true} in a list instead",
                 doc_kind_name(d->kind), metric);
        return;
    }
    struct err err = { 0 };
    auto_free char *text = xasprintf("%s: %s", metric, d->text);
    if (threshold_parse(text, ctx->arena, t, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
}

static size_t count_conditions(const struct doc *d)
{
    size_t n = 0;

    if (d->kind != DOC_MAP)
        return d->kind == DOC_LIST ? d->n_items : 1;
    for (size_t i = 0; i < d->n_items; i++)
        n += d->items[i]->kind == DOC_LIST ? d->items[i]->n_items : 1;
    return n;
}

static bool is_one_threshold(const struct doc *d)
{
    return d->kind == DOC_SCALAR || (d->kind == DOC_MAP && doc_get(d, "is"));
}

static void thresholds_load(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    struct threshold_list *list = field;
    size_t n = count_conditions(d);

    if (d->kind == DOC_NULL)
        return;
    if (n > THRESHOLDS_MAX) {
        diag_add(ctx->diag, d, "more than %d thresholds", THRESHOLDS_MAX);
        return;
    }
    list->v = arena_alloc(ctx->arena, MAX(n, 1) * sizeof(*list->v));
    if (!list->v) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    if (is_one_threshold(d)) {
        add_condition(ctx, d, NULL, list);
        return;
    }
    for (size_t i = 0; i < d->n_items; i++) {
        const struct doc *item = d->items[i];

        if (d->kind == DOC_MAP && item->kind == DOC_LIST)
            for (size_t k = 0; k < item->n_items; k++)
                add_condition(ctx, item->items[k], item->key, list);
        else
            add_condition(ctx, item, d->kind == DOC_MAP ? item->key : NULL, list);
    }
}

static const char *const api_versions[] = { PLAN_API_VERSION, NULL };

static const struct param plan_rows[] = {
    PARAM(STR, "apiVersion", struct plan_row, plan.api_version, .def = PLAN_API_VERSION,
          .choices = api_versions, .help = "the version of this format"),
    PARAM(STR, "name", struct plan_row, plan.name, .help = "title of the reports"),
    PARAM(STR, "description", struct plan_row, plan.description,
          .help = "a few sentences for the reports"),
    PARAM(LIST, "processes", struct plan_row, processes, .table = &process_table,
          .item_size = sizeof(struct process_plan),
          .help = "programs that the run starts, or running ones that faults may hit"),
    PARAM(LIST, "proxies", struct plan_row, proxies, .table = &proxy_table,
          .item_size = sizeof(struct proxy_plan),
          .help = "embedded fault proxies; one that a fault names and that is not listed here "
                  "stands before the target"),
    PARAM(CUSTOM, "faults", struct plan_row, faults, .load = faults_load,
          .type_text = "a list of faults", .help = "what is broken, and when"),
    PARAM(TABLE, "docker", struct plan_row, plan.docker, .table = &docker_table,
          .help = "the container engine, for faults in containers; by default found as the docker "
                  "CLI would"),
    PARAM(CUSTOM, "thresholds", struct plan_row, thresholds, .load = thresholds_load,
          .type_text = "a list of texts or maps", .help = "what must hold for the run to pass"),
    PARAM(DURATION, "slo", struct plan_row, plan.slo_ns, .lo = 0, .hi = 3600,
          .help = "a success slower than this is not good, which matters for recovery; default: "
                  "judged against the baseline"),
    PARAM(DURATION, "recover_hold", struct plan_row, plan.recover_hold_ns, .def = "5s", .lo = 0.1,
          .hi = 3600, .help = "how long it must be well again to count as recovered"),
    PARAM(DURATION, "settle", struct plan_row, plan.settle_ns,
          .help = "a recovery phase becomes baseline again after so long; default: it lasts until "
                  "the next fault"),
    PARAM(TABLE, "out", struct plan_row, plan.out, .table = &output_table,
          .help = "reports to write"),
};
const struct param_table plan_root_table = { "", plan_rows, ARRAY_LEN(plan_rows), NULL };

/* ---- names of processes and proxies ---- */

struct named {
    const char *key; /* of the list in the plan */
    const char *what;
    size_t n;
};

static const char *name_at(const struct plan *p, const struct named *list, size_t i)
{
    return strcmp(list->key, "proxies") == 0 ? p->proxies[i].name : p->processes[i].name;
}

static void names_check(const struct param_ctx *ctx, const struct doc *root, const struct plan *p,
                        const struct named *list)
{
    if (list->n > ROWS_OF_ONE_KIND_MAX)
        diag_add(ctx->diag, doc_get(root, list->key), "more than %d", ROWS_OF_ONE_KIND_MAX);
    for (size_t i = 0; i < list->n; i++) {
        const char *name = name_at(p, list, i);
        const struct doc *at = doc_get(list_item(root, list->key, i), "name");

        if (!name)
            continue;
        if (!*name || strlen(name) > 64 || strpbrk(name, "/\r\n\t"))
            diag_add(ctx->diag, at, "a name has 1 to 64 characters, without '/'");
        for (size_t k = 0; k < i; k++)
            if (name_at(p, list, k) && strcmp(name_at(p, list, k), name) == 0) {
                diag_add(ctx->diag, at, "there is already a %s '%s'", list->what, name);
                break;
            }
        if (p->embedded && strcmp(list->key, "processes") == 0 && strcmp(p->embedded, name) == 0)
            diag_add(ctx->diag, at, "'%s' is the embedded target's name", name);
    }
}

/* "127.0.0.1:5001", "[::1]:80" or "unix:/path"; whether it can be reached is seen when it starts.
 */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    uint64_t port;

    if (strncmp(text, "unix:", 5) == 0)
        return text[5] == '/';
    return colon && colon != text && parse_u64(colon + 1, 0, 65535, &port, NULL) == 0;
}

static void addresses_check(const struct param_ctx *ctx, const struct doc *root,
                            const struct plan *p)
{
    for (size_t i = 0; i < p->n_proxies; i++) {
        const char *const texts[] = { p->proxies[i].listen, p->proxies[i].upstream };
        static const char *const keys[] = { "listen", "upstream" };

        for (size_t k = 0; k < ARRAY_LEN(keys); k++)
            if (texts[k] && !is_address(texts[k]))
                diag_add(ctx->diag, doc_get(list_item(root, "proxies", i), keys[k]),
                         "'%.100s' is no address: write 127.0.0.1:5001, [::1]:80 or unix:/path",
                         texts[k]);
    }
}

/* ---- target: {embedded: shop} ---- */

static const char *const embedded_targets[] = { "shop", NULL };
static const struct param embedded_rows[] = {
    PARAM(STR, "embedded", struct plan, embedded, .required = true, .choices = embedded_targets,
          .help = "a demo server that the run starts, as process of this name"),
};
static const struct param_table embedded_table = { "target", embedded_rows,
                                                   ARRAY_LEN(embedded_rows), NULL };

static void read_embedded(const struct param_ctx *ctx, const struct doc *root, struct plan *p)
{
    const struct doc *d = doc_get(root, "target");

    if (d && d->kind == DOC_MAP)
        param_load(ctx, &embedded_table, d, p, NULL);
}

/* ---- the whole ---- */

const struct doc *list_item(const struct doc *root, const char *key, size_t i)
{
    const struct doc *d = doc_get(root, key);

    if (!d || d->kind != DOC_LIST)
        return d;
    return i < d->n_items ? d->items[i] : NULL;
}

static void text_check(const struct param_ctx *ctx, const struct doc *d, const char *text)
{
    if (text && (!*text || strlen(text) > NAME_MAX_LEN || strpbrk(text, "\r\n\t")))
        diag_add(ctx->diag, d, "a name has 1 to %d characters on one line", NAME_MAX_LEN);
}

static void take_rows(const struct plan_row *row, struct plan *ret)
{
    const char *embedded = ret->embedded;

    *ret = row->plan;
    ret->embedded = embedded;
    ret->processes = row->processes.v;
    ret->n_processes = row->processes.n;
    ret->proxies = row->proxies.v;
    ret->n_proxies = row->proxies.n;
    ret->faults = row->faults.v;
    ret->n_faults = row->faults.n;
    ret->thresholds = row->thresholds.v;
    ret->n_thresholds = row->thresholds.n;
}

static void read_own_keys(const struct param_ctx *ctx, const struct doc *root, struct plan *ret)
{
    const char *load_keys[LOAD_KEYS_MAX];
    struct plan_row row;
    size_t n = 0;

    memset(&row, 0, sizeof(row));
    for (size_t i = 0; i < load_root_table.n && n + 1 < LOAD_KEYS_MAX; i++)
        load_keys[n++] = load_root_table.rows[i].name;
    load_keys[n] = NULL;
    param_load(ctx, &plan_root_table, root, &row, load_keys);
    read_embedded(ctx, root, ret);
    take_rows(&row, ret);
    text_check(ctx, doc_get(root, "name"), ret->name);
    if (!ret->name)
        ret->name = "unnamed";
}

static void check_whole(const struct param_ctx *ctx, const struct doc *root, struct plan *p,
                        bool load_is_sound)
{
    const struct named lists[] = { { "processes", "process", p->n_processes },
                                   { "proxies", "proxy", p->n_proxies } };
    unsigned before = ctx->diag->n;

    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        names_check(ctx, root, p, &lists[i]);
    addresses_check(ctx, root, p);
    if (ctx->diag->n != before || !load_is_sound)
        return;
    faults_check(ctx, root, p);
    if (ctx->diag->n == before)
        thresholds_check(ctx, root, p);
}

int plan_read(struct arena *arena, const struct doc *root, struct diag *diag, bool from_flags,
              struct plan *ret)
{
    const struct param_ctx ctx = { arena, diag, from_flags };
    unsigned before = diag->n;

    memset(ret, 0, sizeof(*ret));
    if (!root || root->kind == DOC_NULL || (root->kind == DOC_MAP && root->n_items == 0)) {
        ret->arena = arena;
        diag_add(diag, root, "the plan is empty: 'chaos-load init' writes one to start with");
        return -EINVAL;
    }
    if (root->kind != DOC_MAP) {
        ret->arena = arena;
        diag_add(diag, root, "a plan is a map of keys, not %s", doc_kind_name(root->kind));
        return -EINVAL;
    }
    read_own_keys(&ctx, root, ret);
    ret->arena = arena;
    ret->source = from_flags ? "flags" : root->source;
    bool own_is_sound = diag->n == before;
    unsigned mid = diag->n;
    load_plan_read(&ctx, root, &ret->load);
    if (own_is_sound)
        check_whole(&ctx, root, ret, diag->n == mid);
    return diag->n == before ? 0 : -EINVAL;
}

bool plan_needs_docker(const struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++)
        if (fault_spec_flags(&p->faults[i].spec) & FAULT_NEEDS_DOCKER)
            return true;
    return false;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    arena_free(p->arena);
    memset(p, 0, sizeof(*p));
}
