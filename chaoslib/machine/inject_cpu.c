/* cpu: processors are busy with something else. */
#include <errno.h>
#include <sched.h>

#include "chaoslib/machine/machine.h"

struct cpu_params {
    struct place_at at;
    int64_t workers;
    double load;
    uint64_t ramp_ns;
    int64_t nice;
};

/* What the target could use at once: its affinity, and its quota. */
static unsigned processors(const struct hog *h)
{
    cpu_set_t set;
    pid_t pid = h->enters ? h->target->id.pid : 0;
    unsigned n = sched_getaffinity(pid, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned quota = cgroups_cpus(&h->cgroups);

    return MIN(quota ? MIN(n, quota) : n, HOG_WORKERS_MAX);
}

static int cpu_plan(const void *params, struct hog *h, struct err *err UNUSED)
{
    const struct cpu_params *p = params;

    h->workers = p->workers ? (unsigned)p->workers : processors(h);
    json_put_num(h->spec, "load", p->load);
    json_put_u64(h->spec, "ramp_ns", p->ramp_ns);
    json_put_num(h->spec, "nice", (double)p->nice);
    return 0;
}

const struct hog_kind hog_cpu = { .name = "cpu", .plan = cpu_plan };

static void cpu_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct cpu_params *p = base;

    if (p->load < 0.01)
        diag_add(ctx->diag, doc_get(d, "load"), "a load of less than 1%% is no fault");
}

#define CPU_ROWS                                                                               \
    PARAM(PERCENT, "load", struct cpu_params, load, .def = "100%",                             \
          .help = "share of one processor that each worker uses"),                             \
        PARAM(INT, "workers", struct cpu_params, workers, .lo = 1, .hi = HOG_WORKERS_MAX,      \
              .help = "how many; without it, as many as there are processors for the target"), \
        PARAM(DURATION, "ramp", struct cpu_params, ramp_ns,                                    \
              .help = "the load rises to its value over this long"),                           \
        PARAM(INT, "nice", struct cpu_params, nice, .lo = -20, .hi = 19,                       \
              .help = "niceness of the workers")

static const struct param cpu_process_rows[] = { HOG_ON_PROCESS(struct cpu_params), CPU_ROWS,
                                                 HOG_PLACEMENT(struct cpu_params) };
static const struct param cpu_docker_rows[] = { HOG_ON_DOCKER(struct cpu_params), CPU_ROWS,
                                                HOG_PLACEMENT(struct cpu_params) };
static const struct param cpu_host_rows[] = { HOG_ON_HOST(struct cpu_params), CPU_ROWS };
static const struct param_table cpu_process_table = { .title = "faults[].cpu",
                                                      .rows = cpu_process_rows,
                                                      .n = ARRAY_LEN(cpu_process_rows),
                                                      .check = cpu_check };
static const struct param_table cpu_host_table = { .title = "faults[].cpu",
                                                   .rows = cpu_host_rows,
                                                   .n = ARRAY_LEN(cpu_host_rows),
                                                   .check = cpu_check };
static const struct param_table cpu_docker_table = { .title = "faults[].cpu",
                                                     .rows = cpu_docker_rows,
                                                     .n = ARRAY_LEN(cpu_docker_rows),
                                                     .check = cpu_check };

HOG_KIND(fault_process_cpu, "cpu", "process", "use up the processors where a process runs",
         cpu_process_table, struct cpu_params);
HOG_KIND(fault_docker_cpu, "cpu", "docker", "use up the processors of a container",
         cpu_docker_table, struct cpu_params);
HOG_KIND(fault_host_cpu, "cpu", "host", "use up this machine's processors", cpu_host_table,
         struct cpu_params);
