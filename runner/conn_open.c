/* How a connection comes to be: name, socket, TLS. Each stage is timed, and bounded by the connect
 * timeout. Of a name's addresses the next one is tried when one refuses or has no way to it; who
 * does not answer at all is waited for, because that wait is what a user would see. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "runner/conn_internal.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static enum fail_class class_of_connect_errno(int code)
{
    static const struct {
        int code;
        enum fail_class fail;
    } classes[] = {
        { ECONNREFUSED, FAIL_REFUSED },
        { ENOENT, FAIL_REFUSED },
        { EAGAIN, FAIL_REFUSED }, /* a unix socket whose backlog is full */
        { ENETUNREACH, FAIL_UNREACHABLE },
        { EHOSTUNREACH, FAIL_UNREACHABLE },
        { ENETDOWN, FAIL_UNREACHABLE },
        { EACCES, FAIL_UNREACHABLE },
        { EPERM, FAIL_UNREACHABLE },
        { EINVAL, FAIL_UNREACHABLE },
        { EAFNOSUPPORT, FAIL_UNREACHABLE },
        { EHOSTDOWN, FAIL_UNREACHABLE },
        { ETIMEDOUT, FAIL_CONNECT_TIMEOUT },
        { ECONNRESET, FAIL_RESET },
    };

    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        if (classes[i].code == code)
            return classes[i].fail;
    }
    return FAIL_INTERNAL; /* files, memory, local ports: what we ran out of */
}

static const char *remedy_of_errno(int code)
{
    switch (code) {
    case EADDRNOTAVAIL:
        return "connect (no local port is free: list http.source_addresses, or keep connections)";
    case EMFILE:
    case ENFILE: return "connect (open files: raise 'ulimit -n')";
    default: return "connect";
    }
}

/* Another address of the name may do better. */
static bool wants_next_address(const struct conn *c, int code)
{
    enum fail_class fail = class_of_connect_errno(code);

    /* Without IPv6 on this machine ::1 is an address that is not available. */
    return (fail == FAIL_REFUSED || fail == FAIL_UNREACHABLE || code == EADDRNOTAVAIL) &&
           c->addresses && c->next_address < c->addresses->n;
}

static void connect_failed(struct conn *c, int code)
{
    conn_fail_errno(c, class_of_connect_errno(code), code, remedy_of_errno(code));
}

/* ---- TLS ---- */

static void shake_hands(struct conn *c)
{
    struct err err = { 0 };

    switch (tls_handshake(c->tls, &err)) {
    case TLS_DONE: {
        uint64_t now = clock_now_ns();
        c->stage_ns[STAGE_TLS] = now - c->stage_began_ns;
        conn_is_open(c, now);
        break;
    }
    case TLS_WANT_READ: conn_watch(c, LOOP_READ); break;
    case TLS_WANT_WRITE: conn_watch(c, LOOP_WRITE); break;
    case TLS_FAILED: conn_fail(c, FAIL_TLS, err.msg); break;
    }
}

static void connected(struct conn *c, uint64_t now_ns)
{
    struct conn_env *e = c->env;
    const struct endpoint *ep = c->endpoint;

    c->stage_ns[STAGE_CONNECT] = MAX(now_ns - c->stage_began_ns, (uint64_t)1);
    if (!ep->tls_name || c->is_bare) {
        conn_is_open(c, now_ns);
        return;
    }
    c->tls = tls_new(e->tls, c->fd,
                     &(struct tls_peer){ .name = ep->tls_name,
                                         .sni = e->http->tls.sni,
                                         .session = e->http->tls.resume ? ep->session : NULL });
    if (!c->tls) {
        conn_fail(c, FAIL_INTERNAL, "no memory for a TLS connection");
        return;
    }
    conn_stage(c, CONN_SHAKING, now_ns);
    shake_hands(c);
}

/* ---- sockets ---- */

/* The next of our own addresses that is of the same family as where we go. */
static const union address *next_source(struct conn_env *e, sa_family_t family)
{
    for (size_t i = 0; i < e->n_sources; i++) {
        const union address *a = &e->sources[e->next_source++ % e->n_sources];
        if (a->any.sa_family == family)
            return a;
    }
    return NULL;
}

