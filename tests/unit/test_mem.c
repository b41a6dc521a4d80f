/* Buffers and arenas keep to their maximum, and say so once, at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void a_buffer_grows_and_ends_with_nul(void **state)
{
    auto_buf struct buf b = BUF_INIT(0);

    (void)state;
    assert_string_equal(buf_str(&b), "");
    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i % 10);
    assert_int_equal(b.len, 2000);
    assert_int_equal(strlen(b.data), 2000);
    buf_addc(&b, 'x');
    buf_adds(&b, "yz");
    buf_add(&b, "123", 2);
    assert_string_equal(b.data + 2000, "xyz12");
    assert_false(buf_failed(&b));
}

static void past_the_maximum_a_buffer_fails_and_stays_failed(void **state)
{
    auto_buf struct buf b = BUF_INIT(10);

    (void)state;
    buf_adds(&b, "0123456789");
    assert_false(buf_failed(&b));
    buf_addc(&b, 'x');
    assert_true(buf_failed(&b));
    buf_consume(&b, 5);
    buf_addc(&b, 'x');
    assert_true(buf_failed(&b));
    assert_string_equal(b.data, "56789");
    buf_clear(&b);
    assert_false(buf_failed(&b));
    assert_null(buf_reserve(&b, 11));
    assert_true(buf_failed(&b));
    buf_clear(&b);
    buf_addf(&b, "%s", "0123456789x");
    assert_true(buf_failed(&b));
    assert_int_equal(b.len, 0);
    buf_clear(&b);
    assert_null(buf_reserve(&b, SIZE_MAX));
}

static void consuming_keeps_the_rest(void **state)
{
    auto_buf struct buf b = BUF_INIT(0);

    (void)state;
    buf_adds(&b, "abcdef");
    buf_consume(&b, 2);
    assert_string_equal(b.data, "cdef");
    buf_consume(&b, 4);
    assert_int_equal(b.len, 0);
    buf_adds(&b, "gh");
    buf_consume(&b, 100);
    assert_string_equal(b.data, "");
}

static void a_taken_buffer_starts_again(void **state)
{
    auto_buf struct buf b = BUF_INIT(0);

    (void)state;
    auto_free char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    buf_adds(&b, "one");
    auto_free char *one = buf_take(&b);
    buf_adds(&b, "two");
    assert_string_equal(one, "one");
    assert_string_equal(b.data, "two");
    buf_done(NULL);
}

static void an_arena_is_zeroed_aligned_and_bounded(void **state)
{
    struct arena *a = arena_new(100000);
    size_t n = 0;

    (void)state;
    for (char *p; (p = arena_alloc(a, 1001)); n++) {
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < 1001; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, 1001);
    }
    assert_in_range(n, 80, 100);
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, 50000));
    arena_free(a);
    arena_free(NULL);
}

static void arena_texts_are_copies(void **state)
{
    struct arena *a = arena_new(0);
    char text[] = "hello";

    (void)state;
    const char *whole = arena_strdup(a, text), *part = arena_strndup(a, text, 3);
    const char *made = arena_printf(a, "%s-%d", text, 7), *big = arena_alloc(a, 1 << 20);
    memset(text, 'x', 5);
    assert_string_equal(whole, "hello");
    assert_string_equal(part, "hel");
    assert_string_equal(made, "hello-7");
    assert_non_null(big);
    arena_free(a);
}

static void a_taken_pointer_leaves_null(void **state)
{
    (void)state;
    auto_free char *p = xasprintf("%s %d", "text", 1);
    char *q = TAKE(p);
    assert_null(p);
    assert_string_equal(q, "text 1");
    auto_free char *copy = xstrndup(q, 4);
    assert_string_equal(copy, "text");
    mem_wipe(q, 6);
    assert_memory_equal(q, "\0\0\0\0\0\0", 6);
    q = xrealloc(q, 10, 10);
    free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_grows_and_ends_with_nul),
        cmocka_unit_test(past_the_maximum_a_buffer_fails_and_stays_failed),
        cmocka_unit_test(consuming_keeps_the_rest),
        cmocka_unit_test(a_taken_buffer_starts_again),
        cmocka_unit_test(an_arena_is_zeroed_aligned_and_bounded),
        cmocka_unit_test(arena_texts_are_copies),
        cmocka_unit_test(a_taken_pointer_leaves_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
