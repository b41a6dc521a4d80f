/* Values out of an answer, into a user's variables: "header:Location", "json:items.0.id",
 * "regex:token=([a-z]+)" (group 1, or the whole match when it has none), "cookie:sid", "status". */
#ifndef RUNNER_EXTRACT_H
#define RUNNER_EXTRACT_H

#include "runner/client.h"
#include "runner/expect.h"
#include "runner/template.h"

struct extract_form; /* a task's `extract` made ready; immutable, shared */

/* In the arena but for regexes: extract_form_done releases them. */
int extract_form_new(struct arena *a, const struct pairs *p, const struct var_names *names,
                     struct extract_form **ret, struct err *err) MUST_CHECK;
void extract_form_done(struct extract_form *f);
bool extract_needs_body(const struct extract_form *f);

/* Sets the variables. FAIL_EXPECTATION and a sentence when a value is not there: that variable
 * keeps what it had, the others are set. */
enum fail_class extract_apply(const struct extract_form *f, const struct answer *a,
                              struct vars *vars, char why[WHY_MAX]);

#endif
