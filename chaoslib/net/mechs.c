/* All mechanisms, safest first. All of them end with the holder; netem and htb leave an idle qdisc
 * then, which the journal has to remove, so they come after what leaves nothing. Whoever wants the
 * field's yardstick, or its throughput, asks for netem. */
#include <string.h>

#include "chaoslib/net/mech.h"

const struct net_mech *const net_mechs[] = {
    &net_mech_nftables, &net_mech_nfqueue, &net_mech_netem, &net_mech_htb, NULL,
};

const struct net_mech *net_mech_find(const char *name)
{
    for (const struct net_mech *const *m = net_mechs; *m; m++)
        if (strcmp((*m)->name, name) == 0)
            return *m;
    return NULL;
}
