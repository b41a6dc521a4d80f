/* See engine.h. Opening an engine is the moment to find out everything that could be wrong with
 * it: afterwards a fault is due at an instant, and there is no time for questions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>

#include "chaoslib/docker/internal.h"

static const struct param docker_rows[] = {
    PARAM(STR, "host", struct docker_plan, host,
          .help = "where the engine is: unix:///path or tcp://host:port; default: DOCKER_HOST, the "
                  "docker CLI's context, /var/run/docker.sock, then rootless Docker and Podman"),
    PARAM(STR, "cert_path", struct docker_plan, cert_path,
          .help = "folder with ca.pem, cert.pem and key.pem, for TLS; default: DOCKER_CERT_PATH"),
    PARAM(BOOL, "tls_verify", struct docker_plan, tls_verify, .def = "false",
          .help = "TLS, and the engine's certificate must be valid; also by DOCKER_TLS_VERIFY"),
    PARAM(DURATION, "timeout", struct docker_plan, timeout_ns, .def = "10s", .lo = 0.1, .hi = 600,
          .help = "of one call to the engine"),
};
const struct param_table docker_table = { "docker", docker_rows, ARRAY_LEN(docker_rows), NULL };

/* ---- who answers ---- */

/* The value of a header, cut to fit; "" when it is not there. */
static void header(const struct buf *head, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);

    out[0] = '\0';
    for (const char *line = buf_str(head); *line; line += strcspn(line, "\n"), line += !!*line)
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *value = line + n + 1 + strspn(line + n + 1, " \t");
            snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
        }
}

static int not_an_engine(const struct docker *d, const struct http_resp *resp, struct err *err)
{
    if (strstr(buf_str(&resp->body), "HTTP request to an HTTPS server"))
        return err_set(err, ERR_PREPARE, EPROTO,
                       "the container engine at %s wants TLS: give docker: {cert_path: …} or "
                       "DOCKER_CERT_PATH, a folder with ca.pem, cert.pem and key.pem",
                       d->host.address);
    if (resp->status == 401 || resp->status == 403)
        return err_set(err, ERR_PREPARE, EACCES,
                       "the container engine at %s refuses us (status %u): what stands before it "
                       "must allow the whole Engine API",
                       d->host.address, resp->status);
    return err_set(err, ERR_PREPARE, EPROTO,
                   "what answers at %s is not a container engine (status %u to /_ping); say where "
                   "it is with docker: {host: unix:///path} or DOCKER_HOST",
                   d->host.address, resp->status);
}

static unsigned agreed_version(const struct docker *d, const char *offered)
{
    unsigned minor = docker_api_minor(offered);

    return d->api_is_fixed ? d->api_minor : MIN(minor, API_MINOR_MAX);
}

static int ping(struct docker *d, struct err *err)
{
    auto_free char *url = xasprintf("%s/_ping", d->host.base);
    struct http_req req = { .url = url, .timeout_ms = MAX(d->timeout_ns / NS_PER_MS, 1) };
    struct http_resp resp = { 0 };
    char version[16], libpod[32];
    int rc;

    docker_request(d, &req);
    if (http_fetch(&req, &resp, err) < 0)
        return docker_no_answer(d, d->timeout_ns, err);
    header(&resp.head, "Api-Version", version, sizeof(version));
    header(&resp.head, "Libpod-Api-Version", libpod, sizeof(libpod));
    unsigned offered = docker_api_minor(version);
    if (resp.status != 200 || offered == 0)
        rc = not_an_engine(d, &resp, err);
    else if (offered < API_MINOR_MIN)
        rc = err_set(err, ERR_PREPARE, EPROTONOSUPPORT,
                     "the container engine at %s speaks API %s, and 1.%d is the least: update it",
                     d->host.address, version, API_MINOR_MIN);
    else
        rc = 0;
    if (rc == 0) {
        d->api_minor = agreed_version(d, version);
        d->podman = libpod[0];
    }
    http_resp_done(&resp);
    return rc;
}

static int fix_version(struct docker *d, struct err *err)
{
    const char *wanted = docker_env("DOCKER_API_VERSION");

    if (!wanted)
        return 0;
    d->api_minor = docker_api_minor(wanted);
    d->api_is_fixed = true;
    if (d->api_minor < API_MINOR_MIN || d->api_minor > API_MINOR_MAX)
        return err_set(err, ERR_PREPARE, EINVAL,
                       "DOCKER_API_VERSION: '%.20s' is not in 1.%d..1.%d; unset it to let the "
                       "engine decide",
                       wanted, API_MINOR_MIN, API_MINOR_MAX);
    return 0;
}

/* ---- what it is ---- */

/* The process behind the socket is in our /proc: 0 comes from another pid namespace. */
static bool peer_is_near(const struct docker *d)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct ucred who = { 0 };
    socklen_t len = sizeof(who);
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (!d->host.socket || fd < 0)
        return false;
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", d->host.socket);
    return connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid > 0;
}

