/* User classes: who the users are, how long they think, what they do. Here are also the checks that
 * need the whole class, such as slots that name a variable which nobody sets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "runner/plan_internal.h"

#define HEADERS_MAX 100

static const struct param user_class_rows[] = {
    PARAM(STR, "name", struct user_class_row, cls.name,
          .help = "name of the class in reports; default: users, users2, ..."),
    PARAM(NUM, "weight", struct user_class_row, cls.weight, .def = "1", .lo = 0, .hi = 1e6,
          .help = "share of the users, relative to the other classes"),
    PARAM(INT, "fixed_count", struct user_class_row, cls.fixed_count, .lo = 0, .hi = USERS_MAX,
          .help = "exactly so many users, taken before weights share the rest; 0: by weight"),
    PARAM(CUSTOM, "think", struct user_class_row, cls.think, .load = think_load,
          .schema_json = think_schema,
          .type_text = "between(1s, 5s) | constant(1s) | pacing(10s) | throughput(0.5/s) | "
                       "exponential(2s) | none",
          .help = "the pause after each iteration; pacing and throughput count from its start; "
                  "default: none"),
    PARAM(BOOL, "sequential", struct user_class_row, cls.sequential, .def = "false",
          .help = "tasks in the order written, instead of at random by weight"),
    PARAM(STR, "host", struct user_class_row, cls.host, .type_text = "URL",
          .help = "target of this class, instead of the plan's"),
    PARAM(PAIRS, "headers", struct user_class_row, cls.headers,
          .help = "headers of all requests of this class; values may hold {{slots}}"),
    PARAM(PAIRS, "variables", struct user_class_row, cls.variables,
          .help = "name: value, for {{name}}; a value's own slots are filled once, when the user "
                  "starts"),
    PARAM(LIST, "tasks", struct user_class_row, tasks, .table = &task_table,
          .item_size = sizeof(struct task_row), .required = true, .help = "what these users do"),
};

static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s == 0x7f || strchr("()<>@,;:\\\"/[]?={}", *s))
            return false;
    return true;
}

void headers_check(const struct param_ctx *ctx, const struct doc *d, const struct pairs *headers)
{
    static const char *const ours[] = { "Content-Length", "Transfer-Encoding", "Connection" };

    if (headers->n > HEADERS_MAX)
        diag_add(ctx->diag, d, "more than %d headers", HEADERS_MAX);
    for (size_t i = 0; i < headers->n; i++) {
        const char *key = headers->keys[i];
        const struct doc *at = doc_get(d, key);

        if (!is_token(key))
            diag_add_key(ctx->diag, at, "'%s' is not a header name", key);
        if (headers->values[i][strcspn(headers->values[i], "\r\n")])
            diag_add(ctx->diag, at, "a header's value is one line");
        for (size_t k = 0; k < ARRAY_LEN(ours); k++)
            if (strcasecmp(key, ours[k]) == 0)
                diag_add_key(ctx->diag, at, "%s is set by the engine; see http.keep_alive and body",
                             ours[k]);
    }
}

static bool is_var_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

    return n > 0 && n <= 60 && s[n] == '\0' && !(s[0] >= '0' && s[0] <= '9');
}

static void var_names_check(const struct param_ctx *ctx, const struct doc *d, const struct pairs *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (!is_var_name(p->keys[i]))
            diag_add_key(ctx->diag, doc_get(d, p->keys[i]),
                         "'%s' is not a variable name: letters, digits and _, at most 60",
                         p->keys[i]);
}

static void tasks_check(const struct param_ctx *ctx, const struct doc *d,
                        const struct user_class *c)
{
    const struct doc *docs = doc_get(d, "tasks");
    double weights = 0;

    for (size_t i = 0; i < c->n_tasks; i++) {
        const struct task *t = &c->tasks[i];
        const struct doc *at = docs && i < docs->n_items ? docs->items[i] : NULL;
        const struct doc *steps = doc_get(at, "steps");

        weights += t->weight;
        var_names_check(ctx, doc_get(at, "extract"), &t->extract);
        for (size_t k = 0; k < t->n_steps && steps && k < steps->n_items; k++)
            var_names_check(ctx, doc_get(steps->items[k], "extract"), &t->steps[k].extract);
    }
    if (c->n_tasks == 0)
        diag_add(ctx->diag, docs ? docs : d, "a user class needs at least one task");
    else if (weights <= 0 && !c->sequential)
        diag_add(ctx->diag, docs, "all tasks have weight 0, so none would ever run");
}

static void user_class_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct user_class_row *row = base;
    struct user_class *c = &row->cls;
    const struct task_row *tasks = row->tasks.v;

    c->tasks = arena_alloc(ctx->arena, MAX(row->tasks.n, 1) * sizeof(*c->tasks));
    if (!c->tasks) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    for (size_t i = 0; i < row->tasks.n; i++)
        c->tasks[i] = tasks[i].task;
    c->n_tasks = row->tasks.n;
    if (c->host)
        target_check(ctx, doc_get(d, "host"), c->host);
    if (c->name && (*c->name == '\0' || strlen(c->name) > 100 || strpbrk(c->name, "\r\n\t")))
        diag_add(ctx->diag, doc_get(d, "name"), "a name has 1 to 100 characters on one line");
    headers_check(ctx, doc_get(d, "headers"), &c->headers);
    var_names_check(ctx, doc_get(d, "variables"), &c->variables);
    tasks_check(ctx, d, c);
}

const struct param_table user_class_table = { "users[]", user_class_rows,
                                              ARRAY_LEN(user_class_rows), user_class_check };

/* ---- variables and slots ---- */

