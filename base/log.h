/* The story, on stderr: one line is one event with fields.
 *
 *     log_info("fault.inject", "name=%s target=%s", name, target);
 *
 * Libraries do not log above debug; they return errors. Those allowed to speak: chaoslib/run.c,
 * chaoslib/litmus, runner/runner.c, campaign/campaign.c, cli. Secrets are never passed in. Any
 * thread may log. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/defs.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

void log_setup(enum log_level level, enum log_format format, bool colour);
void log_write(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Lines go here instead of stderr (the live terminal view uses it); NULL restores stderr. Called
 * with a lock held: it must not log. */
typedef void log_sink_fn(void *arg, const char *line, size_t len);
void log_set_sink(log_sink_fn *sink, void *arg);

#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)

#endif
