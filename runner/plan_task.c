/* Tasks: {get: /, weight: 3}, {request: "PUT /x", json: {...}}, or {name: checkout, steps: [...]}.
 * The rows say what may be written; task_check turns a row into the task that the engine runs. */
#include <stdio.h>
#include <string.h>

#include "runner/expect.h"
#include "runner/extract.h"
#include "runner/plan_internal.h"
#include "runner/url.h"

#define TASK_NAME_MAX 200
#define METHOD_MAX 20

static const struct param expect_rows[] = {
    PARAM(STRS, "status", struct expect, status, .type_text = "200, 2xx, 200-204, or a list",
          .help = "statuses that are a success; default: anything below 400"),
    PARAM(STRS, "body_contains", struct expect, body_contains,
          .help = "texts that the body must hold"),
    PARAM(STRS, "body_not_contains", struct expect, body_not_contains,
          .help = "texts that it must not hold"),
    PARAM(STR, "body_regex", struct expect, body_regex, .type_text = "POSIX extended regex",
          .help = "the body must match this somewhere"),
    PARAM(PAIRS, "headers", struct expect, headers,
          .help = "headers that the answer must have, each holding this text"),
    PARAM(DURATION, "max_time", struct expect, max_time_ns,
          .help = "a slower answer is a failure of class expectation"),
    PARAM(SIZE, "max_body", struct expect, max_body, .help = "a larger body is a failure"),
};

static void expect_table_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct expect *e = base;
    struct expect_form *form = NULL;
    struct err err = { 0 };

    if (expect_status_bits(&e->status, e->status_bits, &err) < 0) {
        diag_add(ctx->diag, doc_get(d, "status"), "%s", err.msg);
        return;
    }
    if (!e->body_regex)
        return;
    if (expect_form_new(ctx->arena, e, &form, &err) < 0)
        diag_add(ctx->diag, doc_get(d, "body_regex"), "%s", err.msg);
    else
        expect_form_done(form);
}

const struct param_table expect_table = { "users[].tasks[].expect", expect_rows,
                                          ARRAY_LEN(expect_rows), expect_table_check };

#define REQUEST_ROWS                                                                              \
    PARAM(STR, "get", struct task_row, get, .type_text = "path or URL",                           \
          .help = "GET this path of the target, or this absolute URL; may hold {{slots}}"),       \
        PARAM(STR, "post", struct task_row, post, .type_text = "path or URL", .help = "POST"),    \
        PARAM(STR, "put", struct task_row, put, .type_text = "path or URL", .help = "PUT"),       \
        PARAM(STR, "patch", struct task_row, patch, .type_text = "path or URL", .help = "PATCH"), \
        PARAM(STR, "delete", struct task_row, delete_, .type_text = "path or URL",                \
              .help = "DELETE"),                                                                  \
        PARAM(STR, "head", struct task_row, head, .type_text = "path or URL", .help = "HEAD"),    \
        PARAM(STR, "options", struct task_row, options, .type_text = "path or URL",               \
              .help = "OPTIONS"),                                                                 \
        PARAM(STR, "request", struct task_row, request, .type_text = "METHOD URL",                \
              .help = "any method, in one text: \"PUT /x\""),                                     \
        PARAM(STR, "name", struct task_row, task.name,                                            \
              .help = "endpoint in reports; default: method and URL as written. Tasks of one "    \
                      "name in one class are one endpoint"),                                      \
        PARAM(PAIRS, "headers", struct task_row, task.headers,                                    \
              .help = "headers of this request; values may hold {{slots}}"),                      \
        PARAM(STR, "body", struct task_row, task.body,                                            \
              .help = "text to send; may hold {{slots}}"),                                        \
        PARAM(STR, "body_file", struct task_row, task.body_file,                                  \
              .help = "file to send as it is; from the plan's folder"),                           \
        PARAM(CUSTOM, "json", struct task_row, json, .load = json_text_load,                      \
              .type_text = "any value", .schema_json = "true",                                    \
              .help = "value to send as JSON, with its Content-Type; texts may hold {{slots}}"),  \
        PARAM(PAIRS, "form", struct task_row, form,                                               \
              .help = "fields to send urlencoded, with their Content-Type; may hold {{slots}}"),  \
        PARAM(TABLE, "expect", struct task_row, task.expect, .table = &expect_table,              \
              .help = "what the answer must be"),                                                 \
        PARAM(PAIRS, "extract", struct task_row, task.extract,                                    \
              .help = "variable: where to take it from the answer: header:Location, "             \
                      "json:items.0.id, regex:id=([0-9]+), cookie:sid, status"),                  \
        PARAM(DURATION, "timeout", struct task_row, task.timeout_ns, .lo = 0.001, .hi = 86400,    \
              .help = "for this request; default: http.timeout")

