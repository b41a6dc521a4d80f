/* Flags become nodes of the plan's document, each with its flag as source, so that one set of
 * tables reads both and a flag overrides what a plan file says. */
#ifndef CLI_FLAGS_H
#define CLI_FLAGS_H

#include "base/diag.h"
#include "base/doc.h"
#include "cli/cli.h"

/* Options that describe the campaign: shared by run, validate and explain. */
#define PLAN_OPTIONS_MAX 96
extern const struct opt plan_options[];

struct flags {
    struct arena *arena;
    struct diag *diag;
    const struct verb_args *args;
    struct doc *root; /* DOC_MAP: of the plan file, or empty */
    bool has_file;    /* there is a plan file, so what is missing is its mistake */
};

/* Mistakes go to diag. */
void flags_apply(const struct flags *f);

/* ---- shared by flags*.c ---- */
/* "http.tls.verify": makes the maps on the way, in place of whatever is there. */
void flags_put_path(const struct flags *f, struct doc *map, const char *source, const char *path,
                    struct doc *value);
void flags_put_text(const struct flags *f, struct doc *map, const char *source, const char *path,
                    const char *text);
/* The list under a key of the root; made when it is missing. */
struct doc *flags_list(const struct flags *f, const char *source, const char *key);
/* -u -r -t -i --stages --arrivals */
void flags_load(const struct flags *f);
/* --task --data --think --header --fault --process --proxy --threshold */
void flags_words(const struct flags *f);

#endif
