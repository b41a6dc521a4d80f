/* See hpack.h. */
#include "edge/hpack.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "base/mem.h"

struct hpack {
    nghttp2_hd_inflater *inflater;
    uint32_t allowed;
};

struct hpack *hpack_new(void)
{
    struct hpack *h = xcalloc(1, sizeof(*h));

    h->allowed = NGHTTP2_DEFAULT_HEADER_TABLE_SIZE;
    if (nghttp2_hd_inflate_new(&h->inflater) != 0)
        abort();
    return h;
}

void hpack_free(struct hpack *h)
{
    if (h)
        nghttp2_hd_inflate_del(h->inflater);
    free(h);
}

void hpack_allow(struct hpack *h, uint32_t table_bytes)
{
    table_bytes = MIN(table_bytes, HPACK_TABLE_MAX);
    if (table_bytes <= h->allowed)
        return;
    h->allowed = table_bytes;
    err_ignore(nghttp2_hd_inflate_change_table_size(h->inflater, table_bytes),
               "between blocks it cannot fail, and we are");
}

static bool tell(const nghttp2_nv *nv, hpack_field_fn *fn, void *arg)
{
    const struct hpack_field f = { .name = (const char *)nv->name,
                                   .value = (const char *)nv->value,
                                   .name_len = nv->namelen,
                                   .value_len = nv->valuelen,
                                   .never_index = nv->flags & NGHTTP2_NV_FLAG_NO_INDEX };

    return fn(arg, &f);
}

int hpack_decode(struct hpack *h, const void *block, size_t len, hpack_field_fn *fn, void *arg,
                 struct err *err)
{
    const uint8_t *in = block;
    int flags = 0;

    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        ssize_t n = nghttp2_hd_inflate_hd2(h->inflater, &nv, &flags, in, len, 1);
        if (n < 0)
            return err_set(err, ERR_GENERIC, EBADMSG, "header block: %s", nghttp2_strerror((int)n));
        in += n;
        len -= (size_t)n;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) && !tell(&nv, fn, arg))
            return err_set(err, ERR_LIMIT, EMSGSIZE, "header block: too many fields");
        if (n == 0 && !(flags & (NGHTTP2_HD_INFLATE_FINAL | NGHTTP2_HD_INFLATE_EMIT)))
            return err_set(err, ERR_GENERIC, EBADMSG, "header block: it ends too early");
    }
    nghttp2_hd_inflate_end_headers(h->inflater);
    return 0;
}
