/* A network fault on its way to the holder. Both ends are of one binary; still nothing is believed:
 * what is out of bounds is refused. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/net/net.h"

static const char *const effects[] = {
    [NET_LATENCY] = "latency",     [NET_LOSS] = "loss",           [NET_CORRUPT] = "corrupt",
    [NET_DUPLICATE] = "duplicate", [NET_REORDER] = "reorder",     [NET_RATE] = "rate",
    [NET_PARTITION] = "partition", [NET_TCP_RESET] = "tcp-reset",
};
_Static_assert(ARRAY_LEN(effects) == NET_EFFECT_MAX, "every effect has a name");

const char *net_effect_name(enum net_effect e)
{
    return (unsigned)e < NET_EFFECT_MAX ? effects[e] : "";
}

/* Numbers by name, place and bounds; all fit into a double exactly, but for the seed. */
enum field_type { FIELD_U64, FIELD_U32, FIELD_INT, FIELD_DOUBLE };
struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    double lo, hi;
};
#define AT(member) offsetof(struct net_fault, member)
static const struct field fields[] = {
    { "effect", FIELD_INT, AT(effect), 0, NET_EFFECT_MAX - 1 },
    { "direction", FIELD_INT, AT(direction), NET_EGRESS, NET_BOTH },
    { "delay_ns", FIELD_U64, AT(shape.delay_ns), 0, 3600e9 },
    { "jitter_ns", FIELD_U64, AT(shape.jitter_ns), 0, 3600e9 },
    { "distribution", FIELD_INT, AT(shape.distribution), 0, NET_PARETONORMAL },
    { "correlation", FIELD_DOUBLE, AT(shape.correlation), 0, 1 },
    { "percent", FIELD_DOUBLE, AT(shape.percent), 0, 1 },
    { "loss", FIELD_INT, AT(shape.loss), 0, NET_STATE },
    { "ge0", FIELD_DOUBLE, AT(shape.ge[0]), 0, 1 },
    { "ge1", FIELD_DOUBLE, AT(shape.ge[1]), 0, 1 },
    { "ge2", FIELD_DOUBLE, AT(shape.ge[2]), 0, 1 },
    { "ge3", FIELD_DOUBLE, AT(shape.ge[3]), 0, 1 },
    { "p13", FIELD_DOUBLE, AT(shape.state[0]), 0, 1 },
    { "p31", FIELD_DOUBLE, AT(shape.state[1]), 0, 1 },
    { "p32", FIELD_DOUBLE, AT(shape.state[2]), 0, 1 },
    { "p23", FIELD_DOUBLE, AT(shape.state[3]), 0, 1 },
    { "p14", FIELD_DOUBLE, AT(shape.state[4]), 0, 1 },
    { "every", FIELD_U32, AT(shape.every), 0, 1e6 },
    { "nth", FIELD_U32, AT(shape.nth), 0, 1e6 },
    { "gap", FIELD_U32, AT(shape.gap), 0, 1e6 },
    { "rate_bits", FIELD_U64, AT(shape.rate_bits), 0, 1e12 },
    { "burst_bytes", FIELD_U64, AT(shape.burst_bytes), 0, 1e12 },
    { "limit_bytes", FIELD_U64, AT(shape.limit_bytes), 0, 1e12 },
    { "limit", FIELD_U32, AT(shape.limit), 0, 1e6 },
    { "mode", FIELD_INT, AT(shape.mode), 0, NET_RESET },
    { "seed", FIELD_U64, AT(shape.seed), 0, 9007199254740992.0 },
    { "proto", FIELD_INT, AT(filter.proto), 0, NET_ICMP },
};

static const struct {
    const char *name;
    size_t offset;
} addr_lists[] = { { "peers", AT(filter.peers) },
                   { "dst", AT(filter.dst) },
                   { "src", AT(filter.src) } },
  port_lists[] = { { "port", AT(filter.port) },
                   { "dport", AT(filter.dport) },
                   { "sport", AT(filter.sport) } };

static double field_get(const struct field *f, const void *base)
{
    const char *p = (const char *)base + f->offset;

    switch (f->type) {
    case FIELD_U64: return (double)*(const uint64_t *)(const void *)p;
    case FIELD_U32: return *(const uint32_t *)(const void *)p;
    case FIELD_INT: return *(const int *)(const void *)p;
    case FIELD_DOUBLE: break;
    }
    return *(const double *)(const void *)p;
}