static const struct param step_rows[] = { REQUEST_ROWS };

static const struct param task_rows[] = {
    REQUEST_ROWS,
    PARAM(NUM, "weight", struct task_row, task.weight, .def = "1", .lo = 0, .hi = 1e6,
          .help = "how often, relative to the other tasks of the class"),
    PARAM(STRS, "tags", struct task_row, tags, .help = "for --tags and --exclude-tags"),
    PARAM(LIST, "steps", struct task_row, steps, .table = &step_table,
          .item_size = sizeof(struct task_row),
          .help = "a sequence instead of one request: these run in order, as one iteration"),
};

struct method_key {
    const char *key, *method;
    size_t offset;
};
static const struct method_key method_keys[] = {
    { "get", "GET", offsetof(struct task_row, get) },
    { "post", "POST", offsetof(struct task_row, post) },
    { "put", "PUT", offsetof(struct task_row, put) },
    { "patch", "PATCH", offsetof(struct task_row, patch) },
    { "delete", "DELETE", offsetof(struct task_row, delete_) },
    { "head", "HEAD", offsetof(struct task_row, head) },
    { "options", "OPTIONS", offsetof(struct task_row, options) },
    { "request", NULL, offsetof(struct task_row, request) },
};

static const char *row_text(const struct task_row *row, const struct method_key *m)
{
    return *(const char *const *)((const char *)row + m->offset);
}

/* The one key that names the request; NULL when there is none, or (with a message) several. */
static const struct method_key *request_key(const struct param_ctx *ctx, const struct doc *d,
                                            const struct task_row *row)
{
    const struct method_key *found = NULL;

    for (size_t i = 0; i < ARRAY_LEN(method_keys); i++) {
        if (!row_text(row, &method_keys[i]))
            continue;
        if (found) {
            diag_add_key(ctx->diag, doc_get(d, method_keys[i].key),
                         "this task already has '%s'; a task is one request, use steps for more",
                         found->key);
            return NULL;
        }
        found = &method_keys[i];
    }
    return found;
}

/* "PUT /x" into method and URL. */
static bool split_request(const struct param_ctx *ctx, const struct doc *d, const char *text,
                          struct task *t)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    size_t blanks = strspn(text + n, " ");

    if (n == 0 || n > METHOD_MAX || blanks == 0 || text[n + blanks] == '\0') {
        diag_add(ctx->diag, d, "'%s' is not METHOD URL; write for example \"PUT /items/1\"", text);
        return false;
    }
    t->method = arena_strndup(ctx->arena, text, n);
    t->url = text + n + blanks;
    return t->method;
}

static void url_check(const struct param_ctx *ctx, const struct doc *d, const char *url)
{
    struct url parsed;
    struct err err = { 0 };

    if (strlen(url) > 4096)
        diag_add(ctx->diag, d, "a URL has at most 4096 characters");
    else if (url[0] == '/' || strncmp(url, "{{", 2) == 0)
        return;
    else if (!url_is_absolute(url, strlen(url)))
        diag_add(ctx->diag, d, "'%s' is neither a path nor a URL; write /%s", url, url);
    else if (!strstr(url, "{{") && url_parse(url, strlen(url), &parsed, &err) < 0)
        diag_add(ctx->diag, d, "%s", err.msg);
}

/* body, body_file, json and form become body and body_len. */
static void resolve_body(const struct param_ctx *ctx, const struct doc *d, struct task_row *row)
{
    static const char *const keys[] = { "body", "body_file", "json", "form" };
    struct task *t = &row->task;
    const char *type = NULL;
    const char *first = NULL;

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (!doc_get(d, keys[i]))
            continue;
        if (first) {
            diag_add_key(ctx->diag, doc_get(d, keys[i]), "the body is already given by '%s'",
                         first);
            return;
        }
        first = keys[i];
    }
    if (row->json) {
        t->body = row->json;
        type = "application/json";
    } else if (row->form.n > 0) {
        t->body = form_text(ctx, doc_get(d, "form"), &row->form);
        type = "application/x-www-form-urlencoded";
    }
    if (t->body_file)
        body_file_load(ctx, doc_get(d, "body_file"), t);
    else if (t->body)
        t->body_len = strlen(t->body);
    if (type && !pairs_find(&t->headers, "Content-Type"))
        pairs_add(ctx, &t->headers, "Content-Type", type);
}

