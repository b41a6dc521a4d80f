/* Reading a command line of Pumba by its tables of flags. */
#include "chaoslib/pumba/args.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define NAMES_MAX 64

struct reader {
    struct arena *arena;
    struct pumba_line *line;
    size_t at; /* the next word */
    struct err *err;
};

static void *field_of(const struct reader *r, const struct pumba_flag *f)
{
    return (char *)r->line + f->offset;
}

/* ---- values ---- */

static int add_text(struct reader *r, struct strs *list, const char *text)
{
    const char **v = arena_alloc(r->arena, (list->n + 1) * sizeof(*v));

    if (!v)
        return err_set(r->err, ERR_LIMIT, ENOMEM, "the command line is too long");
    for (size_t i = 0; i < list->n; i++)
        v[i] = list->v[i];
    v[list->n] = text;
    *list = (struct strs){ .v = v, .n = list->n + 1 };
    return 0;
}

static int check_bounds(const struct pumba_flag *f, double value, struct err *err)
{
    if (f->hi <= f->lo || (value >= f->lo && value <= f->hi))
        return 0;
    if (f->hi > 1e9)
        return err_set(err, ERR_USAGE, ERANGE, "must not be below 0");
    return err_set(err, ERR_USAGE, ERANGE, "must be between %g and %g", f->lo, f->hi);
}

static int check_choice(const struct pumba_flag *f, const char *text, struct err *err)
{
    auto_buf struct buf list = BUF_INIT(4096);

    for (const char *const *c = f->choices; c && *c; c++) {
        if (strcmp(*c, text) == 0)
            return 0;
        buf_addf(&list, "%s%s", list.len ? ", " : "", *c);
    }
    if (!f->choices)
        return 0;
    return err_set(err, ERR_USAGE, EINVAL, "is none of %s", buf_str(&list));
}

/* strconv.ParseBool */
static int go_bool(const char *text, bool *ret, struct err *err)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *ret = strcmp(text, yes[i]) == 0;
            return 0;
        }
    }
    return err_set(err, ERR_USAGE, EINVAL, "is not true or false");
}

static int put_value(struct reader *r, const struct pumba_flag *f, const char *text)
{
    void *field = field_of(r, f);
    double number = 0;
    int rc = 0;

    switch (f->type) {
    case PUMBA_BOOL: return go_bool(text, field, r->err);
    case PUMBA_TEXT: *(const char **)field = text; return check_choice(f, text, r->err);
    case PUMBA_TEXTS: return add_text(r, field, text);
    case PUMBA_INT:
        rc = parse_i64(text, INT32_MIN, INT32_MAX, field, r->err);
        number = (double)*(int64_t *)field;
        break;
    case PUMBA_FLOAT:
        rc = parse_double(text, -1e9, 1e9, field, r->err);
        number = *(double *)field;
        break;
    case PUMBA_DURATION:
        if (strchr(text, 'd'))
            return err_set(r->err, ERR_USAGE, EINVAL, "Go knows no days: write 24h");
        return parse_duration(text, PARSE_UNIT, field, r->err);
    }
    return rc < 0 ? rc : check_bounds(f, number, r->err);
}

static int set_defaults(struct reader *r, const struct pumba_flags *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].def && put_value(r, &t->rows[i], t->rows[i].def) < 0)
            return err_wrap(r->err, "default of %s", t->rows[i].names);
    return 0;
}

/* ---- flags ---- */

