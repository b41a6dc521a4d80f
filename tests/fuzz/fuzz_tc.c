/* Any bytes as what the kernel tells of a queueing discipline: none, one of a kind that we never
 * make, or one that can be said again; of netem, in the same words each time. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "edge/tc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TC_REQUEST_MAX)
        return 0;
    auto_free char *msg = xcalloc(1, size + 1);
    auto_free char *said = xcalloc(1, TC_REQUEST_MAX);
    struct tc_qdisc q, again;

    memcpy(msg, data, size);
    if (!tc_decode(msg, size, &q) || q.kind == TC_OTHER)
        return 0;
    size_t n = tc_encode(&q, said);
    if (n > TC_REQUEST_MAX || !tc_decode(said, n, &again))
        abort();
    if (q.kind == TC_NETEM && !tc_same(&q, &again))
        abort();
    return 0;
}
