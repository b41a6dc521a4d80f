/* YAML becomes documents; what is refused is refused by a named limit, with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "edge/yaml.h"

struct load {
    struct arena *arena;
    struct diag diag;
    struct doc *doc;
    int rc;
};

static struct load load_bytes(const char *text, size_t len)
{
    struct load l = { .arena = arena_new(0) };

    diag_init(&l.diag);
    l.rc = yaml_load("p.yaml", text, len, l.arena, &l.diag, &l.doc);
    return l;
}

static struct load load(const char *text)
{
    return load_bytes(text, strlen(text));
}

static void done(struct load *l)
{
    diag_done(&l->diag);
    arena_free(l->arena);
}

/* A flat picture of a document: {a: 'x', b: [null]}; scalars in quotes. */
static void paint(const struct doc *d, struct buf *out)
{
    static const char brackets[][3] = { [DOC_MAP] = "{}", [DOC_LIST] = "[]" };

    if (d->kind == DOC_NULL)
        buf_adds(out, "null");
    else if (d->kind == DOC_SCALAR)
        buf_addf(out, "%s%s%s", d->quoted ? "\"" : "'", d->text, d->quoted ? "\"" : "'");
    else {
        buf_addc(out, brackets[d->kind][0]);
        for (size_t i = 0; i < d->n_items; i++) {
            buf_adds(out, i ? ", " : "");
            if (d->kind == DOC_MAP)
                buf_addf(out, "%s: ", d->items[i]->key);
            paint(d->items[i], out);
        }
        buf_addc(out, brackets[d->kind][1]);
    }
}

