/* DNS on the wire (RFC 1035, the OPT record of RFC 6891). Every read is bounded by the message, and
 * every walk by a named maximum; a pointer may only lead backwards, so that no name is endless. */
#include "chaoslib/dns/message.h"

#include <ctype.h>
#include <string.h>

#define FLAG_RESPONSE 0x8000u
#define FLAG_OPCODE 0x7800u
#define FLAG_RECURSE 0x0100u           /* asked for */
#define FLAG_CAN_RECURSE 0x0080u       /* answered */
#define FLAG_CHECKING_DISABLED 0x0010u /* copied from the query */
#define CLASS_IN 1
#define EDNS_BYTES 1232 /* what we would take in one datagram */
#define QUESTION_AT DNS_HEADER_BYTES

struct reader {
    const uint8_t *msg;
    size_t len, at;
    bool bad;
};

static uint16_t get16(struct reader *r)
{
    if (r->len - r->at < 2) {
        r->bad = true;
        return 0;
    }
    uint16_t v = (uint16_t)(r->msg[r->at] << 8 | r->msg[r->at + 1]);
    r->at += 2;
    return v;
}

static void skip(struct reader *r, size_t n)
{
    if (r->len - r->at < n)
        r->bad = true;
    else
        r->at += n;
}

/* ---- names ---- */

struct name_text {
    char *out;
    size_t n;
};

static void put_char(struct name_text *t, uint8_t c)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-_*";

    c = (uint8_t)tolower(c);
    if (c && strchr(plain, c)) {
        t->out[t->n++] = (char)c;
        return;
    }
    t->out[t->n++] = '\\';
    t->out[t->n++] = (char)('0' + c / 100);
    t->out[t->n++] = (char)('0' + c / 10 % 10);
    t->out[t->n++] = (char)('0' + c % 10);
}

/* The text cannot be passed: DNS_NAME_BYTES_MAX bytes of four characters each fit. */
static void put_label(struct name_text *t, const uint8_t *label, size_t n)
{
    if (t->n)
        t->out[t->n++] = '.';
    for (size_t i = 0; i < n; i++)
        put_char(t, label[i]);
}
_Static_assert(DNS_NAME_TEXT_MAX > 4 * DNS_NAME_BYTES_MAX, "an escaped name fits");

/* Reads the name at r->at and goes behind it. */
static void read_name(struct reader *r, char *out)
{
    struct name_text text = { .out = out };
    size_t at = r->at, behind = 0, wire = 0, lowest = r->at;
    unsigned pointers = 0;

    r->bad = true; /* until the root is reached */
    while (at < r->len) {
        size_t n = r->msg[at];
        if (n >= 0xc0) {
            if (at + 1 >= r->len || ++pointers > DNS_POINTERS_MAX)
                return;
            behind = behind ? behind : at + 2;
            at = (n & 0x3f) << 8 | r->msg[at + 1];
            if (at >= lowest || at < DNS_HEADER_BYTES)
                return;
            lowest = at;
            continue;
        }
        wire += n + 1;
        if (n > 63 || wire > DNS_NAME_BYTES_MAX || at + 1 + n > r->len)
            return;
        if (n == 0) {
            out[text.n] = '\0';
            r->at = behind ? behind : at + 1;
            r->bad = false;
            return;
        }
        put_label(&text, r->msg + at + 1, n);
        at += 1 + n;
    }
}

/* ---- reading ---- */

struct header {
    uint16_t id, flags, questions;
    unsigned answers, others; /* records */
};

static struct header read_header(struct reader *r)
{
    struct header h = { 0 };

    h.id = get16(r);
    h.flags = get16(r);
    h.questions = get16(r);
    h.answers = get16(r);
    h.others = get16(r);
    h.others += get16(r);
    return h;
}

static void read_question(struct reader *r, struct dns_question *q)
{
    read_name(r, q->name);
    if (r->bad)
        return;
    q->type = get16(r);
    q->class = get16(r);
    q->end = r->at;
}

static void keep_address(const uint8_t *data, size_t n, uint16_t type, struct dns_reply *ret)
{
    struct dns_address *a = &ret->addresses[ret->n_addresses];

    if (ret->n_addresses == DNS_ADDRESSES_MAX)
        return;
    if (type == DNS_A && n == sizeof(a->v4)) {
        a->family = AF_INET;
        memcpy(&a->v4, data, n);
        ret->n_addresses++;
    } else if (type == DNS_AAAA && n == sizeof(a->v6)) {
        a->family = AF_INET6;
        memcpy(&a->v6, data, n);
        ret->n_addresses++;
    }
}

/* One record; its address, if it is one, is kept in `ret` (may be NULL). */
static void read_record(struct reader *r, bool *ret_edns, struct dns_reply *ret)
{
    char name[DNS_NAME_TEXT_MAX];

    read_name(r, name);
    if (r->bad)
        return;
    uint16_t type = get16(r);
    skip(r, 2 + 4); /* class, TTL */
    size_t n = get16(r), data = r->at;
    skip(r, n);
    if (r->bad)
        return;
    if (type == DNS_OPT)
        *ret_edns = true;
    if (ret)
        keep_address(r->msg + data, n, type, ret);
}

static int read_message(const uint8_t *msg, size_t len, bool is_reply, struct dns_question *q,
                        struct dns_reply *reply)
{
    struct reader r = { .msg = msg, .len = len };
    struct header h;

