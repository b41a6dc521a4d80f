/* Extraction: a source word, a colon, and what it looks for. The body is parsed as JSON at most
 * once per answer, and only when a rule asks for it. */
#include "runner/extract.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "edge/json.h"

enum source { FROM_HEADER, FROM_JSON, FROM_REGEX, FROM_COOKIE, FROM_STATUS, SOURCE_MAX };

struct rule {
    enum source source;
    const char *what; /* header name, JSON path, regex text, cookie name */
    const char *variable;
    size_t var;
    bool has_regex;
    regex_t regex;
};

struct extract_form {
    size_t n, n_names;
    struct rule rules[];
};

/* One answer while rules look at it. */
struct looking {
    const struct answer *a;
    struct json *json;
    bool parsed;
    struct buf scratch;
};

typedef const char *find_fn(struct looking *l, const struct rule *r, size_t *ret_len);

static const char *find_header(struct looking *l, const struct rule *r, size_t *ret_len)
{
    return head_find(l->a->head, l->a->head_len, r->what, 0, ret_len);
}

static const char *find_json(struct looking *l, const struct rule *r, size_t *ret_len)
{
    const struct json *found;
    const char *text;

    if (!l->parsed && l->a->body)
        err_ignore(json_parse(l->a->body, l->a->body_len, &l->json, NULL),
                   "what is no JSON holds no value");
    l->parsed = true;
    found = json_get(l->json, r->what);
    if (!found || json_is_null(found))
        return NULL;
    text = json_str(found, "", NULL);
    buf_clear(&l->scratch);
    if (text) {
        buf_adds(&l->scratch, text);
    } else {
        auto_free char *printed = json_print(found, false);

        buf_adds(&l->scratch, printed);
    }
    *ret_len = l->scratch.len;
    return buf_str(&l->scratch);
}

static const char *find_regex(struct looking *l, const struct rule *r, size_t *ret_len)
{
    const char *body = l->a->body ? l->a->body : "";
    regmatch_t match[2] = { { .rm_so = 0, .rm_eo = l->a->body ? (regoff_t)l->a->body_len : 0 } };
    const regmatch_t *m = match;

    if (regexec(&r->regex, body, 2, match, REG_STARTEND) != 0)
        return NULL;
    if (match[1].rm_so >= 0)
        m = &match[1];
    *ret_len = (size_t)(m->rm_eo - m->rm_so);
    return body + m->rm_so;
}

static const char *find_cookie(struct looking *l, const struct rule *r, size_t *ret_len)
{
    size_t name_len = strlen(r->what);
    const char *value;
    size_t len;

    for (unsigned nth = 0; (value = head_find(l->a->head, l->a->head_len, "Set-Cookie", nth, &len));
         nth++) {
        const char *end = memchr(value, ';', len);

        if (len <= name_len || memcmp(value, r->what, name_len) != 0 || value[name_len] != '=')
            continue;
        *ret_len = (end ? (size_t)(end - value) : len) - name_len - 1;
        return value + name_len + 1;
    }
    return NULL;
}

static const char *find_status(struct looking *l, const struct rule *r, size_t *ret_len)
{
    (void)r;
    buf_clear(&l->scratch);
    buf_addf(&l->scratch, "%u", (unsigned)l->a->sample.status);
    *ret_len = l->scratch.len;
    return buf_str(&l->scratch);
}

static const struct {
    const char *word;
    bool needs_body, needs_what;
    find_fn *find;
} sources[SOURCE_MAX] = {
    [FROM_HEADER] = { "header", false, true, find_header },
    [FROM_JSON] = { "json", true, true, find_json },
    [FROM_REGEX] = { "regex", true, true, find_regex },
    [FROM_COOKIE] = { "cookie", false, true, find_cookie },
    [FROM_STATUS] = { "status", false, false, find_status },
};

static int compile_regex(struct rule *r, struct err *err)
{
    int bad = regcomp(&r->regex, r->what, REG_EXTENDED);
    char text[128];

    if (!bad) {
        r->has_regex = true;
        return 0;
    }
    regerror(bad, &r->regex, text, sizeof(text));
    return err_set(err, ERR_USAGE, EINVAL, "'%s' is not a regular expression: %s", r->what, text);
}

static int compile_rule(const char *text, struct rule *r, struct err *err)
{
    size_t word = strcspn(text, ":");
    unsigned s;

    for (s = 0; s < SOURCE_MAX; s++)
        if (strlen(sources[s].word) == word && strncmp(text, sources[s].word, word) == 0)
            break;
    if (s == SOURCE_MAX)
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%s' does not say where: write header:NAME, json:PATH, regex:TEXT, "
                       "cookie:NAME or status",
                       text);
    r->source = (enum source)s;
    r->what = text[word] ? text + word + 1 : "";
    if (sources[s].needs_what != (*r->what != '\0'))
        return err_set(err, ERR_USAGE, EINVAL, "'%s': write %s%s", text, sources[s].word,
                       sources[s].needs_what ? ":..." : "");
    return s == FROM_REGEX ? compile_regex(r, err) : 0;
}

int extract_form_new(struct arena *a, const struct pairs *p, const struct var_names *names,
                     struct extract_form **ret, struct err *err)
{
    struct extract_form *f = arena_alloc(a, sizeof(*f) + p->n * sizeof(f->rules[0]));

    if (!f)
        return err_set(err, ERR_LIMIT, ENOMEM, "the plan is too large");
    f->n_names = names->n;
    for (size_t i = 0; i < p->n; i++) {
        struct rule *r = &f->rules[f->n];
        int var = var_index(names, p->keys[i], strlen(p->keys[i]));
        int rc = var < 0 ? err_set(err, ERR_USAGE, EINVAL, "'%s' is no variable", p->keys[i])
                         : compile_rule(p->values[i], r, err);

        if (rc < 0) {
            extract_form_done(f);
            return rc;
        }
        r->variable = p->keys[i];
        r->var = (size_t)var;
        f->n++;
    }
    *ret = f;
    return 0;
}

void extract_form_done(struct extract_form *f)
{
    for (size_t i = 0; f && i < f->n; i++) {
        if (f->rules[i].has_regex)
            regfree(&f->rules[i].regex);
        f->rules[i].has_regex = false;
    }
}

bool extract_needs_body(const struct extract_form *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (sources[f->rules[i].source].needs_body)
            return true;
    return false;
}

enum fail_class extract_apply(const struct extract_form *f, const struct answer *a,
                              struct vars *vars, char why[WHY_MAX])
{
    struct looking l = { .a = a, .scratch = BUF_INIT(0) };
    enum fail_class fail = FAIL_NONE;

    for (size_t i = 0; i < f->n; i++) {
        const struct rule *r = &f->rules[i];
        size_t len = 0;
        const char *value = sources[r->source].find(&l, r, &len);

        if (value) {
            vars_set(vars, f->n_names, r->var, value, len);
        } else if (fail == FAIL_NONE) {
            fail = FAIL_EXPECTATION;
            snprintf(why, WHY_MAX, "nothing to extract for '%.40s' from %s:%.60s", r->variable,
                     sources[r->source].word, r->what);
        }
    }
    json_free(l.json);
    buf_done(&l.scratch);
    return fail;
}
