/* DNS messages as far as a fault needs them: what a query asks for, an answer made from it, and
 * what an answer says. Pure: bytes in, bytes out.
 *
 * Strict on purpose: what is not one plain question is "not ours" and passes on untouched. */
#ifndef CHAOSLIB_DNS_MESSAGE_H
#define CHAOSLIB_DNS_MESSAGE_H

#include <netinet/in.h>

#include "base/defs.h"

#define DNS_HEADER_BYTES 12
#define DNS_NAME_BYTES_MAX 255 /* on the wire */
#define DNS_NAME_TEXT_MAX 1024 /* each byte may need \ddd; with the NUL */
#define DNS_POINTERS_MAX 16    /* that one name may follow */
#define DNS_RECORDS_MAX 256    /* that are looked at in one message */
#define DNS_ADDRESSES_MAX 8
#define DNS_REPLY_MAX 1280 /* of what dns_reply_build makes */

enum dns_type { DNS_A = 1, DNS_CNAME = 5, DNS_AAAA = 28, DNS_OPT = 41, DNS_ANY = 255 };
enum dns_rcode { DNS_NOERROR = 0, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_REFUSED = 5 };

struct dns_question {
    uint16_t id, type, class;
    char name[DNS_NAME_TEXT_MAX]; /* lower case, no dot at the end; what is no letter of a name is
                                     \ddd */
    size_t end;                   /* of the question section */
    bool edns;                    /* the query has an OPT record, so the answer must have one */
};
/* 0; -1: not a query with exactly one question, or broken. */
int dns_question_parse(const uint8_t *msg, size_t len, struct dns_question *ret) MUST_CHECK;

struct dns_address {
    int family; /* AF_INET, AF_INET6 */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    };
};

struct dns_reply {
    unsigned rcode;
    char alias[DNS_NAME_BYTES_MAX + 1]; /* "": none; else the answer is a CNAME of that name, and
                                           the addresses are its */
    struct dns_address addresses[DNS_ADDRESSES_MAX]; /* those of the asked type are told */
    size_t n_addresses;
};
/* The answer to that query; 0: `cap` is too small. Records have TTL 0, so that nobody keeps them
 * longer than the fault. */
size_t dns_reply_build(const uint8_t *query, const struct dns_question *q,
                       const struct dns_reply *r, uint8_t *out, size_t cap);

/* Reads an answer: its question, rcode and the addresses in it. 0; -1: broken. */
int dns_reply_parse(const uint8_t *msg, size_t len, struct dns_question *ret_q,
                    struct dns_reply *ret) MUST_CHECK;
bool dns_name_is_valid(const char *name); /* its labels and all of it are as long as may be */
/* A query as a resolver library sends it; 0: no such name, or too small. */
size_t dns_query_build(uint16_t id, const char *name, uint16_t type, uint8_t *out, size_t cap);

#endif
