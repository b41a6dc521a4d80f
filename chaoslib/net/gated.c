/* See gated.h. The order of inject: trees, then the gate is opened. Of revert: the gate is shut,
 * what is held goes on, then the trees go. */
#include "chaoslib/net/gated.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chaoslib/net/gated_tree.h"
#include "edge/nft.h"

#define PRIO_IN (-150)
#define PRIO_OUT 300 /* behind all others: nobody sets another priority after us */
#define ROOT_FIRST 0xca00u

struct gated {
    struct net_fault fault;
    struct gated_trees trees;
    struct gated_place place;
    struct nft *nft;
    char table[NFT_NAME_MAX];
    uint64_t packets; /* that the trees have let through, when they were last there */
};

/* Unlike those of other faults, and of other programs; the leaf's is the next one. */
static uint32_t root_of(const struct net_fault *f)
{
    uint32_t h = 2166136261u;

    for (const char *p = f->tag; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    return TC_HANDLE(ROOT_FIRST | (h & 0xfe), 0);
}

static int find_devices(struct gated *s, struct err *err)
{
    char names[NFT_DEVS_MAX][NET_IFACE_MAX];
    size_t n = net_interfaces(&s->fault, names, NFT_DEVS_MAX);

    if (n == NFT_DEVS_MAX)
        return err_set(err, ERR_PREPARE, E2BIG, "%d network devices or more: name an interface",
                       NFT_DEVS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct gated_device *d = &s->place.devices[s->place.n];
        snprintf(d->name, sizeof d->name, "%s", names[i]);
        d->ifindex = (int)if_nametoindex(d->name);
        if (d->ifindex == 0 && s->fault.filter.iface[0])
            return err_sys(err, ERR_PREPARE, errno, "network device '%s'", d->name);
        s->place.n += d->ifindex != 0;
    }
    return 0;
}

int gated_open(const struct net_fault *f, gated_make_fn *make, void **ret_state, struct err *err)
{
    struct gated *s = xcalloc(1, sizeof *s);

    s->fault = *f;
    net_table_name(f, s->table);
    s->place.root = root_of(f);
    if (f->direction & NET_INGRESS)
        snprintf(s->place.ifb, sizeof s->place.ifb, GATED_IFB "%.8s", f->tag);
    make(f, s->place.root, s->place.root + TC_HANDLE(1, 0), &s->trees);
    *ret_state = s;
    if (find_devices(s, err) < 0)
        return -ENODEV;
    s->place.tc = tc_open(err);
    s->nft = s->place.tc ? nft_open(err) : NULL;
    if (!s->nft)
        return -EIO;
    return f->direction & NET_EGRESS ? gated_check_free(&s->place, err) : 0;
}

void gated_close(void *state)
{
    struct gated *s = state;

    nft_close(s->nft);
    tc_close(s->place.tc);
    free(s->trees.owned);
    free(s);
}

int gated_probe(const struct net_fault *f, gated_make_fn *make, struct err *err)
{
    struct gated_trees trees = { 0 };

    make(f, TC_HANDLE(ROOT_FIRST, 0), TC_HANDLE(ROOT_FIRST + 1, 0), &trees);
    int rc = gated_try(&trees, f->direction & NET_INGRESS, err);
    free(trees.owned);
    return rc;
}

/* ---- the gate ---- */

static void lead_out(struct nft_batch *b, const struct gated *s)
{
    nft_add_table(b, NFT_INET, s->table);
    nft_add_chain(b, &(struct nft_chain){ .family = NFT_INET,
                                          .table = s->table,
                                          .name = "egress",
                                          .type = "filter",
                                          .hook = NFT_POSTROUTING,
                                          .prio = PRIO_OUT });
    nft_add_chain(
        b, &(struct nft_chain){ .family = NFT_INET, .table = s->table, .name = "hit-egress" });
    struct nft_rule *r = nft_add_rule(b, NFT_INET, s->table, "hit-egress");
    nft_counter(r);
    nft_set_priority(r, s->place.root | GATED_CLASS);
    net_match_add(b, &s->fault.filter,
                  &(struct net_match){ .family = NFT_INET,
                                       .table = s->table,
                                       .from = "egress",
                                       .to = "hit-egress",
                                       .direction = NET_EGRESS });
}

static void lead_in(struct nft_batch *b, const struct gated *s)
{
    const char *devs[NFT_DEVS_MAX];

    for (size_t i = 0; i < s->place.n; i++)
        devs[i] = s->place.devices[i].name;
    nft_add_table(b, NFT_NETDEV, s->table);
    nft_add_chain(b, &(struct nft_chain){ .family = NFT_NETDEV,
                                          .table = s->table,
                                          .name = "ingress",
                                          .type = "filter",
                                          .hook = NFT_DEV_INGRESS,
                                          .prio = PRIO_IN,
                                          .devs = devs,
                                          .n_devs = s->place.n });
    nft_add_chain(
        b, &(struct nft_chain){ .family = NFT_NETDEV, .table = s->table, .name = "hit-ingress" });
    struct nft_rule *r = nft_add_rule(b, NFT_NETDEV, s->table, "hit-ingress");
    nft_counter(r);
    nft_forward(r, (uint32_t)s->place.ifb_index);
    net_match_add(b, &s->fault.filter,
                  &(struct net_match){ .family = NFT_NETDEV,
                                       .table = s->table,
                                       .from = "ingress",
                                       .to = "hit-ingress",
                                       .direction = NET_INGRESS });
}

static int open_gate(struct gated *s, struct err *err)
{
    struct nft_batch *b = nft_batch_new(s->nft);

    if (s->fault.direction & NET_EGRESS)
        lead_out(b, s);
    if (s->fault.direction & NET_INGRESS)
        lead_in(b, s);
    int rc = nft_commit(b, err);
    nft_batch_free(b);
    return rc;
}

static int shut_gate(struct gated *s, struct err *err)
{
    int rc = nft_remove_table(s->nft, NFT_INET, s->table, err);

    return rc < 0 ? rc : nft_remove_table(s->nft, NFT_NETDEV, s->table, err);
}

/* ---- the steps ---- */

int gated_inject(void *state, struct err *err)
{
    struct gated *s = state;

    if ((s->fault.direction & NET_EGRESS) && gated_plant(&s->place, &s->trees.device, err) < 0)
        return -EIO;
    if ((s->fault.direction & NET_INGRESS) && gated_plant_ifb(&s->place, &s->trees.ifb, err) < 0)
        return -EIO;
    return open_gate(s, err);
}

int gated_revert(void *state, uint64_t drain_ns, struct err *err)
{
    struct gated *s = state;
    int rc = shut_gate(s, err);

    if (rc < 0)
        return rc;
    uint64_t deadline = clock_now_ns() + drain_ns;
    s->packets = MAX(s->packets, gated_drain(&s->place, deadline));
    rc = gated_uproot(&s->place, err);
    return rc < 0 ? rc : 0;
}

static int check_gate(struct gated *s, enum nft_family family, bool in, struct err *err)
{
    int rc = nft_has_table(family, s->table, err);

    if (rc < 0)
        return rc;
    if ((rc == 0) == in)
        return 0;
    return err_set(err, in ? ERR_INJECT : ERR_REVERT, EIO, "nftables table '%s' is %s", s->table,
                   in ? "not there" : "still there");
}

int gated_verify(void *state, bool in, struct json *evidence, struct err *err)
{
    struct gated *s = state;
    bool out = s->fault.direction & NET_EGRESS, into = s->fault.direction & NET_INGRESS;

    if ((out && check_gate(s, NFT_INET, in, err) < 0) ||
        (into && check_gate(s, NFT_NETDEV, in, err) < 0))
        return -EIO;
    if (in && ((out && gated_check(&s->place, &s->trees.device, err) < 0) ||
               (into && gated_check_ifb(&s->place, &s->trees.ifb, err) < 0)))
        return -EIO;
    if (!in && gated_check_gone(&s->place, err) < 0)
        return -EIO;
    if (in)
        s->packets = gated_drain(&s->place, 0);
    json_put_str(evidence, "table", s->table);
    json_put_u64(evidence, "handle", s->place.root >> 16);
    json_put_u64(evidence, "packets", s->packets);
    return 0;
}

/* ---- what outlives us ---- */

void gated_residue(const void *state, struct json *record)
{
    const struct gated *s = state;

    json_put_u64(record, "root", s->place.root);
    json_put_str(record, "ifb", s->place.ifb);
    if (!(s->fault.direction & NET_EGRESS))
        return;
    struct json *list = json_put(record, "devices", json_array());
    for (size_t i = 0; i < s->place.n; i++)
        json_put_u64(json_put(list, NULL, json_object()), "ifindex",
                     (uint64_t)s->place.devices[i].ifindex);
}

int gated_undo(const struct json *record, struct err *err)
{
    struct gated_place place = { .root = (uint32_t)json_u64(record, "root", 0) };

    snprintf(place.ifb, sizeof place.ifb, "%s", json_str(record, "ifb", ""));
    if (place.root >> 24 != ROOT_FIRST >> 8 ||
        (place.ifb[0] && strncmp(place.ifb, GATED_IFB, strlen(GATED_IFB)) != 0))
        return err_set(err, ERR_REVERT, EINVAL,
                       "the journal names a queueing discipline that is not ours");
    for (const struct json *j = json_first(json_get(record, "devices"));
         j && place.n < NFT_DEVS_MAX; j = json_next(j))
        place.devices[place.n++].ifindex = (int)json_u64(j, "ifindex", 0);
    place.tc = tc_open(err);
    if (!place.tc)
        return -EIO;
    gated_drain(&place, clock_now_ns() + NS_PER_SEC);
    int rc = gated_uproot(&place, err);
    if (rc >= 0 && gated_check_gone(&place, err) < 0)
        rc = -EIO;
    tc_close(place.tc);
    return rc;
}
