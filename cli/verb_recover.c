/* `recover`: takes back what a run left behind that could not do it itself, from its journal. */
#include <stdio.h>
#include <sys/stat.h>

#include "campaign/campaign.h"
#include "chaoslib/journal.h"
#include "cli/verbs.h"

static void say(void *arg, const char *line)
{
    const bool *quiet = arg;

    if (!*quiet)
        printf("%s\n", line);
}

static int recover(const struct verb *v, const struct verb_args *args)
{
    bool quiet = opt_given(args, "quiet");
    enum recover_result rc;
    struct err err = { 0 };
    char dir[256];

    (void)v;
    if (args->n_rest > 1) {
        fprintf(stderr, "chaos-load: recover takes one journal, or none for all of them\n");
        return EXIT_USAGE;
    }
    if (args->n_rest == 1 && access(args->rest[0], R_OK) < 0) {
        fprintf(stderr, "chaos-load: '%s' cannot be read\n", args->rest[0]);
        return EXIT_USAGE;
    }
    if (args->n_rest == 1) {
        rc = journal_recover(args->rest[0], say, &quiet);
    } else {
        if (journal_dir(dir, &err) < 0) {
            fprintf(stderr, "chaos-load: %s\n", err.msg);
            return EXIT_COULD_NOT_RUN;
        }
        rc = journal_recover_all(dir, say, &quiet);
    }
    if (rc == RECOVER_CLEAN && !quiet)
        printf("nothing to take back\n");
    return (int)rc; /* 0, 1 or 2: an answer for scripts, documented below */
}

static const struct opt recover_options[] = {
    { "quiet", 'q', OPT_NONE, NULL, "say nothing; the exit code remains", NULL, NULL },
    { 0 },
};

const struct verb verb_recover = {
    .name = "recover",
    .summary = "take back the faults of a run that was killed",
    .usage = "recover [JOURNAL]",
    .description =
        "A run writes down what would undo a fault before it puts it in. When the run is killed, "
        "its "
        "guardian process undoes what is open; when both are gone (a power cut), this does. "
        "Without a "
        "journal, all journals of dead runs are looked through, in $CHAOS_LOAD_STATE, else "
        "$XDG_STATE_HOME/chaos-load, else ~/.local/state/chaos-load. Runs that still live are left "
        "alone. Exit code 0 when nothing was to undo, 1 when something was undone, 2 when "
        "something "
        "could not be; 3 when the state directory cannot be read.",
    .examples = "chaos-load recover",
    .opts = recover_options,
    .run = recover,
};
