/* The parameters of dns-error and dns-spoof, and the rules they mean. */
#include "chaoslib/dns/params.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

static const char *const hosts[] = { "any", NULL };
static const char *const matches[] = { "exact", "substring", "wildcard", NULL };

enum { ANSWER_NXDOMAIN, ANSWER_SERVFAIL, ANSWER_REFUSED, ANSWER_TIMEOUT };
static const char *const answers[] = { "NXDOMAIN", "SERVFAIL", "REFUSED", "timeout",
                                       "nxdomain", "servfail", "refused", NULL };
static const unsigned answer_rcodes[] = { DNS_NXDOMAIN, DNS_SERVFAIL, DNS_REFUSED, 0,
                                          DNS_NXDOMAIN, DNS_SERVFAIL, DNS_REFUSED };

#define PROCESS_ROW                                                           \
    PARAM(STR, "process", struct dns_params, process, .required = true,       \
          .help = "a name under processes:, or the program that is running: " \
                  "all that lives in its network namespace is hit")
#define HOST_ROW                                                                    \
    PARAM(STR, "host", struct dns_params, host, .required = true, .choices = hosts, \
          .type_text = "any",                                                       \
          .help = "this machine: any; all that shares chaos-load's own "            \
                  "network namespace is hit")
#define MATCH_ROW                                                                      \
    PARAM(ENUM, "match", struct dns_params, match, .def = "exact", .choices = matches, \
          .help = "how names are compared, in any case; in a wildcard, * is any characters")
#define SHARE_ROWS                                                         \
    PARAM(PERCENT, "percent", struct dns_params, percent, .def = "100%",   \
          .help = "share of the questions with such a name that it hits"), \
        PARAM(DURATION, "delay", struct dns_params, delay_ns, .hi = 60,    \
              .help = "the answer comes that much later")
#define ERROR_ROWS                                                                              \
    PARAM(STRS, "patterns", struct dns_params, patterns, .required = true,                      \
          .help = "names, as they are asked for: 'db' is asked for as db.lab.local where that " \
                  "is the search domain"),                                                      \
        MATCH_ROW,                                                                              \
        PARAM(ENUM, "rcode", struct dns_params, answer, .def = "NXDOMAIN", .choices = answers,  \
              .help = "the answer: no such name, server failed, refused, or none at all "       \
                      "(timeout)"),                                                             \
        SHARE_ROWS
#define SPOOF_ROWS                                                                              \
    PARAM(PAIRS, "map", struct dns_params, map, .required = true,                               \
          .help = "name: address; several addresses with commas; or another name, of which it " \
                  "becomes an alias (CNAME), with the addresses that chaos-load finds for it "  \
                  "before the fault begins"),                                                   \
        MATCH_ROW, SHARE_ROWS

static void check_name(const struct param_ctx *ctx, const struct doc *at, const char *name)
{
    size_t n = strlen(name);

    if (n == 0)
        diag_add(ctx->diag, at, "a name is empty");
    else if (n > DNS_PATTERN_MAX)
        diag_add(ctx->diag, at, "a name has %zu bytes; DNS knows none longer than %d", n,
                 DNS_PATTERN_MAX);
    else if (strpbrk(name, " \t/:"))
        diag_add(ctx->diag, at, "'%s' is no host name: write it like db.example", name);
}

static void check_star(const struct param_ctx *ctx, const struct doc *at, const char *name,
                       int match)
{
    if (match != DNS_WILDCARD && strchr(name, '*'))
        diag_add(ctx->diag, at, "'%s' has a *, which means something only with match: wildcard",
                 name);
}

static void check_count(const struct param_ctx *ctx, const struct doc *at, size_t n)
{
    if (n == 0)
        diag_add(ctx->diag, at, "names nobody: give it at least one name");
    if (n > DNS_RULES_MAX)
        diag_add(ctx->diag, at, "%zu names; it takes at most %d", n, DNS_RULES_MAX);
}

static void check_error(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct dns_params *p = base;
    const struct doc *at = doc_get(d, "patterns");

    check_count(ctx, at, p->patterns.n);
    for (size_t i = 0; i < p->patterns.n; i++) {
        check_name(ctx, at, p->patterns.v[i]);
        check_star(ctx, at, p->patterns.v[i], p->match);
    }
    if (p->answer == ANSWER_TIMEOUT && p->delay_ns)
        diag_add(ctx->diag, doc_get(d, "delay"),
                 "with rcode: timeout there is no answer that could come later");
}

static bool is_address(const char *text)
{
    return strchr(text, ':') || strspn(text, "0123456789., ") == strlen(text);
}

static void check_alias(const struct param_ctx *ctx, const struct doc *at, const char *name)
{
    unsigned before = ctx->diag->n;

    check_name(ctx, at, name);
    if (ctx->diag->n == before && !dns_name_is_valid(name))
        diag_add(ctx->diag, at, "'%s' is no host name: between two dots are 1 to 63 bytes", name);
}

