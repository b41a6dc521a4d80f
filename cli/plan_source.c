/* See plan_source.h. The order: file, then flags over it, then environment variables into what both
 * say, then the tables. All mistakes of a step are printed at once. */
#include "cli/plan_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/doc_yaml.h"
#include "base/subst.h"
#include "campaign/campaign.h"
#include "cli/flags.h"
#include "edge/yaml.h"

#define TAGS_MAX 1000

static const char *env_lookup(const char *name)
{
    return getenv(name); // NOLINT(concurrency-mt-unsafe): no thread runs yet
}

static int read_all(int fd, struct buf *out)
{
    for (;;) {
        char *room = buf_reserve(out, 65536);
        ssize_t n;

        if (!room)
            return -E2BIG;
        n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0;
        out->len += (size_t)n;
    }
}

static bool read_file(const char *path, struct buf *out, struct diag *diag)
{
    bool is_stdin = strcmp(path, "-") == 0;
    auto_close int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : read_all(fd, out);

    if (rc == -E2BIG)
        diag_add(diag, NULL, "%s: larger than %zu KiB", path, YAML_SIZE_MAX >> 10);
    else if (rc < 0)
        diag_add(diag, NULL, "%s: %s%s", path, strerror(-rc), // NOLINT(concurrency-mt-unsafe)
                 rc == -ENOENT ? "; 'chaos-load init' writes a plan to start with" : "");
    return rc == 0;
}

static struct doc *file_doc(const char *path, struct arena *arena, struct diag *diag)
{
    auto_buf struct buf text = BUF_INIT(YAML_SIZE_MAX + 131072);
    const char *name = arena_strdup(arena, strcmp(path, "-") == 0 ? "stdin" : path);
    struct doc *root = NULL;

    if (!read_file(path, &text, diag) || !name)
        return NULL;
    if (yaml_load(name, buf_str(&text), text.len, arena, diag, &root) < 0)
        return NULL;
    return root;
}

/* What people forget when they use flags alone; the tables would speak of plan keys. */
static void check_flags_alone(const struct verb_args *args, struct diag *diag)
{
    if (!opt_given(args, "host"))
        diag_add(
            diag, NULL,
            "nothing to do: give a plan (chaos-load run plan.yaml), or a target: chaos-load run "
            "-H http://127.0.0.1:5001 -u 10 -t 30s");
}

static struct doc *base_doc(const struct verb_args *args, struct arena *arena, struct diag *diag)
{
    if (args->n_rest > 1)
        diag_add(diag, NULL, "'%.60s': one plan at a time; quote values that hold blanks",
                 args->rest[1]);
    else if (args->n_rest == 1)
        return file_doc(args->rest[0], arena, diag);
    else
        check_flags_alone(args, diag);
    return diag->n ? NULL : doc_new(arena, DOC_MAP, "flags");
}

/* ---- tags ---- */

static void split_tags(struct arena *arena, const struct verb_args *args, const char *name,
                       struct strs *out)
{
    const struct opt_values *o = opt_all(args, name);
    char *save = NULL;

    for (size_t i = 0; o && i < o->n; i++) {
        char *copy = arena_strdup(arena, o->values[i]);

        for (char *t = copy ? strtok_r(copy, ", ", &save) : NULL; t && out->n < TAGS_MAX;
             t = strtok_r(NULL, ", ", &save))
            out->v[out->n++] = t;
    }
}

static void apply_tags(const struct verb_args *args, struct plan *p, struct diag *diag)
{
    struct strs tags = { arena_alloc(p->arena, TAGS_MAX * sizeof(char *)), 0 };
    struct strs exclude = { arena_alloc(p->arena, TAGS_MAX * sizeof(char *)), 0 };
    struct err err = { 0 };

    if (!tags.v || !exclude.v)
        return;
    split_tags(p->arena, args, "tags", &tags);
    split_tags(p->arena, args, "tag", &tags);
    split_tags(p->arena, args, "exclude-tags", &exclude);
    if ((tags.n || exclude.n) && load_plan_filter_tags(&p->load, &tags, &exclude, &err) < 0)
        diag_add(diag, NULL, "%s", err.msg);
}

