/* Flags with words in them: --task 'POST /items 3 name=create', --fault 'kill process=shop at=30s',
 * --process 'shop=python3 app.py', --proxy 'name=db upstream=127.0.0.1:5432'. Keys go to the same
 * tables that read a plan. */
#include <string.h>
#include <strings.h>

#include "campaign/plan.h"
#include "cli/flags.h"
#include "cli/words.h"
#include "edge/yaml.h"

/* ---- headers, and secrets that must not be in argv ---- */

static bool is_secret_header(const char *name, size_t len)
{
    static const char *const names[] = { "authorization", "proxy-authorization",
                                         "cookie",        "x-api-key",
                                         "api-key",       "x-auth-token" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], name, len) == 0)
            return true;
    return false;
}

static void put_header(const struct flags *f, struct doc *map, const char *source, const char *text)
{
    const char *colon = strchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (!len) {
        diag_add(f->diag, NULL, "%s: write it as 'Name: value'", source);
        return;
    }
    const char *value = colon + 1 + strspn(colon + 1, " ");
    if (is_secret_header(text, len) && !strstr(value, "${")) {
        diag_add(f->diag, NULL,
                 "%s: everyone on this machine can read the command line; put the value of %.*s "
                 "into a variable and write '%.*s: ${NAME}' in single quotes, or use --bearer-env, "
                 "--bearer-file or --basic-user",
                 source, (int)len, text, (int)len, text);
        return;
    }
    struct doc *headers = doc_get_mutable(map, "headers");
    if (!headers || headers->kind != DOC_MAP) {
        headers = doc_new(f->arena, DOC_MAP, source);
        doc_map_put(f->arena, map, "headers", headers);
    }
    const char *name = arena_strndup(f->arena, text, len);
    struct doc *node = doc_scalar(f->arena, source, value);
    if (name && node && headers)
        doc_map_put(f->arena, headers, name, node);
}

static void put_headers(const struct flags *f)
{
    const struct opt_values *given = opt_all(f->args, "header");
    struct doc *http = doc_get_mutable(f->root, "http");

    if (!given || !given->n)
        return;
    if (!http || http->kind != DOC_MAP) {
        http = doc_new(f->arena, DOC_MAP, "--header");
        doc_map_put(f->arena, f->root, "http", http);
    }
    for (size_t i = 0; i < given->n; i++)
        put_header(f, http, "--header", given->values[i]);
}

/* ---- key=value words ---- */

static void put_tags(const struct flags *f, struct doc *task, const char *text)
{
    struct doc *list = doc_new(f->arena, DOC_LIST, "--task");
    char *copy = arena_strdup(f->arena, text), *save = NULL;

    for (char *tag = copy ? strtok_r(copy, ",", &save) : NULL; tag;
         tag = strtok_r(NULL, ",", &save))
        doc_list_add(f->arena, list, doc_scalar(f->arena, "--task", tag));
    doc_map_put(f->arena, task, "tags", list);
}

/* Other names, shorter than the plan's. */
static const char *task_path(const char *key)
{
    static const struct {
        const char *key, *path;
    } aliases[] = { { "data", "body" },
                    { "expect", "expect.status" },
                    { "status", "expect.status" } };

    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (strcmp(aliases[i].key, key) == 0)
            return aliases[i].path;
    return key;
}

static void task_word(const struct flags *f, struct doc *task, const char *key, const char *value)
{
    if (strcmp(key, "header") == 0)
        put_header(f, task, "--task", value);
    else if (strcmp(key, "tag") == 0 || strcmp(key, "tags") == 0)
        put_tags(f, task, value);
    else if (strcmp(key, "json") == 0) {
        flags_put_text(f, task, "--task", "body", value);
        put_header(f, task, "--task", "Content-Type: application/json");
    } else
        flags_put_text(f, task, "--task", task_path(key), value);
}

