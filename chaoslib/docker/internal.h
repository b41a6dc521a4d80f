/* Shared by engine.c (finding one, agreeing with it), call.c (asking it), inspect.c and events.c.
 * Nobody else includes this. */
#ifndef CHAOSLIB_DOCKER_INTERNAL_H
#define CHAOSLIB_DOCKER_INTERNAL_H

#include <stdatomic.h>

#include "chaoslib/docker/host.h"
#include "edge/http.h"

/* The versions whose answers we know how to read: 1.24 is what Docker 1.12 spoke, 1.52 what Docker
 * 29 began with. */
#define API_MINOR_MIN 24
#define API_MINOR_MAX 52
#define DOCKER_TIMEOUT_NS (10 * NS_PER_SEC)

struct docker {
    struct docker_host host;
    uint64_t timeout_ns;
    _Atomic unsigned api_minor; /* of 1.N; 0: not agreed yet, paths go without a version */
    bool api_is_fixed;          /* by DOCKER_API_VERSION */
    bool podman, local, rootless;
    char *describe;
};

/* Everything but method, path and body of a request to it. */
void docker_request(const struct docker *d, struct http_req *req);
/* What http says of no answer, as people need it. */
int docker_no_answer(const struct docker *d, uint64_t timeout_ns, struct err *err);
/* "1.41" to 41; 0 when it is none. */
unsigned docker_api_minor(const char *text);
/* A 400 that names the version it wants instead of the one `asked` for: takes that one, and true
 * when it is worth another try. */
bool docker_take_version(struct docker *d, unsigned asked, const char *message);
/* The pure part of docker_inspect. */
int docker_container_parse(const struct json *j, struct docker_container *ret,
                           struct err *err) MUST_CHECK;

#endif
