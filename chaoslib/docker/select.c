/* Which containers are meant, now. The engine lists all of them and the choice is made here, since
 * engines differ in what their filters mean; then each chosen one is inspected, so that what is
 * returned is what will be hit: an id and the start that it belongs to. */
#include "chaoslib/docker/select.h"

#include <errno.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/docker/internal.h"

struct candidate {
    const char *id, *name; /* borrowed from the list */
    const struct json *item;
    bool skipped, runs;
};

struct search {
    const struct docker_select *s;
    enum docker_state state;
    struct json *list;
    struct candidate *v;
    size_t n;
    regex_t re;
    bool has_re;
};

static const char *label_of(const struct json *item, const char *key)
{
    const struct json *labels = json_get(item, "Labels");

    /* Not by a path: keys have dots. */
    for (const struct json *l = json_first(labels); l; l = json_next(l))
        if (strcmp(json_key(l), key) == 0)
            return json_str(l, "", "");
    return NULL;
}

static bool is_skipped(const struct json *item)
{
    static const char *const keys[] = { "chaos-load.skip", "com.gaiaadm.pumba",
                                        "com.gaiaadm.pumba.skip" };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const char *value = label_of(item, keys[i]);
        if (value && strcmp(value, "true") == 0)
            return true;
    }
    return false;
}

/* Links give a container more names, "/web/db"; its own has one slash at most. */
static const char *own_name(const struct json *item)
{
    const struct json *names = json_get(item, "Names");

    for (const struct json *n = json_first(names); n; n = json_next(n)) {
        const char *name = json_str(n, "", "");
        name += name[0] == '/';
        if (*name && !strchr(name, '/'))
            return name;
    }
    return json_str(json_first(names), "", "");
}

static bool is_candidate(const struct json *item)
{
    return json_str(item, "Id", NULL) && strlen(json_str(item, "Id", "")) >= 12;
}

static bool runs(const struct json *item)
{
    const char *state = json_str(item, "State", "");

    return strcmp(state, "running") == 0 || strcmp(state, "paused") == 0;
}

/* ---- the conditions ---- */

static bool names_it(const char *wanted, const struct candidate *c)
{
    wanted += wanted[0] == '/';
    if (strcmp(wanted, c->name) == 0)
        return true;
    /* As `docker ps` shows it: 12 digits or more of the id. */
    return strlen(wanted) >= 12 && strncmp(c->id, wanted, strlen(wanted)) == 0;
}

static bool has_name(const struct docker_select *s, const struct candidate *c)
{
    for (size_t i = 0; i < s->names.n; i++)
        if (names_it(s->names.v[i], c))
            return true;
    return s->names.n == 0;
}

static bool has_label(const struct json *item, const char *wanted)
{
    size_t n = strcspn(wanted, "=");
    auto_free char *key = xstrndup(wanted, n);
    const char *value = label_of(item, key);

    return value && (wanted[n] == '\0' || strcmp(value, wanted + n + 1) == 0);
}

static bool has_labels(const struct docker_select *s, const struct json *item)
{
    for (size_t i = 0; i < s->labels.n; i++)
        if (!has_label(item, s->labels.v[i]))
            return false;
    return true;
}

static bool is_of_compose(const char *wanted, const struct json *item)
{
    size_t n = strcspn(wanted, "/");
    const char *project = label_of(item, "com.docker.compose.project");
    const char *service = label_of(item, "com.docker.compose.service");

    if (!project || strlen(project) != n || strncmp(project, wanted, n) != 0)
        return false;
    return wanted[n] == '\0' || (service && strcmp(service, wanted + n + 1) == 0);
}

/* "nginx" is also "nginx:1.25" and "docker.io/library/nginx@sha256:…". */
static bool is_of_image(const char *wanted, const char *image)
{
    size_t n = strlen(wanted);

    for (const char *at = image; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, wanted, n) == 0 && (at[n] == '\0' || at[n] == ':' || at[n] == '@'))
            return true;
    }
    return false;
}

static bool is_meant(const struct search *q, const struct candidate *c)
{
    const struct docker_select *s = q->s;

    return has_name(s, c) && has_labels(s, c->item) &&
           (!q->has_re || regexec(&q->re, c->name, 0, NULL, 0) == 0) &&
           (!s->compose || is_of_compose(s->compose, c->item)) &&
           (!s->image || is_of_image(s->image, json_str(c->item, "Image", "")));
}

/* ---- the list ---- */

static int list_all(struct docker *d, struct search *q, struct err *err)
{
    int rc = docker_do(d, &(struct docker_call){ .path = "/containers/json?all=1" }, &q->list, err);

    if (rc != 0 || !json_is_array(q->list))
        return rc < 0 ? rc
                      : err_set(err, ERR_PREPARE, EPROTO,
                                "the container engine answered without a list of containers");
    q->v = xcalloc(json_len(q->list) + 1, sizeof(*q->v));
    for (const struct json *item = json_first(q->list); item; item = json_next(item)) {
        if (!is_candidate(item))
            continue;
        q->v[q->n++] = (struct candidate){ .id = json_str(item, "Id", ""),
                                           .name = own_name(item),
                                           .item = item,
                                           .skipped = is_skipped(item),
                                           .runs = runs(item) };
    }
    return 0;
}

