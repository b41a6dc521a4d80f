/* gzip and zlib bytes to plain bytes (zlib). For response bodies that a check looks into, and for
 * stored results. */
#ifndef EDGE_GZ_H
#define EDGE_GZ_H

#include "base/err.h"
#include "base/mem.h"

#define GZ_INFLATE_MAX ((size_t)64 << 20)

/* Appends the inflated bytes to `out`. gzip (several members in a row too) or zlib framing, told
 * apart by the first bytes. At most `max` bytes come out (0: GZ_INFLATE_MAX): a bomb is an error
 * of kind ERR_LIMIT. A cut or damaged input is an error too; `out` then holds what came before. */
int gz_inflate(const void *in, size_t n, size_t max, struct buf *out, struct err *err) MUST_CHECK;
/* Appends `in` as one gzip member. */
int gz_deflate(const void *in, size_t n, struct buf *out, struct err *err) MUST_CHECK;

#endif
