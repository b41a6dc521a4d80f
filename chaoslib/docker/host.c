/* See host.h. What the docker CLI would talk to is what its user means; where that is not there,
 * the sockets of rootless Docker and of Podman are tried, by looking whether they exist. */
#include "chaoslib/docker/host.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DEFAULT_SOCKET "/var/run/docker.sock"

const char *docker_env(const char *name)
{
    const char *value = getenv(name); // NOLINT(concurrency-mt-unsafe): nothing here sets any

    return value && *value ? value : NULL;
}

char *docker_config_dir(void)
{
    const char *config = docker_env("DOCKER_CONFIG"), *home = docker_env("HOME");

    if (config)
        return xstrdup(config);
    return home ? xasprintf("%s/.docker", home) : NULL;
}

void docker_host_done(struct docker_host *h)
{
    char *const owned[] = { h->address, h->from, h->socket, h->base, h->ca, h->cert, h->key };

    for (size_t i = 0; i < ARRAY_LEN(owned); i++)
        free(owned[i]);
    *h = (struct docker_host){ 0 };
}

/* ---- one address ---- */

static int refuse_scheme(const struct docker_host *h, struct err *err)
{
    static const struct {
        const char *scheme, *why;
    } known[] = {
        { "ssh://", "is not spoken here: forward the socket with ssh -L, and give its path as "
                    "unix:///path" },
        { "npipe://", "is a pipe of Windows: give unix:///path or tcp://host:port" },
        { "fd://", "is for the engine itself: give unix:///path or tcp://host:port" },
        { "http://", "is written tcp://host:port here" },
        { "https://", "is written tcp://host:port here, with cert_path for TLS" },
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strncmp(h->address, known[i].scheme, strlen(known[i].scheme)) == 0)
            return err_set(err, ERR_PREPARE, EPROTONOSUPPORT, "%s: '%.100s' %s", h->from,
                           h->address, known[i].why);
    return err_set(err, ERR_PREPARE, EINVAL,
                   "%s: '%.100s' is not an engine's address: write unix:///var/run/docker.sock or "
                   "tcp://10.0.0.5:2376",
                   h->from, h->address);
}

static int read_unix(struct docker_host *h, const char *path, struct err *err)
{
    const struct sockaddr_un longest = { 0 };

    if (path[0] != '/')
        return err_set(err, ERR_PREPARE, EINVAL,
                       "%s: '%.100s' needs an absolute path: write unix:///var/run/docker.sock",
                       h->from, h->address);
    if (strlen(path) >= sizeof(longest.sun_path))
        return err_set(err, ERR_PREPARE, ENAMETOOLONG,
                       "%s: the path of a socket has at most %zu bytes, this one has %zu: make a "
                       "link to it with a shorter path",
                       h->from, sizeof(longest.sun_path) - 1, strlen(path));
    h->socket = xstrdup(path);
    h->base = xstrdup("http://docker");
    h->tls = false;
    return 0;
}

static int read_tcp(struct docker_host *h, const char *rest, struct err *err)
{
    size_t n = strcspn(rest, "/");
    const char *bracket = memrchr(rest, ']', n), *colon = memrchr(rest, ':', n);
    bool has_port = colon && colon + 1 < rest + n && (!bracket || colon > bracket);

    if (n == 0 || colon == rest || rest[n + (rest[n] == '/')] || strpbrk(rest, " @?#%\\") ||
        (has_port && strspn(colon + 1, "0123456789") != (size_t)(rest + n - colon - 1)))
        return err_set(err, ERR_PREPARE, EINVAL,
                       "%s: '%.100s' is not host and port: write tcp://10.0.0.5:2376", h->from,
                       h->address);
    h->base = xasprintf("%s://%.*s%s", h->tls ? "https" : "http", (int)n, rest,
                        has_port ? ""
                        : h->tls ? ":2376"
                                 : ":2375");
    return 0;
}

int docker_host_read(struct docker_host *h, struct err *err)
{
    if (strncmp(h->address, "unix://", 7) == 0)
        return read_unix(h, h->address + 7, err);
    if (strncmp(h->address, "tcp://", 6) == 0)
        return read_tcp(h, h->address + 6, err);
    return refuse_scheme(h, err);
}

