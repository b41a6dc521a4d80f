/* The command line's small parsers: options by table, words of flags, hints for strangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/flags.h"
#include "cli/opts.h"
#include "cli/words.h"

static const struct opt options[] = {
    { "users", 'u', OPT_ONE, "N", "", NULL, NULL },
    { "task", 0, OPT_MANY, "TASK", "", NULL, NULL },
    { "quiet", 'q', OPT_NONE, NULL, "", NULL, NULL },
    { "insecure", 'k', OPT_NONE, NULL, "", NULL, NULL },
    { 0 },
};
static const struct verb verb = { .name = "run", .opts = options };

struct case_ {
    const char *argv[8];
    const char *users;
    size_t n_tasks, n_quiet, n_rest;
    const char *first_rest;
    const char *mistake; /* NULL: none */
};

static const struct case_ cases[] = {
    { { NULL }, NULL, 0, 0, 0, NULL, NULL },
    { { "-u", "5" }, "5", 0, 0, 0, NULL, NULL },
    { { "-u5" }, "5", 0, 0, 0, NULL, NULL },
    { { "-u=5" }, "5", 0, 0, 0, NULL, NULL },
    { { "--users", "5" }, "5", 0, 0, 0, NULL, NULL },
    { { "--users=5" }, "5", 0, 0, 0, NULL, NULL },
    { { "--users=" }, "", 0, 0, 0, NULL, NULL },
    { { "--users", "-5" }, "-5", 0, 0, 0, NULL, NULL },
    { { "-u", "1", "-u", "2" }, "2", 0, 0, 0, NULL, NULL },
    { { "-qk", "plan" }, NULL, 0, 1, 1, "plan", NULL },
    { { "-qu7" }, "7", 0, 1, 0, NULL, NULL },
    { { "--task", "a", "--task=b" }, NULL, 2, 0, 0, NULL, NULL },
    { { "-", "x" }, NULL, 0, 0, 2, "-", NULL },
    { { "--", "-u", "5" }, NULL, 0, 0, 2, "-u", NULL },
    { { "plan", "-q" }, NULL, 0, 1, 1, "plan", NULL },
    { { "--users" }, NULL, 0, 0, 0, NULL, "--users: needs a value: --users N" },
    { { "-u" }, NULL, 0, 0, 0, NULL, "needs a value" },
    { { "--quiet=1" }, NULL, 0, 0, 0, NULL, "takes no value" },
    { { "--usrs", "5" }, NULL, 0, 0, 1, "5", "did you mean --users?" },
    { { "--zzzzzz" }, NULL, 0, 0, 0, NULL, "unknown option" },
    { { "-x" }, NULL, 0, 0, 0, NULL, "-x: unknown option" },
    { { "--vus" }, NULL, 0, 0, 0, NULL, "is called --users" },
};

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct case_ *c = &cases[i];
        char *argv[8] = { 0 };
        int argc = 0;
        struct verb_args args;
        struct diag diag;
        bool help;

        for (; argc < 8 && c->argv[argc]; argc++)
            argv[argc] = xstrdup(c->argv[argc]);
        diag_init(&diag);
        opts_parse(&verb, argc, argv, &args, &help, &diag);
        assert_false(help);
        assert_int_equal(diag.n, c->mistake ? 1 : 0);
        if (c->mistake && !strstr(buf_str(&diag.text), c->mistake))
            fail_msg("'%s' without '%s'", buf_str(&diag.text), c->mistake);
        if (c->users)
            assert_string_equal(opt_value(&args, "users"), c->users);
        else
            assert_null(opt_value(&args, "users"));
        assert_int_equal(opt_all(&args, "task")->n, c->n_tasks);
        assert_int_equal(opt_given(&args, "quiet"), c->n_quiet > 0);
        assert_int_equal(args.n_rest, c->n_rest);
        if (c->first_rest)
            assert_string_equal(args.rest[0], c->first_rest);
        assert_null(opt_all(&args, "nobody"));
        opts_done(&args);
        diag_done(&diag);
        for (int k = 0; k < argc; k++)
            free(argv[k]);
    }
}