static bool is_method(const char *word)
{
    return *word && word[strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0';
}

static bool is_number(const char *word)
{
    return *word && word[strspn(word, "0123456789.")] == '\0';
}

/* METHOD URL into "get: URL" or "request: METHOD URL". */
static void put_request(const struct flags *f, struct doc *task, const char *method,
                        const char *url)
{
    static const struct {
        const char *method, *key;
    } keys[] = { { "GET", "get" },        { "POST", "post" },     { "PUT", "put" },
                 { "PATCH", "patch" },    { "DELETE", "delete" }, { "HEAD", "head" },
                 { "OPTIONS", "options" } };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(keys[i].method, method) == 0) {
            flags_put_text(f, task, "--task", keys[i].key, url);
            return;
        }
    const char *text = arena_printf(f->arena, "%s %s", method, url);
    if (text)
        flags_put_text(f, task, "--task", "request", text);
}

static void add_task(const struct flags *f, struct doc *tasks, const char *text)
{
    struct doc *task = doc_new(f->arena, DOC_MAP, "--task");
    struct err err = { 0 };
    struct words w;
    size_t i = 0;

    if (words_split(text, f->arena, &w, &err) < 0) {
        diag_add(f->diag, NULL, "--task: %s", err.msg);
        return;
    }
    const char *method = w.n && is_method(w.v[0]) ? w.v[i++] : "GET";
    if (i >= w.n) {
        diag_add(f->diag, NULL, "--task: '%.60s' has no URL; write for example 'GET /items 3'",
                 text);
        return;
    }
    put_request(f, task, method, w.v[i++]);
    if (i < w.n && is_number(w.v[i]))
        flags_put_text(f, task, "--task", "weight", w.v[i++]);
    for (; i < w.n; i++) {
        size_t len;
        const char *value = word_value(w.v[i], &len);
        const char *key = value ? arena_strndup(f->arena, w.v[i], len) : NULL;

        if (key)
            task_word(f, task, key, value);
        else
            diag_add(f->diag, NULL,
                     "--task: '%.60s' is not understood; write METHOD URL WEIGHT key=value, with "
                     "blanks in quotes",
                     w.v[i]);
    }
    doc_list_add(f->arena, tasks, task);
}

/* --data goes with the last task that can carry it. */
static void put_data(const struct flags *f, const struct doc *tasks)
{
    static const char *const carriers[] = { "post", "put", "patch", "delete", "request" };
    const char *data = opt_value(f->args, "data");

    if (!data)
        return;
    for (size_t i = tasks ? tasks->n_items : 0; i-- > 0;)
        for (size_t k = 0; k < ARRAY_LEN(carriers); k++) {
            struct doc *task = tasks->items[i];

            if (!doc_get(task, carriers[k]))
                continue;
            flags_put_text(f, task, "--data", data[0] == '@' ? "body_file" : "body",
                           data[0] == '@' ? data + 1 : data);
            if ((data[0] == '{' || data[0] == '[') && !doc_get(task, "headers"))
                put_header(f, task, "--data", "Content-Type: application/json");
            return;
        }
    diag_add(f->diag, NULL, "--data: no task to send it with; add --task 'POST /items'");
}

static void put_tasks(const struct flags *f)
{
    const struct opt_values *given = opt_all(f->args, "task");
    struct doc *tasks, *users, *user;

    if ((!given || !given->n) && (f->has_file || doc_get(f->root, "users"))) {
        put_data(f, NULL);
        return;
    }
    tasks = doc_new(f->arena, DOC_LIST, "--task");
    users = doc_new(f->arena, DOC_LIST, "--task");
    user = doc_new(f->arena, DOC_MAP, "--task");
    if (!tasks || !users || !user)
        return;
    for (size_t i = 0; given && i < given->n; i++)
        add_task(f, tasks, given->values[i]);
    if (!given || !given->n)
        add_task(f, tasks, "GET /");
    put_data(f, tasks);
    doc_map_put(f->arena, user, "tasks", tasks);
    doc_list_add(f->arena, users, user);
    doc_map_put(f->arena, f->root, "users", users);
}

static void put_think(const struct flags *f)
{
    const char *think = opt_value(f->args, "think");
    struct doc *users = doc_get_mutable(f->root, "users");

    for (size_t i = 0; think && users && users->kind == DOC_LIST && i < users->n_items; i++)
        if (users->items[i]->kind == DOC_MAP)
            flags_put_text(f, users->items[i], "--think", "think", think);
}

/* ---- faults, processes, proxies, thresholds ---- */

static bool is_timing_key(const char *key)
{
    for (size_t i = 0; i < fault_timing_table.n; i++)
        if (strcmp(fault_timing_table.rows[i].name, key) == 0)
            return true;
    return false;
}

