/* See man.h. */
#include "cli/man.h"

#include <string.h>

#include "cli/help.h"
#include "cli/verbs.h"

static void put(struct buf *out, const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p == '\\')
            buf_adds(out, "\\e");
        else if (*p == '-')
            buf_adds(out, "\\-");
        else if ((*p == '.' || *p == '\'') && (p == s || p[-1] == '\n'))
            buf_addf(out, "\\&%c", *p);
        else
            buf_addc(out, *p);
}

static void put_option(struct buf *out, const struct opt *o)
{
    if (o->group) {
        buf_adds(out, ".PP\n.I ");
        put(out, o->group);
        buf_addc(out, '\n');
    }
    buf_adds(out, ".TP\n");
    if (o->letter)
        buf_addf(out, "\\fB\\-%c\\fR, ", o->letter);
    buf_adds(out, "\\fB\\-\\-");
    put(out, o->name);
    buf_adds(out, "\\fR");
    if (o->meta) {
        buf_adds(out, " \\fI");
        put(out, o->meta);
        buf_adds(out, "\\fR");
    }
    buf_addc(out, '\n');
    put(out, o->help);
    if (o->arg == OPT_MANY)
        buf_adds(out, " (may be given several times)");
    buf_addc(out, '\n');
}

static void put_paragraphs(struct buf *out, const char *text)
{
    const char *gap;

    while ((gap = strstr(text, "\n\n"))) {
        auto_free char *one = xstrndup(text, (size_t)(gap - text));

        put(out, one);
        buf_adds(out, "\n.PP\n");
        text = gap + 2;
    }
    put(out, text);
    buf_addc(out, '\n');
}

static void put_verb(struct buf *out, const struct verb *v)
{
    buf_adds(out, ".SS chaos\\-load ");
    put(out, v->usage);
    buf_addc(out, '\n');
    put_paragraphs(out, v->description ? v->description : v->summary);
    if (v == &verb_validate || v == &verb_explain)
        buf_adds(out, ".PP\nOptions: those of\n.BR run .\n");
    else
        for (const struct opt *o = v->opts; o && o->name; o++)
            put_option(out, o);
    if (v->examples) {
        buf_adds(out, ".PP\nExamples:\n.PP\n.nf\n");
        put(out, v->examples);
        buf_adds(out, "\n.fi\n");
    }
}

void man_page(struct buf *out)
{
    buf_addf(
        out,
        ".TH CHAOS\\-LOAD 1 \"\" \"chaos\\-load %s\" \"User commands\"\n.SH NAME\n"
        "chaos\\-load \\- load a target, break it on the same clock, and judge what users felt\n"
        ".SH SYNOPSIS\n.B chaos\\-load\n.I verb\n[options] ...\n.SH DESCRIPTION\n"
        "Puts real user load on a target, injects faults on the same clock, and gives a verdict "
        "from\n"
        "what the users saw. What to do stands in a plan, chaos\\-load\\-plan(5), in options, or "
        "in\n"
        "both.\n.SH VERBS\n",
        CHAOS_LOAD_VERSION);
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->hidden)
            put_verb(out, *v);
    buf_adds(out, ".SH EXIT STATUS\n.nf\n");
    put(out, help_exit_codes);
    buf_adds(
        out,
        ".fi\n.SH ENVIRONMENT\n.TP\n.B CHAOS_LOAD_STATE\nFolder of the journals from which faults "
        "are taken back after a crash.\n.TP\n.B NO_COLOR\nNo colours, when set.\n"
        ".SH SEE ALSO\n.BR chaos\\-load\\-plan (5)\n");
}
