/* Any two texts as /proc/PID/cgroup and mountinfo, parted by a NUL: an error, or folders that are
 * absolute and do not lead out of what is mounted. */
#include <stdlib.h>
#include <string.h>

#include "chaoslib/machine/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto_free char *text = xcalloc(1, size + 2);
    struct err err = { 0 };
    struct cgroups g;

    memcpy(text, data, size);
    const char *mounts = text + strlen(text) + 1;
    if (cgroups_parse(text, size ? mounts : "", &g, &err) < 0) {
        if (!err_is_set(&err))
            abort();
        return 0;
    }
    for (size_t i = 0; i < g.n; i++)
        if (!*g.v[i].dir || strlen(g.v[i].dir) >= CGROUP_PATH_MAX)
            abort();
    json_free(cgroups_to_join(&g));
    if (!cgroups_equal(&g, &g))
        abort();
    return 0;
}
