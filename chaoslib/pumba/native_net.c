/* netem and iptables: what happens to packets, and to which. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "chaoslib/pumba/native.h"

/* Pumba makes one rule of each address and port, so any of them is enough; here all conditions of a
 * fault must hold. So each list becomes a fault of its own. */
struct list {
    const char *key; /* ours */
    char text[1024]; /* "['a', 'b']"; "" when there is none */
};

static void list_of_strs(struct list *l, const struct strs *v)
{
    size_t n = 0;

    for (size_t i = 0; i < v->n && n < sizeof(l->text) - 100; i++)
        n += (size_t)snprintf(l->text + n, sizeof(l->text) - n, "%s%.60s", i ? ", " : "[", v->v[i]);
    if (v->n)
        snprintf(l->text + n, sizeof(l->text) - n, "]");
}

static void list_of_ports(struct list *l, const char *ports)
{
    if (*ports)
        snprintf(l->text, sizeof(l->text), "[%.1000s]", ports);
}

static void put_where(struct native *n, const struct list *filter)
{
    const struct pumba_line *l = n->line;

    buf_addf(&n->faults, ", direction: %s, interface: %s",
             l->command == PUMBA_IPTABLES ? "ingress" : "egress", l->interface);
    if (l->command == PUMBA_IPTABLES && strcmp(l->protocol, "any") != 0)
        buf_addf(&n->faults, ", protocol: %s", l->protocol);
    if (filter)
        buf_addf(&n->faults, ", %s: %s", filter->key, filter->text);
    native_end(n, l->duration_ns);
}

static void put_share(struct native *n, const char *kind, const struct pumba_share *s,
                      const struct list *filter)
{
    if (!s->on)
        return;
    native_begin(n, kind);
    buf_addf(&n->faults, ", percent: %g%%", s->percent);
    if (s->correlation > 0)
        buf_addf(&n->faults, ", correlation: %g%%", s->correlation);
    put_where(n, filter);
}

static void put_delay(struct native *n, const struct list *filter)
{
    const struct pumba_delay *d = &n->line->delay;

    if (!d->on)
        return;
    native_begin(n, "latency");
    buf_addf(&n->faults, ", delay: %lldms", (long long)d->time_ms);
    if (d->jitter_ms > 0) {
        buf_addf(&n->faults, ", jitter: %lldms", (long long)d->jitter_ms);
        if (d->correlation > 0)
            buf_addf(&n->faults, ", correlation: %g%%", d->correlation);
        if (*d->distribution)
            buf_addf(&n->faults, ", distribution: %s", d->distribution);
    }
    put_where(n, filter);
}

static void put_rate(struct native *n, const struct list *filter)
{
    const struct pumba_rate *r = &n->line->rate;

    if (!r->on)
        return;
    native_begin(n, "rate");
    buf_addf(&n->faults, ", rate: %s", r->rate);
    put_where(n, filter);
}

static void put_models(struct native *n, const struct list *filter)
{
    const struct pumba_line *l = n->line;

    if (l->effect == PUMBA_LOSS_STATE) {
        native_begin(n, "loss");
        buf_addf(&n->faults, ", state: {p13: %g%%, p31: %g%%, p32: %g%%, p23: %g%%, p14: %g%%}",
                 l->p13, l->p31, l->p32, l->p23, l->p14);
        put_where(n, filter);
    } else if (l->effect == PUMBA_LOSS_GEMODEL) {
        native_begin(n, "loss");
        buf_addf(&n->faults, ", gemodel: {p: %g%%, r: %g%%, 1-h: %g%%, 1-k: %g%%}", l->pg, l->pb,
                 l->one_h, l->one_k);
        put_where(n, filter);
    } else if (l->effect == PUMBA_IPTABLES_LOSS) {
        native_begin(n, "loss");
        if (strcmp(l->mode, "nth") == 0)
            buf_addf(&n->faults, ", every: %lld, packet: %lld", (long long)l->every,
                     (long long)l->packet);
        else
            buf_addf(&n->faults, ", percent: %g%%", l->probability * 100);
        put_where(n, filter);
    }
}

static void put_effects(struct native *n, const struct list *filter)
{
    put_delay(n, filter);
    put_share(n, "loss", &n->line->loss, filter);
    put_share(n, "duplicate", &n->line->duplicate, filter);
    put_share(n, "corrupt", &n->line->corrupt, filter);
    put_rate(n, filter);
    put_models(n, filter);
}

static void note_net(struct native *n, size_t n_lists)
{
    const struct pumba_line *l = n->line;

    if (n_lists > 1)
        native_note(n,
                    "Pumba takes packets that match any of the addresses and ports; here each list "
                    "is a fault of its own, and what matches two is hit twice");
    if (l->effect == PUMBA_COMBINE)
        native_note(n, "each effect of combine is a fault of its own, at the same time");
    if (l->delay.on && l->delay.jitter_ms == 0)
        native_note(n, "--jitter 0 with a correlation is read by tc as a jitter of microseconds; "
                       "here there is none");
    if (l->rate.on && (l->rate.packet_overhead || l->rate.cell_size || l->rate.cell_overhead))
        native_note(n, "overheads and cell sizes have no equivalent and are left out");
    native_note(n, "no side-car and no image is needed, so --tc-image, --iptables-image and "
                   "--pull-image are left out; IPv6 is hit too");
}

int native_net(struct native *n)
{
    const struct pumba_line *l = n->line;
    struct list lists[] = {
        { .key = "dst" }, { .key = "src" }, { .key = "sport" }, { .key = "dport" }
    };
    bool netem = l->command == PUMBA_NETEM;
    size_t n_lists = 0;

    list_of_strs(&lists[0], netem ? &l->net_targets : &l->destination);
    if (!netem)
        list_of_strs(&lists[1], &l->source);
    list_of_ports(&lists[2], netem ? l->egress_port : l->src_port);
    list_of_ports(&lists[3], netem ? l->ingress_port : l->dst_port);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        n_lists += lists[i].text[0] != '\0';
    note_net(n, n_lists);
    if (!n_lists)
        put_effects(n, NULL);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        if (lists[i].text[0])
            put_effects(n, &lists[i]);
    return 0;
}
