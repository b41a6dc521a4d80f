/* Documents know where they are; diagnostics say it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/doc.h"

struct fixture {
    struct arena *arena;
    struct diag diag;
    struct doc *root;
};

/* faults: [{kill: {process: shop}}, {latency: {dela: 200ms}}] */
static int set_up(void **state)
{
    static struct fixture f;
    struct arena *a = arena_new(0);

    f = (struct fixture){ .arena = a, .root = doc_new(a, DOC_MAP, "plan.yaml") };
    diag_init(&f.diag);
    struct doc *faults = doc_new(a, DOC_LIST, "plan.yaml");
    struct doc *first = doc_new(a, DOC_MAP, "plan.yaml");
    struct doc *second = doc_new(a, DOC_MAP, "plan.yaml");
    struct doc *kill = doc_new(a, DOC_MAP, "plan.yaml");
    struct doc *latency = doc_new(a, DOC_MAP, "plan.yaml");
    struct doc *delay = doc_scalar(a, "plan.yaml", "200ms");
    doc_map_put(a, f.root, "faults", faults);
    doc_list_add(a, faults, first);
    doc_list_add(a, faults, second);
    doc_map_put(a, first, "kill", kill);
    doc_map_put(a, kill, "process", doc_scalar(a, "plan.yaml", "shop"));
    doc_map_put(a, second, "latency", latency);
    doc_map_put(a, latency, "dela", delay);
    delay->line = 14;
    delay->col = 17;
    delay->key_line = 14;
    delay->key_col = 11;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    diag_done(&f->diag);
    arena_free(f->arena);
    return 0;
}

static const struct doc *delay_of(const struct fixture *f)
{
    const struct doc *second = doc_get(f->root, "faults")->items[1];

    return doc_get(doc_get(second, "latency"), "dela");
}

static void lookups_of_what_is_not_there_are_null(void **state)
{
    const struct fixture *f = *state;

    assert_null(doc_get(f->root, "users"));
    assert_null(doc_get(NULL, "users"));
    assert_null(doc_get(delay_of(f), "users"));
    assert_null(doc_get(doc_get(f->root, "faults"), "users"));
    assert_non_null(doc_get_mutable(f->root, "faults"));
}

static void putting_a_key_again_replaces_it(void **state)
{
    struct fixture *f = *state;

    doc_map_put(f->arena, f->root, "name", doc_scalar(f->arena, "plan.yaml", "old"));
    doc_map_put(f->arena, f->root, "name", doc_scalar(f->arena, "--name", "new"));
    assert_int_equal(f->root->n_items, 2);
    assert_string_equal(doc_get(f->root, "name")->text, "new");
    assert_string_equal(doc_get(f->root, "name")->source, "--name");
    assert_ptr_equal(doc_get(f->root, "name")->parent, f->root);
}

static void lists_grow_and_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct doc *list = doc_new(f->arena, DOC_LIST, "x");
    char text[16];

    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%d", i);
        doc_list_add(f->arena, list, doc_scalar(f->arena, "x", text));
    }
    assert_int_equal(list->n_items, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%d", i);
        assert_string_equal(list->items[i]->text, text);
        assert_null(list->items[i]->key);
    }
}

static void a_full_arena_adds_nothing_and_does_not_crash(void **state)
{
    struct arena *small = arena_new(20000);
    struct doc *list = doc_new(small, DOC_LIST, "x");
    size_t n = 0;

    (void)state;
    for (struct doc *d; (d = doc_scalar(small, "x", "a text")); n++)
        doc_list_add(small, list, d);
    assert_in_range(list->n_items, 1, n);
    assert_null(doc_new(small, DOC_MAP, "x"));
    doc_list_add(small, list, NULL);
    doc_map_put(small, NULL, "k", NULL);
    arena_free(small);
}

static void paths_name_keys_and_indices(void **state)
{
    struct fixture *f = *state;
    auto_buf struct buf path = BUF_INIT(0);

    doc_path(f->root, &path);
    assert_string_equal(buf_str(&path), "");
    doc_path(delay_of(f), &path);
    assert_string_equal(buf_str(&path), "faults[1].latency.dela");
    buf_clear(&path);
    doc_path(doc_get(f->root, "faults")->items[0], &path);
    assert_string_equal(buf_str(&path), "faults[0]");
    buf_clear(&path);
    doc_path(NULL, &path);
    assert_string_equal(buf_str(&path), "");
}

static void mistakes_name_file_line_column_and_path(void **state)
{
    struct fixture *f = *state;

    diag_add_key(&f->diag, delay_of(f), "unknown key, did you mean '%s'?", "delay");
    diag_add(&f->diag, delay_of(f), "too long");
    diag_add(&f->diag, NULL, "no target");
    diag_add_at(&f->diag, "b.yaml", 3, 4, "bad");
    assert_string_equal(
        buf_str(&f->diag.text),
        "plan.yaml:14:11: faults[1].latency.dela: unknown key, did you mean 'delay'?\n"
        "plan.yaml:14:17: faults[1].latency.dela: too long\n"
        "no target\n"
        "b.yaml:3:4: bad\n");
    assert_int_equal(f->diag.n, 4);
}

static void mistakes_in_flags_have_no_line(void **state)
{
    struct fixture *f = *state;
    struct doc *faults = doc_new(f->arena, DOC_LIST, "--fault");
    struct doc *fault = doc_new(f->arena, DOC_MAP, "--fault");
    struct doc *kill = doc_new(f->arena, DOC_MAP, "--fault");

    doc_map_put(f->arena, f->root, "faults", faults);
    doc_list_add(f->arena, faults, fault);
    doc_map_put(f->arena, fault, "kill", kill);
    doc_map_put(f->arena, kill, "proces", doc_scalar(f->arena, "--fault", "shop"));
    diag_add_key(&f->diag, doc_get(kill, "proces"), "unknown key, did you mean 'process'?");
    assert_string_equal(buf_str(&f->diag.text),
                        "--fault: faults[0].kill.proces: unknown key, did you mean 'process'?\n");
}

static void a_hostile_text_cannot_drive_the_terminal(void **state)
{
    struct fixture *f = *state;
    char big[5000];

    diag_add(&f->diag, NULL, "bad '%s'", "\033[2J\nx\x7f");
    assert_string_equal(buf_str(&f->diag.text), "bad '?[2J?x?'\n");
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    buf_clear(&f->diag.text);
    diag_add(&f->diag, NULL, "%s", big);
    assert_in_range(f->diag.text.len, 900, 1001);
}

static void past_the_maximum_they_are_counted_only(void **state)
{
    struct fixture *f = *state;
    size_t lines = 0;

    for (int i = 0; i < DIAG_MAX + 10; i++)
        diag_add(&f->diag, f->root, "mistake %d", i);
    assert_int_equal(f->diag.n, DIAG_MAX + 10);
    for (const char *p = buf_str(&f->diag.text); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, DIAG_MAX);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lookups_of_what_is_not_there_are_null),
        TEST(putting_a_key_again_replaces_it),
        TEST(lists_grow_and_keep_their_order),
        TEST(a_full_arena_adds_nothing_and_does_not_crash),
        TEST(paths_name_keys_and_indices),
        TEST(mistakes_name_file_line_column_and_path),
        TEST(mistakes_in_flags_have_no_line),
        TEST(a_hostile_text_cannot_drive_the_terminal),
        TEST(past_the_maximum_they_are_counted_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
