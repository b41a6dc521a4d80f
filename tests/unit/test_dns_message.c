/* DNS messages and the packets they travel in: byte by byte. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/dns/message.h"
#include "chaoslib/dns/packet.h"

#define NAME_SHOP "\4shop\7example\0"
#define TYPE_A "\0\1\0\1"

struct bytes {
    const char *p;
    size_t n;
};
#define BYTES(text_)                         \
    {                                        \
        .p = (text_), .n = sizeof(text_) - 1 \
    }

static int parse(struct bytes b, struct dns_question *q)
{
    return dns_question_parse((const uint8_t *)b.p, b.n, q);
}

static void a_question_is_read(void **state)
{
    static const struct bytes plain =
        BYTES("\x12\x34\1\0\0\1\0\0\0\0\0\0\4SHOP\7eXample\0\0\1\0\1");
    struct dns_question q;

    (void)state;
    assert_int_equal(parse(plain, &q), 0);
    assert_int_equal(q.id, 0x1234);
    assert_string_equal(q.name, "shop.example");
    assert_int_equal(q.type, DNS_A);
    assert_int_equal(q.class, 1);
    assert_int_equal(q.end, plain.n);
    assert_false(q.edns);
}

static void the_names_oddities_stay_visible(void **state)
{
    static const struct {
        struct bytes msg;
        const char *name;
    } rows[] = {
        { BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"), "" },
        { BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\3a.b\0\0\1\0\1"), "a\\046b" },
        { BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\2\0\xff\0\0\1\0\1"), "\\000\\255" },
        { BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\4_tcp\1x\0\0\1\0\1"), "_tcp.x" },
    };
    struct dns_question q;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(parse(rows[i].msg, &q), 0);
        assert_string_equal(q.name, rows[i].name);
    }
}

static void edns_is_seen(void **state)
{
    static const struct bytes msg =
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\1" NAME_SHOP TYPE_A "\0\0\x29\x04\xd0\0\0\0\0\0\0");
    struct dns_question q;

    (void)state;
    assert_int_equal(parse(msg, &q), 0);
    assert_true(q.edns);
    assert_int_equal(q.end, DNS_HEADER_BYTES + 14 + 4);
}

static void what_is_no_plain_question_is_not_ours(void **state)
{
    static const struct bytes rows[] = {
        BYTES(""),
        BYTES("\0\1\1\0\0\1\0\0\0\0\0"),
        BYTES("\0\1\x81\0\0\1\0\0\0\0\0\0" NAME_SHOP TYPE_A),                /* an answer */
        BYTES("\0\1\x28\0\0\1\0\0\0\0\0\0" NAME_SHOP TYPE_A),                /* an update */
        BYTES("\0\1\1\0\0\0\0\0\0\0\0\0"),                                   /* no question */
        BYTES("\0\1\1\0\0\2\0\0\0\0\0\0" NAME_SHOP TYPE_A NAME_SHOP TYPE_A), /* two */
        BYTES("\0\1\1\0\0\1\0\1\0\0\0\0" NAME_SHOP TYPE_A),                  /* with answers */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\4sho"),                              /* cut in a label */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\4shop"),                             /* no root */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0" NAME_SHOP "\0\1\0"),                /* cut in the class */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1"),                   /* at itself */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x00\0\1\0\1"),                   /* at the header */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\xc0"),                               /* half a pointer */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\0\x40x\0\0\1\0\1"),                    /* no such label */
        BYTES("\0\1\1\0\0\1\0\0\0\0\0\1" NAME_SHOP TYPE_A "\0\0\x29\x04\xd0\0\0\0\0\0\1"),
        BYTES("\0\1\1\0\0\1\0\0\0\0\xff\xff" NAME_SHOP TYPE_A), /* more than there are */
    };
    struct dns_question q;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (parse(rows[i], &q) == 0)
            fail_msg("row %zu was taken for a question", i);
}

static void a_name_is_255_bytes_at_most(void **state)
{
    uint8_t msg[DNS_HEADER_BYTES + 300] = { 0, 1, 1, 0, 0, 1 };
    struct dns_question q;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        msg[12 + 64 * i] = 63;
        memset(msg + 13 + 64 * i, 'a', 63);
    }
    assert_int_equal(dns_question_parse(msg, sizeof(msg), &q), -1);
    msg[12 + 192] = 61;
    msg[12 + 192 + 62] = 0;
    assert_int_equal(dns_question_parse(msg, 12 + 255 + 4, &q), 0);
    assert_int_equal(strlen(q.name), 253);
}

static void an_answer_is_read_through_its_pointers(void **state)
{
    /* www CNAME shop (a pointer into the question), then its address behind a pointer to that. */
    static const struct bytes msg = BYTES("\0\7\x81\x80\0\1\0\3\0\0\0\0\3www\4shop\2de\0\0\1\0\1"
                                          "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x10"
                                          "\xc0\x2a\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1"
                                          "\xc0\x10\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\2");
    struct dns_question q;
    struct dns_reply r;

    (void)state;
    assert_int_equal(dns_reply_parse((const uint8_t *)msg.p, msg.n, &q, &r), 0);
    assert_string_equal(q.name, "www.shop.de");
    assert_int_equal(r.rcode, DNS_NOERROR);
    assert_int_equal(r.n_addresses, 2);
    assert_int_equal(ntohl(r.addresses[1].v4.s_addr), 0x0a000002);
}

