/* ${NAME} in plans: what is filled in, what is refused, and that values are not shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/subst.h"

static char large[SUBST_VALUE_MAX + 2];

static const char *lookup(const char *name)
{
    static const struct {
        const char *name, *value;
    } env[] = { { "A", "one" },
                { "B_2", "two words" },
                { "EMPTY", "" },
                { "NEST", "${A}" },
                { "LARGE", large },
                { "BAD", "\xff\xfe" },
                { "TOKEN", "s3cret-token-of-great-length-4711" },
                { "SHORT", "x" } };

    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        if (strcmp(env[i].name, name) == 0)
            return env[i].value;
    return NULL;
}

static const struct {
    const char *text, *want; /* want NULL: a mistake that says .why */
    const char *why;
} cases[] = {
    { "plain", "plain", NULL },
    { "${A}", "one", NULL },
    { "x${A}y${B_2}z", "xoneytwo wordsz", NULL },
    { "${A:-else}", "one", NULL },
    { "${NONE:-else}", "else", NULL },
    { "${EMPTY:-else}", "else", NULL },
    { "${EMPTY}", "", NULL },
    { "${NONE:-}", "", NULL },
    { "${NONE:-a:-b}", "a:-b", NULL },
    { "$${A}", "${A}", NULL },
    { "$A $ {A} $", "$A $ {A} $", NULL },
    { "${NEST}", "${A}", NULL },
    { "{{random.int(1,9)}}", "{{random.int(1,9)}}", NULL },
    { "${NONE}", NULL, "the environment variable NONE is not set" },
    { "${A", NULL, "not closed" },
    { "${}", NULL, "is not understood" },
    { "${1A}", NULL, "is not understood" },
    { "${A-b}", NULL, "is not understood" },
    { "${A:b}", NULL, "is not understood" },
    { "${A:+b}", NULL, "is not understood" },
    { "${#A}", NULL, "is not understood" },
    { "${LARGE}", NULL, "more than 64 KiB" },
    { "${BAD}", NULL, "not UTF-8" },
};

static void test_cases(void **state)
{
    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto(arena) struct arena *a = arena_new(0);
        struct doc *map = doc_new(a, DOC_MAP, "plan.yaml");
        struct subst s = { .lookup = lookup };
        struct diag diag;

        diag_init(&diag);
        doc_map_put(a, map, "k", doc_scalar(a, "plan.yaml", cases[i].text));
        subst_doc(&s, a, map, &diag);
        assert_int_equal(diag.n, cases[i].want ? 0 : 1);
        if (cases[i].want)
            assert_string_equal(doc_get(map, "k")->text, cases[i].want);
        else if (!strstr(buf_str(&diag.text), cases[i].why))
            fail_msg("%s: '%s' without '%s'", cases[i].text, buf_str(&diag.text), cases[i].why);
        diag_done(&diag);
    }
}

static void test_keys_stay_and_lists_are_walked(void **state)
{
    auto(arena) struct arena *a = arena_new(0);
    struct doc *map = doc_new(a, DOC_MAP, "p"), *list = doc_new(a, DOC_LIST, "p");
    struct subst s = { .lookup = lookup };
    struct diag diag;

    (void)state;
    diag_init(&diag);
    doc_list_add(a, list, doc_scalar(a, "p", "${A}"));
    doc_map_put(a, map, "${A}", list);
    subst_doc(&s, a, map, &diag);
    subst_doc(&s, a, NULL, &diag);
    assert_string_equal(doc_get(map, "${A}")->items[0]->text, "one");
    assert_int_equal(s.n_used, 1);
    diag_done(&diag);
}

static const struct {
    const char *message, *shown;
} hidden[] = {
    { "'s3cret-token-of-great-length-4711' is wrong", "'${TOKEN}' is wrong" },
    { "in s3cret-token-of-great-length-4711 it", "in ${TOKEN} it" },
    { "cut: 's3cret-token-of-great-len'", "cut: '${TOKEN}'" },
    { "'x' is no excuse", "'${SHORT}' is no excuse" },
    { "nothing here", "nothing here" },
};

static void test_values_are_hidden(void **state)
{
    auto(arena) struct arena *a = arena_new(0);
    struct doc *list = doc_new(a, DOC_LIST, "p");
    struct subst s = { .lookup = lookup };
    struct diag diag;

    (void)state;
    diag_init(&diag);
    doc_list_add(a, list, doc_scalar(a, "p", "${TOKEN}${SHORT}${EMPTY}"));
    subst_doc(&s, a, list, &diag);
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++) {
        auto_buf struct buf text = BUF_INIT(1000);

        buf_adds(&text, hidden[i].message);
        subst_hide(&s, &text);
        assert_string_equal(buf_str(&text), hidden[i].shown);
    }
    diag_done(&diag);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_keys_stay_and_lists_are_walked),
        cmocka_unit_test(test_values_are_hidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
