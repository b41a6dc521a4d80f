/* A Pumba that we started: its process or its container, its log, its end. When we die the process
 * gets SIGTERM from the kernel, upon which it takes back what it did; SIGKILL would make it leave
 * all behind. */
#ifndef CHAOSLIB_PUMBA_SESSION_H
#define CHAOSLIB_PUMBA_SESSION_H

#include "chaoslib/chaos.h"
#include "chaoslib/pumba/box.h"
#include "chaoslib/pumba/log.h"

struct pumba_session;

/* $PUMBA, or `pumba` of the path; the caller frees. NULL: neither is there. */
char *pumba_program(struct err *err);
/* The line with our own global flags before its command; `host` as in DOCKER_HOST. One block per
 * word; free with pumba_argv_free. */
char **pumba_argv(const char *program, const struct pumba_line *l, const char *host);
void pumba_argv_free(char **argv);

/* `mark` ("NAME=value") is put into its environment. On the fault's thread, which must outlive it.
 */
struct pumba_session *pumba_session_start(char *const *argv, const char *mark, struct err *err);
/* From its image; what `opts` names must outlive it. */
struct pumba_session *pumba_session_boxed(const struct pumba_box_opts *opts, struct err *err);
/* Its exit status in *ret_status, 128 + n for a signal. */
bool pumba_session_is_over(struct pumba_session *s, int *ret_status);
void pumba_session_log(struct pumba_session *s, struct pumba_log *ret);
/* SIGTERM, and SIGKILL when it does not end within the grace; reaped when it returns. 1: it had to
 * be killed, so it may have left something. */
int pumba_session_end(struct pumba_session *s, uint64_t grace_ns, struct latch *hurry);
void pumba_session_free(struct pumba_session *s); /* ends it */

/* From another process: asks all with the mark to end, and kills what does not. How many there
 * were, or negative. */
int pumba_end_marked(const char *mark, uint64_t grace_ns, struct err *err) MUST_CHECK;

#endif
