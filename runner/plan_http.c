/* The plan's `http:` part: how requests travel, and with which credentials. Secrets are named by
 * file or environment variable, never written in the plan. */
#include <string.h>
#include <strings.h>

#include "runner/plan_internal.h"

static const char *const engines[] = { "auto", "native", "curl", NULL };
static const char *const versions[] = { "1.1", "2", NULL };
static const char *const tls_versions[] = { "1.2", "1.3", NULL };
static const char *const connection_policies[] = { "per-user", "pooled", NULL };
static const char *const dns_policies[] = { "pinned", "ttl", "per-connection", NULL };

static const struct param tls_rows[] = {
    PARAM(BOOL, "verify", struct tls_plan, verify, .def = "true",
          .help = "check the server's certificate and name"),
    PARAM(STR, "ca", struct tls_plan, ca_file,
          .help = "file of certificates (PEM) to trust instead of the system's"),
    PARAM(STR, "cert", struct tls_plan, cert_file, .help = "client certificate (PEM file)"),
    PARAM(STR, "key", struct tls_plan, key_file, .help = "its private key (PEM file)"),
    PARAM(STR, "sni", struct tls_plan, sni,
          .help = "server name to ask for and check, instead of the URL's host"),
    PARAM(STR, "min_version", struct tls_plan, min_version, .def = "1.2", .choices = tls_versions,
          .help = "oldest TLS version allowed"),
    PARAM(BOOL, "resume", struct tls_plan, resume, .def = "true",
          .help = "resume TLS sessions on later connections"),
};

static void tls_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct tls_plan *tls = base;

    if (tls->cert_file && !tls->key_file)
        diag_add(ctx->diag, d, "a client certificate needs its private key: add key: FILE");
    if (tls->key_file && !tls->cert_file)
        diag_add(ctx->diag, d, "a private key needs its certificate: add cert: FILE");
}

const struct param_table tls_table = { "http.tls", tls_rows, ARRAY_LEN(tls_rows), tls_check };

/* The next two tables read into struct http_plan itself. */
static const struct param basic_auth_rows[] = {
    PARAM(STR, "user", struct http_plan, basic_user, .required = true, .help = "user name"),
    PARAM(STR, "password_file", struct http_plan, basic_password_file,
          .help = "file that holds the password; a newline at its end is not part of it"),
    PARAM(STR, "password_env", struct http_plan, basic_password_env,
          .help = "environment variable that holds the password"),
};

static void basic_auth_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct http_plan *http = base;

    if (!d)
        return;
    if (!http->basic_password_file == !http->basic_password_env)
        diag_add(ctx->diag, d, "give either password_file or password_env");
    if (http->basic_user && strchr(http->basic_user, ':'))
        diag_add(ctx->diag, doc_get(d, "user"), "a user name for basic_auth has no colon");
}

const struct param_table basic_auth_table = { "http.basic_auth", basic_auth_rows,
                                              ARRAY_LEN(basic_auth_rows), basic_auth_check };

static const struct param bearer_rows[] = {
    PARAM(STR, "file", struct http_plan, bearer_file, .help = "file that holds the token"),
    PARAM(STR, "env", struct http_plan, bearer_env,
          .help = "environment variable that holds the token"),
};

static void bearer_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct http_plan *http = base;

    if (d && !http->bearer_file == !http->bearer_env)
        diag_add(ctx->diag, d, "give either file or env");
}

const struct param_table bearer_table = { "http.bearer", bearer_rows, ARRAY_LEN(bearer_rows),
                                          bearer_check };

