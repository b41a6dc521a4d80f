/* The doctor: one trial per kind, by fault_execute, on a server that is started for it. What a
 * table of rights and kernel versions would only guess at, the kernel itself answers. */
#include "chaoslib/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "chaoslib/clock/clock.h"
#include "chaoslib/docker/engine.h"
#include "chaoslib/process/process.h"
#include "chaoslib/pumba/session.h"
#include "edge/yaml.h"

#define VICTIM "chaos-load-doctor"
#define HOLD_NS (20 * NS_PER_MS)
#define ENGINE_NS (3 * NS_PER_SEC)

/* How each kind is tried: its parameters besides the target. `same`: the trial of another kind
 * proves it too. */
struct trial {
    const char *kind, *params, *same;
    bool net; /* changes the network of its namespace: only in one of our own */
};

static const struct trial trials[] = {
    { .kind = "kill", .params = "" },
    { .kind = "crash", .params = "" },
    { .kind = "pause", .params = "" },
    { .kind = "stop", .params = "" },
    { .kind = "restart", .params = "" },
    { .kind = "signal", .params = ", signal: SIGCONT" },
    { .kind = "exec", .params = ", command: ['true']" },
    { .kind = "limits", .params = ", cpu: 0.5, memory: 64MiB, pids: 100" },
    { .kind = "clock-skew", .params = ", offset: 1h" },
    { .kind = "latency", .params = ", delay: 1ms, port: 9", .net = true },
    { .kind = "loss", .params = ", percent: 1%, port: 9", .net = true },
    { .kind = "corrupt", .params = ", percent: 1%, port: 9", .net = true },
    { .kind = "duplicate", .params = ", percent: 1%, port: 9", .net = true },
    { .kind = "reorder", .params = ", percent: 1%, delay: 1ms, port: 9", .net = true },
    { .kind = "rate", .params = ", rate: 1mbit, port: 9", .net = true },
    { .kind = "partition", .params = ", port: 9", .net = true },
    { .kind = "tcp-reset", .params = ", port: 9", .net = true },
    { .kind = "dns-error", .params = ", patterns: [doctor.invalid]", .net = true },
    { .kind = "dns-spoof", .params = ", map: {doctor.invalid: 127.0.0.1}", .net = true },
    { .kind = "http-status", .params = ", port: 9", .net = true },
    { .kind = "tcp-refuse", .same = "http-status", .net = true },
    { .kind = "http-abort", .same = "http-status", .net = true },
    { .kind = "http-delay", .same = "http-status", .net = true },
    { .kind = "http-body", .same = "http-status", .net = true },
    { .kind = "http-header", .same = "http-status", .net = true },
    { .kind = "grpc-status", .same = "http-status", .net = true },
    { .kind = "blackhole", .same = "http-status", .net = true },
    { .kind = "slow-close", .same = "http-status", .net = true },
    { .kind = "slicer", .same = "http-status", .net = true },
    { .kind = "limit-data", .same = "http-status", .net = true },
    { .kind = "cpu", .params = ", workers: 1, load: 10%" },
    { .kind = "memory", .params = ", size: 1MiB" },
    { .kind = "io", .params = ", bytes: 1MiB" },
    { .kind = "disk-fill", .params = ", path: /tmp, size: 32MiB" },
    { .kind = "fd-exhaustion", .params = "" },
};

/* What an engine does with its own calls; all else goes into the container's namespaces, as into
 * those of any process. */
static const char *const engine_calls[] = { "kill",   "pause",      "stop", "restart", "remove",
                                            "limits", "disconnect", "exec", NULL };

struct clinic {
    const char *self;
    struct doctor_finding *tried; /* all trials so far */
    size_t n_tried;
    struct latch *abort, *hurry;
    struct docker *engine; /* NULL: none */
    char engine_text[ERR_MSG_MAX];
    char no_netns[ERR_MSG_MAX]; /* "": we are in a network namespace of our own */
    uint16_t port;              /* of the victim */
};

static const struct trial *trial_of(const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(trials); i++)
        if (strcmp(trials[i].kind, kind) == 0)
            return &trials[i];
    return NULL;
}

/* ---- a namespace of our own ---- */

static void bring_up_loopback(void)
{
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    err_ignore(fd < 0 ? -errno : ioctl(fd, SIOCSIFFLAGS, &lo), "the victim would not get ready");
}

static void leave_host_network(struct clinic *c)
{
    if (unshare(CLONE_NEWNET) == 0)
        bring_up_loopback();
    else
        snprintf(c->no_netns, sizeof(c->no_netns), "no network namespace may be entered: %s",
                 strerrordesc_np(errno));
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return 0;
    return ntohs(a.sin_port);
}

/* ---- a trial ---- */

static int read_spec(struct arena *a, const struct fault_kind *k, const char *params,
                     struct fault_spec *ret, struct err *err)
{
    auto_free char *text = xasprintf("{%s: %s%s}", k->backend,
                                     strcmp(k->backend, "host") == 0 ? "any" : VICTIM, params);
    struct diag diag;
    struct doc *doc = NULL;

