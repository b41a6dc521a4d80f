/* `docker:` of a fault: every mistake has its sentence, and what is well written chooses the right
 * containers of a real engine. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "chaoslib/docker/select.h"
#include "docker_fixture.h"
#include "edge/yaml.h"

struct text {
    struct arena *arena;
    struct diag diag;
    struct docker_select s;
};

static void read_text(struct text *t, const char *yaml)
{
    auto_free char *plan = xasprintf("docker: %s\n", yaml);
    struct doc *root = NULL;

    *t = (struct text){ .arena = arena_new(0) };
    diag_init(&t->diag);
    if (yaml_load("plan.yaml", plan, strlen(plan), t->arena, &t->diag, &root) < 0)
        fail_msg("%s", buf_str(&t->diag.text));
    const struct param_ctx ctx = { .arena = t->arena, .diag = &t->diag };
    docker_select_load(&ctx, doc_get(root, "docker"), &t->s);
}

static void text_done(struct text *t)
{
    diag_done(&t->diag);
    arena_free(t->arena);
}

static const struct {
    const char *yaml, *message;
} broken[] = {
    { "", "docker: has no value: give it a container's name" },
    { "''", "docker: a container's name is empty" },
    { "[]", "docker: is an empty list: give it containers' names" },
    { "[a, a]", "docker: 'a' is there twice" },
    { "[a, {b: c}]", "docker[1]: must be a text, not a map" },
    { "'re2:^shop'", "docker: 're2:^shop' is written docker: {match: '^shop'} here" },
    { "shop*",
      "docker: 'shop*' cannot be a container's name (letters, digits, _ . -); to choose by "
      "a regular expression write docker: {match: …}" },
    { "{}", "docker: selects every container there is: give it names, match, label, compose or "
            "image; all of them is match: '.'" },
    { "{mode: all}", "docker: selects every container there is" },
    { "{match: '(', mode: all}", "docker.match: '(' is not a regular expression: " },
    { "{label: app=db, mode: most}",
      "docker.mode: unknown value 'most', use one of one, all, count, "
      "percent" },
    { "{label: app=db, mode: coun}", "docker.mode: unknown value 'coun', did you mean 'count'?" },
    { "{label: app=db, mode: count}", "docker: mode count needs count: N" },
    { "{label: app=db, mode: percent}", "docker: mode percent needs percent: N" },
    { "{label: app=db, mode: one, count: 2}", "docker.count: has no meaning with mode one" },
    { "{label: app=db, mode: all, percent: 2}", "docker.percent: has no meaning with mode all" },
    { "{label: app=db, count: 2, percent: 3}", "docker.percent: keep either count or percent" },
    { "{label: app=db, count: 0}", "docker.count: '0' is not in 1..1000" },
    { "{label: app=db, percent: 0}", "docker.percent: must be above 0" },
    { "{label: app=db, percent: 101}", "docker.percent: " },
    { "{label: app=db, percent: half}", "docker.percent: " },
    { "{label: =db}", "docker: label '=db' has no key: write key, or key=value" },
    { "{compose: lab/}",
      "docker.compose: 'lab/' is not complete: write project, or project/service" },
    { "{compose: /web}", "docker.compose: '/web' is not complete" },
    { "{labl: app}", "docker.labl: unknown key, did you mean 'label'?" },
    { "{name: a, names: b}", "docker.names: is another name of 'names', which is given too" },
    { "{names: a, allow_empty: perhaps}", "docker.allow_empty: " },
};

static void each_mistake_has_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct text t;

        read_text(&t, broken[i].yaml);
        if (t.diag.n == 0 || !strstr(buf_str(&t.diag.text), broken[i].message))
            fail_msg("%s: expected '%s', got '%s'", broken[i].yaml, broken[i].message,
                     buf_str(&t.diag.text));
        text_done(&t);
    }
}

static void what_is_well_written_is_read(void **state)
{
    static const struct {
        const char *yaml;
        int mode;
        size_t names, labels;
        double percent;
    } good[] = {
        { "shop-1", DOCKER_MODE_DEFAULT, 1, 0, 0 },
        { "/shop-1", DOCKER_MODE_DEFAULT, 1, 0, 0 },
        { "[a, b]", DOCKER_MODE_DEFAULT, 2, 0, 0 },
        { "{names: [a, b], label: [x, y=z]}", DOCKER_MODE_DEFAULT, 2, 2, 0 },
        { "{compose: lab/web, mode: percent, percent: 50}", DOCKER_PERCENT, 0, 0, 0.5 },
        { "{match: '^s', percent: 25%}", DOCKER_PERCENT, 0, 0, 0.25 },
        { "{image: nginx, count: 3}", DOCKER_COUNT, 0, 0, 0 },
        { "{match: ., mode: all, allow_empty: true}", DOCKER_ALL, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct text t;

        read_text(&t, good[i].yaml);
        if (t.diag.n)
            fail_msg("%s: %s", good[i].yaml, buf_str(&t.diag.text));
        assert_int_equal(t.s.mode, good[i].mode);
        assert_int_equal(t.s.names.n, good[i].names);
        assert_int_equal(t.s.labels.n, good[i].labels);
        assert_true(t.s.percent == good[i].percent);
        text_done(&t);
    }
}

/* ---- with an engine ---- */

