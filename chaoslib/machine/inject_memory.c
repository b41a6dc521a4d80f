/* memory: it is full, of pages that cannot be dropped, merged or compressed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chaoslib/machine/machine.h"

struct memory_params {
    struct place_at at;
    uint64_t size;
    double percent;
    int64_t workers;
    uint64_t ramp_ns;
    int64_t oom_score_adj;
    bool allow_oom;
};

static uint64_t mem_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kib = 0;
    char line[128];

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kib = strtoull(line + 13, NULL, 10);
    if (f)
        fclose(f);
    return (uint64_t)kib << 10;
}

static int memory_plan(const void *params, struct hog *h, struct err *err)
{
    const struct memory_params *p = params;
    struct cgroup_memory m = cgroups_memory(&h->cgroups);
    uint64_t available = mem_available();
    uint64_t room = m.limit == UINT64_MAX ? available : m.limit - MIN(m.used, m.limit);
    uint64_t whole = m.limit == UINT64_MAX ? available : m.limit;
    uint64_t size = p->size ? p->size : (uint64_t)(p->percent * (double)whole);

    room = MIN(room, available);
    if (size > room && !p->allow_oom)
        return err_set(err, ERR_PREPARE, ENOMEM,
                       "the hog is to take %llu MiB, and only %llu MiB are free there: take less, "
                       "or allow_oom: true",
                       (unsigned long long)(size >> 20), (unsigned long long)(room >> 20));
    h->workers = (unsigned)p->workers;
    h->want = p->ramp_ns ? 0 : size;
    json_put_u64(h->spec, "size", size);
    json_put_u64(h->spec, "ramp_ns", p->ramp_ns);
    json_put_num(h->spec, "oom_score_adj", (double)p->oom_score_adj);
    return 0;
}

/* What the kernel says they hold. */
static int memory_check(const struct hog *h)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < h->n_ids; i++) {
        auto_free char *path = xasprintf("/proc/%d/statm", (int)h->ids[i].pid);
        unsigned long long size, resident = 0;
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%llu %llu", &size, &resident) == 2) // NOLINT(cert-err34-c)
            pages += resident;
        if (f)
            fclose(f);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) < h->want ? 1 : 0;
}

const struct hog_kind hog_memory = { .name = "memory", .plan = memory_plan, .check = memory_check };

static void memory_cross_check(const struct param_ctx *ctx, const struct doc *d, void *base)
{
    const struct memory_params *p = base;

    if ((p->size > 0) == (p->percent > 0))
        diag_add(ctx->diag, d, "give it size (500MiB) or percent (80%%), and not both");
}

#define MEMORY_ROWS                                                                               \
    PARAM(SIZE, "size", struct memory_params, size, .help = "how much, of all workers together"), \
        PARAM(PERCENT, "percent", struct memory_params, percent,                                  \
              .help = "the same as a share of the cgroup's limit, or of what is available"),      \
        PARAM(INT, "workers", struct memory_params, workers, .def = "1", .lo = 1,                 \
              .hi = HOG_WORKERS_MAX, .help = "how many processes share it"),                      \
        PARAM(DURATION, "ramp", struct memory_params, ramp_ns,                                    \
              .help = "it grows to its size over this long"),                                     \
        PARAM(INT, "oom_score_adj", struct memory_params, oom_score_adj, .def = "1000",           \
              .lo = -1000, .hi = 1000,                                                            \
              .help = "1000: when memory runs out, the hog is killed first"),                     \
        PARAM(BOOL, "allow_oom", struct memory_params, allow_oom,                                 \
              .help = "also take more than is free, so that somebody is killed")

static const struct param memory_process_rows[] = { HOG_ON_PROCESS(struct memory_params),
                                                    MEMORY_ROWS,
                                                    HOG_PLACEMENT(struct memory_params) };
static const struct param memory_docker_rows[] = { HOG_ON_DOCKER(struct memory_params), MEMORY_ROWS,
                                                   HOG_PLACEMENT(struct memory_params) };
static const struct param memory_host_rows[] = { HOG_ON_HOST(struct memory_params), MEMORY_ROWS };
static const struct param_table memory_process_table = { .title = "faults[].memory",
                                                         .rows = memory_process_rows,
                                                         .n = ARRAY_LEN(memory_process_rows),
                                                         .check = memory_cross_check };
static const struct param_table memory_host_table = { .title = "faults[].memory",
                                                      .rows = memory_host_rows,
                                                      .n = ARRAY_LEN(memory_host_rows),
                                                      .check = memory_cross_check };
static const struct param_table memory_docker_table = { .title = "faults[].memory",
                                                        .rows = memory_docker_rows,
                                                        .n = ARRAY_LEN(memory_docker_rows),
                                                        .check = memory_cross_check };

HOG_KIND(fault_process_memory, "memory", "process", "fill the memory where a process runs",
         memory_process_table, struct memory_params);
HOG_KIND(fault_docker_memory, "memory", "docker", "fill the memory of a container",
         memory_docker_table, struct memory_params);
HOG_KIND(fault_host_memory, "memory", "host", "fill this machine's memory", memory_host_table,
         struct memory_params);