static void add_fault(const struct flags *f, struct doc *faults, const char *text)
{
    struct doc *fault = doc_new(f->arena, DOC_MAP, "--fault");
    struct doc *params = doc_new(f->arena, DOC_MAP, "--fault");
    struct err err = { 0 };
    struct words w;
    size_t len;

    if (words_split(text, f->arena, &w, &err) < 0) {
        diag_add(f->diag, NULL, "--fault: %s", err.msg);
        return;
    }
    if (!w.n || word_value(w.v[0], &len)) {
        diag_add(f->diag, NULL, "--fault: begin with the kind: 'kill process=shop at=30s'");
        return;
    }
    doc_map_put(f->arena, fault, w.v[0], params);
    for (size_t i = 1; i < w.n; i++) {
        const char *value = word_value(w.v[i], &len);
        const char *key = value ? arena_strndup(f->arena, w.v[i], len) : NULL;

        if (key)
            flags_put_text(f, is_timing_key(key) ? fault : params, "--fault", key, value);
        else
            diag_add(f->diag, NULL,
                     "--fault: '%.60s' is not key=value; write 'kill process=shop at=30s'", w.v[i]);
    }
    doc_list_add(f->arena, faults, fault);
}

static void add_map(const struct flags *f, struct doc *list, const char *source, const char *text)
{
    struct doc *map = doc_new(f->arena, DOC_MAP, source);
    struct err err = { 0 };
    struct words w;

    if (words_split(text, f->arena, &w, &err) < 0) {
        diag_add(f->diag, NULL, "%s: %s", source, err.msg);
        return;
    }
    for (size_t i = 0; i < w.n; i++) {
        size_t len;
        const char *value = word_value(w.v[i], &len);
        const char *key = value ? arena_strndup(f->arena, w.v[i], len) : NULL;

        if (key)
            flags_put_text(f, map, source, key, value);
        else
            diag_add(f->diag, NULL, "%s: '%.60s' is not key=value", source, w.v[i]);
    }
    doc_list_add(f->arena, list, map);
}

/* 'shop=python3 app.py', or 'name=shop pidfile=/run/shop.pid'. */
static void add_process(const struct flags *f, struct doc *list, const char *text)
{
    size_t len;
    const char *command = word_value(text, &len);
    struct doc *map;

    if (!command || !*command) {
        diag_add(f->diag, NULL,
                 "--process: write NAME=COMMAND, as in 'shop=python3 app.py', or 'name=shop "
                 "pidfile=/run/shop.pid'");
        return;
    }
    if (strncmp(text, "name=", 5) == 0) {
        add_map(f, list, "--process", text);
        return;
    }
    map = doc_new(f->arena, DOC_MAP, "--process");
    const char *name = arena_strndup(f->arena, text, len);
    if (!map || !name)
        return;
    flags_put_text(f, map, "--process", "name", name);
    flags_put_text(f, map, "--process", "run", command);
    doc_list_add(f->arena, list, map);
}

static void add_proxy(const struct flags *f, struct doc *list, const char *text)
{
    add_map(f, list, "--proxy", text);
}

static void add_threshold(const struct flags *f, struct doc *list, const char *text)
{
    struct doc *d = NULL;

    if (*text != '{')
        d = doc_scalar(f->arena, "--threshold", text);
    else if (yaml_load("--threshold", text, strlen(text), f->arena, f->diag, &d) < 0)
        return;
    doc_list_add(f->arena, list, d);
}

static const struct {
    const char *opt, *source, *key;
    void (*add)(const struct flags *f, struct doc *list, const char *text);
} lists[] = {
    { "process", "--process", "processes", add_process },
    { "proxy", "--proxy", "proxies", add_proxy },
    { "fault", "--fault", "faults", add_fault },
    { "threshold", "--threshold", "thresholds", add_threshold },
};

void flags_words(const struct flags *f)
{
    put_headers(f);
    put_tasks(f);
    put_think(f);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const struct opt_values *given = opt_all(f->args, lists[i].opt);
        struct doc *list = NULL;

        for (size_t k = 0; given && k < given->n; k++) {
            if (!list)
                list = flags_list(f, lists[i].source, lists[i].key);
            lists[i].add(f, list, given->values[k]);
        }
    }
}