static void extract_check(const struct param_ctx *ctx, const struct doc *d, const struct pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct pairs one = { p->keys + i, p->values + i, 1 };
        struct var_names names = { p->keys + i, NULL, 1 };
        struct extract_form *form = NULL;
        struct err err = { 0 };

        if (extract_form_new(ctx->arena, &one, &names, &form, &err) < 0)
            diag_add(ctx->diag, doc_get(d, p->keys[i]), "%s", err.msg);
        extract_form_done(form);
    }
}

static void name_check(const struct param_ctx *ctx, const struct doc *d, const char *name)
{
    if (name && (*name == '\0' || strlen(name) > TASK_NAME_MAX || strpbrk(name, "\r\n\t")))
        diag_add(ctx->diag, d, "a name has 1 to %d characters on one line", TASK_NAME_MAX);
}

/* A request: method, URL, name, body. */
static void resolve_request(const struct param_ctx *ctx, const struct doc *d, struct task_row *row)
{
    struct task *t = &row->task;
    const struct method_key *key = request_key(ctx, d, row);
    const struct doc *at = key ? doc_get(d, key->key) : NULL;

    if (!key)
        return;
    t->method = key->method;
    t->url = row_text(row, key);
    if (!key->method && !split_request(ctx, at, row->request, t))
        return;
    url_check(ctx, at, t->url);
    if (!t->name)
        t->name = arena_printf(ctx->arena, "%s %.*s", t->method, (int)(TASK_NAME_MAX - METHOD_MAX),
                               t->url);
    headers_check(ctx, doc_get(d, "headers"), &t->headers);
    resolve_body(ctx, d, row);
    extract_check(ctx, doc_get(d, "extract"), &t->extract);
}

static bool names_request(const struct task_row *row)
{
    for (size_t i = 0; i < ARRAY_LEN(method_keys); i++)
        if (row_text(row, &method_keys[i]))
            return true;
    return false;
}

static void step_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct task_row *row = base;

    name_check(ctx, doc_get(d, "name"), row->task.name);
    if (!names_request(row))
        diag_add(ctx->diag, d, "a step is a request: write for example get: /cart");
    resolve_request(ctx, d, row);
}

/* What belongs to a request has no meaning for a sequence. */
static void sequence_keys_check(const struct param_ctx *ctx, const struct doc *d)
{
    static const char *const misplaced[] = { "headers", "body",   "body_file", "json",
                                             "form",    "expect", "extract",   "timeout" };

    for (size_t i = 0; i < ARRAY_LEN(misplaced); i++)
        if (doc_get(d, misplaced[i]))
            diag_add_key(ctx->diag, doc_get(d, misplaced[i]),
                         "this task has steps; '%s' belongs into a step", misplaced[i]);
}

static void resolve_steps(const struct param_ctx *ctx, const struct doc *d, struct task_row *row)
{
    const struct task_row *steps = row->steps.v;
    struct task *t = &row->task;

    sequence_keys_check(ctx, d);
    if (row->steps.n == 0) {
        diag_add(ctx->diag, doc_get(d, "steps"), "a sequence needs at least one step");
        return;
    }
    t->steps = arena_alloc(ctx->arena, row->steps.n * sizeof(*t->steps));
    if (!t->steps) {
        diag_add(ctx->diag, d, "the plan is too large");
        return;
    }
    for (size_t i = 0; i < row->steps.n; i++)
        t->steps[i] = steps[i].task;
    t->n_steps = row->steps.n;
    if (!t->name)
        t->name = "sequence";
}

static void task_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    struct task_row *row = base;
    const struct doc *steps = doc_get(d, "steps");

    name_check(ctx, doc_get(d, "name"), row->task.name);
    row->task.tags = row->tags.v;
    row->task.n_tags = row->tags.n;
    if (steps && names_request(row))
        diag_add_key(ctx->diag, steps,
                     "a task is either a request or steps; move the request into the steps");
    else if (steps)
        resolve_steps(ctx, d, row);
    else if (names_request(row))
        resolve_request(ctx, d, row);
    else
        diag_add(ctx->diag, d,
                 "this task sends nothing: write for example get: /items, or steps: [...]");
}

const struct param_table step_table = { "users[].tasks[].steps[]", step_rows, ARRAY_LEN(step_rows),
                                        step_check };
const struct param_table task_table = { "users[].tasks[]", task_rows, ARRAY_LEN(task_rows),
                                        task_check };
