/* Between nft.c (socket, batch, looking) and nft_rule.c (expressions). */
#ifndef EDGE_NFT_INTERNAL_H
#define EDGE_NFT_INTERNAL_H

#include "edge/nft.h"

struct nftnl_rule;
struct nft_rule {
    struct nftnl_rule *rule;
    enum nft_family family;
};

#endif
