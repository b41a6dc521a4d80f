/* What a plan may hold, printed from the tables that read it. */
#ifndef CAMPAIGN_PLAN_DOC_H
#define CAMPAIGN_PLAN_DOC_H

#include "base/mem.h"

void plan_schema(struct buf *out);       /* JSON Schema, draft 2020-12 */
void plan_doc_markdown(struct buf *out); /* docs/PLAN.md */
void plan_doc_faults(struct buf *out);   /* the table of all kinds in docs/FAULTS.md */
void plan_doc_man(struct buf *out);      /* chaos-load-plan(5), roff */

#endif
