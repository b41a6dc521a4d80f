/* One container engine by the Docker Engine API: Docker, or Podman's compatible socket. Never the
 * `docker` program.
 *
 * Where it is: `host` of the plan's `docker:`, else DOCKER_HOST, else the context of the docker CLI
 * (DOCKER_CONTEXT, currentContext in ~/.docker/config.json), else /var/run/docker.sock, else the
 * rootless and Podman sockets that are there. unix://, tcp:// (TLS with DOCKER_TLS_VERIFY and
 * DOCKER_CERT_PATH); ssh:// and npipe:// are refused by name. The version is negotiated by _ping:
 * 20.10 ends at 1.41, 29 begins at 1.44.
 *
 * Calls block, from any thread, each with a time limit of its own; a hanging engine is an error. */
#ifndef CHAOSLIB_DOCKER_ENGINE_H
#define CHAOSLIB_DOCKER_ENGINE_H

#include "base/param.h"
#include "edge/json.h"

/* The plan's `docker:`; all NULL/false: the environment decides. */
struct docker_plan {
    const char *host;      /* "unix:///var/run/docker.sock", "tcp://10.0.0.5:2376" */
    const char *cert_path; /* folder with ca.pem, cert.pem, key.pem */
    bool tls_verify;
    uint64_t timeout_ns; /* of one call; default 10 s */
};
extern const struct param_table docker_table;

struct docker;

/* Finds it, pings it, agrees on a version. ERR_PREPARE errors name the address, what was wrong
 * (absent, permission denied, not an engine, no answer in time) and the remedy. */
struct docker *docker_open(const struct docker_plan *plan, struct err *err);
void docker_free(struct docker *d);
const char *docker_describe(const struct docker *d); /* "Docker 20.10.24 (API 1.41) at unix:///…" */
bool docker_is_podman(const struct docker *d);
/* By a unix socket, with the engine's process in our /proc and its kernel being ours: pids mean
 * something here, and its wall clock is ours. Not so in a virtual machine (Docker Desktop), nor
 * when we run in a container with the socket mounted. */
bool docker_is_local(const struct docker *d);
bool docker_is_rootless(const struct docker *d);

/* Into and out of the journal, under "engine" of the record: how the guardian finds the same engine
 * again. No secrets: paths. Reading it back also pings the engine, as docker_open does. */
void docker_write(const struct docker *d, struct json *record);
struct docker *docker_read(const struct json *record, struct err *err);

struct docker_call {
    const char *method;      /* NULL: GET */
    const char *path;        /* after the version: "/containers/json?all=1"; already URL-encoded */
    const struct json *body; /* NULL: none */
    uint64_t timeout_ns;     /* 0: the plan's; stop?t=10 needs more */
};

/* 0 when the engine answered at all: *ret_status says how; *ret_json (may be NULL) gets the body,
 * an object with "message" for errors, NULL when there is none; the caller frees. */
int docker_call(struct docker *d, const struct docker_call *call, unsigned *ret_status,
                struct json **ret_json, struct err *err) MUST_CHECK;
/* The same, and any status but the 2xx is an error that tells the engine's message; 304 is success
 * too ("already so"). 1: 404, no such thing. */
int docker_do(struct docker *d, const struct docker_call *call, struct json **ret_json,
              struct err *err) MUST_CHECK;

/* For what answers no JSON (the output of exec): the bytes as they came, into a buf with a maximum.
 */
int docker_call_raw(struct docker *d, const struct docker_call *call, unsigned *ret_status,
                    struct buf *ret_body, struct err *err) MUST_CHECK;

struct docker_container {
    char id[72];         /* 64 hex digits */
    char name[128];      /* without the slash */
    char started_at[48]; /* as the engine wrote it: with the id, its identity */
    char image[128];
    char status[16]; /* created running paused restarting removing exited dead */
    char health[16]; /* "" without a HEALTHCHECK; starting healthy unhealthy */
    char network_mode[128];
    pid_t pid; /* on the engine's machine; 0 when it does not run */
    int exit_code;
    bool running, paused; /* a paused one is running too */
};

/* 0 found, 1 there is none. By full id, or by exact name. */
int docker_inspect(struct docker *d, const char *id_or_name, struct docker_container *ret,
                   struct err *err) MUST_CHECK;
/* The same, and the whole answer as well; the caller frees. */
int docker_inspect_json(struct docker *d, const char *id_or_name, struct docker_container *ret,
                        struct json **ret_json, struct err *err) MUST_CHECK;
/* It is the one meant by id and StartedAt, not one that was started again since. */
bool docker_is_same(const struct docker_container *a, const struct docker_container *b);

#endif