static void test_help_is_asked_for_in_two_ways(void **state)
{
    static const char *const words[] = { "-h", "--help" };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char *argv[] = { xstrdup(words[i]), NULL };
        struct verb_args args;
        struct diag diag;
        bool help = false;

        diag_init(&diag);
        opts_parse(&verb, 1, argv, &args, &help, &diag);
        assert_true(help);
        assert_int_equal(diag.n, 0);
        opts_done(&args);
        diag_done(&diag);
        free(argv[0]);
    }
}

/* No two options share a name or a letter, and a stranger's name is not one of ours. */
static void test_options_of_run_are_distinct(void **state)
{
    (void)state;
    for (const struct opt *a = plan_options; a->name; a++) {
        assert_null(foreign_hint(a->name));
        assert_true(strlen(a->help) > 5);
        assert_int_equal(a->arg == OPT_NONE, a->meta == NULL);
        for (const struct opt *b = a + 1; b->name; b++) {
            assert_string_not_equal(a->name, b->name);
            assert_false(a->letter && a->letter == b->letter);
        }
    }
    assert_true(opts_count(plan_options) < PLAN_OPTIONS_MAX);
}

static const struct {
    const char *text;
    const char *words[6]; /* NULL: a mistake */
} splits[] = {
    { "", { "" } },
    { "  GET   /  3 ", { "GET", "/", "3" } },
    { "kill process=shop at=30s", { "kill", "process=shop", "at=30s" } },
    { "at=between(10s, 20s) x=1", { "at=between(10s, 20s)", "x=1" } },
    { "'two words' b", { "two words", "b" } },
    { "name='two words' b", { "name=two words", "b" } },
    { "name=\"a \\\"b\\\" \\\\\" c", { "name=a \"b\" \\", "c" } },
    { "POST /items json={\"a\": \"b c\", \"d\": [1, 2]} 3",
      { "POST", "/items", "json={\"a\": \"b c\", \"d\": [1, 2]}", "3" } },
    { "json={\"a\":\"}\"} x", { "json={\"a\":\"}\"}", "x" } },
    { "it's fine", { "it's", "fine" } },
    { "a='open", { NULL } },
    { "a=between(1s", { NULL } },
    { "a={\"x", { NULL } },
};

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(splits); i++) {
        auto(arena) struct arena *a = arena_new(0);
        struct err err = { 0 };
        struct words w;
        int rc = words_split(splits[i].text, a, &w, &err);

        if (!splits[i].words[0]) {
            assert_true(rc < 0 && strstr(err.msg, "not closed"));
            continue;
        }
        assert_int_equal(rc, 0);
        size_t n = 0;
        for (; n < 6 && splits[i].words[n] && *splits[i].words[n]; n++) {
            assert_true(n < w.n);
            assert_string_equal(w.v[n], splits[i].words[n]);
        }
        assert_int_equal(w.n, n);
    }
}

static void test_too_many_words(void **state)
{
    auto(arena) struct arena *a = arena_new(0);
    auto_buf struct buf text = BUF_INIT(0);
    struct err err = { 0 };
    struct words w;

    (void)state;
    for (int i = 0; i <= WORDS_MAX; i++)
        buf_adds(&text, "a ");
    assert_true(words_split(buf_str(&text), a, &w, &err) < 0);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static const struct {
    const char *word, *value;
} pairs[] = {
    { "a=b", "b" },
    { "a=", "" },
    { "restart_after=2s", "2s" },
    { "extract.id=json:id", "json:id" },
    { "a=b=c", "b=c" },
    { "a", NULL },
    { "=b", NULL },
    { "/?a=b", NULL },
    { "http://x/?a=b", NULL },
};

static void test_key_and_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        size_t len = 0;
        const char *value = word_value(pairs[i].word, &len);

        assert_int_equal(!value, !pairs[i].value);
        if (value)
            assert_string_equal(value, pairs[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_help_is_asked_for_in_two_ways),
        cmocka_unit_test(test_options_of_run_are_distinct),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_too_many_words),
        cmocka_unit_test(test_key_and_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
