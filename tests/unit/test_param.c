/* One table reads a plan and a row of flags: defaults, bounds, names, nesting, and the sentences.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/param.h"
#include "edge/yaml.h"

struct inner {
    uint64_t delay_ns;
    double percent;
};

struct row {
    const char *path;
    int64_t weight;
};

struct all {
    const char *text;
    const char *word;
    bool flag;
    int64_t users;
    double ratio;
    uint64_t wait_ns;
    double rate;
    uint64_t body;
    double share;
    uint64_t width;
    int mode;
    struct strs tags;
    struct pairs headers;
    struct inner inner;
    struct items tasks;
    size_t custom;
    const char *token;
    uint64_t secret_ns;
};

static void check_inner(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct inner *in = base;

    if (in->delay_ns == 0)
        diag_add(ctx->diag, doc_get(d, "delay"), "a delay of nothing does nothing");
}

static void load_custom(const struct param_ctx *ctx, const struct doc *d, void *field)
{
    if (d->kind != DOC_SCALAR)
        diag_add(ctx->diag, d, "custom wants a value");
    else
        *(size_t *)field = strlen(d->text);
}

static const struct param inner_rows[] = {
    PARAM(DURATION, "delay", struct inner, delay_ns, .required = true,
          .help = "time added to each response"),
    PARAM(PERCENT, "percent", struct inner, percent, .def = "100%"),
};
static const struct param_table inner_table = { "inner", inner_rows, ARRAY_LEN(inner_rows),
                                                check_inner };

static const struct param task_rows[] = {
    PARAM(STR, "get", struct row, path, .required = true),
    PARAM(INT, "weight", struct row, weight, .def = "1", .lo = 1, .hi = 1000),
};
static const struct param_table task_table = { "tasks[]", task_rows, ARRAY_LEN(task_rows), NULL };

static const char *const modes[] = { "parallel", "serial", "random", NULL };

static const struct param all_rows[] = {
    PARAM(STR, "text", struct all, text, .def = "none"),
    PARAM(STR, "word", struct all, word, .choices = modes),
    PARAM(BOOL, "flag", struct all, flag, .def = "yes"),
    PARAM(INT, "users", struct all, users, .lo = 1, .hi = 100000, .def = "1"),
    PARAM(NUM, "ratio", struct all, ratio, .lo = 0, .hi = 1),
    PARAM(DURATION, "wait", struct all, wait_ns, .lo = 0.001, .hi = 60, .def = "1s"),
    PARAM(RATE, "spawn", struct all, rate, .aliases = "spawn-rate,hatch"),
    PARAM(SIZE, "body", struct all, body, .lo = 1, .hi = 1e6, .def = "1KiB"),
    PARAM(PERCENT, "share", struct all, share, .lo = 0.1, .hi = 0.5, .def = "20%"),
    PARAM(BANDWIDTH, "width", struct all, width),
    PARAM(ENUM, "mode", struct all, mode, .choices = modes, .def = "serial"),
    PARAM(STRS, "tags", struct all, tags),
    PARAM(PAIRS, "headers", struct all, headers),
    PARAM(TABLE, "inner", struct all, inner, .table = &inner_table),
    PARAM(LIST, "tasks", struct all, tasks, .table = &task_table, .item_size = sizeof(struct row)),
    PARAM(CUSTOM, "custom", struct all, custom, .load = load_custom, .def = "four"),
    PARAM(STR, "token", struct all, token, .choices = modes, .secret = true),
    PARAM(DURATION, "hidden", struct all, secret_ns, .secret = true),
};
static const struct param_table all_table = { "all", all_rows, ARRAY_LEN(all_rows), NULL };

struct fixture {
    struct arena *arena;
    struct diag diag;
    struct all all;
    unsigned n;
};

static void load(struct fixture *f, const char *yaml, const char *source, const char *const *ignore)
{
    struct param_ctx ctx = { .diag = &f->diag };
    struct doc *doc = NULL;

    f->arena = arena_new(0);
    ctx.arena = f->arena;
    diag_init(&f->diag);
    memset(&f->all, 0x5a, sizeof(f->all));
    assert_int_equal(yaml_load(source, yaml, strlen(yaml), f->arena, &f->diag, &doc), 0);
    f->n = param_load(&ctx, &all_table, doc, &f->all, ignore);
    assert_int_equal(f->n, f->diag.n);
}

static void done(struct fixture *f)
{
    diag_done(&f->diag);
    arena_free(f->arena);
}

static void an_empty_map_gives_the_defaults(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, "", "p.yaml", NULL);
    assert_int_equal(f.n, 0);
    assert_string_equal(f.all.text, "none");
    assert_null(f.all.word);
    assert_true(f.all.flag);
    assert_int_equal(f.all.users, 1);
    assert_true(f.all.ratio == 0 && f.all.rate == 0);
    assert_int_equal(f.all.wait_ns, NS_PER_SEC);
    assert_int_equal(f.all.body, 1024);
    assert_true(fabs(f.all.share - 0.2) < 1e-12);
    assert_int_equal(f.all.width, 0);
    assert_int_equal(f.all.mode, 1);
    assert_int_equal(f.all.tags.n, 0);
    assert_int_equal(f.all.headers.n, 0);
    assert_int_equal(f.all.tasks.n, 0);
    assert_int_equal(f.all.inner.delay_ns, 0);
    assert_true(f.all.inner.percent == 1);
    assert_int_equal(f.all.custom, 4);
    done(&f);
}

static void every_type_is_read_into_its_field(void **state)
{
    static const char yaml[] = "text: 'hello'\nword: random\nflag: no\nusers: 50\nratio: 0.25\n"
                               "wait: 250ms\nspawn: 30/m\nbody: 2KB\nshare: 50%\nwidth: 1mbit\n"
                               "mode: random\ntags: [a, b]\nheaders: {A: 1, B: , C: x}\n"
                               "inner: {delay: 2s, percent: 10%}\n"
                               "tasks: [{get: /a, weight: 3}, {get: /b}]\ncustom: sixsix\n";
    struct fixture f;

    (void)state;
    load(&f, yaml, "p.yaml", NULL);
    assert_string_equal(buf_str(&f.diag.text), "");
    assert_string_equal(f.all.text, "hello");
    assert_string_equal(f.all.word, "random");
    assert_false(f.all.flag);
    assert_int_equal(f.all.users, 50);
    assert_true(f.all.ratio == 0.25);
    assert_int_equal(f.all.wait_ns, 250 * NS_PER_MS);
    assert_true(fabs(f.all.rate - 0.5) < 1e-12);
    assert_int_equal(f.all.body, 2000);
    assert_true(f.all.share == 0.5);
    assert_int_equal(f.all.width, 1000000);
    assert_int_equal(f.all.mode, 2);
    assert_int_equal(f.all.tags.n, 2);
    assert_string_equal(f.all.tags.v[1], "b");
    assert_int_equal(f.all.headers.n, 3);
    assert_string_equal(f.all.headers.keys[2], "C");
    assert_string_equal(f.all.headers.values[1], "");
    assert_int_equal(f.all.inner.delay_ns, 2 * NS_PER_SEC);
    assert_int_equal(f.all.tasks.n, 2);
    const struct row *tasks = f.all.tasks.v;
    assert_string_equal(tasks[0].path, "/a");
    assert_int_equal(tasks[0].weight, 3);
    assert_int_equal(tasks[1].weight, 1);
    assert_int_equal(f.all.custom, 6);
    done(&f);
}

static void one_text_is_a_list_of_one(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, "tags: solo", "p.yaml", NULL);
    assert_int_equal(f.n, 0);
    assert_int_equal(f.all.tags.n, 1);
    assert_string_equal(f.all.tags.v[0], "solo");
    done(&f);
}

static void aliases_name_the_same_row(void **state)
{
    struct fixture f;

    (void)state;
    load(&f, "hatch: 7/s", "p.yaml", NULL);
    assert_int_equal(f.n, 0);
    assert_true(f.all.rate == 7);
    done(&f);
}

static void ignored_keys_belong_to_someone_else(void **state)
{
    static const char *const ignore[] = { "at", "every", NULL };
    struct fixture f;

    (void)state;
    load(&f, "{at: 3s, every: 5s, users: 3}", "p.yaml", ignore);
    assert_int_equal(f.n, 0);
    done(&f);
    load(&f, "evry: 5s", "p.yaml", ignore);
    assert_string_equal(buf_str(&f.diag.text),
                        "p.yaml:1:1: evry: unknown key, did you mean 'every'?\n");
    done(&f);
}

static const struct {
    const char *yaml, *want;
} mistakes[] = {
    { "usrs: 5", "p.yaml:1:1: usrs: unknown key, did you mean 'users'?\n" },
    { "colour: 5", "p.yaml:1:1: colour: unknown key, use one of text, word, flag, users, ratio, "
                   "wait, spawn, body, share, width, mode, tags, ...\n" },
    { "inner: {dela: 1s}", "p.yaml:1:9: inner.dela: unknown key, did you mean 'delay'?\n"
                           "p.yaml:1:8: inner: 'delay' is missing: a duration, time added to each "
                           "response\n" },
    { "inner:", "p.yaml:1:7: inner: 'delay' is missing: a duration, time added to each "
                "response\n" },
    { "inner: {delay: 0s}", "p.yaml:1:16: inner.delay: a delay of nothing does nothing\n" },
    { "inner: [1]", "p.yaml:1:8: inner: must be a map of keys, not a list\n" },
    { "users: ten", "p.yaml:1:8: users: 'ten' is not a whole number in 1..100000\n" },
    { "users: 0", "p.yaml:1:8: users: '0' is not in 1..100000\n" },
    { "users: [1]", "p.yaml:1:8: users: must be a whole number, not a list\n" },
    { "users:", "p.yaml:1:1: users: has no value: give it a whole number, or remove the key\n" },
    { "ratio: 1.5", "p.yaml:1:8: ratio: '1.5' is not in 0..1\n" },
    { "flag: maybe", "p.yaml:1:7: flag: 'maybe' is neither true nor false\n" },
    { "wait: 200", "p.yaml:1:7: wait: '200' needs a unit: write 200ms or 200s\n" },
    { "wait: 2m", "p.yaml:1:7: wait: '2m' is not in 1ms..1m\n" },
    { "spawn: 10", "p.yaml:1:8: spawn: '10' needs a unit: write 10/s or 10/m\n" },
    { "body: 2MB", "p.yaml:1:7: body: '2MB' is not in 1..1000000\n" },
    { "share: 60%", "p.yaml:1:8: share: '60%' is not in 10%..50%\n" },
    { "share: 0.3", "p.yaml:1:8: share: '0.3' needs a unit: write 0.3%\n" },
    { "width: 1MB", "p.yaml:1:8: width: '1MB' has the unknown unit 'MB': use bit kbit mbit gbit "
                    "(bits per second) or B/s KB/s MB/s KiB/s MiB/s\n" },
    { "mode: serail", "p.yaml:1:7: mode: unknown value 'serail', did you mean 'serial'?\n" },
    { "mode: both",
      "p.yaml:1:7: mode: unknown value 'both', use one of parallel, serial, random\n" },
    { "word: both",
      "p.yaml:1:7: word: unknown value 'both', use one of parallel, serial, random\n" },
    { "tags: {a: b}", "p.yaml:1:7: tags: must be a list of texts, not a map\n" },
    { "tags: [a, [b]]", "p.yaml:1:11: tags[1]: must be a text, not a list\n" },
    { "headers: [a]", "p.yaml:1:10: headers: must be a map of texts, not a list\n" },
    { "headers: {A: {}}", "p.yaml:1:14: headers.A: must be a text, not a map\n" },
    { "tasks: {get: /}", "p.yaml:1:8: tasks: must be a list, not a map\n" },
    { "tasks: [{weight: 2000}]", "p.yaml:1:18: tasks[0].weight: '2000' is not in 1..1000\n"
                                 "p.yaml:1:9: tasks[0]: 'get' is missing: a text\n" },
    { "tasks: [x]", "p.yaml:1:9: tasks[0]: must be a map of keys, not a value\n" },
    { "custom: []", "p.yaml:1:9: custom: custom wants a value\n" },
    { "spawn: 1/s\nhatch: 2/s",
      "p.yaml:2:1: hatch: is another name of 'spawn', which is given too\n" },
    { "token: s3cret",
      "p.yaml:1:8: token: is not a text that can be used here (a secret: its value "
      "is not shown)\n" },
    { "hidden: s3cret",
      "p.yaml:1:9: hidden: is not a duration that can be used here (a secret: its "
      "value is not shown)\n" },
    { "[1, 2]", "p.yaml:1:1: must be a map of keys, not a list\n" },
    { "users: x\nratio: y\nflag: z", "p.yaml:1:8: users: 'x' is not a whole number in 1..100000\n"
                                     "p.yaml:2:8: ratio: 'y' is not a number\n"
                                     "p.yaml:3:7: flag: 'z' is neither true nor false\n" },
};

static void mistakes_are_told_all_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        struct fixture f;
        load(&f, mistakes[i].yaml, "p.yaml", NULL);
        assert_string_equal(buf_str(&f.diag.text), mistakes[i].want);
        assert_true(f.n > 0);
        done(&f);
    }
}

/* What a flag makes: a document without lines, whose source is the flag. */
static void flags_use_the_same_table(void **state)
{
    struct arena *a = arena_new(0);
    struct diag diag;
    struct param_ctx ctx = { .arena = a, .diag = &diag };
    struct doc *map = doc_new(a, DOC_MAP, "plan.yaml");
    struct all all;

    (void)state;
    diag_init(&diag);
    doc_map_put(a, map, "wait", doc_scalar(a, "--wait", "30"));
    doc_map_put(a, map, "spawn", doc_scalar(a, "-r", "10"));
    assert_int_equal(param_load(&ctx, &all_table, map, &all, NULL), 0);
    assert_int_equal(all.wait_ns, 30 * NS_PER_SEC);
    assert_true(all.rate == 10);

    doc_map_put(a, map, "proces", doc_scalar(a, "--fault", "x"));
    doc_map_put(a, map, "wait", doc_scalar(a, "plan.yaml", "30"));
    assert_int_equal(param_load(&ctx, &all_table, map, &all, NULL), 2);
    assert_non_null(strstr(buf_str(&diag.text), "--fault: proces: unknown key"));
    assert_non_null(strstr(buf_str(&diag.text), "plan.yaml: wait: '30' needs a unit"));

    ctx.from_flags = true;
    diag_done(&diag);
    assert_int_equal(param_load(&ctx, &all_table, map, &all, NULL), 1);
    diag_done(&diag);
    arena_free(a);
}