static void field_set(const struct field *f, void *base, double value)
{
    void *p = (char *)base + f->offset;

    switch (f->type) {
    case FIELD_U64: *(uint64_t *)p = (uint64_t)value; break;
    case FIELD_U32: *(uint32_t *)p = (uint32_t)value; break;
    case FIELD_INT: *(int *)p = (int)value; break;
    case FIELD_DOUBLE: *(double *)p = value; break;
    }
}

static void write_addrs(struct json *j, const char *name, const struct net_addrs *a)
{
    struct json *list = json_put(j, name, json_array());
    char text[INET6_ADDRSTRLEN], cidr[INET6_ADDRSTRLEN + 8];

    for (size_t i = 0; i < a->n; i++) {
        inet_ntop(a->v[i].af, a->v[i].bytes, text, sizeof text);
        snprintf(cidr, sizeof cidr, "%s/%u", text, a->v[i].prefix);
        json_put_str(list, NULL, cidr);
    }
}

static void write_ports(struct json *j, const char *name, const struct net_ports *p)
{
    struct json *list = json_put(j, name, json_array());
    char text[32];

    for (size_t i = 0; i < p->n; i++) {
        snprintf(text, sizeof text, "%u-%u", p->v[i].lo, p->v[i].hi);
        json_put_str(list, NULL, text);
    }
}

struct json *net_fault_write(const struct net_fault *f)
{
    struct json *j = json_object();
    const char *base = (const char *)f;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        json_put_num(j, fields[i].name, field_get(&fields[i], f));
    for (size_t i = 0; i < ARRAY_LEN(addr_lists); i++) {
        write_addrs(j, addr_lists[i].name, (const void *)(base + addr_lists[i].offset));
        write_ports(j, port_lists[i].name, (const void *)(base + port_lists[i].offset));
    }
    json_put_str(j, "iface", f->filter.iface);
    json_put_str(j, "mechanism", f->mechanism);
    json_put_str(j, "tag", f->tag);
    return j;
}

static int read_numbers(const struct json *j, struct net_fault *f, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        double value = json_num(j, fields[i].name, (double)NAN);
        if (!(value >= fields[i].lo && value <= fields[i].hi))
            return err_set(err, ERR_INJECT, EINVAL, "a network fault's '%s' is not in %g..%g",
                           fields[i].name, fields[i].lo, fields[i].hi);
        field_set(&fields[i], f, value);
    }
    if (f->shape.loss == NET_NTH && f->shape.nth >= f->shape.every)
        return err_set(err, ERR_INJECT, EINVAL, "packet %u of every %u", f->shape.nth,
                       f->shape.every);
    if (f->effect == NET_RATE && f->shape.rate_bits == 0)
        return err_set(err, ERR_INJECT, EINVAL, "a rate of nothing");
    return 0;
}

/* With the length of each: a name here would be looked up. */
static int read_addrs(const struct json *list, struct net_addrs *a, struct err *err)
{
    for (const struct json *i = json_first(list); i; i = json_next(i)) {
        const char *text = json_str(i, "", "");
        if (!strchr(text, '/'))
            return err_set(err, ERR_INJECT, EINVAL, "'%.60s' is no CIDR", text);
        if (net_addrs_add(a, text, err) < 0)
            return -EINVAL;
    }
    return 0;
}

static int read_ports(const struct json *list, struct net_ports *p, struct err *err)
{
    for (const struct json *i = json_first(list); i; i = json_next(i))
        if (net_ports_add(p, json_str(i, "", ""), err) < 0)
            return -EINVAL;
    return 0;
}

int net_fault_read(const struct json *j, struct net_fault *ret, struct err *err)
{
    struct net_fault f = { 0 };
    char *base = (char *)&f;

    if (!json_is_object(j))
        return err_set(err, ERR_INJECT, EINVAL, "a network fault is an object");
    if (read_numbers(j, &f, err) < 0)
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_LEN(addr_lists); i++)
        if (read_addrs(json_get(j, addr_lists[i].name), (void *)(base + addr_lists[i].offset),
                       err) < 0 ||
            read_ports(json_get(j, port_lists[i].name), (void *)(base + port_lists[i].offset),
                       err) < 0)
            return -EINVAL;
    snprintf(f.filter.iface, sizeof f.filter.iface, "%s", json_str(j, "iface", ""));
    snprintf(f.mechanism, sizeof f.mechanism, "%s", json_str(j, "mechanism", "auto"));
    snprintf(f.tag, sizeof f.tag, "%s", json_str(j, "tag", ""));
    *ret = f;
    return 0;
}
