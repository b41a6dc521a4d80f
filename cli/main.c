/* main(): finds the verb, reads its options, runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "cli/help.h"
#include "cli/opts.h"
#include "cli/verbs.h"

#define VERBS_MAX 64

#ifdef __SANITIZE_ADDRESS__
/* The target of clock-skew has an object preloaded, which then comes before the sanitizer's. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}
#endif

const struct verb *const verbs[] = {
    &verb_run,    &verb_validate,   &verb_explain,    &verb_init,   &verb_import,
    &verb_schema, &verb_target,     &verb_proxy,      &verb_report, &verb_recover,
    &verb_status, &verb_doctor,     &verb_completion, &verb_man,    &verb_version,
    &verb_help,   &verb_experiment, &verb_guardian,   &verb_helper, NULL,
};

const struct verb *verb_find(const char *name)
{
    for (const struct verb *const *v = verbs; *v; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

static int unknown_verb(const char *word)
{
    const char *names[VERBS_MAX];
    size_t n = 0;

    for (const struct verb *const *v = verbs; *v && n < VERBS_MAX; v++)
        if (!(*v)->hidden)
            names[n++] = (*v)->name;
    const char *near = nearest_name(word, names, n);
    if (near)
        fprintf(stderr, "chaos-load: unknown verb '%s', did you mean '%s'?\n", word, near);
    else if (word[0] == '-')
        fprintf(stderr, "chaos-load: options come after a verb: chaos-load run %s ...\n", word);
    else if (strchr(word, '.') || strchr(word, '/'))
        fprintf(stderr, "chaos-load: unknown verb '%s'; to run a plan: chaos-load run %s\n", word,
                word);
    else
        fprintf(stderr, "chaos-load: unknown verb '%s'; 'chaos-load' alone lists them\n", word);
    return EXIT_USAGE;
}

/* -name → --name, where the verb takes it. */
static void double_dashes(const struct verb *v, int argc, char **argv)
{
    for (int i = 0; v->one_dash && i < argc; i++)
        for (const struct opt *o = v->opts; o->name; o++) {
            size_t n = strlen(o->name);
            if (argv[i][0] == '-' && strncmp(argv[i] + 1, o->name, n) == 0 &&
                (argv[i][n + 1] == '\0' || argv[i][n + 1] == '='))
                argv[i] = xasprintf("-%s", argv[i]);
        }
}

static int run_verb(const struct verb *v, int argc, char **argv)
{
    struct verb_args args;
    struct diag diag;
    bool wants_help = false;
    int rc;

    diag_init(&diag);
    double_dashes(v, argc, argv);
    opts_parse(v, argc, argv, &args, &wants_help, &diag);
    if (wants_help) {
        help_verb(v, stdout);
        rc = EXIT_PASS;
    } else if (diag.n) {
        fputs(buf_str(&diag.text), stderr);
        rc = EXIT_USAGE;
    } else {
        rc = v->run(v, &args);
    }
    diag_done(&diag);
    opts_done(&args);
    return rc;
}

/* A report that did not reach its reader is a failure, not a success. */
static int close_stdout(int rc)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);

    if (written || rc != EXIT_PASS)
        return rc;
    fprintf(stderr, "chaos-load: standard output could not be written\n");
    return EXIT_COULD_NOT_RUN;
}

int main(int argc, char **argv)
{
    /* A closed pipe or socket is an error that is returned, never a death. */
    signal(SIGPIPE, SIG_IGN); // NOLINT(concurrency-mt-unsafe): no thread runs yet
    if (argc < 2) {
        help_overview(stdout);
        return close_stdout(EXIT_PASS);
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help_overview(stdout);
        return close_stdout(EXIT_PASS);
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
        word = "version";
    const struct verb *v = verb_find(word);
    return close_stdout(v ? run_verb(v, argc - 2, argv + 2) : unknown_verb(word));
}
