/* What must be there before the first byte: the target and other processes, the proxies, the
 * journal and the guardian. Taken down in the opposite order. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "campaign/client_port.h"
#include "chaoslib/clock/clock.h"
#include "chaoslib/docker/events.h"

/* A port that is free now: the demo target must come back on the same one after a kill. */
static int free_port(uint16_t *ret, struct err *err)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        return err_sys(err, ERR_PREPARE, errno, "cannot find a free port on 127.0.0.1");
    *ret = ntohs(a.sin_port);
    return 0;
}

static char *child_log(const struct campaign *c, const char *name)
{
    return c->opts->out_dir ? arena_printf(c->plan->arena, "%s/%s.log", c->opts->out_dir, name)
                            : NULL;
}

static int add_embedded(struct campaign *c, struct process_plan *row, struct err *err)
{
    struct arena *a = c->plan->arena;
    uint16_t port = 0;

    if (free_port(&port, err) < 0)
        return err_wrap(err, "embedded target '%s'", c->plan->embedded);
    c->target_url = arena_printf(a, "http://127.0.0.1:%u", port);
    const char **argv = arena_alloc(a, 6 * sizeof(*argv));
    char *listen = arena_printf(a, "127.0.0.1:%u", port);
    char *ready = arena_printf(a, "tcp:%s", listen);
    if (!c->target_url || !argv || !listen || !ready)
        return err_set(err, ERR_LIMIT, ENOMEM, "the plan uses too much memory");
    argv[0] = c->opts->self_path;
    argv[1] = "target";
    argv[2] = "--listen";
    argv[3] = listen;
    argv[4] = "--name";
    argv[5] = c->plan->embedded;
    *row = (struct process_plan){ .name = c->plan->embedded,
                                  .run = { .v = argv, .n = 6 },
                                  .ready = ready,
                                  .ready_timeout_ns = 10 * NS_PER_SEC,
                                  .stop_grace_ns = NS_PER_SEC };
    c->load.target = c->target_url;
    return 0;
}

static int make_skewable(struct campaign *c, struct err *err)
{
    for (size_t i = 0; i < c->plan->n_faults; i++) {
        const char *name = clock_skew_process(&c->plan->faults[i].spec);
        if (name && processes_make_skewable(c->env.processes, name, err) < 0)
            return -EIO;
    }
    return 0;
}

static int start_processes(struct campaign *c, struct err *err)
{
    const struct plan *p = c->plan;

    c->rows = xcalloc(p->n_processes + 1, sizeof(*c->rows));
    for (size_t i = 0; i < p->n_processes; i++)
        c->rows[c->n_rows++] = p->processes[i];
    if (p->embedded && add_embedded(c, &c->rows[c->n_rows++], err) < 0)
        return -EIO;
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->rows[i].run.n && !c->rows[i].log)
            c->rows[i].log = child_log(c, c->rows[i].name);
    c->env.processes = processes_new(c->rows, c->n_rows);
    processes_guard(c->env.processes, &c->env);
    if (make_skewable(c, err) < 0)
        return -EIO;
    return processes_start(c->env.processes, err);
}

/* "http://host:port/path" to "host:port"; "unix:/path" stays. */
static char *upstream_of(const char *target)
{
    const char *rest = strstr(target, "://");
    bool tls = strncmp(target, "https:", 6) == 0;

    if (!rest)
        return xstrdup(target);
    rest += 3;
    size_t len = strcspn(rest, "/?#");
    const char *colon = memrchr(rest, ':', len);
    const char *bracket = memrchr(rest, ']', len);
    if (colon && (!bracket || colon > bracket))
        return xstrndup(rest, len);
    return xasprintf("%.*s:%d", (int)len, rest, tls ? 443 : 80);
}

static int stand_before_target(struct campaign *c, struct err *err)
{
    auto_free char *upstream = upstream_of(c->load.target);
    struct proxy_plan row = { .name = c->plan->target_proxy,
                              .listen = "127.0.0.1:0",
                              .upstream = upstream,
                              .protocol = PROXY_AUTO };
    char address[64];

    if (proxies_add(c->env.proxies, &row, err) < 0 ||
        proxies_address(c->env.proxies, row.name, address, err) < 0)
        return -EIO;
    c->connect_to = xstrdup(address);
    return 0;
}

