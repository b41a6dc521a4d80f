/* Shared by the files that read a plan: plan.c (the root), plan_faults.c (`faults:`), plan_check.c
 * (what needs the whole plan). Nobody else includes this. */
#ifndef CAMPAIGN_PLAN_INTERNAL_H
#define CAMPAIGN_PLAN_INTERNAL_H

#include "campaign/plan.h"

struct fault_rows {
    struct fault_plan *v;
    size_t n;
};

/* `faults:` into struct fault_rows. */
void faults_load(const struct param_ctx *ctx, const struct doc *d, void *field);
/* Whom it hits, as written: "shop"; "" when that is missing. */
const char *fault_target(const struct fault_plan *f);
/* Names, order, activations, and which proxy stands before the target; after all was read. */
/* Whom client faults name, and the series for what those will do. */
void clients_check(const struct param_ctx *ctx, struct plan *p);
void faults_check(const struct param_ctx *ctx, const struct doc *root, struct plan *p);
/* Thresholds that name what this plan does not have, or could never be met. */
void thresholds_check(const struct param_ctx *ctx, const struct doc *root, const struct plan *p);
/* The node of fault or threshold i; NULL when there is none. */
const struct doc *list_item(const struct doc *root, const char *key, size_t i);

extern const struct param_table output_table;

#endif
