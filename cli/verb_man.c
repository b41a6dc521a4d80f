/* `man`: the manual pages, as the build installs them. */
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "campaign/plan_doc.h"
#include "cli/man.h"
#include "cli/verbs.h"

static int man(const struct verb *v, const struct verb_args *args)
{
    auto_buf struct buf out = BUF_INIT(0);
    const char *section = args->n_rest ? args->rest[0] : "1";

    (void)v;
    if (strcmp(section, "1") == 0 || strcmp(section, "chaos-load") == 0)
        man_page(&out);
    else if (strcmp(section, "5") == 0 || strcmp(section, "chaos-load-plan") == 0)
        plan_doc_man(&out);
    else {
        fprintf(stderr,
                "chaos-load: no such page '%s'; there are 1 (chaos-load) and 5 "
                "(chaos-load-plan)\n",
                section);
        return EXIT_USAGE;
    }
    fwrite(buf_str(&out), 1, out.len, stdout);
    return EXIT_PASS;
}

static const struct opt no_options[] = { { 0 } };

const struct verb verb_man = {
    .name = "man",
    .summary = "print the manual pages",
    .usage = "man [1|5]",
    .description = "Prints chaos-load(1), or chaos-load-plan(5), as source for man(1).",
    .examples = "chaos-load man 5 | man -l -",
    .opts = no_options,
    .run = man,
};
