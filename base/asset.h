/* A file that is embedded in the binary at build time (cmake/embed.cmake). */
#ifndef BASE_ASSET_H
#define BASE_ASSET_H

#include "base/defs.h"

struct asset {
    const char *data; /* not NUL-terminated */
    size_t len;
};

#endif
