/* Where faults and the load meet: the door of chaoslib/client/port.h, on the runner. */
#include "campaign/client_port.h"

#include <string.h>

#include "runner/misdeed.h"

static int64_t class_index(const struct load_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_classes; i++)
        if (strcmp(p->classes[i].name, name) == 0)
            return (int64_t)i;
    return -1;
}

static void *port_begin(void *arg, const struct client_fault *f, struct err *err)
{
    struct campaign *c = arg;
    const struct client_params *p = f->params;
    const struct misdeed_rule rule = { .kind = misdeed_by_name(f->kind),
                                       .user_class = class_index(&c->load, p->client),
                                       .percent = p->percent,
                                       .seed = f->seed,
                                       .bytes_per_sec = p->rate_bits / 8,
                                       .pause_ns = p->pause_ns,
                                       .buffer_bytes = p->buffer,
                                       .hold_ns = p->hold_ns,
                                       .sends_half = p->sends == 1,
                                       .after_bytes = p->after_bytes,
                                       .size_bytes = p->size,
                                       .n_headers = (uint64_t)p->count,
                                       .retries = (uint64_t)p->retries };

    return runner_misdeed_begin(c->runner, &rule, err);
}

static int port_end(void *arg, void *fault, struct err *err)
{
    struct campaign *c = arg;

    return runner_misdeed_end(c->runner, fault, err);
}

static struct client_counts port_counts(void *arg, const void *fault)
{
    struct misdeed_counts n = misdeed_counts(fault);

    (void)arg;
    return (struct client_counts){ .threads = n.threads,
                                   .requests = n.requests,
                                   .in_flight = n.in_flight };
}

void client_port_init(struct campaign *c)
{
    c->client_port = (struct client_port){
        .arg = c, .begin = port_begin, .end = port_end, .counts = port_counts
    };
    c->env.client = &c->client_port;
}
