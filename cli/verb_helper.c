/* `helper`, hidden: the body of the processes that hold a fault in another namespace or cgroup.
 * Started by chaoslib with a socket as descriptor 3; of no use by hand. */
#include <stdio.h>

#include "chaoslib/helper.h"
#include "cli/verbs.h"

static int helper(const struct verb *v, const struct verb_args *args)
{
    (void)v;
    if (args->n_rest != 1) {
        fprintf(stderr, "chaos-load: 'helper' is started by 'run', not by hand\n");
        return 2;
    }
    return helper_main(args->rest[0]);
}

static const struct opt no_options[] = { { 0 } };

const struct verb verb_helper = {
    .name = "helper",
    .summary = "holds a fault in another namespace",
    .usage = "helper ROLE",
    .opts = no_options,
    .hidden = true,
    .run = helper,
};