/* ---- outputs: standard output belongs to at most one ---- */

static void check_stdout(const struct verb_args *args, struct plan *p, struct diag *diag)
{
    const char *const paths[] = { p->out.result_path, p->out.html, p->out.markdown,
                                  p->out.junit,       p->out.rows, p->out.json_file };
    unsigned n = 0;

    p->out.json_stdout = opt_given(args, "json");
    n += p->out.json_stdout;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        n += paths[i] && strcmp(paths[i], "-") == 0;
    if (n > 1)
        diag_add(diag, NULL, "standard output can take one report; write the others to files");
}

static void read_plan(const struct verb_args *args, struct arena *arena, struct subst *s,
                      struct diag *diag, struct plan *ret)
{
    struct doc *root = base_doc(args, arena, diag);

    if (diag->n || !root)
        return;
    const bool has_file = args->n_rest == 1;
    if (root->kind == DOC_NULL)
        root = doc_new(arena, DOC_MAP, root->source);
    if (root->kind == DOC_MAP && (root->n_items || !has_file))
        flags_apply(&(struct flags){ arena, diag, args, root, has_file });
    auto_buf struct buf text = BUF_INIT(YAML_SIZE_MAX);
    doc_to_yaml(root, &text); /* before variables get their values */
    subst_doc(s, arena, root, diag);
    if (diag->n)
        return;
    if (plan_read(arena, root, diag, !has_file, ret) < 0)
        return;
    ret->text = buf_failed(&text) ? NULL : arena_strdup(arena, buf_str(&text));
    apply_tags(args, ret, diag);
    check_stdout(args, ret, diag);
}

/* ---- messages in the order of the file, whatever order the parts were read in ---- */

struct message {
    char *text;
    unsigned long line, col;
    size_t index;
};

static int by_place(const void *va, const void *vb)
{
    const struct message *a = va, *b = vb;

    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->col != b->col)
        return a->col < b->col ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* "plan.yaml:14:11: ..."; what has no place comes last. */
static void find_place(struct message *m, const char *source)
{
    size_t len = strlen(source);
    char *end;

    m->line = m->col = ULONG_MAX;
    if (strncmp(m->text, source, len) != 0 || m->text[len] != ':')
        return;
    unsigned long line = strtoul(m->text + len + 1, &end, 10);
    if (*end != ':')
        return;
    m->line = line;
    m->col = strtoul(end + 1, &end, 10);
}

static void print_messages(struct diag *diag, const char *source)
{
    struct message m[DIAG_MAX];
    size_t n = 0;
    char *save = NULL;

    if (!diag->text.data)
        return;
    for (char *line = strtok_r(diag->text.data, "\n", &save); line && n < DIAG_MAX;
         line = strtok_r(NULL, "\n", &save), n++) {
        m[n] = (struct message){ .text = line, .index = n };
        find_place(&m[n], source);
    }
    qsort(m, n, sizeof(*m), by_place);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s\n", m[i].text);
    if (diag->n > DIAG_MAX)
        fprintf(stderr, "... and %u more\n", diag->n - DIAG_MAX);
}

unsigned plan_from_args_quietly(const struct verb_args *args, struct diag *diag, struct plan *ret)
{
    struct arena *arena = arena_new(0);
    struct subst s = { .lookup = env_lookup };

    *ret = (struct plan){ .arena = arena };
    read_plan(args, arena, &s, diag, ret);
    ret->arena = arena;
    subst_hide(&s, &diag->text);
    return diag->n;
}

int plan_from_args(const struct verb_args *args, struct plan *ret)
{
    struct diag diag;

    diag_init(&diag);
    unsigned n = plan_from_args_quietly(args, &diag, ret);
    if (n)
        print_messages(&diag, args->n_rest ? args->rest[0] : "");
    diag_done(&diag);
    return n ? EXIT_USAGE : 0;
}
