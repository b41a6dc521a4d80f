/* Client faults against the load of the same plan: whom they name, whether those could do it, and a
 * series for what they will do. */
#include <string.h>

#include "base/parse.h"
#include "campaign/plan_internal.h"
#include "chaoslib/client/port.h"
#include "runner/client.h"
#include "runner/misdeed.h"

#define NAMES_MAX 256

static int64_t find_class(const struct param_ctx *ctx, const struct load_plan *load,
                          const struct doc *at, const char *name)
{
    const char *names[NAMES_MAX];
    size_t n = 0;

    for (size_t i = 0; i < load->n_classes; i++) {
        if (strcmp(load->classes[i].name, name) == 0)
            return (int64_t)i;
        if (n < NAMES_MAX)
            names[n++] = load->classes[i].name;
    }
    const char *near = nearest_name(name, names, n);
    if (near)
        diag_add(ctx->diag, at, "no user class '%s', did you mean '%s'?", name, near);
    else
        diag_add(ctx->diag, at, "no user class '%s'; write any, or one of users: such as '%s'",
                 name, load->classes[0].name);
    return -1;
}

static bool task_has_tls(const struct task *t, bool base_has_tls)
{
    if (strstr(t->url, "://"))
        return strncmp(t->url, "https:", 6) == 0;
    return base_has_tls;
}

static bool class_has_tls(const struct load_plan *load, const struct user_class *c)
{
    bool base = strncmp(c->host ? c->host : load->target, "https:", 6) == 0;

    for (size_t i = 0; i < c->n_tasks; i++) {
        const struct task *t = &c->tasks[i];

        if (!t->n_steps && task_has_tls(t, base))
            return true;
        for (size_t k = 0; k < t->n_steps; k++)
            if (task_has_tls(&t->steps[k], base))
                return true;
    }
    return false;
}

static bool any_has_tls(const struct load_plan *load, int64_t user_class)
{
    for (size_t i = 0; i < load->n_classes; i++)
        if ((user_class < 0 || (size_t)user_class == i) && class_has_tls(load, &load->classes[i]))
            return true;
    return false;
}

static void client_check(const struct param_ctx *ctx, struct plan *p, const struct fault_plan *f)
{
    const struct doc *kind = doc_get(f->doc, f->spec.kind->name);
    const struct client_params *params = f->spec.params;
    const char *curl = client_needs_curl(&p->load);
    enum misdeed_kind m = misdeed_by_name(f->spec.kind->name);
    unsigned before = ctx->diag->n;
    struct err err = { 0 };
    int64_t user_class = -1;

    if (curl)
        diag_add_key(ctx->diag, kind,
                     "users can misbehave with the native HTTP engine only, and this load takes "
                     "curl, because %s",
                     curl);
    if (strcmp(params->client, CLIENT_ANY) != 0)
        user_class = find_class(ctx, &p->load, doc_get(kind, "client"), params->client);
    if (ctx->diag->n == before && m == MISDEED_TLS_STALL && !any_has_tls(&p->load, user_class))
        diag_add_key(ctx->diag, kind, "needs users of an https:// target, and here are none");
    if (ctx->diag->n == before && load_plan_misbehave(&p->load, user_class, m, &err) < 0)
        diag_add_key(ctx->diag, kind, "%s", err.msg);
}

void clients_check(const struct param_ctx *ctx, struct plan *p)
{
    for (size_t i = 0; i < p->n_faults; i++)
        if (strcmp(p->faults[i].spec.kind->backend, "client") == 0)
            client_check(ctx, p, &p->faults[i]);
}
