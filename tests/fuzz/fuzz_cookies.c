/* Cookies: each line of the input is a Set-Cookie; what goes back is one header line within its
 * limit, and never holds a control character. */
#include <string.h>

#include "runner/cookies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct buf *out, unsigned n)
{
    if ((n == 0) != (out->len == 0))
        abort();
    if (n == 0)
        return;
    if (n > COOKIES_MAX || out->len > COOKIE_HEADER_MAX + 16 ||
        memcmp(out->data, "Cookie: ", 8) != 0 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
        abort();
    for (size_t i = 0; i + 2 < out->len; i++)
        if ((unsigned char)out->data[i] < ' ')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = { "shop.test", "www.shop.test", "127.0.0.1" };
    const char *at = (const char *)data, *end = at + size;
    struct cookies c = { 0 };
    struct buf out = BUF_INIT(0);
    unsigned line = 0;

    while (at < end) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((nl ? nl : end) - at);

        cookies_store(&c, hosts[line++ % ARRAY_LEN(hosts)], "/a/b?c", at, len, 1800000000);
        at += len + 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        buf_clear(&out);
        check(&out, cookies_header(&c, hosts[i], "/a/b", i == 0, 1800000000, &out));
    }
    cookies_store_head(&c, "h", "/", (const char *)data, size, 1800000000);
    buf_done(&out);
    cookies_done(&c);
    return 0;
}