    if (len < DNS_HEADER_BYTES)
        return -1;
    *q = (struct dns_question){ 0 };
    h = read_header(&r);
    q->id = h.id;
    if (((h.flags & FLAG_RESPONSE) != 0) != is_reply || h.flags & FLAG_OPCODE || h.questions != 1 ||
        h.answers + h.others > DNS_RECORDS_MAX || (!is_reply && h.answers))
        return -1;
    read_question(&r, q);
    for (unsigned i = 0; i < h.answers + h.others && !r.bad; i++)
        read_record(&r, &q->edns, i < h.answers ? reply : NULL);
    if (reply)
        reply->rcode = h.flags & 0xfu;
    return r.bad ? -1 : 0;
}

int dns_question_parse(const uint8_t *msg, size_t len, struct dns_question *ret)
{
    return read_message(msg, len, false, ret, NULL);
}

int dns_reply_parse(const uint8_t *msg, size_t len, struct dns_question *ret_q,
                    struct dns_reply *ret)
{
    *ret = (struct dns_reply){ 0 };
    return read_message(msg, len, true, ret_q, ret);
}

/* ---- writing ---- */

struct writer {
    uint8_t *out;
    size_t n, cap;
    bool full;
};

static void put(struct writer *w, const void *data, size_t n)
{
    if (w->cap - w->n < n) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->n, data, n);
    w->n += n;
}

static void put16(struct writer *w, unsigned v)
{
    put(w, (uint8_t[]){ (uint8_t)(v >> 8), (uint8_t)v }, 2);
}

static bool put_name(struct writer *w, const char *name)
{
    size_t before = w->n;

    while (*name) {
        size_t n = strcspn(name, ".");
        if (n == 0 || n > 63)
            return false;
        put(w, (uint8_t[]){ (uint8_t)n }, 1);
        put(w, name, n);
        name += n;
        name += *name == '.';
    }
    put(w, "", 1);
    return w->n - before <= DNS_NAME_BYTES_MAX;
}

static void put_record_head(struct writer *w, size_t owner_at, enum dns_type type)
{
    put16(w, 0xc000 | (unsigned)owner_at);
    put16(w, type);
    put16(w, CLASS_IN);
    put16(w, 0); /* TTL */
    put16(w, 0);
}

static void put_address(struct writer *w, size_t owner_at, const struct dns_address *a)
{
    bool v4 = a->family == AF_INET;

    put_record_head(w, owner_at, v4 ? DNS_A : DNS_AAAA);
    put16(w, v4 ? sizeof(a->v4) : sizeof(a->v6));
    if (v4)
        put(w, &a->v4, sizeof(a->v4));
    else
        put(w, &a->v6, sizeof(a->v6));
}

/* Returns where the other name stands, which owns what follows. */
static size_t put_alias(struct writer *w, const char *alias)
{
    size_t at, n;

    put_record_head(w, QUESTION_AT, DNS_CNAME);
    put16(w, 0);
    at = w->n;
    w->full |= !put_name(w, alias);
    n = w->n - at;
    if (!w->full) {
        w->out[at - 2] = (uint8_t)(n >> 8);
        w->out[at - 1] = (uint8_t)n;
    }
    return at;
}

static void put_edns(struct writer *w)
{
    put(w, "", 1); /* the root */
    put16(w, DNS_OPT);
    put16(w, EDNS_BYTES);
    put(w, "\0\0\0\0\0", 6); /* extended rcode, version, flags; no options */
}

static bool is_asked(const struct dns_question *q, const struct dns_address *a)
{
    return q->class == CLASS_IN &&
           (q->type == DNS_ANY || q->type == (a->family == AF_INET ? DNS_A : DNS_AAAA));
}

size_t dns_reply_build(const uint8_t *query, const struct dns_question *q,
                       const struct dns_reply *r, uint8_t *out, size_t cap)
{
    struct writer w = { .cap = cap };
    unsigned asked = (unsigned)query[2] << 8 | query[3], n = 0;
    size_t owner_at = QUESTION_AT;
    bool has_alias = r->alias[0] && q->class == CLASS_IN;

    w.out = out;
    for (size_t i = 0; i < r->n_addresses; i++)
        n += is_asked(q, &r->addresses[i]);
    put16(&w, q->id);
    put16(&w, FLAG_RESPONSE | FLAG_CAN_RECURSE | (asked & (FLAG_RECURSE | FLAG_CHECKING_DISABLED)) |
                  (r->rcode & 0xf));
    put16(&w, 1);
    put16(&w, n + has_alias);
    put16(&w, 0);
    put16(&w, q->edns);
    /* As it was asked: resolvers that mix the case of names look whether it comes back so. */
    put(&w, query + QUESTION_AT, q->end - QUESTION_AT);
    if (has_alias)
        owner_at = put_alias(&w, r->alias);
    for (size_t i = 0; i < r->n_addresses; i++)
        if (is_asked(q, &r->addresses[i]))
            put_address(&w, owner_at, &r->addresses[i]);
    if (q->edns)
        put_edns(&w);
    return w.full ? 0 : w.n;
}

size_t dns_query_build(uint16_t id, const char *name, uint16_t type, uint8_t *out, size_t cap)
{
    struct writer w = { .cap = cap };

    w.out = out;
    put16(&w, id);
    put16(&w, FLAG_RECURSE);
    put16(&w, 1);
    put(&w, "\0\0\0\0\0", 6);
    if (!put_name(&w, name))
        return 0;
    put16(&w, type);
    put16(&w, CLASS_IN);
    return w.full ? 0 : w.n;
}

bool dns_name_is_valid(const char *name)
{
    uint8_t out[DNS_NAME_BYTES_MAX + 1];
    struct writer w = { .cap = sizeof(out) };

    w.out = out;
    return *name && put_name(&w, name) && !w.full;
}
