/* --dry-run: what would be hit, and when; nothing is started, injected or sent. */
#ifndef CAMPAIGN_DRY_RUN_H
#define CAMPAIGN_DRY_RUN_H

#include <stdio.h>

#include "campaign/plan.h"

/* Returns an exit code: 0 when every target that can be looked up now was found, else 3. */
int dry_run(const struct plan *p, FILE *out);

#endif