static void check_value(const struct param_ctx *ctx, const struct doc *at, const char *text)
{
    struct dns_reply r = { 0 };
    struct err err = { 0 };

    if (!*text)
        diag_add(ctx->diag, at, "an address is missing: write it like {db.example: 10.0.0.1}");
    else if (is_address(text) && dns_addresses_parse(text, &r, &err) < 0)
        diag_add(ctx->diag, at, "%s", err.msg);
    else if (!is_address(text))
        check_alias(ctx, at, text);
}

static void check_spoof(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct dns_params *p = base;
    const struct doc *at = doc_get(d, "map");

    check_count(ctx, at, p->map.n);
    for (size_t i = 0; i < p->map.n; i++) {
        check_name(ctx, at, p->map.keys[i]);
        check_star(ctx, at, p->map.keys[i], p->match);
        check_value(ctx, at, p->map.values[i]);
    }
}

#define DOCKER_ROW DOCKER_PARAM(struct dns_params, docker)

static const struct param error_docker_rows[] = { DOCKER_ROW, ERROR_ROWS };
static const struct param spoof_docker_rows[] = { DOCKER_ROW, SPOOF_ROWS };
static const struct param error_process_rows[] = { PROCESS_ROW, ERROR_ROWS };
static const struct param error_host_rows[] = { HOST_ROW, ERROR_ROWS };
static const struct param spoof_process_rows[] = { PROCESS_ROW, SPOOF_ROWS };
static const struct param spoof_host_rows[] = { HOST_ROW, SPOOF_ROWS };

#define TABLE(rows_, title_, check_)                                               \
    {                                                                              \
        .title = (title_), .rows = (rows_), .n = ARRAY_LEN(rows_), .check = check_ \
    }
const struct param_table dns_error_docker_table =
    TABLE(error_docker_rows, "faults[].dns-error", check_error);
const struct param_table dns_spoof_docker_table =
    TABLE(spoof_docker_rows, "faults[].dns-spoof", check_spoof);
const struct param_table dns_error_process_table =
                             TABLE(error_process_rows, "faults[].dns-error", check_error),
                         dns_error_host_table =
                             TABLE(error_host_rows, "faults[].dns-error", check_error),
                         dns_spoof_process_table =
                             TABLE(spoof_process_rows, "faults[].dns-spoof", check_spoof),
                         dns_spoof_host_table =
                             TABLE(spoof_host_rows, "faults[].dns-spoof", check_spoof);

/* ---- to rules ---- */

static void keep(const struct sockaddr *sa, struct dns_reply *ret)
{
    struct dns_address *a = &ret->addresses[ret->n_addresses];

    a->family = sa->sa_family;
    if (sa->sa_family == AF_INET)
        a->v4 = ((const struct sockaddr_in *)(const void *)sa)->sin_addr;
    else if (sa->sa_family == AF_INET6)
        a->v6 = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    else
        return;
    ret->n_addresses++;
}

static int look_up(const char *name, struct dns_reply *ret, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    int rc = getaddrinfo(name, NULL, &hints, &found);

    snprintf(ret->alias, sizeof(ret->alias), "%s", name);
    if (rc != 0)
        return err_set(err, ERR_PREPARE, EINVAL,
                       "map: '%s' is not an address and cannot be looked up (%s)", name,
                       gai_strerror(rc));
    for (const struct addrinfo *a = found; a && ret->n_addresses < DNS_ADDRESSES_MAX;
         a = a->ai_next)
        keep(a->ai_addr, ret);
    freeaddrinfo(found);
    return 0;
}

static void name_rule(struct dns_rule *rule, const char *pattern)
{
    snprintf(rule->pattern, sizeof(rule->pattern), "%s", pattern);
}

int dns_rules_make(const struct dns_params *p, struct dns_rules *ret, struct err *err)
{
    *ret = (struct dns_rules){ .match = (enum dns_match)p->match,
                               .swallow = p->patterns.n && p->answer == ANSWER_TIMEOUT,
                               .percent = p->percent,
                               .delay_ns = p->delay_ns };
    ret->v = xcalloc(p->patterns.n + p->map.n, sizeof(*ret->v));
    for (size_t i = 0; i < p->patterns.n; i++) {
        name_rule(&ret->v[ret->n], p->patterns.v[i]);
        ret->v[ret->n++].reply.rcode = answer_rcodes[p->answer];
    }
    for (size_t i = 0; i < p->map.n; i++) {
        struct dns_rule *rule = &ret->v[ret->n++];
        const char *value = p->map.values[i];
        name_rule(rule, p->map.keys[i]);
        if ((is_address(value) ? dns_addresses_parse(value, &rule->reply, err)
                               : look_up(value, &rule->reply, err)) < 0) {
            dns_rules_done(ret);
            return -EINVAL;
        }
    }
    return 0;
}