static void a_full_arena_is_a_mistake_not_a_crash(void **state)
{
    static const char yaml[] = "text: hello\ntags: [a]\nheaders: {a: b}\ntasks: [{get: /}]";
    struct fixture f;

    (void)state;
    load(&f, yaml, "p.yaml", NULL);
    struct doc *doc = NULL;
    assert_int_equal(yaml_load("p", yaml, sizeof(yaml) - 1, f.arena, &f.diag, &doc), 0);
    struct arena *tiny = arena_new(1);
    struct param_ctx ctx = { .arena = tiny, .diag = &f.diag };
    assert_true(param_load(&ctx, &all_table, doc, &f.all, NULL) >= 3);
    assert_non_null(strstr(buf_str(&f.diag.text), "the plan is too large"));
    arena_free(tiny);
    done(&f);
}

static void every_type_has_a_name(void **state)
{
    (void)state;
    for (int t = 0; t < PARAM_TYPE_MAX; t++)
        assert_true(strlen(param_type_name((enum param_type)t)) > 0);
    assert_string_equal(param_type_name(PARAM_DURATION), "duration");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_gives_the_defaults),
        cmocka_unit_test(every_type_is_read_into_its_field),
        cmocka_unit_test(one_text_is_a_list_of_one),
        cmocka_unit_test(aliases_name_the_same_row),
        cmocka_unit_test(ignored_keys_belong_to_someone_else),
        cmocka_unit_test(mistakes_are_told_all_at_once),
        cmocka_unit_test(flags_use_the_same_table),
        cmocka_unit_test(a_full_arena_is_a_mistake_not_a_crash),
        cmocka_unit_test(every_type_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
