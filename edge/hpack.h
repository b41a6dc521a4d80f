/* Header blocks of HTTP/2 to fields (HPACK, by libnghttp2). One decoder follows one direction of
 * one connection: every block of it, in order. */
#ifndef EDGE_HPACK_H
#define EDGE_HPACK_H

#include "base/err.h"

/* However large a table the other side would allow. */
#define HPACK_TABLE_MAX ((uint32_t)1 << 20)

struct hpack;

struct hpack *hpack_new(void);
void hpack_free(struct hpack *h);
/* The receiver of the blocks allows its sender so large a table. Never less than before, which is
 * what whoever only follows needs. */
void hpack_allow(struct hpack *h, uint32_t table_bytes);

struct hpack_field {
    const char *name, *value;
    size_t name_len, value_len;
    bool never_index; /* whoever writes it again must not put it into a table */
};
/* Called while hpack_decode runs; the texts die when it returns. False: no more of them. */
typedef bool hpack_field_fn(void *arg, const struct hpack_field *f);
/* A whole block. Negative: it is broken, or fn has had enough, and nothing that follows can be
 * read. */
int hpack_decode(struct hpack *h, const void *block, size_t len, hpack_field_fn *fn, void *arg,
                 struct err *err) MUST_CHECK;

#endif
