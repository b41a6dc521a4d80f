/* A Pumba's log: whatever is in it, lines are counted and nothing is read beyond its end. */
#include <stdlib.h>
#include <string.h>

#include "chaoslib/pumba/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pumba_log log;

    pumba_log_read((const char *)data, size, &log);
    if (log.n_broken + log.n_found_nothing + log.n_skipped > log.n_lines || log.n_lines > size)
        abort();
    return 0;
}