    diag_init(&diag);
    const struct param_ctx ctx = { .arena = a, .diag = &diag };
    int rc = yaml_load("doctor", text, strlen(text), a, &diag, &doc);
    if (rc == 0)
        fault_spec_read(&ctx, k->name, doc, ret);
    if (rc == 0 && !ret->kind)
        rc = err_set(err, ERR_GENERIC, EINVAL, "the trial of %s is no fault: %s", k->name, text);
    diag_done(&diag);
    return rc;
}

static int execute(struct clinic *c, const struct fault_spec *spec, struct processes *processes,
                   struct doctor_finding *f, struct err *err)
{
    const struct chaos_env env = { .run_id = "doctor", .processes = processes };
    struct fault_run r = { .kind = spec->kind,
                           .params = spec->params,
                           .env = &env,
                           .name = "trial",
                           .abort = c->abort,
                           .hurry = c->hurry };

    if (!(fault_spec_flags(spec) & FAULT_ONE_SHOT))
        r.hold_ns = HOLD_NS;
    rng_seed(&r.rng, 1, 1);
    int rc = fault_execute(&r, NULL, NULL, err);
    snprintf(f->how, sizeof(f->how), "%s", r.mechanism);
    free(r.hits);
    return rc;
}

static int with_victim(struct clinic *c, const struct fault_spec *spec, struct doctor_finding *f,
                       struct err *err)
{
    auto_free char *listen = xasprintf("127.0.0.1:%u", c->port);
    auto_free char *ready = xasprintf("tcp:%s", listen);
    const char *argv[] = { c->self, "target", "--listen", listen, "--name", VICTIM };
    const struct process_plan row = { .name = VICTIM,
                                      .run = { .v = argv, .n = ARRAY_LEN(argv) },
                                      .ready = ready,
                                      .ready_timeout_ns = 10 * NS_PER_SEC,
                                      .stop_grace_ns = NS_PER_SEC };
    struct processes *p = processes_new(&row, 1);
    int rc = 0;

    if (clock_skew_process(spec))
        rc = processes_make_skewable(p, VICTIM, err);
    if (rc == 0)
        rc = processes_start(p, err);
    if (rc == 0)
        rc = execute(c, spec, p, f, err);
    processes_stop(p);
    processes_free(p);
    return rc;
}

static void suggest(struct doctor_finding *f, const struct trial *t)
{
    if (geteuid() != 0)
        snprintf(f->remedy, sizeof(f->remedy), "run it as root");
    else if (t->net)
        snprintf(f->remedy, sizeof(f->remedy),
                 "needs nf_tables (kernel 5.12) and nfnetlink_queue with nft_queue or xt_NFQUEUE");
}

static void try_kind(struct clinic *c, const struct trial *t, struct doctor_finding *f)
{
    struct arena *a = arena_new(0);
    struct fault_spec spec = { 0 };
    struct err err = { 0 };
    const char *params = t->params;
    int rc;

    if (t->net && *c->no_netns) {
        snprintf(f->why, sizeof(f->why), "%s", c->no_netns);
        suggest(f, t);
        arena_free(a);
        return;
    }
    if (strcmp(f->kind->name, "fd-exhaustion") == 0)
        params = strcmp(f->kind->backend, "host") == 0 ? ", count: 16" : ", leave: 4";
    rc = read_spec(a, f->kind, params, &spec, &err);
    if (rc == 0)
        rc = with_victim(c, &spec, f, &err);
    f->works = rc == 0;
    if (rc < 0) {
        snprintf(f->why, sizeof(f->why), "%s", err.msg);
        f->how[0] = '\0';
        suggest(f, t);
    }
    arena_free(a);
}

/* ---- what is known of other kinds already ---- */

static const struct doctor_finding *tried(struct clinic *c, const struct fault_kind *k)
{
    struct doctor_finding *f;

    for (size_t i = 0; i < c->n_tried; i++)
        if (c->tried[i].kind == k)
            return &c->tried[i];
    f = &c->tried[c->n_tried++];
    *f = (struct doctor_finding){ .kind = k };
    try_kind(c, trial_of(k->name), f);
    return f;
}

/* The finding of the kind whose trial proves this one too. */
static void take_over(struct clinic *c, const char *kind, const char *backend,
                      struct doctor_finding *f)
{
    const struct fault_kind *k = fault_kind_find(kind, backend), *own = f->kind;

    if (!k || !trial_of(kind)) {
        snprintf(f->why, sizeof(f->why), "nothing here can try %s", own->name);
        return;
    }
    *f = *tried(c, k);
    f->kind = own;
}

static bool is_engine_call(const char *kind)
{
    for (const char *const *k = engine_calls; *k; k++)
        if (strcmp(*k, kind) == 0)
            return true;
    return false;
}

