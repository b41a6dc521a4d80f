/* TLS on OpenSSL, tuned for many short exchanges: read-ahead (one system call per record instead of
 * two), partial writes, and sessions kept per server so that a reconnect costs no key exchange. The
 * first connections keep their record buffers (33 KiB each), which saves allocating them for each
 * record; of many, each gives them back while it rests. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/mem.h"
#include "edge/tls.h"

#define KEEP_BUFFERS_MAX 512 /* connections */

struct tls_ctx {
    SSL_CTX *ssl;
    size_t n_connections;
};

#define SESSIONS_MAX 256 /* kept per server */

/* TLS 1.3 tickets serve once, and one connection may get several: users who connect at the same
 * time need one each. */
struct tls_session {
    SSL_SESSION *kept[SESSIONS_MAX]; /* the newest last */
    size_t n;
};

/* ---- errors ---- */

/* OpenSSL's own words, short: "certificate verify failed". */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return reason ? reason : "unknown error";
}

static int file_error(struct err *err, const char *what, const char *path)
{
    return err_set(err, ERR_USAGE, EINVAL, "tls: cannot use %s '%s': %s", what, path,
                   openssl_reason());
}

/* ---- context ---- */

static int set_version(SSL_CTX *ssl, const char *text, struct err *err)
{
    static const struct {
        const char *text;
        int version;
    } versions[] = { { "1.2", TLS1_2_VERSION }, { "1.3", TLS1_3_VERSION } };

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        if (strcmp(text, versions[i].text) == 0) {
            SSL_CTX_set_min_proto_version(ssl, versions[i].version);
            return 0;
        }
    }
    return err_set(err, ERR_USAGE, EINVAL, "tls: min_version '%s' is neither 1.2 nor 1.3", text);
}

/* The system's certificates are looked up by hash when needed: reading them all would take longer
 * than the first request may. */
static void use_system_ca(SSL_CTX *ssl)
{
    if (getenv(X509_get_default_cert_file_env()) || // NOLINT(concurrency-mt-unsafe)
        access(X509_get_default_cert_dir(), R_OK) != 0)
        SSL_CTX_set_default_verify_file(ssl);
    SSL_CTX_set_default_verify_dir(ssl);
}

static int set_trust(SSL_CTX *ssl, const struct tls_opts *opts, struct err *err)
{
    if (!opts->verify)
        return 0;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (!opts->ca_file)
        use_system_ca(ssl);
    else if (SSL_CTX_load_verify_file(ssl, opts->ca_file) != 1)
        return file_error(err, "ca_file", opts->ca_file);
    return 0;
}

static int set_own_certificate(SSL_CTX *ssl, const struct tls_opts *opts, struct err *err)
{
    const char *key = opts->key_file ? opts->key_file : opts->cert_file;

    if (!opts->cert_file)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ssl, opts->cert_file) != 1)
        return file_error(err, "cert_file", opts->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return file_error(err, "key_file", key);
    if (SSL_CTX_check_private_key(ssl) != 1)
        return file_error(err, "a key that is not the certificate's,", key);
    return 0;
}

/* Called by OpenSSL for each ticket; a server may send several. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_session *slot = SSL_get_app_data(ssl);

    if (!slot)
        return 0;
    if (slot->n == SESSIONS_MAX) {
        SSL_SESSION_free(slot->kept[0]);
        memmove(slot->kept, slot->kept + 1, --slot->n * sizeof(SSL_SESSION *));
    }
    slot->kept[slot->n++] = session;
    return 1; /* taken */
}

static void resume_newest(SSL *ssl, struct tls_session *slot)
{
    SSL_SESSION *session = slot->n ? slot->kept[slot->n - 1] : NULL;

    if (!session)
        return;
    SSL_set_session(ssl, session);
    if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
        return; /* serves any number of times */
    slot->n--;
    SSL_SESSION_free(session);
}

struct tls_ctx *tls_ctx_new(const struct tls_opts *opts, struct err *err)
{
    auto(tls_ctx) struct tls_ctx *c = xcalloc(1, sizeof(*c));

