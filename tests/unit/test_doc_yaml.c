/* Documents as YAML: what is written reads back, and secrets are not in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/doc_yaml.h"
#include "edge/yaml.h"

static struct doc *load(const char *text, struct arena *arena)
{
    struct doc *root = NULL;
    struct diag diag;

    diag_init(&diag);
    if (yaml_load("test", text, strlen(text), arena, &diag, &root) < 0)
        fail_msg("%s:\n%s", text, buf_str(&diag.text));
    diag_done(&diag);
    return root;
}

static const struct {
    const char *in, *out;
} cases[] = {
    { "a: 1\nb: text\n", "a: 1\nb: text\n" },
    { "a: {b: {c: [1, 2]}}", "a:\n  b:\n    c:\n      - 1\n      - 2\n" },
    { "- {get: /, weight: 3}\n- {get: /x}", "- get: /\n  weight: 3\n- get: /x\n" },
    { "a: 'errors: rate < 1%'", "a: 'errors: rate < 1%'\n" },
    { "a: \"it's\"", "a: 'it''s'\n" },
    { "a: \"two\\nlines\"", "a: \"two\\nlines\"\n" },
    { "a: {}\nb: []\nc:\n", "a: {}\nb: []\nc: null\n" },
    { "a: '10'", "a: '10'\n" },
    { "[[1, 2], [3]]", "- - 1\n  - 2\n- - 3\n" },
    { "think: between(1s, 5s)", "think: 'between(1s, 5s)'\n" },
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(0);
        auto_buf struct buf out = BUF_INIT(0);
        auto_buf struct buf again = BUF_INIT(0);

        doc_to_yaml(load(cases[i].in, arena), &out);
        assert_string_equal(buf_str(&out), cases[i].out);
        doc_to_yaml(load(buf_str(&out), arena), &again);
        assert_string_equal(buf_str(&again), cases[i].out);
        arena_free(arena);
    }
}

static const struct {
    const char *in;
    bool masked;
} secrets[] = {
    { "headers: {Authorization: Bearer hunter2}", true },
    { "headers: {X-Api-Key: hunter2}", true },
    { "variables: {password: hunter2}", true },
    { "x: {secrets: [a, [hunter2]]}", true },
    { "target: http://me:hunter2@127.0.0.1:80/", true },
    { "headers: {Authorization: 'Bearer ${hunter2}'}", false },
    { "basic_auth: {password_file: /run/hunter2}", false },
    { "bearer: {token_env: hunter2}", false },
    { "get: /mail/@hunter2", false },
};

static void test_secrets_are_masked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        struct arena *arena = arena_new(0);
        auto_buf struct buf out = BUF_INIT(0);

        doc_to_yaml(load(secrets[i].in, arena), &out);
        if ((strstr(buf_str(&out), "hunter2") == NULL) != secrets[i].masked)
            fail_msg("%s became %s", secrets[i].in, buf_str(&out));
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts),
                                        cmocka_unit_test(test_secrets_are_masked) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
