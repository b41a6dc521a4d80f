/* Where the log lines of a run go, and in which shape. */
#ifndef CLI_RUN_LOG_H
#define CLI_RUN_LOG_H

#include "cli/cli.h"

/* -L --log-format --logfile. 0, or an exit code with the mistake told; *log_fd is the file's, the
 * caller closes it; untouched without --logfile. */
int run_log_set(const struct verb_args *args, int *log_fd);
/* A log_sink_fn; arg is the descriptor's place. */
void run_log_to_file(void *arg, const char *line, size_t len);
/* --color, --no-color, NO_COLOR, and whether stderr is a terminal. */
bool run_wants_colour(const struct verb_args *args);

#endif