static const struct param http_rows[] = {
    PARAM(DURATION, "timeout", struct http_plan, timeout_ns, .def = "60s", .lo = 0.001, .hi = 86400,
          .help = "a whole request, from its first byte out to the last one back"),
    PARAM(DURATION, "connect_timeout", struct http_plan, connect_timeout_ns, .def = "10s",
          .lo = 0.001, .hi = 3600,
          .help = "opening a connection; the TLS handshake has its own of the same length"),
    PARAM(BOOL, "follow_redirects", struct http_plan, follow_redirects, .def = "true",
          .help = "follow 301, 302, 303, 307 and 308; hops are counted apart"),
    PARAM(INT, "max_redirects", struct http_plan, max_redirects, .def = "30", .lo = 0, .hi = 100,
          .help = "more hops than this are a failure of class redirects"),
    PARAM(BOOL, "keep_alive", struct http_plan, keep_alive, .def = "true",
          .help = "use a connection for more than one request"),
    PARAM(BOOL, "cookies", struct http_plan, cookies, .def = "true",
          .help = "each user keeps the cookies it is given and sends them back"),
    PARAM(BOOL, "compressed", struct http_plan, compressed, .def = "false",
          .help = "ask for gzip; decoded only when a check needs the body"),
    PARAM(ENUM, "connections", struct http_plan, conn, .def = "per-user",
          .choices = connection_policies,
          .help = "per-user: each user has its own, as browsers do; pooled: users share them"),
    PARAM(ENUM, "dns", struct http_plan, dns, .def = "ttl", .choices = dns_policies,
          .help = "when names are looked up: once (pinned), again after dns_ttl, or for each "
                  "connection"),
    PARAM(DURATION, "dns_ttl", struct http_plan, dns_ttl_ns, .def = "30s", .lo = 0.001, .hi = 86400,
          .help = "how long an address is used with dns: ttl"),
    PARAM(STRS, "source_addresses", struct http_plan, source_addresses,
          .help = "local addresses to connect from, in turn; each adds about 28,000 ports"),
    PARAM(STR, "engine", struct http_plan, engine, .def = "auto", .choices = engines,
          .help = "auto takes native where it can and curl where it must"),
    PARAM(STR, "proxy", struct http_plan, proxy,
          .help = "HTTP or SOCKS proxy (http://host:port, socks5h://host:port): the curl engine"),
    PARAM(STR, "http_version", struct http_plan, http_version, .def = "1.1", .choices = versions,
          .help = "2 is spoken by the curl engine"),
    { .name = "basic_auth",
      .type = PARAM_TABLE,
      .offset = 0,
      .table = &basic_auth_table,
      .help = "user and password sent with each request" },
    { .name = "bearer",
      .type = PARAM_TABLE,
      .offset = 0,
      .table = &bearer_table,
      .help = "token sent with each request" },
    PARAM(PAIRS, "headers", struct http_plan, headers,
          .help = "headers of every request; those of a class or task replace them"),
    PARAM(TABLE, "tls", struct http_plan, tls, .table = &tls_table, .help = "TLS"),
};

static void addresses_check(const struct param_ctx *ctx, const struct doc *d,
                            const struct strs *addresses)
{
    for (size_t i = 0; i < addresses->n; i++) {
        const char *a = addresses->v[i];
        bool digits = *a && strspn(a, "0123456789.") == strlen(a);
        bool v6 = strchr(a, ':') && strspn(a, "0123456789abcdefABCDEF:.") == strlen(a);

        if (!digits && !v6)
            diag_add(ctx->diag, d && d->kind == DOC_LIST ? d->items[i] : d,
                     "'%s' is not an IP address", a);
    }
}

static bool proxy_is_good(const char *text)
{
    static const char *const schemes[] = { "http://",    "https://",  "socks4://",
                                           "socks4a://", "socks5://", "socks5h://" };

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0 && text[strlen(schemes[i])])
            return true;
    return false;
}

static void http_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct http_plan *http = base;

    headers_check(ctx, doc_get(d, "headers"), &http->headers);
    addresses_check(ctx, doc_get(d, "source_addresses"), &http->source_addresses);
    if (http->basic_user && (http->bearer_file || http->bearer_env))
        diag_add(ctx->diag, doc_get(d, "bearer"), "basic_auth and bearer exclude each other");
    if (http->proxy && !proxy_is_good(http->proxy))
        diag_add(ctx->diag, doc_get(d, "proxy"),
                 "'%s' is not a proxy; write http://host:port or socks5h://host:port", http->proxy);
    if (http->proxy && strchr(http->proxy, '@'))
        diag_add(ctx->diag, doc_get(d, "proxy"), "credentials of a proxy are not supported");
    if (strcmp(http->engine, "native") == 0 && http->proxy)
        diag_add(ctx->diag, doc_get(d, "engine"),
                 "the native engine does not speak to proxies; leave engine out");
    if (strcmp(http->engine, "native") == 0 && strcmp(http->http_version, "2") == 0)
        diag_add(ctx->diag, doc_get(d, "engine"),
                 "the native engine speaks HTTP/1.1; leave engine out");
}

const struct param_table http_table = { "http", http_rows, ARRAY_LEN(http_rows), http_check };
