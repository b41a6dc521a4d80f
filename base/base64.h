/* Base64 (RFC 4648, section 4), as certificates in kubeconfigs are written. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/mem.h"

/* Appends what `text` stands for; white space between the letters is passed over. False when it is
 * not base64, or `out` is full: nothing may be made of `out` then. */
bool base64_decode(const char *text, size_t len, struct buf *out);
void base64_encode(const void *data, size_t len, struct buf *out);

#endif
