/* All mechanisms, best first: those of the kernel alone, then what works in user space. All of them
 * end with the holder, or leave an idle qdisc behind. */
#include <string.h>

#include "chaoslib/net/mech.h"

const struct net_mech *const net_mechs[] = {
    &net_mech_nftables, &net_mech_netem, &net_mech_htb, &net_mech_nfqueue, NULL,
};

const struct net_mech *net_mech_find(const char *name)
{
    for (const struct net_mech *const *m = net_mechs; *m; m++)
        if (strcmp((*m)->name, name) == 0)
            return *m;
    return NULL;
}
