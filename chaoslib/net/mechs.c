/* All mechanisms, best first. All of them end with the holder; netem and htb leave an idle qdisc
 * then. netem is the field's yardstick, and loses nothing that it holds, so it comes before what
 * works in user space; htb can do no more than nfqueue, and comes last. */
#include <string.h>

#include "chaoslib/net/mech.h"

const struct net_mech *const net_mechs[] = {
    &net_mech_nftables, &net_mech_netem, &net_mech_nfqueue, &net_mech_htb, NULL,
};

const struct net_mech *net_mech_find(const char *name)
{
    for (const struct net_mech *const *m = net_mechs; *m; m++)
        if (strcmp((*m)->name, name) == 0)
            return *m;
    return NULL;
}
