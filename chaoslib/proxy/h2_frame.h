/* Frames of HTTP/2 (RFC 9113), as far as the proxy reads and writes them. Pure. */
#ifndef CHAOSLIB_PROXY_H2_FRAME_H
#define CHAOSLIB_PROXY_H2_FRAME_H

#include "base/mem.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_HEADER_LEN 9
#define H2_PRIORITY_LEN 5
/* What everybody must take. */
#define H2_FRAME_MAX ((size_t)16384)

enum h2_type {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST_STREAM,
    H2_SETTINGS,
    H2_PUSH_PROMISE,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW_UPDATE,
    H2_CONTINUATION
};
enum h2_flag {
    H2_ACK = 0x1,
    H2_END_STREAM = 0x1,
    H2_END_HEADERS = 0x4,
    H2_PADDED = 0x8,
    H2_HAS_PRIORITY = 0x20
};
#define H2_SETTING_TABLE_SIZE 1

struct h2_frame {
    uint32_t len; /* of what follows the header */
    uint8_t type, flags;
    uint32_t stream;
};
struct h2_frame h2_frame_read(const unsigned char header[H2_HEADER_LEN]);
void h2_frame_write(const struct h2_frame *f, struct buf *out); /* its header */

/* Where the header block lies in a HEADERS or CONTINUATION frame. */
struct h2_part {
    const unsigned char *priority; /* H2_PRIORITY_LEN bytes; NULL: none */
    const unsigned char *block;
    size_t len;
};
/* -1: padding and priority do not fit. */
int h2_part_find(const struct h2_frame *f, const unsigned char *payload,
                 struct h2_part *ret) MUST_CHECK;

/* ---- writing header blocks that leave the reader's table as it is ---- */
void h2_field_write(const char *name, size_t name_len, const char *value, size_t value_len,
                    bool never_index, struct buf *out);
/* "The table has no room": allowed at the head of each block, and owed after some. */
void h2_no_table_write(struct buf *out);
/* HEADERS, and CONTINUATION as many as it takes. */
struct h2_headers {
    uint32_t stream;
    bool end_stream;
    const unsigned char *priority; /* as in h2_part */
    const char *block;
    size_t len;
};
void h2_headers_write(const struct h2_headers *h, struct buf *out);
/* RST_STREAM with a code, WINDOW_UPDATE with an increment. */
void h2_number_write(enum h2_type type, uint32_t stream, uint32_t number, struct buf *out);

#endif
