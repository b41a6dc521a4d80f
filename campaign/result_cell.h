/* The text form of one cell (the measurements of one series), shared by result.json and
 * rows.ndjson. */
#ifndef CAMPAIGN_RESULT_CELL_H
#define CAMPAIGN_RESULT_CELL_H

#include "campaign/result.h"

/* Instants and durations are milliseconds in JSON; T_NONE is null. */
void json_put_ms(struct json *j, const char *key, uint64_t ns);
uint64_t json_ms(const struct json *j, const char *key, uint64_t absent);
/* A text that may have come from anywhere: what is no UTF-8 in it is replaced, NULL is null. */
void json_put_text(struct json *j, const char *key, const char *s);
/* A 64-bit number: a JSON number when a double holds it exactly, else decimal text. */
void json_put_exact(struct json *j, const char *key, uint64_t value);
uint64_t json_exact(const struct json *j, const char *key, uint64_t absent);

/* {count, min_ms, mean_ms, p50_ms, …}: what people read. */
struct json *figures_json(const struct hist *h);
/* [{class, count}], classes that occurred, in the order of the enum. */
struct json *errors_json(const uint64_t fails[FAIL_CLASS_MAX]);
/* {requests, successes, failures, dropped} */
struct json *totals_json(const struct cell *c);

/* Everything about a cell into the object `j`: with figures for people, or bare for rows. What is
 * written reads back to an equal cell: counts and histograms, figures are ignored. */
void cell_put_json(struct json *j, const struct cell *c, bool with_figures);
/* `c` is empty before. -EINVAL names the member that is wrong. */
int cell_from_json(const struct json *j, struct cell *c, struct err *err) MUST_CHECK;
int errors_from_json(const struct json *j, uint64_t fails[FAIL_CLASS_MAX],
                     struct err *err) MUST_CHECK;
int hist_from_json(const struct json *j, const char *key, struct hist *h,
                   struct err *err) MUST_CHECK;
void hist_put_json(struct json *j, const char *key, const struct hist *h);

/* The parts of a result, for result.json and for the lines of rows.ndjson. */
struct json *phase_json(const struct result_phase *p, bool with_cell);
struct json *fault_json(const struct result_fault *f);
struct json *threshold_json(const struct result_threshold *t);
/* Texts, verdict, seed, instants, health, notes: all that is neither a list of parts nor a cell. */
void result_put_head(struct json *j, const struct result *r);
/* The generator's own health, a part of the head that rows.ndjson repeats each second. */
void health_put_json(struct json *j, const struct result *r);
void health_from_json(const struct json *j, struct result *r);
/* The first failure of each class in words, which rows.ndjson repeats, too. */
void examples_put_json(struct json *j, const struct result *r);
void examples_from_json(const struct json *j, struct result *r);
int result_head_from_json(const struct json *j, struct result *r, struct err *err) MUST_CHECK;
int phase_from_json(const struct json *j, struct result_phase *p, struct err *err) MUST_CHECK;
int fault_from_json(const struct json *j, struct result_fault *f, struct err *err) MUST_CHECK;
int faults_from_json(const struct json *j, struct result *r, struct err *err) MUST_CHECK;
int thresholds_from_json(const struct json *j, struct result *r, struct err *err) MUST_CHECK;
struct json *endpoint_json(const struct result_endpoint *e);
void endpoint_from_json(const struct json *j, struct result_endpoint *e);

#endif