static int open_engine(void **state)
{
    static const char *const web[] = { "app=web", "com.docker.compose.project=lab",
                                       "com.docker.compose.service=web", NULL };
    static const char *const db[] = { "app=db", "com.docker.compose.project=lab",
                                      "com.docker.compose.service=db", NULL };
    static const char *const ours[] = { "app=web", "chaos-load.skip=true", NULL };
    static const char *const pumba[] = { "app=web", "com.gaiaadm.pumba=true", NULL };
    struct docker *d = docker_fixture_open();
    const struct box boxes[] = {
        { .name = "sel-web-1", .labels = web }, { .name = "sel-web-2", .labels = web },
        { .name = "sel-web-3", .labels = web }, { .name = "sel-db", .labels = db },
        { .name = "sel-ours", .labels = ours }, { .name = "sel-pumba", .labels = pumba },
    };

    for (size_t i = 0; i < ARRAY_LEN(boxes); i++)
        free(box_start(d, &boxes[i]));
    free(box_create(d, &(struct box){ .name = "sel-off", .labels = web, .image = "httpd:1" }));
    box_do(d, "sel-web-3", "pause");
    *state = d;
    return 0;
}

static int close_engine(void **state)
{
    docker_fixture_close(*state);
    return 0;
}

/* The names chosen, "a b"; or the error. */
static char *chosen(struct docker *d, const char *yaml, enum docker_state which, uint64_t seed)
{
    auto_buf struct buf out = BUF_INIT(0);
    struct docker_targets got = { 0 };
    struct text t;
    struct err err = { 0 };
    struct rng rng;

    rng_seed(&rng, seed, 0);
    read_text(&t, yaml);
    if (t.diag.n)
        fail_msg("%s: %s", yaml, buf_str(&t.diag.text));
    int rc = docker_select(d, &t.s, which, &rng, &got, &err);
    text_done(&t);
    if (rc < 0)
        return xasprintf("%s: %s", err_kind_name(err.kind), err.msg);
    for (size_t i = 0; i < got.n; i++)
        buf_addf(&out, "%s%s", i ? " " : "", got.v[i].name);
    free(got.v);
    return xstrdup(buf_str(&out));
}

static void each_selection_means_what_it_says(void **state)
{
    static const struct {
        const char *yaml, *names;
        enum docker_state which;
    } rows[] = {
        { "sel-web-1", "sel-web-1", DOCKER_RUNNING },
        { "/sel-web-1", "sel-web-1", DOCKER_RUNNING },
        { "[sel-web-2, sel-web-1]", "sel-web-1 sel-web-2", DOCKER_RUNNING },
        { "sel-web-3", "sel-web-3", DOCKER_RUNNING }, /* paused */
        { "{match: '^sel-web', mode: all}", "sel-web-1 sel-web-2 sel-web-3", DOCKER_RUNNING },
        { "{match: ^sel-, label: app=web, mode: all}", "sel-web-1 sel-web-2 sel-web-3",
          DOCKER_RUNNING },
        { "{match: ^sel-, label: app=web, mode: all}", "sel-off sel-web-1 sel-web-2 sel-web-3",
          DOCKER_ANY },
        { "{label: [app, app=db], mode: all}", "sel-db", DOCKER_RUNNING },
        { "{compose: lab/db}", "sel-db", DOCKER_RUNNING },
        { "{compose: lab, mode: all}", "sel-db sel-web-1 sel-web-2 sel-web-3", DOCKER_RUNNING },
        { "{image: bb, match: sel-db}", "sel-db", DOCKER_RUNNING },
        { "{image: 'bb:1', match: sel-db}", "sel-db", DOCKER_RUNNING },
        { "{image: b, match: sel-db, allow_empty: true}", "", DOCKER_RUNNING },
        { "{image: httpd, match: ^sel-}", "sel-off", DOCKER_ANY },
        { "{compose: la, allow_empty: true}", "", DOCKER_RUNNING },
        { "{names: [sel-web-1, sel-db], label: app=db}", "sel-db", DOCKER_RUNNING },
        { "{names: [sel-nobody, sel-db], allow_empty: true}", "sel-db", DOCKER_RUNNING },
        { "sel-nobody",
          "target: there is no container 'sel-nobody'; docker ps shows which there are",
          DOCKER_RUNNING },
        { "[sel-db, sel-nobody]",
          "target: there is no container 'sel-nobody'; docker ps shows which there are",
          DOCKER_RUNNING },
        { "sel-off",
          "target: container 'sel-off' does not run (created): start it first, or allow that with "
          "allow_empty: true",
          DOCKER_RUNNING },
        { "sel-off", "sel-off", DOCKER_ANY },
        { "sel-ours",
          "target: container 'sel-ours' must not be hit: it carries a label that says so "
          "(chaos-load.skip or com.gaiaadm.pumba)",
          DOCKER_RUNNING },
        { "{match: ^sel-pumba}",
          "target: no running container matches the selection; look with docker ps, or allow it "
          "with allow_empty: true",
          DOCKER_RUNNING },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *got = chosen(*state, rows[i].yaml, rows[i].which, 1);

        if (strcmp(got, rows[i].names) != 0)
            fail_msg("%s: expected '%s', got '%s'", rows[i].yaml, rows[i].names, got);
    }
}