static void pointers_in_a_circle_end(void **state)
{
    static const struct bytes forward =
        BYTES("\0\7\x81\x80\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\xc0\x15\xc0\x13\0\1\0\1\0\0\0\0\0\0");
    struct dns_question q;
    struct dns_reply r;

    (void)state;
    assert_int_equal(dns_reply_parse((const uint8_t *)forward.p, forward.n, &q, &r), -1);
}

static struct dns_reply two_addresses(void)
{
    struct dns_reply r = { .n_addresses = 2 };

    r.addresses[0].family = AF_INET;
    r.addresses[0].v4.s_addr = htonl(0x0a090807);
    r.addresses[1].family = AF_INET6;
    r.addresses[1].v6 = in6addr_loopback;
    return r;
}

static void an_answer_repeats_the_question(void **state)
{
    static const struct bytes query =
        BYTES("\xab\xcd\1\x10\0\1\0\0\0\0\0\1\4ShOp\0\0\1\0\1\0\0\x29\x04\xd0\0\0\0\0\0\0");
    struct dns_reply r = two_addresses(), back;
    struct dns_question q, again;
    uint8_t out[DNS_REPLY_MAX];

    (void)state;
    assert_int_equal(parse(query, &q), 0);
    size_t n = dns_reply_build((const uint8_t *)query.p, &q, &r, out, sizeof(out));
    assert_true(n > 0);
    assert_int_equal(dns_reply_parse(out, n, &again, &back), 0);
    assert_int_equal(again.id, 0xabcd);
    assert_true(again.edns);
    assert_int_equal(out[2], 0x81); /* an answer; recursion was wanted */
    assert_int_equal(out[3], 0x90); /* and is available; checking stays disabled */
    assert_memory_equal(out + DNS_HEADER_BYTES + 1, "ShOp", 4);
    assert_int_equal(back.n_addresses, 1); /* of the type that was asked for */
    assert_int_equal(back.addresses[0].v4.s_addr, htonl(0x0a090807));
    for (size_t cap = 0; cap < n; cap++)
        assert_int_equal(dns_reply_build((const uint8_t *)query.p, &q, &r, out, cap), 0);
}

static void the_type_picks_the_addresses(void **state)
{
    static const struct {
        uint16_t type;
        unsigned n;
    } rows[] = { { DNS_A, 1 }, { DNS_AAAA, 1 }, { DNS_ANY, 2 }, { 15, 0 } };
    struct dns_reply r = two_addresses(), back;
    uint8_t query[64], out[DNS_REPLY_MAX];
    struct dns_question q;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = dns_query_build(7, "shop.example", rows[i].type, query, sizeof(query));
        assert_int_equal(dns_question_parse(query, n, &q), 0);
        n = dns_reply_build(query, &q, &r, out, sizeof(out));
        assert_int_equal(dns_reply_parse(out, n, &q, &back), 0);
        assert_int_equal(back.n_addresses, rows[i].n);
    }
}

static void an_alias_comes_with_its_addresses(void **state)
{
    static const char record[] = "\xc0\x0c\0\5\0\1\0\0\0\0\0\7\2db\2to\0"
                                 "\xc0\x2a\0\1\0\1\0\0\0\0\0\4";
    struct dns_reply r = two_addresses(), back;
    uint8_t query[64], out[DNS_REPLY_MAX];
    struct dns_question q;

    (void)state;
    snprintf(r.alias, sizeof(r.alias), "db.to");
    size_t n = dns_query_build(7, "shop.example", DNS_A, query, sizeof(query));
    assert_int_equal(dns_question_parse(query, n, &q), 0);
    n = dns_reply_build(query, &q, &r, out, sizeof(out));
    assert_int_equal(dns_reply_parse(out, n, &q, &back), 0);
    assert_int_equal(out[7], 2); /* answers */
    assert_memory_equal(out + q.end, record, sizeof(record) - 1);
    assert_int_equal(back.n_addresses, 1);
    for (size_t cap = 0; cap < n; cap++)
        assert_int_equal(dns_reply_build(query, &q, &r, out, cap), 0);
}

static void a_name_has_its_measures(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } rows[] = { { "a.b", true },
                 { "a.b.", true },
                 { "", false },
                 { "a..b", false },
                 { ".a", false },
                 { "123456789012345678901234567890123456789012345678901234567890123.x", true },
                 { "1234567890123456789012345678901234567890123456789012345678901234.x", false } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (dns_name_is_valid(rows[i].name) != rows[i].valid)
            fail_msg("'%s'", rows[i].name);
}

