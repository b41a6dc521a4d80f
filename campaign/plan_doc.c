/* docs/PLAN.md and chaos-load-plan(5) from the tables that read plans. One walk, two pens. */
#include "campaign/plan_doc.h"

#include <string.h>

#include "campaign/plan_internal.h"
#include "campaign/plan_text.h"
#include "campaign/threshold_names.h"

#define TABLES_MAX 64

/* Tables told already: some hang below several others. */
struct told {
    const struct param_table *v[TABLES_MAX];
    size_t n;
};

struct pen {
    void (*begin)(struct buf *out);
    void (*section)(struct buf *out, const char *title);
    void (*text)(struct buf *out,
                 const char *text); /* paragraphs; lines indented by 4 are literal */
    void (*rows_begin)(struct buf *out);
    void (*row)(struct buf *out, const struct plan_row_text *row);
    void (*rows_end)(struct buf *out);
};

/* ---- Markdown ---- */

static void md_escaped(struct buf *out, const char *s)
{
    for (; *s; s++)
        if (*s == '|')
            buf_adds(out, "\\|");
        else if (*s == '<')
            buf_adds(out, "&lt;");
        else if (*s == '*')
            buf_adds(out, "\\*");
        else
            buf_addc(out, *s);
}

static void md_begin(struct buf *out)
{
    buf_adds(out,
             "<!-- Printed by `chaos-load schema --markdown`; a test compares. -->\n\n# Plans\n\n");
}

static void md_section(struct buf *out, const char *title)
{
    buf_addf(out, "## %s\n\n", title);
}

static void md_text(struct buf *out, const char *text)
{
    buf_addf(out, "%s\n\n", text);
}

static void md_rows_begin(struct buf *out)
{
    buf_adds(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
}

static void md_row(struct buf *out, const struct plan_row_text *r)
{
    buf_addf(out, "| `%s` | ", r->name);
    md_escaped(out, r->type);
    buf_adds(out, " | ");
    md_escaped(out, r->def);
    buf_adds(out, " | ");
    md_escaped(out, r->help);
    if (r->also)
        buf_addf(out, "; also `%s`", r->also);
    buf_adds(out, " |\n");
}

static void md_rows_end(struct buf *out)
{
    buf_addc(out, '\n');
}

/* ---- roff ---- */

/* A character beyond ASCII by its number; our own texts are valid UTF-8. Returns its last byte. */
static const char *man_character(struct buf *out, const char *s)
{
    unsigned char lead = (unsigned char)*s;
    unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    unsigned code = lead & (0x3fu >> more);

    for (; more > 0 && s[1]; more--)
        code = code << 6 | ((unsigned char)*++s & 0x3fu);
    buf_addf(out, "\\[u%04X]", code);
    return s;
}

static void man_escaped(struct buf *out, const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 0x80)
            s = man_character(out, s);
        else if (*s == '\\')
            buf_adds(out, "\\e");
        else if (*s == '-')
            buf_adds(out, "\\-");
        else
            buf_addc(out, *s);
}

static void man_begin(struct buf *out)
{
    buf_addf(
        out,
        ".TH CHAOS\\-LOAD\\-PLAN 5 \"\" \"chaos\\-load %s\" \"File formats\"\n.SH NAME\n"
        "chaos\\-load\\-plan \\- what to load, what to break, what must hold\n.SH DESCRIPTION\n",
        CHAOS_LOAD_VERSION);
}

static void man_section(struct buf *out, const char *title)
{
    buf_adds(out, ".SH \"");
    for (; *title; title++)
        if (*title != '`' && *title != '"')
            buf_addc(out, *title);
    buf_adds(out, "\"\n");
}

/* One line of a paragraph; a dot or quote in front would be a request. */
static void man_line(struct buf *out, const char *line, size_t n)
{
    auto_free char *copy = xstrndup(line, n);
    char *w = copy;

    for (const char *r = copy; *r; r++)
        if (*r != '`')
            *w++ = *r;
    *w = '\0';
    if (*copy == '.' || *copy == '\'')
        buf_adds(out, "\\&");
    man_escaped(out, copy);
    buf_addc(out, '\n');
}