/* Nobody can know a port that was picked just now, so such a proxy is there for our own load, if
 * it leads where that goes. Otherwise its faults would hit nobody, and the run would pass. */
static int send_load_through(struct campaign *c, const struct proxy_plan *row, struct err *err)
{
    auto_free char *upstream = upstream_of(c->load.target);
    size_t n = strlen(row->listen);
    char address[64];

    if (n < 2 || strcmp(row->listen + n - 2, ":0") != 0)
        return 0;
    if (strcmp(row->upstream, upstream) != 0 || c->connect_to || c->plan->target_proxy)
        return err_set(err, ERR_PREPARE, EADDRNOTAVAIL,
                       "proxy '%s': no load goes through it: give it listen: with a port that your "
                       "clients know, or upstream: '%s' to stand before the target, one proxy at "
                       "most",
                       row->name, upstream);
    if (proxies_address(c->env.proxies, row->name, address, err) < 0)
        return -EIO;
    c->connect_to = xstrdup(address);
    return 0;
}

static int start_proxies(struct campaign *c, struct err *err)
{
    const struct plan *p = c->plan;

    if (!p->n_proxies && !p->target_proxy)
        return 0;
    c->env.proxies = proxies_new(err);
    if (!c->env.proxies)
        return -EIO;
    for (size_t i = 0; i < p->n_proxies; i++)
        if (proxies_add(c->env.proxies, &p->proxies[i], err) < 0 ||
            send_load_through(c, &p->proxies[i], err) < 0)
            return -EIO;
    return p->target_proxy ? stand_before_target(c, err) : 0;
}

int setup_target(struct campaign *c, struct err *err)
{
    const struct runner_opts opts = { .plan = &c->load, .trace_path = c->opts->trace_path };
    struct runner_opts with = opts;

    if (start_processes(c, err) < 0 || start_proxies(c, err) < 0)
        return -EIO;
    with.connect_to = c->connect_to;
    c->runner = runner_new(&with, err);
    if (!c->runner)
        return -EIO;
    client_port_init(c);
    return 0;
}

/* The events are followed from before the first fault, so that each one's moment is known. */
int setup_engine(struct campaign *c, struct err *err)
{
    if (!plan_needs_docker(c->plan))
        return 0;
    c->env.docker = docker_open(&c->plan->docker, err);
    if (!c->env.docker)
        return -EIO;
    log_info("docker.open", "%s", docker_describe(c->env.docker));
    c->env.docker_events = docker_events_start(c->env.docker, err);
    return c->env.docker_events ? 0 : -EIO;
}

static void say(void *arg, const char *line)
{
    (void)arg;
    log_warn("recover", "%s", line);
}

int setup_safety(struct campaign *c, struct err *err)
{
    char dir[256];

    if (!c->n_slots && !c->plan->n_processes)
        return 0;
    if (journal_dir(dir, err) < 0)
        return -EIO;
    if (journal_recover_all(dir, say, NULL) == RECOVER_STUCK)
        return err_set(
            err, ERR_PREPARE, EBUSY,
            "an earlier run left a fault that could not be undone; see 'chaos-load recover'");
    c->env.journal = journal_open(dir, c->result->run_id, err);
    if (!c->env.journal)
        return -EIO;
    c->env.guardian = guardian_start(journal_path(c->env.journal), err);
    return c->env.guardian ? 0 : -EIO;
}

void setup_undo(struct campaign *c)
{
    runner_free(c->runner);
    proxies_free(c->env.proxies);
    if (c->env.processes)
        processes_stop(c->env.processes);
    if (c->env.journal)
        journal_close(c->env.journal);
    if (c->env.guardian)
        guardian_stop(c->env.guardian);
    docker_events_stop(c->env.docker_events);
    docker_free(c->env.docker);
    processes_free(c->env.processes);
    free(c->rows);
    free(c->connect_to);
}