static int add_names(struct var_names *v, const struct pairs *p, bool initial)
{
    for (size_t i = 0; i < p->n; i++) {
        if (var_index(v, p->keys[i], strlen(p->keys[i])) >= 0)
            continue;
        if (v->n == VARS_MAX)
            return -E2BIG;
        v->names[v->n] = p->keys[i];
        v->initial[v->n] = initial ? p->values[i] : "";
        v->n++;
    }
    return 0;
}

int class_var_names(struct arena *a, const struct user_class *c, struct var_names *ret)
{
    struct var_names v = { 0 };
    int rc;

    v.names = arena_alloc(a, VARS_MAX * sizeof(*v.names));
    v.initial = arena_alloc(a, VARS_MAX * sizeof(*v.initial));
    if (!v.names || !v.initial)
        return -ENOMEM;
    rc = add_names(&v, &c->variables, true);
    for (size_t i = 0; i < c->n_tasks && rc == 0; i++) {
        rc = add_names(&v, &c->tasks[i].extract, false);
        for (size_t k = 0; k < c->tasks[i].n_steps && rc == 0; k++)
            rc = add_names(&v, &c->tasks[i].steps[k].extract, false);
    }
    if (rc == 0)
        *ret = v;
    return rc;
}

/* Where messages about a text go, and which names its slots may use. */
struct slot_check {
    const struct param_ctx *ctx;
    const struct var_names *names;
};

static void text_check(const struct slot_check *c, const struct doc *at, const char *text)
{
    const struct template *t;
    struct err err = { 0 };

    if (text && strstr(text, "{{") &&
        template_compile(c->ctx->arena, text, strlen(text), c->names, &t, &err) < 0)
        diag_add(c->ctx->diag, at, "%s", err.msg);
}

static void pairs_check(const struct slot_check *c, const struct doc *d, const struct pairs *p)
{
    for (size_t i = 0; i < p->n; i++)
        text_check(c, doc_get(d, p->keys[i]), p->values[i]);
}

static const struct doc *first_of(const struct doc *d, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (doc_get(d, keys[i]))
            return doc_get(d, keys[i]);
    return d;
}

static void task_texts_check(const struct slot_check *c, const struct doc *d, const struct task *t)
{
    static const char *const url_keys[] = { "get",    "post", "put",     "patch",
                                            "delete", "head", "options", "request" };
    static const char *const body_keys[] = { "body", "json", "form" };

    text_check(c, first_of(d, url_keys, ARRAY_LEN(url_keys)), t->url);
    if (!t->body_file)
        text_check(c, first_of(d, body_keys, ARRAY_LEN(body_keys)), t->body);
    pairs_check(c, doc_get(d, "headers"), &t->headers);
}

void templates_check(const struct param_ctx *ctx, const struct doc *users,
                     const struct user_class *cls, size_t index)
{
    const struct doc *d = users && index < users->n_items ? users->items[index] : NULL;
    const struct doc *tasks = doc_get(d, "tasks");
    struct var_names names = { 0 };
    struct slot_check c = { ctx, &names };

    if (class_var_names(ctx->arena, cls, &names) < 0) {
        diag_add(ctx->diag, d, "a class has at most %d variables and extracted values", VARS_MAX);
        return;
    }
    pairs_check(&c, doc_get(d, "headers"), &cls->headers);
    for (size_t i = 0; i < cls->variables.n; i++) {
        struct slot_check constant = { ctx, NULL };

        text_check(&constant, doc_get(doc_get(d, "variables"), cls->variables.keys[i]),
                   cls->variables.values[i]);
    }
    for (size_t i = 0; i < cls->n_tasks; i++) {
        const struct doc *at = tasks && i < tasks->n_items ? tasks->items[i] : NULL;
        const struct doc *steps = doc_get(at, "steps");

        if (!cls->tasks[i].steps)
            task_texts_check(&c, at, &cls->tasks[i]);
        for (size_t k = 0; k < cls->tasks[i].n_steps; k++)
            task_texts_check(&c, steps && k < steps->n_items ? steps->items[k] : NULL,
                             &cls->tasks[i].steps[k]);
    }
}
