/* `schema`: what a plan may hold, from the tables that read it. */
#include <stdio.h>

#include "campaign/campaign.h"
#include "campaign/plan_doc.h"
#include "cli/verbs.h"

static int schema(const struct verb *v, const struct verb_args *args)
{
    auto_buf struct buf out = BUF_INIT(0);

    (void)v;
    if (args->n_rest) {
        fprintf(stderr, "chaos-load: schema takes no file; it prints to standard output\n");
        return EXIT_USAGE;
    }
    if (opt_given(args, "faults"))
        plan_doc_faults(&out);
    else if (opt_given(args, "markdown"))
        plan_doc_markdown(&out);
    else
        plan_schema(&out);
    fwrite(buf_str(&out), 1, out.len, stdout);
    return EXIT_PASS;
}

static const struct opt schema_options[] = {
    { "markdown", 0, OPT_NONE, NULL, "every key as a page to read (docs/PLAN.md)", NULL, NULL },
    { "faults", 0, OPT_NONE, NULL, "every kind of fault as a table (docs/FAULTS.md)", NULL, NULL },
    { 0 },
};

const struct verb verb_schema = {
    .name = "schema",
    .summary = "print the JSON Schema of plans, for editors",
    .usage = "schema [--markdown | --faults]",
    .description =
        "Editors that know JSON Schema complete and check plans with it. Printed from the same "
        "tables that read plans, so it cannot fall behind.",
    .examples = "chaos-load schema > chaos-load.schema.json\n"
                "chaos-load schema --markdown | less",
    .opts = schema_options,
    .run = schema,
};
