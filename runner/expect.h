/* Is this answer what the task expects? A pure check. */
#ifndef RUNNER_EXPECT_H
#define RUNNER_EXPECT_H

#include "runner/client.h"

#define WHY_MAX 200 /* a sentence, NUL included */

struct expect_form; /* an `expect` made ready: status set, compiled regex; immutable, shared */

/* "200", "2xx", "200-204" into bits of 0..599; none: 100..399. -EINVAL for a bad one. */
int expect_status_bits(const struct strs *status, uint64_t bits[10], struct err *err) MUST_CHECK;

/* In the arena but for the regex: expect_form_done releases that. -EINVAL for a bad status or
 * regex. */
int expect_form_new(struct arena *a, const struct expect *e, struct expect_form **ret,
                    struct err *err) MUST_CHECK;
void expect_form_done(struct expect_form *f);
bool expect_needs_body(const struct expect_form *f);

/* For an answer that arrived whole (sample.fail is FAIL_NONE). FAIL_NONE when it is as expected;
 * else FAIL_STATUS or FAIL_EXPECTATION, and the sentence in `why`. Redirects are followed before
 * this. `time_ns` is what max_time is compared with: the response time of the whole task request,
 * redirect hops included. */
enum fail_class expect_check(const struct expect_form *f, const struct answer *a, uint64_t time_ns,
                             char why[WHY_MAX]);

#endif
