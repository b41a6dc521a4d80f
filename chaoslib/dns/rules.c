/* The rules of one fault, and the decision on one query. */
#include "chaoslib/dns/rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/proxy/toxic.h"

/* ---- names ---- */

_Static_assert(DNS_NAME_BYTES_MAX == DNS_PATTERN_MAX, "an alias is as long as a pattern");

static void lower(const char *text, char out[DNS_PATTERN_MAX + 1])
{
    size_t n = strnlen(text, DNS_PATTERN_MAX);

    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    if (n && out[n - 1] == '.')
        n--;
    out[n] = '\0';
}

bool dns_name_matches(enum dns_match m, const char *pattern, const char *name)
{
    char p[DNS_PATTERN_MAX + 1];

    lower(pattern, p);
    if (m == DNS_EXACT)
        return strcmp(p, name) == 0;
    if (m == DNS_SUBSTRING)
        return strstr(name, p) != NULL;
    return glob_match(p, name, strlen(name));
}

/* ---- a resolver on this machine asks on ----
 *
 * Docker's resolver, dnsmasq and systemd-resolved ask from the same network namespace what they
 * were asked, so that each question is seen twice. One lottery per question: what was let through
 * on its way to them is let through again. */

static uint64_t name_hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

static void remember(struct dns_rules *r, const struct dns_question *q, uint64_t now_ns)
{
    struct dns_passed *p = &r->passed[r->next_passed++ % DNS_PASSED_MAX];

    *p = (struct dns_passed){ now_ns + DNS_PASSED_NS, q->type, name_hash(q->name) };
}

static bool was_passed(struct dns_rules *r, const struct dns_question *q, uint64_t now_ns)
{
    uint64_t hash = name_hash(q->name);

    for (size_t i = 0; i < DNS_PASSED_MAX; i++) {
        struct dns_passed *p = &r->passed[i];
        if (p->until_ns > now_ns && p->type == q->type && p->name_hash == hash) {
            p->until_ns = 0; /* once for each time that it was let through */
            return true;
        }
    }
    return false;
}

/* ---- the decision ---- */

static const struct dns_rule *find(const struct dns_rules *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (dns_name_matches(r->match, r->v[i].pattern, name))
            return &r->v[i];
    return NULL;
}

static bool is_drawn(struct dns_rules *r, const struct dns_question *q,
                     const struct dns_query *query)
{
    if (query->is_probe)
        return true;
    if (!query->to_loopback && was_passed(r, q, query->now_ns))
        return false;
    r->n_seen++;
    if (rng_unit(&r->rng) < r->percent) {
        r->n_hit++;
        return true;
    }
    if (query->to_loopback)
        remember(r, q, query->now_ns);
    return false;
}

enum dns_verdict dns_judge(struct dns_rules *r, const struct dns_query *query,
                           struct dns_answer *ret)
{
    struct dns_question q;

    if (dns_question_parse(query->msg, query->len, &q) < 0)
        return DNS_PASS;
    const struct dns_rule *rule = find(r, q.name);
    if (!rule || !is_drawn(r, &q, query))
        return DNS_PASS;
    if (r->swallow)
        return DNS_SWALLOW;
    ret->n = dns_reply_build(query->msg, &q, &rule->reply, ret->bytes, sizeof(ret->bytes));
    return ret->n ? DNS_ANSWER : DNS_PASS;
}

void dns_probe_name(const struct dns_rules *r, char out[2 * DNS_PATTERN_MAX])
{
    const char *p = r->v[0].pattern;
    size_t n = 0;

    if (*p == '.')
        out[n++] = 'x';
    for (; *p && n + 1 < 2 * DNS_PATTERN_MAX; p++)
        out[n++] = *p == '*' ? 'x' : *p;
    out[n] = '\0';
}

/* ---- as JSON ---- */

static void address_text(const struct dns_address *a, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    inet_ntop(a->family, a->family == AF_INET ? (const void *)&a->v4 : &a->v6, out,
              INET6_ADDRSTRLEN);
}