static int ask_version(struct docker *d, struct err *err)
{
    auto(json) struct json *v = NULL;
    int rc = docker_do(d, &(struct docker_call){ .path = "/version" }, &v, err);

    if (rc == 0 && !json_is_object(v))
        rc = err_set(err, ERR_PREPARE, EPROTO, "it answered /version with no object");
    if (rc != 0) {
        if (err)
            err->kind = ERR_PREPARE;
        rc = rc < 0 ? rc : -EPROTO;
        return d->api_is_fixed ? err_wrap(err, "with DOCKER_API_VERSION=1.%u", d->api_minor)
                               : err_wrap(err, "what answers at %s", d->host.address);
    }
    d->describe =
        xasprintf("%s %.60s (API 1.%u) at %s", d->podman ? "Podman" : "Docker",
                  json_str(v, "Version", "of unknown version"), d->api_minor, d->host.address);
    return 0;
}

static int ask_info(struct docker *d, struct err *err)
{
    auto(json) struct json *info = NULL;
    struct utsname here;
    int rc = docker_do(d, &(struct docker_call){ .path = "/info" }, &info, err);
    const struct json *options = json_get(info, "SecurityOptions");

    if (rc != 0) {
        if (err)
            err->kind = ERR_PREPARE;
        rc = rc < 0 ? rc : -EPROTO;
        return err_wrap(err, "what answers at %s", d->host.address);
    }
    for (const struct json *o = json_first(options); o; o = json_next(o))
        d->rootless |= strstr(json_str(o, "", ""), "name=rootless") != NULL;
    d->local = peer_is_near(d) && uname(&here) == 0 &&
               strcmp(json_str(info, "KernelVersion", ""), here.release) == 0;
    return 0;
}

static int greet(struct docker *d, struct err *err)
{
    if (fix_version(d, err) < 0 || docker_host_reach(&d->host, err) < 0 || ping(d, err) < 0 ||
        ask_version(d, err) < 0)
        return -EIO;
    return ask_info(d, err);
}

static struct docker *open_host(struct docker_host *host, uint64_t timeout_ns, struct err *err)
{
    struct docker *d = xcalloc(1, sizeof(*d));
    struct err mine = { 0 };

    d->host = *host;
    *host = (struct docker_host){ 0 };
    d->timeout_ns = timeout_ns ? timeout_ns : DOCKER_TIMEOUT_NS;
    if (greet(d, &mine) == 0)
        return d;
    docker_free(d);
    if (err)
        *err = mine;
    return NULL;
}

struct docker *docker_open(const struct docker_plan *plan, struct err *err)
{
    static const struct docker_plan by_environment;
    struct docker_host host = { 0 };

    if (!plan)
        plan = &by_environment;
    if (docker_host_find(plan, &host, err) < 0)
        return NULL;
    return open_host(&host, plan->timeout_ns, err);
}

void docker_free(struct docker *d)
{
    if (!d)
        return;
    docker_host_done(&d->host);
    free(d->describe);
    free(d);
}

const char *docker_describe(const struct docker *d)
{
    return d->describe;
}

bool docker_is_podman(const struct docker *d)
{
    return d->podman;
}

bool docker_is_local(const struct docker *d)
{
    return d->local;
}

bool docker_is_rootless(const struct docker *d)
{
    return d->rootless;
}

/* ---- the journal ---- */

void docker_write(const struct docker *d, struct json *record)
{
    struct json *j = json_put(record, "engine", json_object());

    json_put_str(j, "address", d->host.address);
    json_put_u64(j, "timeout_ms", d->timeout_ns / NS_PER_MS);
    if (!d->host.tls)
        return;
    json_put_bool(j, "verify", d->host.verify);
    json_put_str(j, "ca", d->host.ca);
    json_put_str(j, "cert", d->host.cert);
    json_put_str(j, "key", d->host.key);
}

static char *text_of(const struct json *j, const char *path)
{
    const char *text = json_str(j, path, NULL);

    return text ? xstrdup(text) : NULL;
}

struct docker *docker_read(const struct json *record, struct err *err)
{
    const struct json *j = json_get(record, "engine");
    struct docker_host host = { .address = text_of(j, "address"),
                                .from = xstrdup("the journal"),
                                .verify = json_bool(j, "verify", false),
                                .ca = text_of(j, "ca"),
                                .cert = text_of(j, "cert"),
                                .key = text_of(j, "key") };
    int rc;

    host.tls = host.ca != NULL;
    if (!host.address)
        rc = err_set(err, ERR_REVERT, EINVAL, "the journal does not name a container engine");
    else
        rc = docker_host_read(&host, err);
    if (rc < 0) {
        docker_host_done(&host);
        return NULL;
    }
    return open_host(&host, json_u64(j, "timeout_ms", 0) * NS_PER_MS, err);
}
