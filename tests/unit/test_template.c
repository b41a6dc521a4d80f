/* Templates: what each slot writes, what is refused, and that the same stream repeats. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "runner/template.h"

static const char *const names_v[] = { "token", "id" };
static const struct var_names names = { (const char **)(uintptr_t)names_v, NULL, 2 };

static char *render(const char *text, struct rng *rng)
{
    struct arena *a = arena_new(0);
    struct vars vars = { 0 };
    struct render_ctx ctx = { .rng = rng,
                              .vars = &vars,
                              .user_id = 12,
                              .iteration = 3,
                              .wall_ns = UINT64_C(1794636790123) * NS_PER_MS };
    struct buf out = BUF_INIT(0);
    const struct template *t;
    struct err err = { 0 };

    vars_set(&vars, 2, 0, "a&b\"c\n", 6);
    assert_int_equal(template_compile(a, text, strlen(text), &names, &t, &err), 0);
    template_render(t, &ctx, &out);
    vars_done(&vars);
    arena_free(a);
    return buf_take(&out);
}

static void slots_write_their_values(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "", "" },
        { "plain } { }} text", "plain } { }} text" },
        { "{{user.id}}", "12" },
        { "a{{ user.iteration }}b", "a3b" },
        { "{{token}}|{{id}}", "a&b\"c\n|" },
        { "{{url(token)}}", "a%26b%22c%0A" },
        { "{{json( token )}}", "a&b\\\"c\\u000a" },
        { "{{time.unix}}", "1794636790" },
        { "{{time.unix_ms}}", "1794636790123" },
        { "{{time.iso}}", "2026-11-14T06:13:10.123Z" },
        { "{{'{{'}}x{{'}}'}}", "{{x}}" },
        { "{{random.int(7,7)}}{{random.int(-2,-2)}}", "7-2" },
        { "{{random.choice(one)}}", "one" },
        { "{\"a\":{\"b\":{{user.id}}}}", "{\"a\":{\"b\":12}}" },
    };
    struct rng rng;

    (void)state;
    rng_seed(&rng, 1, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *got = render(rows[i].text, &rng);

        assert_string_equal(got, rows[i].want);
    }
}

static void random_slots_stay_in_their_bounds(void **state)
{
    bool seen[6] = { false };
    struct rng rng;

    (void)state;
    rng_seed(&rng, 5, 5);
    for (int i = 0; i < 500; i++) {
        auto_free char *number = render("{{random.int(0,5)}}", &rng);
        auto_free char *text = render("{{random.string(8)}}", &rng);
        auto_free char *word = render("{{random.choice(red, green)}}", &rng);
        auto_free char *uuid = render("{{random.uuid}}", &rng);

        assert_true(strlen(number) == 1 && number[0] >= '0' && number[0] <= '5');
        seen[number[0] - '0'] = true;
        assert_int_equal(strlen(text), 8);
        assert_true(strcmp(word, "red") == 0 || strcmp(word, "green") == 0);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
        assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_true(seen[i]);
}

static void the_same_stream_gives_the_same_text(void **state)
{
    static const char text[] = "{{random.int(1,1000)}}{{random.uuid}}{{random.string(20)}}";
    struct rng one, same, other;

    (void)state;
    rng_seed(&one, 7, 3);
    rng_seed(&same, 7, 3);
    rng_seed(&other, 7, 4);
    auto_free char *a = render(text, &one);
    auto_free char *b = render(text, &same);
    auto_free char *c = render(text, &other);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "{{}}", "{{}} is empty; name a variable or a function" },
        { "{{tokens}}", "{{tokens}} is unknown, did you mean {{token}}?" },
        { "{{random.uid}}", "{{random.uid}} is unknown, did you mean {{random.uuid}}?" },
        { "{{env.HOME}}", "{{env.HOME}} is unknown: it is no function, no variable of the class, "
                          "and no task of the class extracts it" },
        { "{{shell(ls)}}", "{{shell(...)}} is unknown; there are random.int, random.string, "
                           "random.choice, url and json" },
        { "{{random.int(1,2,3)}}", "random.int has two bounds: write {{random.int(1,1000)}}" },
        { "{{random.int(a,2)}}", "random.int: 'a' is not a whole number" },
        { "{{random.string(0)}}", "random.string: '0' is not in 1..4096" },
        { "{{random.choice()}}",
          "random.choice has 1 to 100 values: write {{random.choice(a,b,c)}}" },
        { "{{user.id(3)}}", "user.id takes no arguments" },
        { "{{random.int(1,2}}", "{{random.int(1,2}}: the ) is missing" },
        { "{{'a}}", "'{{'a}}': this {{ has no }}; write {{'{{'}} for the characters themselves" },
        { "{{url()}}", "{{url()}} and {{json()}} need a slot: write {{url(name)}}" },
        { "x{{user.id", "'{{user.id': this {{ has no }}; write {{'{{'}} for the characters "
                        "themselves" },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct template *t = NULL;
        struct err err = { 0 };

        assert_true(template_compile(a, rows[i].text, strlen(rows[i].text), &names, &t, &err) < 0);
        assert_null(t);
        assert_string_equal(err.msg, rows[i].want);
    }
    arena_free(a);
}

static void only_slots_make_a_template_vary(void **state)
{
    static const struct {
        const char *text;
        bool constant;
    } rows[] = {
        { "", true },
        { "/items", true },
        { "/a{{'{{'}}", true },
        { "{{token}}/x", false },
        { "/{{token}}", false },
    };
    struct arena *a = arena_new(0);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct template *t;

        assert_int_equal(template_compile(a, rows[i].text, strlen(rows[i].text), &names, &t, NULL),
                         0);
        assert_int_equal(template_is_constant(t), rows[i].constant);
    }
    arena_free(a);
}

static void a_long_value_is_cut(void **state)
{
    auto_free char *text = xcalloc(VAR_VALUE_MAX + 10, 1);
    struct vars vars = { 0 };

    (void)state;
    memset(text, 'x', VAR_VALUE_MAX + 9);
    vars_set(&vars, 1, 0, text, VAR_VALUE_MAX + 9);
    assert_int_equal(strlen(vars_get(&vars, 0)), VAR_VALUE_MAX);
    vars_set(&vars, 1, 0, "y", 1);
    assert_string_equal(vars_get(&vars, 0), "y");
    assert_string_equal(vars_get(&vars, 7), "");
    vars_done(&vars);
    assert_string_equal(vars_get(&vars, 0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_write_their_values),
        cmocka_unit_test(random_slots_stay_in_their_bounds),
        cmocka_unit_test(the_same_stream_gives_the_same_text),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(only_slots_make_a_template_vary),
        cmocka_unit_test(a_long_value_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