static size_t words(const char *text)
{
    size_t n = *text != '\0';

    for (; *text; text++)
        n += *text == ' ';
    return n;
}

static void the_seed_chooses(void **state)
{
    static const struct {
        const char *yaml;
        size_t n;
    } rows[] = {
        { "{match: ^sel-web}", 1 },
        { "{match: ^sel-web, count: 2}", 2 },
        { "{match: ^sel-web, count: 9}", 3 },
        { "{match: ^sel-web, percent: 1}", 1 },
        { "{match: ^sel-web, percent: 50}", 2 },
        { "{match: ^sel-web, percent: 100}", 3 },
        { "{names: [sel-web-1, sel-web-2], mode: one}", 1 },
    };
    auto_buf struct buf seen = BUF_INIT(0);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_free char *a = chosen(*state, rows[i].yaml, DOCKER_RUNNING, 7);
        auto_free char *b = chosen(*state, rows[i].yaml, DOCKER_RUNNING, 7);

        assert_string_equal(a, b);
        assert_int_equal(words(a), rows[i].n);
    }
    for (uint64_t seed = 1; seed <= 40; seed++) {
        auto_free char *one = chosen(*state, "{match: ^sel-web}", DOCKER_RUNNING, seed);
        buf_addf(&seen, "%s ", one);
    }
    assert_non_null(strstr(buf_str(&seen), "sel-web-1"));
    assert_non_null(strstr(buf_str(&seen), "sel-web-2"));
    assert_non_null(strstr(buf_str(&seen), "sel-web-3"));
}

/* What `docker ps` shows. */
static void a_short_id_is_a_name(void **state)
{
    struct docker_container c = box_look(*state, "sel-db");
    auto_free char *yaml = xasprintf("'%.12s'", c.id);
    auto_free char *got = chosen(*state, yaml, DOCKER_RUNNING, 1);

    assert_string_equal(got, "sel-db");
}

static void targets_are_told_as_far_as_there_is_room(void **state)
{
    struct docker_container v[40] = { 0 };
    char out[256];

    (void)state;
    docker_say_targets(v, 0, out);
    assert_string_equal(out, "no container");
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        snprintf(v[i].name, sizeof(v[i].name), "shop-%zu", i);
        memset(v[i].id, 'a', 64);
    }
    docker_say_targets(v, 1, out);
    assert_string_equal(out, "container shop-0 (aaaaaaaaaaaa)");
    docker_say_targets(v, 2, out);
    assert_string_equal(out, "2 containers: shop-0, shop-1");
    docker_say_targets(v, 40, out);
    assert_memory_equal(out, "40 containers: shop-0, shop-1, ", 30);
    assert_string_equal(out + strlen(out) - 3, "…");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(each_mistake_has_its_sentence),
        cmocka_unit_test(what_is_well_written_is_read),
        cmocka_unit_test(targets_are_told_as_far_as_there_is_room),
    };
    const struct CMUnitTest real[] = {
        cmocka_unit_test(each_selection_means_what_it_says),
        cmocka_unit_test(the_seed_chooses),
        cmocka_unit_test(a_short_id_is_a_name),
    };

    (void)argv;
    if (argc > 1)
        return cmocka_run_group_tests(pure, NULL, NULL);
    return cmocka_run_group_tests(real, open_engine, close_engine);
}
