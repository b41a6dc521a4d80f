/* What can be measured, by name: the table behind thresholds, their messages, docs and completion.
 */
#ifndef CAMPAIGN_THRESHOLD_NAMES_H
#define CAMPAIGN_THRESHOLD_NAMES_H

#include "campaign/threshold.h"

#define METRIC_NAMES_MAX 64

const char *metric_name(enum metric m);       /* "response_time" */
const char *metric_help(enum metric m);       /* one line */
const char *metric_example(enum metric m);    /* "p(95) < 500ms" */
const char *metric_aggregates(enum metric m); /* "p(N), avg, min, max, med and count" */
bool metric_allows(enum metric m, enum aggregate a);
bool metric_is_time(enum metric m);
/* Ours and k6's names. */
bool metric_by_name(const char *name, size_t len, enum metric *ret);
/* k6's name of it, or NULL. */
const char *metric_k6_name(enum metric m);
/* For k6's metrics that have no counterpart: what to write instead. NULL: not one of them. */
const char *metric_hint(const char *name);
size_t metric_names_list(const char **out, size_t max);

/* threshold_parse that also tells how far into the text the mistake is. */
int threshold_parse_at(const char *text, struct arena *arena, struct threshold *ret,
                       size_t *ret_bad, struct err *err) MUST_CHECK;

/* The keys of a threshold written as a map. */
extern const struct param_table threshold_table;

#endif
