/* Pages of its own for each secret: what madvise says of a page, it says of all that is in it. */
#include "chaoslib/secret.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/mem.h"

char *secret_new(size_t len)
{
    char *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    if (madvise(p, len + 1, MADV_DONTDUMP) < 0)
        err_ignore(-errno, "a kernel without it has no dumps to leave it out of");
    return p;
}

void secret_free(char *secret, size_t len)
{
    if (!secret)
        return;
    mem_wipe(secret, len);
    munmap(secret, len + 1);
}
