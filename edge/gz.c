/* See gz.h. The output is made in small steps, so that a bomb is stopped at its first step past the
 * maximum and never has the memory that it asks for. */
#include "edge/gz.h"

#include <errno.h>
#include <limits.h>
#include <zlib.h>

#define STEP ((size_t)16 << 10)
#define DETECT_FRAMING 32 /* added to the window bits: gzip or zlib, by the header */
#define GZIP_FRAMING 16

static Bytef *input_of(const void *in)
{
    return (Bytef *)(uintptr_t)in; /* zlib reads it only */
}

static int refuse(const z_stream *z, int rc, struct err *err)
{
    if (rc == Z_MEM_ERROR)
        return err_set(err, ERR_GENERIC, ENOMEM, "inflate: out of memory");
    if (rc == Z_BUF_ERROR)
        return err_set(err, ERR_GENERIC, EBADMSG, "inflate: the data ends too early");
    return err_set(err, ERR_GENERIC, EBADMSG, "inflate: %s", z->msg ? z->msg : "damaged data");
}

/* One member; Z_STREAM_END when it is complete. *room is what may still come out. */
static int inflate_member(z_stream *z, size_t *room, struct buf *out, struct err *err)
{
    int rc = Z_OK;

    while (rc != Z_STREAM_END) {
        size_t step = MIN(STEP, *room + 1);
        char *to = buf_reserve(out, step);
        if (!to)
            return err_set(err, ERR_LIMIT, EFBIG, "inflate: the buffer is full");
        z->next_out = (Bytef *)to;
        z->avail_out = (uInt)step;
        rc = inflate(z, Z_NO_FLUSH);
        size_t got = step - z->avail_out;
        if (got > *room)
            return err_set(err, ERR_LIMIT, EFBIG, "inflate: larger than the maximum");
        *room -= got;
        out->len += got;
        out->data[out->len] = '\0';
        if (rc != Z_OK && rc != Z_STREAM_END)
            return refuse(z, rc, err);
    }
    return 0;
}

int gz_inflate(const void *in, size_t n, size_t max, struct buf *out, struct err *err)
{
    z_stream z = { .next_in = input_of(in), .avail_in = (uInt)n };
    size_t room = max ? MIN(max, SIZE_MAX / 2) : GZ_INFLATE_MAX;

    if (n > UINT_MAX)
        return err_set(err, ERR_LIMIT, EFBIG, "inflate: more than 4 GiB");
    if (inflateInit2(&z, MAX_WBITS + DETECT_FRAMING) != Z_OK)
        return refuse(&z, Z_MEM_ERROR, err);
    int rc = inflate_member(&z, &room, out, err);
    /* Bytes behind the end that are no further member are padding, as gzip(1) has it. */
    while (rc == 0 && z.avail_in >= 2 && z.next_in[0] == 0x1f && z.next_in[1] == 0x8b) {
        inflateReset(&z);
        rc = inflate_member(&z, &room, out, err);
    }
    inflateEnd(&z);
    return rc;
}

int gz_deflate(const void *in, size_t n, struct buf *out, struct err *err)
{
    z_stream z = { .next_in = input_of(in), .avail_in = (uInt)n };

    if (n > UINT_MAX / 2)
        return err_set(err, ERR_LIMIT, EFBIG, "deflate: more than 2 GiB");
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + GZIP_FRAMING, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return err_set(err, ERR_GENERIC, ENOMEM, "deflate: out of memory");
    uLong bound = deflateBound(&z, (uLong)n);
    char *to = buf_reserve(out, bound);
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)bound;
    int rc = to ? deflate(&z, Z_FINISH) : Z_BUF_ERROR;
    size_t got = bound - z.avail_out;
    deflateEnd(&z);
    if (rc != Z_STREAM_END)
        return err_set(err, ERR_LIMIT, EFBIG, "deflate: the buffer is full");
    out->len += got;
    out->data[out->len] = '\0';
    return 0;
}