int docker_host_certs(struct docker_host *h, const char *folder, struct err *err)
{
    char **const fields[] = { &h->ca, &h->cert, &h->key };
    static const char *const names[] = { "ca.pem", "cert.pem", "key.pem" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        free(*fields[i]);
        *fields[i] = xasprintf("%s/%s", folder, names[i]);
        if (access(*fields[i], R_OK) < 0)
            return err_sys(err, ERR_PREPARE, errno,
                           "TLS for the engine at %.100s needs ca.pem, cert.pem and key.pem in "
                           "'%.100s' (cert_path or DOCKER_CERT_PATH): %s",
                           h->address, folder, names[i]);
    }
    return 0;
}

/* ---- which one ---- */

/* As the engine's own client libraries read the environment: a folder of certificates means TLS,
 * and DOCKER_TLS_VERIFY that the engine's own certificate is looked at. */
static int add_tls(const struct docker_plan *plan, struct docker_host *h, struct err *err)
{
    const char *folder = plan->cert_path ? plan->cert_path : docker_env("DOCKER_CERT_PATH");
    bool verify = plan->tls_verify || docker_env("DOCKER_TLS_VERIFY");
    auto_free char *config = docker_config_dir();

    h->tls = folder || verify;
    h->verify = verify;
    if (!h->tls || strncmp(h->address, "tcp://", 6) != 0)
        return 0;
    if (!folder && !config)
        return err_set(err, ERR_PREPARE, ENOENT,
                       "TLS for the engine at %.100s needs certificates: give cert_path",
                       h->address);
    return docker_host_certs(h, folder ? folder : config, err);
}

static bool is_socket(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* The first that exists; else the usual one, whose absence is then the error. */
static void find_usual(struct docker_host *h)
{
    const char *runtime = docker_env("XDG_RUNTIME_DIR");
    auto_free char *rootless = runtime ? xasprintf("%s/docker.sock", runtime) : NULL;
    auto_free char *podman = runtime ? xasprintf("%s/podman/podman.sock", runtime) : NULL;
    const char *const usual[] = { DEFAULT_SOCKET, rootless, "/run/podman/podman.sock", podman };
    const char *found = DEFAULT_SOCKET;

    for (size_t i = ARRAY_LEN(usual); i > 0; i--)
        if (usual[i - 1] && is_socket(usual[i - 1]))
            found = usual[i - 1];
    h->address = xasprintf("unix://%s", found);
    h->from = xstrdup("docker");
}

int docker_host_find(const struct docker_plan *plan, struct docker_host *ret, struct err *err)
{
    struct docker_host h = { 0 };
    const char *given = plan->host ? plan->host : docker_env("DOCKER_HOST");
    int rc = 1;

    if (given) {
        h.address = xstrdup(given);
        h.from = xstrdup(plan->host ? "docker.host" : "DOCKER_HOST");
    } else {
        rc = docker_context_find(&h, err);
        if (rc == 1)
            find_usual(&h);
    }
    if (rc == 1)
        rc = add_tls(plan, &h, err);
    if (rc == 0)
        rc = docker_host_read(&h, err);
    if (rc < 0)
        docker_host_done(&h);
    else
        *ret = h;
    return rc;
}

/* ---- is anybody there ---- */

static int cannot_reach(const struct docker_host *h, int code, struct err *err)
{
    struct stat st;

    if (code == EACCES || code == EPERM)
        return err_set(err, ERR_PREPARE, code,
                       "permission denied for the engine's socket %s: run as root, or as a member "
                       "of the group that owns it (usually docker)",
                       h->socket);
    if (code == ENOENT)
        return err_set(err, ERR_PREPARE, code,
                       "no container engine: there is no socket %s; start Docker or Podman, or say "
                       "where it is with docker: {host: unix:///path} or DOCKER_HOST",
                       h->socket);
    if (stat(h->socket, &st) == 0 && !S_ISSOCK(st.st_mode))
        return err_set(err, ERR_PREPARE, ENOTSOCK,
                       "%s is %s, not an engine's socket; say where that is with docker: {host: "
                       "unix:///path} or DOCKER_HOST",
                       h->socket, S_ISDIR(st.st_mode) ? "a folder" : "a file");
    if (code == ECONNREFUSED)
        return err_set(err, ERR_PREPARE, code,
                       "no container engine: nobody listens on %s; is it stopped? start Docker or "
                       "Podman",
                       h->socket);
    return err_sys(err, ERR_PREPARE, code, "cannot reach the engine's socket %s", h->socket);
}

int docker_host_reach(const struct docker_host *h, struct err *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    if (!h->socket)
        return 0;
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot make a socket");
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", h->socket);
    /* EAGAIN: its queue is full, so somebody does listen. */
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 && errno != EAGAIN)
        return cannot_reach(h, errno, err);
    return 0;
}
