/* Which names a rule matches, what becomes of a query, and how rules travel to the helper. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/dns/rules.h"

static void names_match_in_any_case(void **state)
{
    static const struct {
        enum dns_match how;
        const char *pattern, *name;
        bool is_so;
    } rows[] = {
        { DNS_EXACT, "DB.Example.", "db.example", true },
        { DNS_EXACT, "db.example", "db.example.org", false },
        { DNS_EXACT, "*.example", "db.example", false },
        { DNS_SUBSTRING, "EXAM", "db.example", true },
        { DNS_SUBSTRING, "exams", "db.example", false },
        { DNS_WILDCARD, "*.Example", "db.example", true },
        { DNS_WILDCARD, "*.example", "example", false },
        { DNS_WILDCARD, "db-*.lab.*", "db-7.lab.local", true },
        { DNS_WILDCARD, "*", "", true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (dns_name_matches(rows[i].how, rows[i].pattern, rows[i].name) != rows[i].is_so)
            fail_msg("row %zu: %s %s", i, rows[i].pattern, rows[i].name);
}

static struct dns_rules rules_of(const char *text)
{
    auto(json) struct json *j = NULL;
    struct dns_rules r;
    struct err err = { 0 };

    assert_int_equal(json_parse(text, strlen(text), &j, &err), 0);
    if (dns_rules_read(j, &r, &err) < 0)
        fail_msg("%s", err.msg);
    return r;
}

static enum dns_verdict judge(struct dns_rules *r, const char *name, bool to_loopback,
                              uint64_t now_ns, struct dns_answer *ret)
{
    uint8_t msg[300];
    size_t n = dns_query_build(1, name, DNS_A, msg, sizeof(msg));
    const struct dns_query q = {
        .msg = msg, .len = n, .to_loopback = to_loopback, .now_ns = now_ns
    };

    assert_true(n > 0);
    return dns_judge(r, &q, ret);
}

static void the_first_rule_that_matches_counts(void **state)
{
    struct dns_rules r = rules_of("{\"match\": 2, \"rules\": [{\"pattern\": \"a.*\", \"rcode\": 2},"
                                  "{\"pattern\": \"*.b\", \"addresses\": \"10.0.0.1\"}]}");
    struct dns_answer a;
    struct dns_question q;
    struct dns_reply reply;

    (void)state;
    assert_int_equal(judge(&r, "a.b", false, 1, &a), DNS_ANSWER);
    assert_int_equal(dns_reply_parse(a.bytes, a.n, &q, &reply), 0);
    assert_int_equal(reply.rcode, DNS_SERVFAIL);
    assert_int_equal(judge(&r, "c.b", false, 1, &a), DNS_ANSWER);
    assert_int_equal(dns_reply_parse(a.bytes, a.n, &q, &reply), 0);
    assert_int_equal(reply.n_addresses, 1);
    assert_int_equal(judge(&r, "c.d", false, 1, &a), DNS_PASS);
    assert_int_equal(r.n_seen, 2);
    assert_int_equal(r.n_hit, 2);
    dns_rules_done(&r);
}

static void nonsense_passes(void **state)
{
    struct dns_rules r =
        rules_of("{\"match\": 2, \"swallow\": true, \"rules\": [{\"pattern\": \"*\"}]}");
    const struct dns_query q = { .msg = (const uint8_t *)"hello", .len = 5 };
    struct dns_answer a;

    (void)state;
    assert_int_equal(dns_judge(&r, &q, &a), DNS_PASS);
    assert_int_equal(judge(&r, "x", false, 1, &a), DNS_SWALLOW);
    dns_rules_done(&r);
}

/* A resolver on this machine asks on what it was let through: one lottery, not two. */
static void a_question_is_drawn_once(void **state)
{
    struct dns_rules r = rules_of("{\"percent\": 0.5, \"seed\": \"7\","
                                  "\"rules\": [{\"pattern\": \"db\", \"rcode\": 3}]}");
    unsigned hits = 0, n = 4000;
    struct dns_answer a;

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        uint64_t now = (i + 1) * NS_PER_SEC;
        if (judge(&r, "db", true, now, &a) == DNS_ANSWER)
            hits++;
        else if (judge(&r, "db", false, now + NS_PER_MS, &a) == DNS_ANSWER)
            hits++;
    }
    assert_in_range(hits, n / 2 - 150, n / 2 + 150);
    assert_int_equal(r.n_seen, n);
    dns_rules_done(&r);
}

