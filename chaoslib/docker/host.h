/* Where the engine is, and how to speak to it. Decided once, from the plan and the environment, as
 * the docker CLI would. */
#ifndef CHAOSLIB_DOCKER_HOST_H
#define CHAOSLIB_DOCKER_HOST_H

#include "chaoslib/docker/engine.h"

#define DOCKER_FILE_MAX ((size_t)1 << 20) /* of config.json and a context's meta.json */

struct docker_host {
    char *address; /* "unix:///var/run/docker.sock", as people write it */
    char *from;    /* where it was found: "DOCKER_HOST", "context 'lab'", … */
    char *socket;  /* of unix://; else NULL */
    char *base;    /* "http://docker", "https://10.0.0.5:2376" */
    bool tls, verify;
    char *ca, *cert, *key; /* paths; NULL: none */
};

/* ERR_PREPARE errors name what is wrong with the address, and the remedy. */
int docker_host_find(const struct docker_plan *plan, struct docker_host *ret,
                     struct err *err) MUST_CHECK;
/* An address is there; fills base, socket and tls from it. */
int docker_host_read(struct docker_host *h, struct err *err) MUST_CHECK;
/* ca, cert and key in that folder, all three. */
int docker_host_certs(struct docker_host *h, const char *folder, struct err *err) MUST_CHECK;
/* Somebody listens on the socket and we may speak to it; 0 for what is no socket. */
int docker_host_reach(const struct docker_host *h, struct err *err) MUST_CHECK;
void docker_host_done(struct docker_host *h);

/* context.c. 0 found, 1 none is chosen or it is the default one. */
int docker_context_find(struct docker_host *ret, struct err *err) MUST_CHECK;
/* NULL when it is not set, or empty. */
const char *docker_env(const char *name);
/* The folder of the docker CLI: DOCKER_CONFIG, else ~/.docker; the caller frees. NULL: no home. */
char *docker_config_dir(void);

#endif
