/* `guardian`, hidden: the body of the process that outlives a killed run and takes its faults back.
 * Started by chaoslib with a pipe as descriptor 3; of no use by hand. */
#include <fcntl.h>
#include <stdio.h>

#include "chaoslib/guardian.h"
#include "cli/verbs.h"

static int guardian(const struct verb *v, const struct verb_args *args)
{
    (void)v;
    if (args->n_rest != 1 || fcntl(3, F_GETFD) < 0) {
        fprintf(stderr,
                "chaos-load: 'guardian' is started by 'run'; by hand use 'chaos-load recover'\n");
        return 2;
    }
    return guardian_main(args->rest[0]);
}

static const struct opt no_options[] = { { 0 } };

const struct verb verb_guardian = {
    .name = "guardian",
    .summary = "takes faults back when a run is killed",
    .usage = "guardian JOURNAL",
    .opts = no_options,
    .hidden = true,
    .run = guardian,
};