static void man_text(struct buf *out, const char *text)
{
    bool literal = false;

    while (*text) {
        size_t n = strcspn(text, "\n");
        bool code = strncmp(text, "    ", 4) == 0;

        if (code != literal && n)
            buf_adds(out, code ? ".nf\n" : ".fi\n");
        literal = n ? code : literal;
        if (n)
            man_line(out, text, n);
        else
            buf_adds(out, ".PP\n");
        text += n + (text[n] == '\n');
    }
    buf_adds(out, literal ? ".fi\n.PP\n" : ".PP\n");
}

static void man_row(struct buf *out, const struct plan_row_text *r)
{
    buf_adds(out, ".TP\n.B ");
    man_escaped(out, r->name);
    buf_adds(out, "\n(");
    man_escaped(out, r->type);
    if (*r->def) {
        buf_adds(out, "; default ");
        man_escaped(out, r->def);
    }
    buf_adds(out, ") ");
    man_escaped(out, r->help);
    if (r->also) {
        buf_adds(out, "; also ");
        man_escaped(out, r->also);
    }
    buf_addc(out, '\n');
}

static void man_nothing(struct buf *out)
{
    (void)out;
}

static const struct pen markdown = { md_begin,      md_section, md_text,
                                     md_rows_begin, md_row,     md_rows_end };
static const struct pen man = {
    man_begin, man_section, man_text, man_nothing, man_row, man_nothing
};

/* ---- the walk ---- */

static void put_rows(const struct pen *pen, struct buf *out, const struct param_table *t,
                     size_t from, size_t to)
{
    for (size_t i = from; i < MIN(to, t->n); i++) {
        struct plan_row_text text;

        plan_row_text(&t->rows[i], &text);
        pen->row(out, &text);
        plan_row_text_done(&text);
    }
}

static bool is_told(struct told *told, const struct param_table *t)
{
    for (size_t i = 0; i < told->n; i++)
        if (told->v[i] == t)
            return true;
    if (told->n < TABLES_MAX)
        told->v[told->n++] = t;
    return false;
}

// NOLINTNEXTLINE(misc-no-recursion): tables nest as deep as they are written
static void put_table(const struct pen *pen, struct buf *out, const struct param_table *t,
                      struct told *told)
{
    auto_free char *title = xasprintf("`%s`", t->title);

    if (is_told(told, t))
        return;
    pen->section(out, title);
    if (plan_text_for(t->title))
        pen->text(out, plan_text_for(t->title));
    pen->rows_begin(out);
    put_rows(pen, out, t, 0, t->n);
    pen->rows_end(out);
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].table)
            put_table(pen, out, t->rows[i].table, told);
}

static void put_below(const struct pen *pen, struct buf *out, const struct param_table *t,
                      struct told *told)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].table)
            put_table(pen, out, t->rows[i].table, told);
}

static void put_fault(const struct pen *pen, struct buf *out, const struct fault_kind *k,
                      const char *way)
{
    auto_free char *title = xasprintf("`%s` (backend %s%s)", k->name, k->backend, way);
    auto_free char *text = xasprintf(
        "%s.%s%s", k->summary, k->flags & FAULT_ONE_SHOT ? " Happens at once: no duration." : "",
        k->flags & FAULT_INTRUSIVE ? " Cannot be undone by itself." : "");

    pen->section(out, title);
    pen->text(out, text);
    pen->rows_begin(out);
    put_rows(pen, out, k->params, 0, k->params->n);
    pen->rows_end(out);
}

static void put_faults(const struct pen *pen, struct buf *out, struct told *told)
{
    put_table(pen, out, &fault_timing_table, told);
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        put_fault(pen, out, *k, "");
        if ((*k)->by_proxy)
            put_fault(pen, out, (*k)->by_proxy, ", by proxy");
    }
}

