/* The sentences around the tables in docs/PLAN.md and chaos-load-plan(5). */
#ifndef CAMPAIGN_PLAN_TEXT_H
#define CAMPAIGN_PLAN_TEXT_H

#include "base/param.h"

/* One row as people read it. */
struct plan_row_text {
    const char *name, *type, *def, *help;
    char *owned;      /* what has to be freed */
    const char *also; /* other names, comma separated; NULL: none */
};

void plan_row_text(const struct param *row, struct plan_row_text *ret);
void plan_row_text_done(struct plan_row_text *t);
/* About a table (its title) or a chapter; NULL: nothing to say. */
const char *plan_text_for(const char *what);

#endif
