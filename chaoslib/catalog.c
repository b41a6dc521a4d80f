/* The list of all fault kinds, in the order of the docs. */
#include <string.h>

#include "chaoslib/inject.h"

const struct fault_kind *const fault_catalog[] = {
    /* on a process */
    &fault_process_kill,
    &fault_process_pause,
    &fault_process_stop,
    &fault_process_restart,
    &fault_process_signal,
    &fault_process_exec,
    NULL,
};

const struct fault_kind *fault_kind_find(const char *name, const char *backend)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (strcmp((*k)->name, name) == 0 && strcmp((*k)->backend, backend) == 0)
            return *k;
    return NULL;
}
