/* TLS for clients (OpenSSL), over sockets that the caller owns and watches. Nothing here blocks or
 * allocates per read or write while connections are few. One thread per context. SIGPIPE must be
 * ignored by the program. */
#ifndef EDGE_TLS_H
#define EDGE_TLS_H

#include <sys/types.h>

#include "base/err.h"

struct tls_ctx;
struct tls;

struct tls_opts {
    bool verify;             /* certificate chain and name */
    const char *ca_file;     /* PEM; NULL: the system's */
    const char *cert_file;   /* PEM, the client's certificate (chain); NULL: none */
    const char *key_file;    /* PEM; NULL: it is in cert_file */
    const char *min_version; /* "1.2" "1.3"; NULL: 1.2 */
};

struct tls_ctx *tls_ctx_new(const struct tls_opts *opts, struct err *err);
void tls_ctx_free(struct tls_ctx *c); /* after all its connections */
static inline void tls_ctx_autofree(struct tls_ctx **c)
{
    tls_ctx_free(*c);
}

/* The sessions that later connections to the same server may resume: one of these per server. */
struct tls_session;
struct tls_session *tls_session_new(void);
void tls_session_free(struct tls_session *s);

struct tls_peer {
    const char *name; /* host name or IP address: asked for (SNI, names only) and verified */
    const char *sni;  /* another name to ask for and verify instead; NULL: name */
    struct tls_session *session; /* NULL: never resume. Lives longer than the connection. */
};
/* NULL when out of memory. */
struct tls *tls_new(struct tls_ctx *c, int fd, const struct tls_peer *peer);
void tls_free(struct tls_ctx *c, struct tls *t); /* does not close fd */

/* The ClientHello alone, as bytes, for who means to go no further. The caller frees. */
char *tls_hello(struct tls_ctx *c, const struct tls_peer *peer, size_t *ret_len, struct err *err);

/* What a step needs before it can go on. */
enum tls_want { TLS_DONE, TLS_WANT_READ, TLS_WANT_WRITE, TLS_FAILED };
/* Again after each wanted event, until DONE or FAILED (a sentence in err). */
enum tls_want tls_handshake(struct tls *t, struct err *err);
bool tls_is_resumed(const struct tls *t);

/* > 0: bytes. 0: the peer has closed. -EAGAIN: watch *want. Other negative: -errno of the socket,
 * -EPROTO for a broken record. */
ssize_t tls_read(struct tls *t, void *buf, size_t len, enum tls_want *want);
/* The same; may write a part. To be repeated with the same bytes after -EAGAIN. */
ssize_t tls_write(struct tls *t, const void *buf, size_t len, enum tls_want *want);
/* Bytes were received that tls_read has not given out: the socket will not say so again. */
bool tls_has_more(const struct tls *t);

#endif