static void put_thresholds(const struct pen *pen, struct buf *out, struct told *told)
{
    put_table(pen, out, &threshold_table, told);
    pen->section(out, "Metrics");
    pen->text(out, plan_text_for("metrics"));
    pen->rows_begin(out);
    for (enum metric m = 0; m < METRIC_MAX; m++) {
        auto_free char *also = metric_k6_name(m)
                                   ? xasprintf("%s; k6's %s", metric_help(m), metric_k6_name(m))
                                   : xstrdup(metric_help(m));
        const struct plan_row_text row = {
            .name = metric_name(m), .type = metric_aggregates(m), .def = "", .help = also
        };

        pen->row(out, &row);
    }
    pen->rows_end(out);
    pen->section(out, "Error classes");
    pen->rows_begin(out);
    for (enum fail_class c = FAIL_NONE + 1; c < FAIL_CLASS_MAX; c++) {
        const struct plan_row_text row = {
            .name = fail_class_name(c), .type = "class", .def = "", .help = fail_class_help(c)
        };

        pen->row(out, &row);
    }
    pen->rows_end(out);
}

static void write_all(const struct pen *pen, struct buf *out)
{
    struct told told = { 0 };

    pen->begin(out);
    pen->text(out, plan_text_for("intro"));
    pen->section(out, "The root");
    pen->rows_begin(out);
    put_rows(pen, out, &plan_root_table, 0, 3);
    put_rows(pen, out, &load_root_table, 0, load_root_table.n);
    put_rows(pen, out, &plan_root_table, 3, plan_root_table.n);
    pen->rows_end(out);
    put_below(pen, out, &load_root_table, &told);
    pen->section(out, "Slots");
    pen->text(out, plan_text_for("slots"));
    put_below(pen, out, &plan_root_table, &told);
    put_faults(pen, out, &told);
    put_thresholds(pen, out, &told);
    pen->section(out, "Environment variables");
    pen->text(out, plan_text_for("variables"));
    pen->section(out, "Limits");
    pen->text(out, plan_text_for("limits"));
}

void plan_doc_markdown(struct buf *out)
{
    write_all(&markdown, out);
}

void plan_doc_man(struct buf *out)
{
    write_all(&man, out);
    buf_adds(out, ".SH SEE ALSO\n.BR chaos\\-load (1)\n");
}

/* ---- all kinds at a glance ---- */

static const char *undone_by(const struct fault_kind *k)
{
    if (k->flags & FAULT_FREE)
        return "the kernel, with the run";
    return k->flags & FAULT_INTRUSIVE ? "nothing" : "the run, else the guardian, else `recover`";
}

static char *keys_of(const struct fault_kind *k)
{
    auto_buf struct buf out = BUF_INIT(0);
    const char *space = "";

    for (size_t i = 0; i < k->params->n; i++) {
        const char *key = k->params->rows[i].name;
        if (strcmp(key, k->backend) == 0)
            continue;
        buf_addf(&out, "%s`%s`", space, key);
        space = " ";
    }
    return buf_take(&out);
}

/* One row tells of all backends on which a kind takes the same keys and ends the same way. */
static bool same_row(const struct fault_kind *a, const struct fault_kind *b)
{
    auto_free char *keys_a = keys_of(a), *keys_b = keys_of(b);

    return strcmp(a->name, b->name) == 0 && strcmp(keys_a, keys_b) == 0 &&
           undone_by(a) == undone_by(b);
}

static bool stands_above(const struct fault_kind *const *k)
{
    for (const struct fault_kind *const *earlier = fault_catalog; earlier < k; earlier++)
        if (same_row(*earlier, *k))
            return true;
    return false;
}

static void put_kind(const struct fault_kind *const *k, struct buf *out)
{
    auto_free char *keys = keys_of(*k);
    const char *space = "";

    buf_addf(out, "| `%s` | ", (*k)->name);
    for (const struct fault_kind *const *same = k; *same; same++)
        if (same_row(*k, *same)) {
            buf_addf(out, "%s%s", space, (*same)->backend);
            space = " ";
        }
    buf_adds(out, " | ");
    md_escaped(out, (*k)->summary);
    buf_addf(out, " | %s | %s |\n", keys, undone_by(*k));
}

void plan_doc_faults(struct buf *out)
{
    buf_adds(out,
             "| fault | on | what it does | parameters | undone by |\n|---|---|---|---|---|\n");
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (!stands_above(k))
            put_kind(k, out);
}