static void no_query_for_what_is_no_name(void **state)
{
    uint8_t out[300];
    char label[80], name[300] = "";

    (void)state;
    memset(label, 'x', 64);
    label[64] = '\0';
    assert_int_equal(dns_query_build(1, label, DNS_A, out, sizeof(out)), 0);
    assert_int_equal(dns_query_build(1, "a..b", DNS_A, out, sizeof(out)), 0);
    assert_int_equal(dns_query_build(1, "a.b", DNS_A, out, 12), 0);
    for (unsigned i = 0; i < 130; i++)
        memcpy(name + 2 * i, "a.", 3);
    assert_int_equal(dns_query_build(1, name, DNS_A, out, sizeof(out)), 0);
    assert_true(dns_query_build(1, "a.b.", DNS_A, out, sizeof(out)) > 0);
}

/* ---- packets ---- */

static const struct bytes query_v4 = BYTES("\x46\0\0\x26\0\1\0\0\x40\x11\0\0\x0a\0\0\2\x7f\0\0\x0b"
                                           "\1\1\1\1\x9c\x40\0\x35\0\x0e\0\0hello!");
static const struct bytes query_v6 = BYTES(
    "\x60\0\0\0\0\x0d\x11\x40\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
    "\x9c\x40\0\x35\0\x0d\0\0hello");

static uint32_t sum(const uint8_t *p, size_t n, uint32_t start)
{
    for (size_t i = 0; i < n; i++)
        start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return start;
}

static void a_packet_is_turned_round(void **state)
{
    const uint8_t *in = (const uint8_t *)query_v4.p;
    struct dns_packet p, back;
    uint8_t out[100];

    (void)state;
    assert_int_equal(dns_packet_parse(in, query_v4.n, &p), 0);
    assert_true(p.to_loopback);
    assert_int_equal(p.n_payload, 6);
    size_t n = dns_packet_turn(in, &p, (const uint8_t *)"bye", 3, out, sizeof(out));
    assert_int_equal(n, 20 + 8 + 3);
    assert_int_equal(dns_packet_parse(out, n, &back), 0);
    assert_memory_equal(back.payload, "bye", 3);
    assert_memory_equal(out + 12, "\x7f\0\0\x0b\x0a\0\0\2", 8);
    assert_memory_equal(out + 20, "\0\x35\x9c\x40", 4);
    assert_int_equal(sum(out, 20, 0), 0xffff);
    assert_int_equal(sum(out + 12, n - 12, 17 + 11), 0xffff);
    assert_int_equal(dns_packet_turn(in, &p, (const uint8_t *)"bye", 3, out, n - 1), 0);
}

static void a_packet_of_ip6_too(void **state)
{
    const uint8_t *in = (const uint8_t *)query_v6.p;
    struct dns_packet p;
    uint8_t out[100];

    (void)state;
    assert_int_equal(dns_packet_parse(in, query_v6.n, &p), 0);
    assert_false(p.to_loopback);
    size_t n = dns_packet_turn(in, &p, (const uint8_t *)"bye", 3, out, sizeof(out));
    assert_int_equal(n, 40 + 8 + 3);
    assert_memory_equal(out + 8, in + 24, 16);
    assert_memory_equal(out + 24, in + 8, 16);
    assert_int_equal(sum(out + 8, n - 8, 17 + 11), 0xffff);
}

static void other_packets_are_not_ours(void **state)
{
    const struct bytes *const good[] = { &query_v4, &query_v6 };
    static const struct {
        unsigned which, at;
        uint8_t value;
    } rows[] = {
        { 0, 0, 0x50 }, { 0, 0, 0x44 }, { 0, 0, 0x4f }, { 0, 3, 0xff },
        { 0, 6, 0x20 }, { 0, 7, 1 },    { 0, 9, 6 },    { 0, 29, 7 },
        { 0, 29, 90 },  { 1, 6, 0 },    { 1, 5, 99 },   { 1, 45, 5 },
    };
    uint8_t copy[80];
    struct dns_packet p;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct bytes *b = good[rows[i].which];
        memcpy(copy, b->p, b->n);
        copy[rows[i].at] = rows[i].value;
        if (dns_packet_parse(copy, b->n, &p) == 0)
            fail_msg("row %zu was taken for a datagram", i);
    }
    for (unsigned w = 0; w < ARRAY_LEN(good); w++)
        for (size_t n = 0; n < good[w]->n; n++)
            assert_int_equal(dns_packet_parse((const uint8_t *)good[w]->p, n, &p), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_read),
        cmocka_unit_test(the_names_oddities_stay_visible),
        cmocka_unit_test(edns_is_seen),
        cmocka_unit_test(what_is_no_plain_question_is_not_ours),
        cmocka_unit_test(a_name_is_255_bytes_at_most),
        cmocka_unit_test(an_answer_is_read_through_its_pointers),
        cmocka_unit_test(pointers_in_a_circle_end),
        cmocka_unit_test(an_answer_repeats_the_question),
        cmocka_unit_test(the_type_picks_the_addresses),
        cmocka_unit_test(an_alias_comes_with_its_addresses),
        cmocka_unit_test(a_name_has_its_measures),
        cmocka_unit_test(no_query_for_what_is_no_name),
        cmocka_unit_test(a_packet_is_turned_round),
        cmocka_unit_test(a_packet_of_ip6_too),
        cmocka_unit_test(other_packets_are_not_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