static void write_rule(const struct dns_rule *rule, struct json *list)
{
    struct json *j = json_put(list, NULL, json_object());
    auto_buf struct buf text = BUF_INIT(0);
    char one[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < rule->reply.n_addresses; i++) {
        address_text(&rule->reply.addresses[i], one);
        buf_addf(&text, "%s%s", i ? "," : "", one);
    }
    json_put_str(j, "pattern", rule->pattern);
    json_put_u64(j, "rcode", rule->reply.rcode);
    json_put_str(j, "addresses", buf_str(&text));
    json_put_str(j, "alias", rule->reply.alias);
}

void dns_rules_write(const struct dns_rules *r, uint64_t seed, struct json *ret)
{
    auto_free char *seed_text = xasprintf("%llx", (unsigned long long)seed);

    json_put_u64(ret, "match", (uint64_t)r->match);
    json_put_bool(ret, "swallow", r->swallow);
    json_put_num(ret, "percent", r->percent);
    json_put_u64(ret, "delay_ns", r->delay_ns);
    json_put_str(ret, "seed", seed_text);
    struct json *list = json_put(ret, "rules", json_array());
    for (size_t i = 0; i < r->n; i++)
        write_rule(&r->v[i], list);
}

int dns_addresses_parse(const char *text, struct dns_reply *ret, struct err *err)
{
    char one[INET6_ADDRSTRLEN];

    for (const char *p = text; *p;) {
        p += strspn(p, " ");
        size_t n = strcspn(p, ", ");
        struct dns_address *a = &ret->addresses[ret->n_addresses];
        if (ret->n_addresses == DNS_ADDRESSES_MAX)
            return err_set(err, ERR_LIMIT, E2BIG, "'%s' has more than %d addresses", text,
                           DNS_ADDRESSES_MAX);
        snprintf(one, sizeof(one), "%.*s", (int)MIN(n, sizeof(one)), p);
        a->family = strchr(one, ':') ? AF_INET6 : AF_INET;
        if (n >= sizeof(one) ||
            inet_pton(a->family, one, a->family == AF_INET ? (void *)&a->v4 : &a->v6) != 1)
            return err_set(err, ERR_USAGE, EINVAL, "'%.*s' is not an address", (int)MIN(n, 64), p);
        ret->n_addresses++;
        p += n;
        p += strspn(p, ", ");
    }
    return 0;
}

static int read_rule(const struct json *j, struct dns_rule *ret, struct err *err)
{
    lower(json_str(j, "pattern", ""), ret->pattern);
    ret->reply.rcode = (unsigned)json_u64(j, "rcode", 0) & 0xf;
    lower(json_str(j, "alias", ""), ret->reply.alias);
    return dns_addresses_parse(json_str(j, "addresses", ""), &ret->reply, err);
}

int dns_rules_read(const struct json *j, struct dns_rules *ret, struct err *err)
{
    const struct json *list = json_get(j, "rules");
    size_t n = json_len(list);

    *ret = (struct dns_rules){ 0 };
    if (n == 0 || n > DNS_RULES_MAX)
        return err_set(err, ERR_PREPARE, EINVAL, "%zu rules for names; it takes 1 to %d", n,
                       DNS_RULES_MAX);
    ret->match = (enum dns_match)MIN(json_u64(j, "match", 0), DNS_WILDCARD);
    ret->swallow = json_bool(j, "swallow", false);
    ret->percent = json_num(j, "percent", 1);
    ret->delay_ns = json_u64(j, "delay_ns", 0);
    rng_seed(&ret->rng, strtoull(json_str(j, "seed", "0"), NULL, 16), 0);
    ret->v = xcalloc(n, sizeof(*ret->v));
    for (const struct json *item = json_first(list); item; item = json_next(item))
        if (read_rule(item, &ret->v[ret->n++], err) < 0) {
            dns_rules_done(ret);
            return -EINVAL;
        }
    return 0;
}

void dns_rules_done(struct dns_rules *r)
{
    free(r->v);
    r->v = NULL;
    r->n = 0;
}
