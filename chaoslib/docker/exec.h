/* A command inside of a container, by the engine: made, started, followed to its end. Inside
 * chaoslib/docker, and for the tests.
 *
 * That its output ended does not say that it ended (what it started may hold the other end), so the
 * engine is asked meanwhile. Only the end of the output is kept, whatever there is of it. */
#ifndef CHAOSLIB_DOCKER_EXEC_H
#define CHAOSLIB_DOCKER_EXEC_H

#include "chaoslib/chaos.h"
#include "chaoslib/docker/engine.h"

#define EXEC_TAIL_MAX 1024
#define EXEC_ID_MAX 72

struct exec_command {
    const char *container;   /* id */
    const struct json *argv; /* an array of texts */
    const char *user;        /* NULL or "": the container's */
};

/* Runs nothing yet. 1: no such container. ERR_TARGET when it cannot run commands just now. */
int exec_create(struct docker *d, const struct exec_command *c, char ret_id[EXEC_ID_MAX],
                struct err *err) MUST_CHECK;

enum exec_state { EXEC_NEW, EXEC_RUNNING, EXEC_ENDED };
struct exec_look {
    enum exec_state state;
    int status; /* of EXEC_ENDED */
    pid_t pid;  /* of EXEC_RUNNING, on the engine's machine */
};
/* 1: the engine knows of none; its container may have ended. */
int exec_inspect(struct docker *d, const char *id, struct exec_look *ret,
                 struct err *err) MUST_CHECK;

struct exec_end {
    int status;
    char said[EXEC_TAIL_MAX]; /* the last line of its output; printable */
};
/* Starts it and waits for its end. 1: it began, but its container has gone with it. -ETIMEDOUT when
 * it took longer, or `cut` (may be NULL) was set: then it was killed, if its engine is on this
 * machine. */
int exec_run(struct docker *d, const char *id, uint64_t timeout_ns, const struct latch *cut,
             struct exec_end *ret, struct err *err) MUST_CHECK;
/* Kills what runs by SIGKILL and waits until it is gone. 1: it runs on, since that is not possible
 * from here. */
int exec_kill(struct docker *d, const char *id, struct err *err) MUST_CHECK;

/* The pure part: what comes is framed, 8 bytes of header before each piece; what is not is taken as
 * it is. */
struct exec_output {
    unsigned char head[8];
    size_t n_head;
    uint64_t left; /* of the piece */
    bool plain;
    char tail[EXEC_TAIL_MAX];
    size_t n_tail;
};
void exec_output_add(struct exec_output *o, const char *data, size_t len);
void exec_output_said(const struct exec_output *o, char out[EXEC_TAIL_MAX]);

#endif