    c->ssl = SSL_CTX_new(TLS_client_method());
    if (!c->ssl) {
        err_set(err, ERR_PREPARE, ENOMEM, "tls: no context: %s", openssl_reason());
        return NULL;
    }
    SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(c->ssl, 1);
    SSL_CTX_set_options(c->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(c->ssl,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(c->ssl, on_new_session);
    if (set_version(c->ssl, opts->min_version ? opts->min_version : "1.2", err) < 0 ||
        set_trust(c->ssl, opts, err) < 0 || set_own_certificate(c->ssl, opts, err) < 0)
        return NULL;
    return TAKE(c);
}

void tls_ctx_free(struct tls_ctx *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ssl);
    free(c);
}

struct tls_session *tls_session_new(void)
{
    return xcalloc(1, sizeof(struct tls_session));
}

void tls_session_free(struct tls_session *s)
{
    if (!s)
        return;
    while (s->n > 0)
        SSL_SESSION_free(s->kept[--s->n]);
    free(s);
}

/* ---- a connection: struct tls is OpenSSL's own object under our name ---- */

static SSL *ssl_of(const struct tls *t)
{
    return (SSL *)(uintptr_t)t;
}

static bool is_ip(const char *name)
{
    unsigned char address[16];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* What is verified is the name that is asked for. */
static bool set_peer(SSL *ssl, const struct tls_peer *peer)
{
    const char *name = peer->sni ? peer->sni : peer->name;

    if (is_ip(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1 &&
           SSL_set1_host(ssl, name) == 1;
}

struct tls *tls_new(struct tls_ctx *c, int fd, const struct tls_peer *peer)
{
    SSL *ssl = SSL_new(c->ssl);

    if (!ssl)
        return NULL;
    if (!SSL_set_fd(ssl, fd) || !set_peer(ssl, peer)) {
        SSL_free(ssl);
        return NULL;
    }
    if (peer->session) {
        SSL_set_app_data(ssl, peer->session);
        resume_newest(ssl, peer->session);
    }
    if (++c->n_connections > KEEP_BUFFERS_MAX)
        SSL_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_set_connect_state(ssl);
    return (struct tls *)ssl;
}

char *tls_hello(struct tls_ctx *c, const struct tls_peer *peer, size_t *ret_len, struct err *err)
{
    SSL *ssl = SSL_new(c->ssl);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    char *hello = NULL, *bytes;
    long len;

    if (ssl && in && out && set_peer(ssl, peer)) {
        SSL_set_bio(ssl, in, out); /* they are its own now */
        SSL_connect(ssl);          /* gets as far as there is nobody to answer */
        len = BIO_get_mem_data(out, &bytes);
        hello = len > 0 ? xcalloc(1, (size_t)len) : NULL;
        if (hello)
            memcpy(hello, bytes, *ret_len = (size_t)len);
    } else {
        BIO_free(in);
        BIO_free(out);
    }
    SSL_free(ssl);
    ERR_clear_error();
    if (!hello)
        err_set(err, ERR_LIMIT, ENOMEM, "no ClientHello could be made: %s", openssl_reason());
    return hello;
}

void tls_free(struct tls_ctx *c, struct tls *t)
{
    if (!t)
        return;
    c->n_connections--;
    /* Without this OpenSSL would call the session of a connection that just ends a bad one. */
    SSL_set_shutdown(ssl_of(t), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_of(t));
}

static enum tls_want handshake_failed(SSL *ssl, int kind, int sys, struct err *err)
{
    long verify = SSL_get_verify_result(ssl);

    if (verify != X509_V_OK)
        err_set(err, ERR_TARGET, EPROTO, "the server's certificate: %s (tls.verify, tls.ca)",
                X509_verify_cert_error_string(verify));
    else if (kind == SSL_ERROR_SSL)
        err_set(err, ERR_TARGET, EPROTO, "the TLS handshake failed: %s", openssl_reason());
    else if (kind == SSL_ERROR_SYSCALL && sys)
        err_sys(err, ERR_TARGET, sys, "the TLS handshake broke off");
    else
        err_set(err, ERR_TARGET, EPROTO,
                "the server closed the connection during the TLS "
                "handshake");
    ERR_clear_error();
    return TLS_FAILED;
}

enum tls_want tls_handshake(struct tls *t, struct err *err)
{
    errno = 0;
    int rc = SSL_do_handshake(ssl_of(t));
    if (rc == 1)
        return TLS_DONE;
    int sys = errno, kind = SSL_get_error(ssl_of(t), rc);
    if (kind == SSL_ERROR_WANT_READ)
        return TLS_WANT_READ;
    if (kind == SSL_ERROR_WANT_WRITE)
        return TLS_WANT_WRITE;
    return handshake_failed(ssl_of(t), kind, sys, err);
}

bool tls_is_resumed(const struct tls *t)
{
    return SSL_session_reused(ssl_of(t));
}

static ssize_t io_result(SSL *ssl, int rc, enum tls_want *want)
{
    int sys = errno, kind = SSL_get_error(ssl, rc);

    switch (kind) {
    case SSL_ERROR_WANT_READ: *want = TLS_WANT_READ; return -EAGAIN;
    case SSL_ERROR_WANT_WRITE: *want = TLS_WANT_WRITE; return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_SYSCALL: ERR_clear_error(); return sys ? -sys : 0;
    default: ERR_clear_error(); return -EPROTO;
    }
}

ssize_t tls_read(struct tls *t, void *buf, size_t len, enum tls_want *want)
{
    errno = 0;
    int rc = SSL_read(ssl_of(t), buf, (int)MIN(len, (size_t)1 << 30));

    return rc > 0 ? rc : io_result(ssl_of(t), rc, want);
}

ssize_t tls_write(struct tls *t, const void *buf, size_t len, enum tls_want *want)
{
    errno = 0;
    int rc = SSL_write(ssl_of(t), buf, (int)MIN(len, (size_t)1 << 30));

    return rc > 0 ? rc : io_result(ssl_of(t), rc, want);
}

bool tls_has_more(const struct tls *t)
{
    return SSL_has_pending(ssl_of(t));
}