static void texts_become_documents(void **state)
{
    static const struct {
        const char *yaml, *want;
    } rows[] = {
        { "", "null" },
        { "# only a comment\n", "null" },
        { "---\n...\n", "null" },
        { "a", "'a'" },
        { "~", "null" },
        { "'~'", "\"~\"" },
        { "{a: 1, b: [x, 'y', ~, null, \"\"]}", "{a: '1', b: ['x', \"y\", null, null, \"\"]}" },
        { "a:\n  - b: 1\n    c:\n  - d\n", "{a: [{b: '1', c: null}, 'd']}" },
        { "{\"json\": {\"works\": [1, true, null]}}", "{json: {works: ['1', 'true', null]}}" },
        { "a: |\n  two\n  lines\n", "{a: \"two\nlines\n\"}" },
        { "a: >\n  fol\n  ded\n", "{a: \"fol ded\n\"}" },
        { "a: !!str 5\nb: !!int 6\nc: ! 7\n", "{a: \"5\", b: '6', c: '7'}" },
        { "a: !!str\n", "{a: \"\"}" },
        { "\xef\xbb\xbf"
          "a: bom\n",
          "{a: 'bom'}" },
        { "caf\xc3\xa9: \xe2\x82\xac\n", "{caf\xc3\xa9: '\xe2\x82\xac'}" },
        { "x: &a {k: v}\ny: *a\n", "{x: {k: 'v'}, y: {k: 'v'}}" },
        { "x: &a text\n*a : y\n", "{x: 'text', text: 'y'}" },
        { "&k key: 1\nother: *k\n", "{key: '1', other: 'key'}" },
        { "a: &x 1\nb: &x 2\nc: *x\n", "{a: '1', b: '2', c: '2'}" },
        /* Merge keys: own keys win wherever they stand, the earlier map wins in a list. */
        { "d: &d {a: 1, b: 2}\nx:\n  <<: *d\n  b: 3\n",
          "{d: {a: '1', b: '2'}, x: {b: '3', a: '1'}}" },
        { "d: &d {a: 1, b: 2}\nx:\n  b: 3\n  <<: *d\n",
          "{d: {a: '1', b: '2'}, x: {b: '3', a: '1'}}" },
        { "d: &d {a: 1}\ne: &e {a: 2, c: 3}\nx: {<<: [*d, *e]}\n",
          "{d: {a: '1'}, e: {a: '2', c: '3'}, x: {a: '1', c: '3'}}" },
        { "x: {<<: {a: 1}}\n", "{x: {a: '1'}}" },
        { "x: {'<<': 1}\n", "{x: {<<: '1'}}" },
        { "x: {<<: []}\n", "{x: {}}" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        auto_buf struct buf picture = BUF_INIT(0);
        struct load l = load(rows[i].yaml);
        assert_string_equal(buf_str(&l.diag.text), "");
        assert_int_equal(l.rc, 0);
        paint(l.doc, &picture);
        assert_string_equal(buf_str(&picture), rows[i].want);
        done(&l);
    }
}

static void mistakes_have_a_place_and_a_reason(void **state)
{
    static const struct {
        const char *yaml, *want;
    } rows[] = {
        { "a: 1\nb: 2\na: 3\n", "p.yaml:3:1: a: duplicate key, first given in line 1\n" },
        { "x: {a: 1, a: 2, a: 3}", "p.yaml:1:11: x.a: duplicate key, first given in line 1\n"
                                   "p.yaml:1:17: x.a: duplicate key, first given in line 1\n" },
        { "a: b\n---\nc: d\n", "p.yaml:2:1: a second document begins; one file is one plan\n" },
        { "a: !secret x\n", "p.yaml:1:4: the tag '!secret' is not supported; remove it\n" },
        { "a: !!python/object x\n", "p.yaml:1:4: the tag 'tag:yaml.org,2002:python/object' is not "
                                    "supported; remove it\n" },
        { "a: !x {b: c}\n", "p.yaml:1:4: the tag '!x' is not supported; remove it\n" },
        { "a: *nowhere\n", "p.yaml:1:4: unknown anchor 'nowhere'\n" },
        { "a: &a [*a]\n", "p.yaml:1:8: the anchor 'a' is used inside itself\n" },
        { "? [a]\n: b\n", "p.yaml:1:3: a key must be a plain text\n" },
        { "x: &a [1]\n*a : b\n", "p.yaml:2:1: a key must be a plain text\n" },
        { "'': b\n", "p.yaml:1:1: a key is empty\n" },
        { "a: \"x\\0y\"\n", "p.yaml:1:4: a text may not contain a NUL character\n" },
        { "<<: 1\n", "p.yaml:1:1: <<: must be a map or a list of maps, not a value\n" },
        { "<<: [1]\n",
          "p.yaml:1:1: <<: must be a map or a list of maps, not a list of other things\n" },
        { "<<: {a: 1}\n<<: {b: 1}\n",
          "p.yaml:2:5: '<<' is given twice; merge several maps with a list\n" },
        { "a:\n\tb: 1\n", "p.yaml:2:1: a tab cannot indent or begin a value: use spaces\n" },
        { "a: [1, 2\n", "p.yaml:2:1: did not find expected ',' or ']' (while parsing a flow "
                        "sequence that begins in line 1)\n" },
        { "a: b: c\n", "p.yaml:1:5: mapping values are not allowed in this context\n" },
        { "a: 'open\n", "p.yaml:2:1: found unexpected end of stream (while scanning a quoted "
                        "scalar that begins in line 1)\n" },
        { "ok: 1\nbad: \xff\n", "p.yaml:2:6: not valid UTF-8\n" },
        { "\xc3\xa9: \xc3\n", "p.yaml:1:4: not valid UTF-8\n" },
        { "a: \x01\n", "p.yaml:1:4: control characters are not allowed\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct load l = load(rows[i].yaml);
        assert_string_equal(buf_str(&l.diag.text), rows[i].want);
        assert_int_not_equal(l.rc, 0);
        assert_null(l.doc);
        done(&l);
    }
}

static void each_node_knows_its_place_and_parent(void **state)
{
    struct load l = load("faults:\n  - kill: &k\n      process: shop\n  - kill: *k\n");
    auto_buf struct buf path = BUF_INIT(0);

    (void)state;
    assert_int_equal(l.rc, 0);
    const struct doc *list = doc_get(l.doc, "faults");
    const struct doc *first = doc_get(doc_get(list->items[0], "kill"), "process");
    const struct doc *second = doc_get(doc_get(list->items[1], "kill"), "process");
    assert_int_equal(first->line, 3);
    assert_int_equal(first->col, 16);
    assert_int_equal(first->key_line, 3);
    assert_int_equal(first->key_col, 7);
    assert_string_equal(first->source, "p.yaml");
    assert_ptr_not_equal(first, second);
    doc_path(second, &path);
    assert_string_equal(buf_str(&path), "faults[1].kill.process");
    done(&l);
}

static void expect_refusal(const struct buf *text, const char *part)
{
    struct load l = load_bytes(buf_str(text), text->len);

    assert_int_not_equal(l.rc, 0);
    assert_non_null(strstr(buf_str(&l.diag.text), part));
    assert_int_equal(l.diag.n, 1);
    done(&l);
}

static void repeat(struct buf *out, const char *s, size_t n)
{
    while (n--)
        buf_adds(out, s);
}

static void size_has_a_limit(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    repeat(&text, "# comment\n", YAML_SIZE_MAX / 10 + 1);
    expect_refusal(&text, "p.yaml:1:1: larger than 1024 KiB");
}

static void depth_has_a_limit(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    repeat(&text, "[", YAML_DEPTH_MAX);
    repeat(&text, "]", YAML_DEPTH_MAX);
    struct load l = load(buf_str(&text));
    assert_int_equal(l.rc, 0);
    done(&l);
    buf_clear(&text);
    repeat(&text, "[", YAML_DEPTH_MAX + 1);
    expect_refusal(&text, "p.yaml:1:33: nested deeper than 32 levels");
    buf_clear(&text);
    repeat(&text, "[", 500000);
    expect_refusal(&text, "nested deeper than 32 levels");
    buf_clear(&text);
    repeat(&text, "{a: ", 300);
    expect_refusal(&text, "nested deeper than 32 levels");
}

static void an_alias_may_not_lead_deeper_than_the_limit(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    buf_adds(&text, "a: &a ");
    repeat(&text, "[", 20);
    repeat(&text, "]", 20);
    buf_adds(&text, "\nb: ");
    repeat(&text, "[", 20);
    buf_adds(&text, "*a");
    repeat(&text, "]", 20);
    expect_refusal(&text, "this alias makes the document too large (100000 nodes, 32 levels)");
}

static void the_number_of_nodes_has_a_limit(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    buf_addc(&text, '[');
    repeat(&text, "a,", YAML_NODES_MAX - 1);
    buf_addc(&text, ']');
    struct load l = load(buf_str(&text));
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.doc->n_items, YAML_NODES_MAX - 1);
    done(&l);
    buf_clear(&text);
    buf_addc(&text, '[');
    repeat(&text, "a,", YAML_NODES_MAX);
    buf_addc(&text, ']');
    expect_refusal(&text, "more than 100000 nodes, aliases counted each time");
}

static void an_alias_bomb_is_defused(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    buf_adds(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 20; i++) {
        buf_addf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            buf_addf(&text, "*a%d, ", i - 1);
        buf_adds(&text, "]\n");
    }
    expect_refusal(&text, "this alias makes the document too large");
}

static void merges_count_as_nodes_too(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    buf_adds(&text, "base: &b {");
    for (int i = 0; i < 1000; i++)
        buf_addf(&text, "k%d: v, ", i);
    buf_adds(&text, "}\nlist:\n");
    repeat(&text, "- {<<: *b}\n", 200);
    expect_refusal(&text, "this alias makes the document too large");
}

static void the_number_of_anchors_has_a_limit(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    for (int i = 0; i <= YAML_ANCHORS_MAX; i++)
        buf_addf(&text, "- &n%d x\n", i);
    expect_refusal(&text, "p.yaml:1001:3: more than 1000 anchors");
}

static void many_keys_are_checked_for_duplicates_in_good_time(void **state)
{
    auto_buf struct buf text = BUF_INIT(0);

    (void)state;
    for (int i = 0; i < 50000; i++)
        buf_addf(&text, "k%d: v\n", i);
    buf_adds(&text, "k7: again\n");
    expect_refusal(&text, "p.yaml:50001:1: k7: duplicate key, first given in line 8");
}

static void a_small_arena_is_a_mistake_not_a_crash(void **state)
{
    struct arena *tiny = arena_new(1);
    struct doc *doc = NULL;
    struct diag diag;

    (void)state;
    diag_init(&diag);
    assert_int_not_equal(yaml_load("p.yaml", "a: [1]", 6, tiny, &diag, &doc), 0);
    assert_int_not_equal(yaml_load("p.yaml", "", 0, tiny, &diag, &doc), 0);
    assert_int_equal(diag.n, 2);
    assert_null(doc);
    diag_done(&diag);
    arena_free(tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_documents),
        cmocka_unit_test(mistakes_have_a_place_and_a_reason),
        cmocka_unit_test(each_node_knows_its_place_and_parent),
        cmocka_unit_test(size_has_a_limit),
        cmocka_unit_test(depth_has_a_limit),
        cmocka_unit_test(an_alias_may_not_lead_deeper_than_the_limit),
        cmocka_unit_test(the_number_of_nodes_has_a_limit),
        cmocka_unit_test(an_alias_bomb_is_defused),
        cmocka_unit_test(merges_count_as_nodes_too),
        cmocka_unit_test(the_number_of_anchors_has_a_limit),
        cmocka_unit_test(many_keys_are_checked_for_duplicates_in_good_time),
        cmocka_unit_test(a_small_arena_is_a_mistake_not_a_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