/* Is `name` (len bytes) one of the comma separated ones? */
static bool is_named(const struct pumba_flag *f, const char *name, size_t len)
{
    for (const char *p = f->names; *p;) {
        size_t n = strcspn(p, ",");

        if (n == len && strncmp(p, name, len) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

static const struct pumba_flag *flag_find(const struct pumba_flags *t, const char *name, size_t len)
{
    for (size_t i = 0; i < t->n; i++)
        if (is_named(&t->rows[i], name, len))
            return &t->rows[i];
    return NULL;
}

static int unknown_flag(const struct pumba_flags *t, const char *word, struct err *err)
{
    char first[NAMES_MAX][32];
    const char *names[NAMES_MAX];
    char name[64];
    size_t n = 0;

    snprintf(name, sizeof(name), "%.*s", (int)MIN(strcspn(word, "="), 60), word);
    for (; n < MIN(t->n, NAMES_MAX); n++) {
        snprintf(first[n], sizeof(first[n]), "%.*s", (int)strcspn(t->rows[n].names, ","),
                 t->rows[n].names);
        names[n] = first[n];
    }
    const char *what = *t->of ? t->of : "pumba itself";
    const char *near = nearest_name(name + strspn(name, "-"), names, n);
    if (near)
        return err_set(err, ERR_USAGE, EINVAL, "'%s' is no flag of %s, did you mean '--%s'?", name,
                       what, near);
    return err_set(err, ERR_USAGE, EINVAL, "'%s' is no flag of %s", name, what);
}

/* Global flags after the command are the mistake that everybody makes. */
static int misplaced_flag(const struct pumba_flags *t, const char *word, struct err *err)
{
    const char *name = word + strspn(word, "-");

    if (*t->of && flag_find(&pumba_global_flags, name, strcspn(name, "=")))
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%.60s' is a global flag: it must come before '%.*s'", word,
                       (int)strcspn(t->of, " "), t->of);
    return unknown_flag(t, word, err);
}

static int read_flag(struct reader *r, const struct pumba_flags *t)
{
    const char *word = r->line->words.v[r->at++];
    const char *name = word + (word[1] == '-' ? 2 : 1);
    size_t len = strcspn(name, "=");
    const struct pumba_flag *f = flag_find(t, name, len);
    const char *value = name[len] == '=' ? name + len + 1 : NULL;

    if (!f)
        return misplaced_flag(t, word, r->err);
    if (!value && f->type == PUMBA_BOOL)
        value = "true";
    if (!value && r->at == r->line->words.n)
        return err_set(r->err, ERR_USAGE, EINVAL, "'%.60s' needs a value", word);
    if (!value)
        value = r->line->words.v[r->at++];
    if (put_value(r, f, value) < 0)
        return err_wrap(r->err, "%.*s '%.60s'", (int)strcspn(word, "="), word, value);
    return 0;
}

static bool looks_like_flag(const char *word)
{
    return word[0] == '-' && word[1] && strcmp(word, "--") != 0;
}

/* Up to the first word that is none. */
static int read_flags(struct reader *r, const struct pumba_flags *t)
{
    int rc = set_defaults(r, t);

    while (rc == 0 && r->at < r->line->words.n && looks_like_flag(r->line->words.v[r->at]))
        rc = read_flag(r, t);
    return rc;
}

/* The last command's: its flags may stand between and behind the containers. */
static int read_tail(struct reader *r, const struct pumba_flags *t)
{
    int rc = set_defaults(r, t);
    bool ended = false;

    while (rc == 0 && r->at < r->line->words.n) {
        const char *word = r->line->words.v[r->at];

        if (!ended && looks_like_flag(word)) {
            rc = read_flag(r, t);
            continue;
        }
        r->at++;
        if (!ended && strcmp(word, "--") == 0)
            ended = true;
        else
            rc = add_text(r, &r->line->targets, word);
    }
    return rc;
}

/* ---- commands ---- */

static int unknown_word(const char *word, const char *what, const char *const *names, size_t n,
                        struct err *err)
{
    auto_buf struct buf list = BUF_INIT(1024);
    const char *near = nearest_name(word, names, n);

    for (size_t i = 0; i < n; i++)
        buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
    if (near)
        return err_set(err, ERR_USAGE, EINVAL, "unknown %s '%.40s', did you mean '%s'?", what, word,
                       near);
    return err_set(err, ERR_USAGE, EINVAL, "unknown %s '%.40s': known are %s", what, word,
                   buf_str(&list));
}

static int read_command(struct reader *r)
{
    const char *names[PUMBA_COMMAND_MAX];
    struct pumba_line *l = r->line;

    for (int c = 0; c < PUMBA_COMMAND_MAX; c++)
        names[c] = pumba_command_name((enum pumba_command)c);
    if (r->at == l->words.n)
        return err_set(r->err, ERR_USAGE, EINVAL, "no command: kill, pause, netem and so on");
    const char *word = l->words.v[l->command_at = r->at++];
    if (strcmp(word, "remove") == 0)
        return err_set(r->err, ERR_USAGE, EINVAL, "Pumba's command is 'rm', not 'remove'");
    for (int c = 0; c < PUMBA_COMMAND_MAX; c++) {
        if (strcmp(word, names[c]) != 0)
            continue;
        l->command = (enum pumba_command)c;
        return 0;
    }
    return unknown_word(word, "command", names, PUMBA_COMMAND_MAX, r->err);
}

static int read_effect(struct reader *r)
{
    const char *parent = pumba_command_name(r->line->command);
    const char *names[PUMBA_EFFECT_MAX];
    int effects[PUMBA_EFFECT_MAX];
    size_t n = 0;

    for (int e = PUMBA_DELAY; e < PUMBA_EFFECT_MAX; e++) {
        if (strncmp(pumba_effect_flags[e].of, parent, strlen(parent)) != 0)
            continue;
        effects[n] = e;
        names[n++] = pumba_effect_name((enum pumba_effect)e);
    }
    if (r->at == r->line->words.n)
        return err_set(r->err, ERR_USAGE, EINVAL, "'%s' needs a subcommand: %s and so on", parent,
                       names[0]);
    const char *word = r->line->words.v[r->at++];
    for (size_t i = 0; i < n; i++) {
        if (strcmp(word, names[i]) != 0)
            continue;
        r->line->effect = (enum pumba_effect)effects[i];
        return 0;
    }
    char what[32];
    snprintf(what, sizeof(what), "subcommand of %s", parent);
    return unknown_word(word, what, names, n, r->err);
}

static int read_all(struct reader *r)
{
    struct pumba_line *l = r->line;

    if (read_flags(r, &pumba_global_flags) < 0 || read_command(r) < 0)
        return -EINVAL;
    const struct pumba_flags *own = &pumba_command_flags[l->command];
    if (l->command != PUMBA_NETEM && l->command != PUMBA_IPTABLES)
        return read_tail(r, own);
    if (read_flags(r, own) < 0 || read_effect(r) < 0)
        return -EINVAL;
    return read_tail(r, &pumba_effect_flags[l->effect]);
}

/* ---- the whole ---- */

/* `re2:` counts only when it is the sole one; with others it is part of a name. */
static void take_pattern(struct pumba_line *l)
{
    size_t n = strlen(PUMBA_REGEX_PREFIX);

    if (l->targets.n != 1 || strncmp(l->targets.v[0], PUMBA_REGEX_PREFIX, n) != 0)
        return;
    l->pattern = l->targets.v[0] + n;
    l->targets.n = 0;
}

/* `--label a=1,b=2` are two. */
static int split_labels(struct reader *r)
{
    struct strs given = r->line->labels, all = { 0 };

    for (size_t i = 0; i < given.n; i++) {
        for (const char *p = given.v[i]; *p;) {
            p += strspn(p, ", ");
            size_t n = strcspn(p, ",");
            while (n && p[n - 1] == ' ')
                n--;
            const char *one = arena_strndup(r->arena, p, n);
            if (!one || (n && add_text(r, &all, one) < 0))
                return err_set(r->err, ERR_LIMIT, ENOMEM, "the command line is too long");
            p += strcspn(p, ",");
        }
    }
    r->line->labels = all;
    return 0;
}

static void switch_effects_on(struct pumba_line *l)
{
    l->delay.on |= l->effect == PUMBA_DELAY;
    l->loss.on |= l->effect == PUMBA_LOSS;
    l->duplicate.on |= l->effect == PUMBA_DUPLICATE;
    l->corrupt.on |= l->effect == PUMBA_CORRUPT;
    l->rate.on |= l->effect == PUMBA_RATE;
}

static int drop_program(struct strs *words, struct err *err)
{
    if (!words->n)
        return err_set(err, ERR_USAGE, EINVAL,
                       "an empty command line: write for example kill re2:^shop");
    const char *slash = strrchr(words->v[0], '/');
    const char *name = slash ? slash + 1 : words->v[0];
    if (strcmp(name, "docker") == 0 || strcmp(name, "podman") == 0 || strcmp(name, "sudo") == 0)
        return err_set(err, ERR_USAGE, EINVAL,
                       "'%s' is not Pumba: give only what follows Pumba's name or image", name);
    if (strcmp(name, "pumba") != 0)
        return 0;
    words->v++;
    words->n--;
    return 0;
}

int pumba_read(const char *text, struct arena *arena, struct pumba_line *ret, struct err *err)
{
    struct pumba_line line = { 0 };
    struct reader r = { .arena = arena, .line = &line, .err = err };

    if (pumba_words(text, arena, &line.words, err) < 0 || drop_program(&line.words, err) < 0 ||
        read_all(&r) < 0 || split_labels(&r) < 0)
        return -EINVAL;
    take_pattern(&line);
    switch_effects_on(&line);
    if (line.command == PUMBA_STOP && line.stop_time <= 0)
        line.stop_time = 5;
    if (pumba_check(&line, err) < 0)
        return -EINVAL;
    *ret = line;
    return 0;
}

void pumba_line_name(const struct pumba_line *l, char out[32])
{
    const char *effect = pumba_effect_name(l->effect);

    snprintf(out, 32, "%s%s%s", pumba_command_name(l->command), *effect ? " " : "", effect);
}

bool pumba_is_lasting(const struct pumba_line *l)
{
    return l->command == PUMBA_PAUSE || l->command == PUMBA_NETEM || l->command == PUMBA_IPTABLES ||
           l->command == PUMBA_STRESS || (l->command == PUMBA_STOP && l->stop_restart);
}
