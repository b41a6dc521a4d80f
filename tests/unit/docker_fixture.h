/* Containers of a test, on the private engine that ctest starts (tests/engine.cmake). Each carries
 * the label chaos-load.test=<pid of the test>, and docker_fixture_close removes them all. */
#ifndef TESTS_UNIT_DOCKER_FIXTURE_H
#define TESTS_UNIT_DOCKER_FIXTURE_H

#include "chaoslib/docker/engine.h"

/* The engine of DOCKER_HOST. Without one, the test says "SKIP why" and ends with 77. */
struct docker *docker_fixture_open(void);
void docker_fixture_close(struct docker *d);

struct box {
    const char *name;          /* NULL: one is made up */
    const char *image;         /* NULL: "bb:1" (busybox); "httpd:1" serves on 8080 */
    const char *const *cmd;    /* NULL-terminated; NULL: the image's, for bb:1 a sleep that ends on
                                  SIGTERM */
    const char *const *labels; /* "key=value", NULL-terminated; NULL: none */
    unsigned port;             /* its 8080 is published there on 127.0.0.1; 0: not */
    void (*more)(struct json *body); /* changes the body of /containers/create; NULL: nothing */
};
/* Creates and starts it; "id" is for the caller to free. Fails the test when it does not work. */
char *box_start(struct docker *d, const struct box *box);
char *box_create(struct docker *d, const struct box *box); /* without starting it */
/* POST /containers/ID/verb, "stop?t=0"; fails the test unless it worked. */
void box_do(struct docker *d, const char *id, const char *verb);
void box_remove(struct docker *d, const char *id); /* forced; fine when it is gone already */
struct docker_container box_look(struct docker *d, const char *id); /* it must be there */
void box_address(struct docker *d, const char *id, char out[64]);   /* in its first network */
void box_wait_status(struct docker *d, const char *id, const char *status); /* within 30 s */
/* Its shell ran it with success. */
bool box_exec(struct docker *d, const char *id, const char *const *argv);

#endif
