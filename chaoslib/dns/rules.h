/* What becomes of a query: it passes, it gets an answer of ours, or none. Pure but for the lottery.
 *
 * The order is: is it a plain question, does its name match, was it let through a moment ago on its
 * way to a resolver of this machine (which now asks on), does the lottery say so. */
#ifndef CHAOSLIB_DNS_RULES_H
#define CHAOSLIB_DNS_RULES_H

#include "base/rng.h"
#include "chaoslib/dns/message.h"
#include "edge/json.h"

#define DNS_RULES_MAX 64
#define DNS_PATTERN_MAX 255
#define DNS_PASSED_MAX 64
#define DNS_PASSED_NS NS_PER_SEC

enum dns_match { DNS_EXACT, DNS_SUBSTRING, DNS_WILDCARD };
/* `pattern` in any case, with or without a dot at its end; `name` as dns_question has it. */
bool dns_name_matches(enum dns_match m, const char *pattern, const char *name);

struct dns_rule {
    char pattern[DNS_PATTERN_MAX + 1];
    struct dns_reply reply;
};

struct dns_passed { /* a question that went to a resolver on this machine */
    uint64_t until_ns;
    uint16_t type;
    uint64_t name_hash;
};

struct dns_rules {
    struct dns_rule *v; /* the first that matches counts */
    size_t n;
    enum dns_match match;
    bool swallow; /* no answer at all */
    double percent;
    uint64_t delay_ns;
    struct rng rng;
    struct dns_passed passed[DNS_PASSED_MAX];
    size_t next_passed;
    uint64_t n_seen, n_hit; /* questions */
};

/* To and from what a helper is told. Broken: an ERR_PREPARE error. */
void dns_rules_write(const struct dns_rules *r, uint64_t seed, struct json *ret);
int dns_rules_read(const struct json *j, struct dns_rules *ret, struct err *err) MUST_CHECK;
void dns_rules_done(struct dns_rules *r);

enum dns_verdict { DNS_PASS, DNS_ANSWER, DNS_SWALLOW };
struct dns_query {
    const uint8_t *msg;
    size_t len;
    bool to_loopback; /* asked of a resolver on this machine */
    bool is_probe;    /* ours: no lottery, not counted */
    uint64_t now_ns;
};
struct dns_answer {
    uint8_t bytes[DNS_REPLY_MAX];
    size_t n;
};
/* For DNS_ANSWER the answer is in *ret. */
enum dns_verdict dns_judge(struct dns_rules *r, const struct dns_query *query,
                           struct dns_answer *ret);
/* A name that the first rule matches, for a probe. */
void dns_probe_name(const struct dns_rules *r, char out[2 * DNS_PATTERN_MAX]);

/* Adds "10.0.0.1", "fd00::1", or several with commas between. */
int dns_addresses_parse(const char *text, struct dns_reply *ret, struct err *err) MUST_CHECK;

#endif