static void what_was_passed_is_not_passed_for_ever(void **state)
{
    struct dns_rules r = rules_of("{\"percent\": 0.5, \"rules\": [{\"pattern\": \"db\"}]}");
    unsigned hits = 0;
    struct dns_answer a;

    (void)state;
    r.percent = 0;
    assert_int_equal(judge(&r, "db", true, 1, &a), DNS_PASS);
    r.percent = 1;
    assert_int_equal(judge(&r, "db", false, 2, &a), DNS_PASS);
    assert_int_equal(judge(&r, "db", false, 3, &a), DNS_ANSWER);
    r.percent = 0;
    assert_int_equal(judge(&r, "db", true, 4, &a), DNS_PASS);
    r.percent = 1;
    hits += judge(&r, "db", false, 5 + DNS_PASSED_NS, &a) == DNS_ANSWER;
    assert_int_equal(hits, 1);
    dns_rules_done(&r);
}

static void rules_travel(void **state)
{
    static const char text[] =
        "{\"match\":1,\"swallow\":false,\"percent\":0.25,\"delay_ns\":5000,\"seed\":\"ff\","
        "\"rules\":"
        "[{\"pattern\":\"db.lab\",\"rcode\":0,\"addresses\":\"10.0.0.1,fd00::1\",\"alias\":"
        "\"db2.lab\"}]}";
    struct dns_rules r = rules_of(text);
    auto(json) struct json *j = json_object();

    (void)state;
    dns_rules_write(&r, 0xff, j);
    auto_free char *back = json_print(j, false);
    assert_string_equal(back, text);
    dns_rules_done(&r);
}

static void broken_rules_are_refused(void **state)
{
    static const char nine_addresses[] =
        "{\"rules\": [{\"addresses\": \"1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,1.1.1.1,"
        "1.1.1.1,1.1.1.1\"}]}";
    static const char *const rows[] = { "{}", "{\"rules\": []}", "{\"rules\": 7}",
                                        "{\"rules\": [{\"addresses\": \"10.0.0\"}]}",
                                        nine_addresses };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto(json) struct json *j = NULL;
        struct dns_rules r;
        struct err err = { 0 };
        assert_int_equal(json_parse(rows[i], strlen(rows[i]), &j, &err), 0);
        if (dns_rules_read(j, &r, &err) >= 0)
            fail_msg("row %zu was taken", i);
        assert_true(err.msg[0]);
    }
}

static void a_probe_asks_for_what_is_hit(void **state)
{
    static const char *const rows[] = {
        "{\"match\": 0, \"rules\": [{\"pattern\": \"db.lab\"}]}",
        "{\"match\": 1, \"rules\": [{\"pattern\": \".lab\"}]}",
        "{\"match\": 2, \"rules\": [{\"pattern\": \"*.lab.*\"}]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dns_rules r = rules_of(rows[i]);
        char name[2 * DNS_PATTERN_MAX];
        struct dns_answer a;
        dns_probe_name(&r, name);
        assert_int_equal(judge(&r, name, false, 1, &a), DNS_ANSWER);
        dns_rules_done(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_match_in_any_case),
        cmocka_unit_test(the_first_rule_that_matches_counts),
        cmocka_unit_test(nonsense_passes),
        cmocka_unit_test(a_question_is_drawn_once),
        cmocka_unit_test(what_was_passed_is_not_passed_for_ever),
        cmocka_unit_test(rules_travel),
        cmocka_unit_test(broken_rules_are_refused),
        cmocka_unit_test(a_probe_asks_for_what_is_hit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
