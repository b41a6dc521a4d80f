/* Base64: four letters are three bytes. */
#include "base/base64.h"

#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char c)
{
    const char *at = c ? strchr(letters, c) : NULL;

    return at ? (int)(at - letters) : -1;
}

/* `n` letters (2 to 4) of one group. */
static void put_group(const unsigned char v[4], unsigned n, struct buf *out)
{
    unsigned char bytes[3] = { (unsigned char)(v[0] << 2 | v[1] >> 4),
                               (unsigned char)(v[1] << 4 | v[2] >> 2),
                               (unsigned char)(v[2] << 6 | v[3]) };

    buf_add(out, bytes, n - 1);
}

bool base64_decode(const char *text, size_t len, struct buf *out)
{
    unsigned char group[4] = { 0 };
    unsigned n = 0, padding = 0;

    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);

        if (strchr(" \t\r\n", text[i]) && text[i])
            continue;
        if (text[i] == '=') {
            padding++;
            continue;
        }
        if (value < 0 || padding)
            return false;
        group[n++] = (unsigned char)value;
        if (n == 4) {
            put_group(group, n, out);
            n = 0;
        }
    }
    if (n == 1 || (padding && padding != 4 - n) || (n == 0 && padding))
        return false;
    if (n) {
        memset(group + n, 0, 4 - n);
        put_group(group, n, out);
    }
    return !buf_failed(out);
}

void base64_encode(const void *data, size_t len, struct buf *out)
{
    const unsigned char *p = data;

    for (; len >= 3; p += 3, len -= 3) {
        buf_addc(out, letters[p[0] >> 2]);
        buf_addc(out, letters[(p[0] << 4 | p[1] >> 4) & 63]);
        buf_addc(out, letters[(p[1] << 2 | p[2] >> 6) & 63]);
        buf_addc(out, letters[p[2] & 63]);
    }
    if (len == 0)
        return;
    buf_addc(out, letters[p[0] >> 2]);
    buf_addc(out, letters[(p[0] << 4 | (len == 2 ? p[1] >> 4 : 0)) & 63]);
    buf_addc(out, len == 2 ? letters[p[1] << 2 & 63] : '=');
    buf_addc(out, '=');
}
