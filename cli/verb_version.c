/* `version` and `help`. */
#include <stdio.h>

#include "cli/help.h"
#include "cli/opts.h"
#include "cli/verbs.h"

static int version(const struct verb *v, const struct verb_args *args)
{
    (void)v;
    (void)args;
    printf("chaos-load %s\n", CHAOS_LOAD_VERSION);
    return 0;
}

static int help(const struct verb *v, const struct verb_args *args)
{
    (void)v;
    const struct verb *about = args->n_rest ? verb_find(args->rest[0]) : NULL;

    if (args->n_rest && !about) {
        fprintf(stderr, "chaos-load: unknown verb '%s'; 'chaos-load' alone lists them\n",
                args->rest[0]);
        return 2;
    }
    if (about)
        help_verb(about, stdout);
    else
        help_overview(stdout);
    return 0;
}

static const struct opt no_options[] = { { 0 } };

const struct verb verb_version = {
    .name = "version",
    .summary = "print the version",
    .usage = "version",
    .opts = no_options,
    .run = version,
};

const struct verb verb_help = {
    .name = "help",
    .summary = "tell about a verb",
    .usage = "help [VERB]",
    .examples = "chaos-load help run",
    .opts = no_options,
    .run = help,
};