/* With IP_BIND_ADDRESS_NO_PORT the port is chosen at connect, so that one address serves 64 k ports
 * to each target instead of in all. */
static int bind_source(struct conn_env *e, int fd, sa_family_t family)
{
    const union address *a = next_source(e, family);
    const int on = 1;

    if (!a)
        return e->n_sources ? EAFNOSUPPORT : 0;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(fd, &a->any, address_len(a)) < 0 ? errno : 0;
}

/* Before the connection is there, or the kernel has promised more room already. */
static void shrink_window(const struct conn *c)
{
    const int bytes = (int)MIN(c->pace->buffer_bytes, INT32_MAX);

    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static int begin_connect(struct conn *c, const struct sockaddr *to, socklen_t len)
{
    const int on = 1;

    c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return errno;
    if (c->fd >= c->env->fd_end) {
        close(c->fd);
        c->fd = -1;
        return EMFILE;
    }
    c->env->n_open++;
    if (c->pace && c->pace->buffer_bytes)
        shrink_window(c);
    if (to->sa_family != AF_UNIX) {
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        int code = bind_source(c->env, c->fd, to->sa_family);
        if (code)
            return code;
    }
    return connect(c->fd, to, len) < 0 ? errno : 0;
}

static int connect_next(struct conn *c)
{
    const struct endpoint *ep = c->endpoint;

    if (!ep->name)
        return begin_connect(c, (const struct sockaddr *)&ep->path, sizeof(ep->path));
    const union address *a = &c->addresses->v[c->next_address++];
    return begin_connect(c, &a->any, address_len(a));
}

static void try_addresses(struct conn *c)
{
    int code = connect_next(c);

    while (code && code != EINPROGRESS && wants_next_address(c, code)) {
        conn_abandon(c);
        code = connect_next(c);
    }
    if (code == 0)
        connected(c, clock_now_ns());
    else if (code == EINPROGRESS)
        conn_watch(c, LOOP_WRITE);
    else
        connect_failed(c, code);
}

static void connect_continues(struct conn *c)
{
    int code = 0;
    socklen_t len = sizeof(code);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
        code = errno;
    if (code == 0) {
        connected(c, loop_now_ns(c->env->loop));
    } else if (wants_next_address(c, code)) {
        conn_abandon(c);
        try_addresses(c);
    } else {
        connect_failed(c, code);
    }
}

void conn_open_step(struct conn *c)
{
    if (c->state == CONN_SHAKING)
        shake_hands(c);
    else
        connect_continues(c);
}

/* ---- names ---- */

static void on_addresses(void *arg, struct addresses *a, const char *why)
{
    struct conn *c = arg;
    uint64_t now = loop_now_ns(c->env->loop);

    c->stage_ns[STAGE_DNS] = MAX(now - c->stage_began_ns, (uint64_t)1);
    if (!a) {
        conn_fail(c, FAIL_DNS, why);
        return;
    }
    c->addresses = a;
    c->stage_began_ns = now;
    c->state = CONN_CONNECTING;
    try_addresses(c);
}

static void look_up(struct conn *c)
{
    c->addresses = name_lookup(c->endpoint->name, &c->lookup, on_addresses, c);
    if (!c->addresses)
        return;
    c->state = CONN_CONNECTING;
    try_addresses(c);
}

void conn_open(struct conn *c, struct endpoint *ep, uint64_t now_ns, uint64_t deadline_ns)
{
    c->env = ep->env;
    c->endpoint = ep;
    c->fd = -1;
    c->life++;
    c->request_deadline_ns = deadline_ns;
    c->next_address = 0;
    c->send_ns = c->first_ns = c->bytes_in = c->bytes_out = 0;
    memset(c->stage_ns, 0, sizeof(c->stage_ns));
    conn_stage(c, ep->name ? CONN_RESOLVING : CONN_CONNECTING, now_ns);
    c->is_calling = true;
    if (ep->name)
        look_up(c);
    else
        try_addresses(c);
    c->is_calling = false;
}