/* A name that is given must be there, and be allowed. */
static int check_name(const struct search *q, const char *name, struct err *err)
{
    for (size_t i = 0; i < q->n; i++) {
        const struct candidate *c = &q->v[i];

        if (!names_it(name, c))
            continue;
        if (c->skipped)
            return err_set(err, ERR_TARGET, EPERM,
                           "container '%.100s' must not be hit: it carries a label that says so "
                           "(chaos-load.skip or com.gaiaadm.pumba)",
                           name);
        if (q->state == DOCKER_RUNNING && !c->runs && !q->s->allow_empty)
            return err_set(err, ERR_TARGET, ESRCH,
                           "container '%.100s' does not run (%.20s): start it first, or allow that "
                           "with allow_empty: true",
                           name, json_str(c->item, "State", "unknown"));
        return 0;
    }
    if (q->s->allow_empty)
        return 0;
    return err_set(err, ERR_TARGET, ESRCH,
                   "there is no container '%.100s'; docker ps shows which there are", name);
}

static void keep_meant(struct search *q)
{
    size_t kept = 0;

    for (size_t i = 0; i < q->n; i++)
        if (!q->v[i].skipped && (q->v[i].runs || q->state == DOCKER_ANY) && is_meant(q, &q->v[i]))
            q->v[kept++] = q->v[i];
    q->n = kept;
}

static int nobody(const struct search *q, struct err *err)
{
    if (q->s->allow_empty)
        return 0;
    return err_set(err, ERR_TARGET, ESRCH,
                   "no %scontainer matches the selection; look with docker ps, or allow it with "
                   "allow_empty: true",
                   q->state == DOCKER_RUNNING ? "running " : "");
}

/* ---- how many, and which ---- */

static int mode_of(const struct docker_select *s)
{
    if (s->mode != DOCKER_MODE_DEFAULT)
        return s->mode;
    return s->names.n && !s->match && !s->labels.n && !s->compose && !s->image ? DOCKER_ALL
                                                                               : DOCKER_ONE;
}

static size_t how_many(const struct docker_select *s, size_t n)
{
    size_t wanted = n;

    switch (mode_of(s)) {
    case DOCKER_ONE: wanted = 1; break;
    case DOCKER_COUNT: wanted = (size_t)s->count; break;
    case DOCKER_PERCENT: /* a whisker less, so that 30 % of 10 are 3 */
        wanted = (size_t)ceil((double)n * s->percent - 1e-9);
        wanted += wanted == 0;
        break;
    default: break;
    }
    return wanted < n ? wanted : n;
}

static int by_name(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* The first `k` become a random choice. By name first: the same seed chooses the same ones, in
 * whatever order an engine lists them. */
static void choose(struct search *q, size_t k, struct rng *rng)
{
    qsort(q->v, q->n, sizeof(*q->v), by_name);
    for (size_t i = 0; i < k && k < q->n; i++) {
        size_t other = i + (size_t)rng_below(rng, q->n - i);
        struct candidate c = q->v[i];
        q->v[i] = q->v[other];
        q->v[other] = c;
    }
    q->n = k;
    qsort(q->v, q->n, sizeof(*q->v), by_name);
}

/* Those that went away between the list and the look at them are left out. */
static int look_at_each(struct docker *d, const struct search *q, struct docker_targets *ret,
                        struct err *err)
{
    auto_free struct docker_container *v = xcalloc(q->n + 1, sizeof(*v));
    size_t n = 0;

    for (size_t i = 0; i < q->n; i++) {
        int rc = docker_inspect(d, q->v[i].id, &v[n], err);

        if (rc < 0)
            return rc;
        if (rc == 0 && (v[n].running || q->state == DOCKER_ANY))
            n++;
    }
    if (q->n && !n && nobody(q, err) < 0)
        return -ESRCH;
    *ret = (struct docker_targets){ .v = TAKE(v), .n = n };
    return 0;
}

static int search(struct docker *d, struct search *q, struct rng *rng, struct err *err)
{
    int rc = list_all(d, q, err);

    for (size_t i = 0; rc == 0 && i < q->s->names.n; i++)
        rc = check_name(q, q->s->names.v[i], err);
    if (rc < 0)
        return rc;
    keep_meant(q);
    if (q->n > DOCKER_TARGETS_MAX)
        return err_set(err, ERR_LIMIT, E2BIG, "the selection matches %zu containers, at most %d",
                       q->n, DOCKER_TARGETS_MAX);
    if (q->n == 0)
        return nobody(q, err);
    choose(q, how_many(q->s, q->n), rng);
    return 0;
}

int docker_select(struct docker *d, const struct docker_select *s, enum docker_state state,
                  struct rng *rng, struct docker_targets *ret, struct err *err)
{
    struct search q = { .s = s, .state = state };
    int rc;

    if (s->match && regcomp(&q.re, s->match, REG_EXTENDED | REG_NOSUB) != 0)
        return err_set(err, ERR_USAGE, EINVAL, "'%.100s' is not a regular expression", s->match);
    q.has_re = s->match != NULL;
    rc = search(d, &q, rng, err);
    if (rc == 0)
        rc = look_at_each(d, &q, ret, err);
    if (q.has_re)
        regfree(&q.re);
    free(q.v);
    json_free(q.list);
    return rc;
}

void docker_say_targets(const struct docker_container *v, size_t n, char out[256])
{
    size_t at;

    if (n == 0) {
        snprintf(out, 256, "no container");
        return;
    }
    if (n == 1) {
        snprintf(out, 256, "container %.128s (%.12s)", v[0].name, v[0].id);
        return;
    }
    at = (size_t)snprintf(out, 256, "%zu containers: ", n);
    for (size_t i = 0; i < n; i++) {
        size_t left = 256 - at;
        if (strlen(v[i].name) + 8 >= left) { /* room for this, a comma and the dots */
            snprintf(out + at, left, "…");
            return;
        }
        at += (size_t)snprintf(out + at, left, "%s%s", v[i].name, i + 1 < n ? ", " : "");
    }
}
