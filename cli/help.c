/* See help.h. */
#include "cli/help.h"

#include <string.h>

#include "cli/verbs.h"

#define WIDTH 100
#define COLUMN 30 /* where the explanations of options begin */

const char help_exit_codes[] =
    "0    passed\n"
    "1    failed: a threshold did not hold\n"
    "2    usage: a mistake in the plan or on the command line; nothing was started\n"
    "3    could not run, or a fault could not be put in or taken back\n"
    "4    invalid: the load generator was the limit, so the figures say nothing about the target\n"
    "130  interrupted\n";

void help_wrap(FILE *out, const char *text, unsigned indent, unsigned width)
{
    unsigned col = indent;

    while (*text) {
        size_t n = strcspn(text, " \n");

        if (col > indent && col + n + 1 > width) {
            fprintf(out, "\n%*s", (int)indent, "");
            col = indent;
        } else if (col > indent) {
            fputc(' ', out);
            col++;
        }
        fprintf(out, "%.*s", (int)n, text);
        col += (unsigned)n;
        text += n;
        if (*text == '\n') {
            fprintf(out, "\n%*s", (int)indent, "");
            col = indent;
        }
        text += *text ? 1 : 0;
    }
    fputc('\n', out);
}

static void print_indented(FILE *out, const char *lines)
{
    while (*lines) {
        size_t n = strcspn(lines, "\n");

        fprintf(out, "  %.*s\n", (int)n, lines);
        lines += n + (lines[n] == '\n');
    }
}

static void print_option(FILE *out, const struct opt *o)
{
    int n;

    if (o->group)
        fprintf(out, "\n%s:\n", o->group);
    if (o->letter)
        n = fprintf(out, "  -%c, --%s%s%s", o->letter, o->name, o->meta ? " " : "",
                    o->meta ? o->meta : "");
    else
        n = fprintf(out, "      --%s%s%s", o->name, o->meta ? " " : "", o->meta ? o->meta : "");
    if (n + 2 > COLUMN)
        fprintf(out, "\n%*s", COLUMN, "");
    else
        fprintf(out, "%*s", COLUMN - n, "");
    help_wrap(out, o->help, COLUMN, WIDTH);
}

void help_verb(const struct verb *v, FILE *out)
{
    fprintf(out, "Usage: chaos-load %s\n\n", v->usage);
    help_wrap(out, v->description ? v->description : v->summary, 0, WIDTH);
    if (v->opts && v->opts[0].name && !v->opts[0].group)
        fprintf(out, "\nOptions:\n");
    for (const struct opt *o = v->opts; o && o->name; o++)
        print_option(out, o);
    if (v->examples) {
        fprintf(out, "\nExamples:\n");
        print_indented(out, v->examples);
    }
    if (v == &verb_run) {
        fprintf(out, "\nExit codes:\n");
        print_indented(out, help_exit_codes);
    }
}

void help_overview(FILE *out)
{
    fprintf(
        out,
        "chaos-load puts real user load on a target, breaks things on the same clock, and judges\n"
        "what the users felt.\n\nUsage: chaos-load VERB [OPTIONS] ...\n\nVerbs:\n");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->hidden)
            fprintf(out, "  %-12s %s\n", (*v)->name, (*v)->summary);
    fprintf(
        out,
        "\nTo begin with:\n"
        "  chaos-load init > plan.yaml       a plan to change, with a demo target in it\n"
        "  chaos-load explain plan.yaml      what it would do, without doing it\n"
        "  chaos-load run plan.yaml --out results/\n"
        "  chaos-load run -H http://127.0.0.1:5001 -u 10 -t 30s --task 'GET /'\n"
        "\n'chaos-load VERB --help' tells more; chaos-load(1) and chaos-load-plan(5) tell all.\n");
}
