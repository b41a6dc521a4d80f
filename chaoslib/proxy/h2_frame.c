/* See h2_frame.h. */
#include "chaoslib/proxy/h2_frame.h"

#include <string.h>

#define STREAM_MASK 0x7fffffffu

static uint32_t read_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_u32(uint32_t n, struct buf *out)
{
    const unsigned char bytes[] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
                                    (unsigned char)(n >> 8), (unsigned char)n };

    buf_add(out, bytes, sizeof(bytes));
}

struct h2_frame h2_frame_read(const unsigned char header[H2_HEADER_LEN])
{
    return (struct h2_frame){ .len = read_u32(header) >> 8,
                              .type = header[3],
                              .flags = header[4],
                              .stream = read_u32(header + 5) & STREAM_MASK };
}

void h2_frame_write(const struct h2_frame *f, struct buf *out)
{
    write_u32((f->len << 8) | f->type, out);
    buf_addc(out, (char)f->flags);
    write_u32(f->stream, out);
}

int h2_part_find(const struct h2_frame *f, const unsigned char *payload, struct h2_part *ret)
{
    bool first = f->type == H2_HEADERS;
    size_t at = 0, pad = 0, len = f->len;

    *ret = (struct h2_part){ 0 };
    if (first && (f->flags & H2_PADDED)) {
        if (len < 1)
            return -1;
        pad = payload[at++];
    }
    if (first && (f->flags & H2_HAS_PRIORITY)) {
        ret->priority = payload + at;
        at += H2_PRIORITY_LEN;
    }
    if (at + pad > len)
        return -1;
    ret->block = payload + at;
    ret->len = len - at - pad;
    return 0;
}

/* ---- HPACK, the part of it that needs no table (RFC 7541, 5.1 and 6.2) ---- */

static void write_length(size_t n, struct buf *out)
{
    if (n < 127) {
        buf_addc(out, (char)n);
        return;
    }
    buf_addc(out, 127);
    for (n -= 127; n >= 128; n >>= 7)
        buf_addc(out, (char)(unsigned char)((n & 127) | 128));
    buf_addc(out, (char)n);
}

void h2_field_write(const char *name, size_t name_len, const char *value, size_t value_len,
                    bool never_index, struct buf *out)
{
    buf_addc(out, never_index ? 0x10 : 0);
    write_length(name_len, out);
    buf_add(out, name, name_len);
    write_length(value_len, out);
    buf_add(out, value, value_len);
}

void h2_no_table_write(struct buf *out)
{
    buf_addc(out, 0x20);
}

/* ---- frames ---- */

void h2_headers_write(const struct h2_headers *h, struct buf *out)
{
    size_t priority = h->priority ? H2_PRIORITY_LEN : 0, at = 0;
    struct h2_frame f = { .type = H2_HEADERS, .stream = h->stream };

    do {
        size_t n = MIN(h->len - at, H2_FRAME_MAX - priority);
        bool last = at + n == h->len, first = at == 0;
        f.len = (uint32_t)(n + priority);
        f.flags = last ? H2_END_HEADERS : 0;
        if (first && h->end_stream)
            f.flags |= H2_END_STREAM;
        if (priority)
            f.flags |= H2_HAS_PRIORITY;
        h2_frame_write(&f, out);
        buf_add(out, h->priority, priority);
        buf_add(out, h->block + at, n);
        at += n;
        priority = 0;
        f.type = H2_CONTINUATION;
    } while (at < h->len);
}

void h2_number_write(enum h2_type type, uint32_t stream, uint32_t number, struct buf *out)
{
    h2_frame_write(&(struct h2_frame){ .len = 4, .type = (uint8_t)type, .stream = stream }, out);
    write_u32(number, out);
}
