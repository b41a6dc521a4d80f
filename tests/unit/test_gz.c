/* What was deflated comes back; bombs, cuts and damage are errors with bounded output. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "edge/gz.h"

/* zlib framing of "hello hello hello hello". */
static const unsigned char zlib_hello[] = { 0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57,
                                            0xc8, 0x40, 0x27, 0x01, 0x68, 0x03, 0x08, 0xb1 };

static void deflated_bytes_come_back(void **state)
{
    static const size_t sizes[] = { 0, 1, 100, 16384, 16385, 300000 };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        auto_buf struct buf plain = BUF_INIT(0), packed = BUF_INIT(0), back = BUF_INIT(0);
        struct err err = { 0 };
        struct rng rng;
        rng_seed(&rng, 1, i);
        for (size_t n = 0; n < sizes[i]; n++)
            buf_addc(&plain, (char)rng_below(&rng, 20));
        assert_int_equal(gz_deflate(buf_str(&plain), plain.len, &packed, &err), 0);
        assert_int_equal(gz_inflate(packed.data, packed.len, 0, &back, &err), 0);
        assert_int_equal(back.len, plain.len);
        assert_memory_equal(buf_str(&back), buf_str(&plain), plain.len);
    }
}

static void several_members_are_one_text(void **state)
{
    auto_buf struct buf packed = BUF_INIT(0), back = BUF_INIT(0);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(gz_deflate("one ", 4, &packed, &err), 0);
    assert_int_equal(gz_deflate("two", 3, &packed, &err), 0);
    buf_add(&packed, "\0\0\0", 3); /* padding, as tar leaves it */
    assert_int_equal(gz_inflate(packed.data, packed.len, 0, &back, &err), 0);
    assert_string_equal(buf_str(&back), "one two");
}

static void zlib_framing_is_recognised(void **state)
{
    auto_buf struct buf back = BUF_INIT(0);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(gz_inflate(zlib_hello, sizeof(zlib_hello), 0, &back, &err), 0);
    assert_string_equal(buf_str(&back), "hello hello hello hello");
}

static void a_bomb_stops_at_the_maximum(void **state)
{
    auto_buf struct buf plain = BUF_INIT(0), packed = BUF_INIT(0), back = BUF_INIT(0);
    struct err err = { 0 };
    char *zeros = buf_reserve(&plain, 8 << 20);

    (void)state;
    memset(zeros, 0, 8 << 20);
    assert_int_equal(gz_deflate(zeros, 8 << 20, &packed, &err), 0);
    assert_true(packed.len < 10000);
    assert_int_not_equal(gz_inflate(packed.data, packed.len, 100000, &back, &err), 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_true(back.len <= 100000);
    assert_true(back.cap < 300000);
}

static void the_maximum_itself_is_allowed(void **state)
{
    auto_buf struct buf packed = BUF_INIT(0), exact = BUF_INIT(0), less = BUF_INIT(0);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(gz_deflate("12345", 5, &packed, &err), 0);
    assert_int_equal(gz_inflate(packed.data, packed.len, 5, &exact, &err), 0);
    assert_string_equal(buf_str(&exact), "12345");
    assert_int_not_equal(gz_inflate(packed.data, packed.len, 4, &less, &err), 0);
}

static void a_full_buffer_is_an_error(void **state)
{
    auto_buf struct buf packed = BUF_INIT(0), small = BUF_INIT(10), none = BUF_INIT(10);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(gz_deflate("0123456789abcdef", 16, &packed, &err), 0);
    assert_int_not_equal(gz_inflate(packed.data, packed.len, 0, &small, &err), 0);
    assert_int_equal(err.kind, ERR_LIMIT);
    assert_int_not_equal(gz_deflate("0123456789abcdef", 16, &none, &err), 0);
    assert_int_equal(err.kind, ERR_LIMIT);
}

static void cut_or_damaged_input_is_an_error(void **state)
{
    auto_buf struct buf packed = BUF_INIT(0);
    struct err err = { 0 };

    (void)state;
    assert_int_equal(gz_deflate("hello hello hello", 17, &packed, &err), 0);
    for (size_t n = 0; n < packed.len; n++) {
        auto_buf struct buf back = BUF_INIT(0);
        assert_int_not_equal(gz_inflate(packed.data, n, 0, &back, &err), 0);
        assert_string_equal(err.msg, "inflate: the data ends too early");
    }
    for (size_t n = packed.len - 8; n < packed.len; n++) { /* checksum and length */
        auto_buf struct buf back = BUF_INIT(0);
        packed.data[n] ^= 1;
        assert_int_not_equal(gz_inflate(packed.data, packed.len, 0, &back, &err), 0);
        packed.data[n] ^= 1;
    }
    auto_buf struct buf back = BUF_INIT(0);
    assert_int_not_equal(gz_inflate("plain text", 10, 0, &back, &err), 0);
    assert_string_equal(err.msg, "inflate: incorrect header check");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deflated_bytes_come_back),
        cmocka_unit_test(several_members_are_one_text),
        cmocka_unit_test(zlib_framing_is_recognised),
        cmocka_unit_test(a_bomb_stops_at_the_maximum),
        cmocka_unit_test(the_maximum_itself_is_allowed),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(cut_or_damaged_input_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