/* "what is wrong; what helps". */
static void say_no_engine(const struct clinic *c, struct doctor_finding *f)
{
    const char *gap = strstr(c->engine_text, "; ");
    int len = gap ? (int)(gap - c->engine_text) : (int)sizeof(f->why) - 1;

    snprintf(f->why, sizeof(f->why), "%.*s", len, c->engine_text);
    snprintf(f->remedy, sizeof(f->remedy), "%.*s", (int)sizeof(f->remedy) - 1,
             gap ? gap + 2 : "start Docker or Podman, or say where it is in DOCKER_HOST");
}

static void look_at_container(struct clinic *c, struct doctor_finding *f)
{
    const struct trial *t = trial_of(f->kind->name);

    if (!c->engine) {
        say_no_engine(c, f);
    } else if (is_engine_call(f->kind->name)) {
        f->works = true;
        snprintf(f->how, sizeof(f->how), "a call of the engine");
    } else if (!docker_is_local(c->engine)) {
        snprintf(f->why, sizeof(f->why),
                 "the engine's containers run on another machine, or in a virtual one");
        snprintf(f->remedy, sizeof(f->remedy), "run chaos-load where the engine runs");
    } else {
        take_over(c, t && t->same ? t->same : f->kind->name, "process", f);
    }
}

static void look_at_pumba(struct clinic *c, struct doctor_finding *f)
{
    struct err err = { 0 };
    auto_free char *program = pumba_program(&err), *image = NULL;

    look_at_container(c, f);
    f->works = c->engine != NULL;
    if (!f->works)
        return;
    if (!program && pumba_image(c->engine, NULL, &image, &err) != 0)
        image = NULL;
    snprintf(f->how, sizeof(f->how), "%s",
             program ? "watch, and run by its program"
             : image ? "watch, and run from its image"
                     : "watch; run needs PUMBA or its image");
}

static void examine(struct clinic *c, struct doctor_finding *f)
{
    const struct trial *t = trial_of(f->kind->name);
    const char *backend = f->kind->backend;

    if (strcmp(backend, "pumba") == 0)
        look_at_pumba(c, f);
    else if (strcmp(backend, "docker") == 0)
        look_at_container(c, f);
    else if (strcmp(backend, "proxy") == 0 || strcmp(backend, "client") == 0) {
        f->works = true;
        snprintf(f->how, sizeof(f->how), "in this process");
    } else if (t && !t->same)
        try_kind(c, t, f);
    else
        take_over(c, t ? t->same : f->kind->name, backend, f);
}

/* ---- all of them ---- */

/* Before we leave the host's network: the engine may be there. */
static void find_engine(struct clinic *c)
{
    const struct docker_plan plan = { .timeout_ns = ENGINE_NS };
    struct err err = { 0 };

    c->engine = docker_open(&plan, &err);
    snprintf(c->engine_text, sizeof(c->engine_text), "%s",
             c->engine ? docker_describe(c->engine) : err.msg);
}

static size_t catalog_len(void)
{
    size_t n = 0;

    while (fault_catalog[n])
        n++;
    return n;
}

int doctor_examine(const char *self, doctor_wants_fn *wants, void *arg, struct doctor *ret,
                   struct err *err)
{
    struct clinic c = { .self = self, .tried = xcalloc(catalog_len(), sizeof(*c.tried)) };

    *ret = (struct doctor){ .findings = xcalloc(catalog_len(), sizeof(*ret->findings)) };
    find_engine(&c);
    doctor_look(ret, c.engine_text);
    leave_host_network(&c);
    c.port = free_port();
    if (c.port == 0) {
        docker_free(c.engine);
        free(c.tried);
        return err_set(err, ERR_PREPARE, EADDRNOTAVAIL, "no free port on 127.0.0.1");
    }
    c.abort = latch_new();
    c.hurry = latch_new();
    for (const struct fault_kind *const *k = fault_catalog; *k; k++) {
        struct doctor_finding f = { .kind = *k };
        if (wants && !wants(arg, *k))
            continue;
        examine(&c, &f);
        ret->findings[ret->n_findings++] = f;
    }
    latch_free(c.abort);
    latch_free(c.hurry);
    docker_free(c.engine);
    free(c.tried);
    return 0;
}

void doctor_done(struct doctor *d)
{
    free(TAKE(d->findings));
    d->n_findings = 0;
}

struct json *doctor_to_json(const struct doctor *d)
{
    struct json *j = json_object();
    struct json *facts = json_put(j, "facts", json_object());
    struct json *list = json_put(j, "faults", json_array());

    for (size_t i = 0; i < d->n_facts; i++)
        json_put_str(facts, d->facts[i].name, d->facts[i].text);
    for (size_t i = 0; i < d->n_findings; i++) {
        const struct doctor_finding *f = &d->findings[i];
        struct json *one = json_put(list, NULL, json_object());
        json_put_str(one, "kind", f->kind->name);
        json_put_str(one, "backend", f->kind->backend);
        json_put_bool(one, "works", f->works);
        json_put_str(one, "how", f->how);
        json_put_str(one, "why", f->why);
        json_put_str(one, "remedy", f->remedy);
    }
    return j;
}
