/* The whole plan: load (runner), processes, proxies, faults (chaoslib), thresholds and outputs
 * (here), read from one document that came from a file, from flags, or from both. Immutable once
 * read. */
#ifndef CAMPAIGN_PLAN_H
#define CAMPAIGN_PLAN_H

#include "campaign/threshold.h"
#include "chaoslib/chaos.h"
#include "chaoslib/docker/engine.h"
#include "chaoslib/process/process.h"
#include "chaoslib/proxy/proxy.h"
#include "runner/plan.h"

#define PLAN_API_VERSION "chaos-load/v1"
#define FAULTS_MAX 256
#define ACTIVATIONS_MAX 400 /* phases are at most 2 per activation + 4 */

/* One row of `faults:`: what, and when. */
struct fault_plan {
    const char *name; /* default: "<kind> <target>", made unique */
    struct fault_spec spec;
    uint64_t at_ns; /* from the start of the run, or from the end of `after` */
    uint64_t
        at_max_ns; /* `at: between(10s, 20s)`: random within, with the seed; == at_ns when fixed */
    uint64_t every_ns;     /* 0: once */
    int64_t count;         /* 0 with every: until the load ends; default 1 without */
    uint64_t duration_ns;  /* hold; must be 0 for one-shot kinds */
    const char *after;     /* name of a fault whose last activation must have ended; NULL */
    int after_index;       /* its index; -1 */
    bool serial;           /* waits while another fault is active, instead of overlapping it */
    const struct doc *doc; /* for messages */
};

struct output_plan {
    const char *out_dir;    /* --out; NULL: none */
    const char *csv_prefix; /* --csv; Locust's four files */
    bool csv_full_history;
    const char *html, *json_file, *junit, *markdown, *rows;
    bool json_stdout;        /* --json: Locust-shaped statistics on stdout */
    const char *result_path; /* --result FILE; "-": stdout */
};

struct plan {
    struct arena *arena;
    const char *api_version, *name, *description;
    const char *source; /* file name, or "flags" */
    struct load_plan load;
    const char *embedded; /* target: {embedded: shop}: a demo target that we start; NULL */
    struct process_plan *processes;
    size_t n_processes;
    struct proxy_plan *proxies;
    size_t n_proxies;
    const char *
        target_proxy; /* a proxy named by a fault but not declared stands before the target; NULL */
    struct fault_plan *faults;
    size_t n_faults;
    struct docker_plan docker; /* where the container engine is */
    struct threshold *thresholds;
    size_t n_thresholds;
    uint64_t
        slo_ns; /* recovery and "good": a success at most this slow; 0: judged against baseline */
    uint64_t
        recover_hold_ns; /* how long it must be well again to count as recovered; default 5 s */
    uint64_t settle_ns;  /* how long a recovery phase lasts at most before it is "baseline" again;
                            default: until the next fault */
    struct output_plan out;
    bool dry_run;
    const char
        *text; /* the plan with its flags as YAML, secrets masked, for reports; NULL: unknown */
};

/* Reads the document. 0, or -EINVAL with all mistakes in diag. The plan owns `arena` from then on
 * (also on failure the caller frees it with plan_free). */
int plan_read(struct arena *arena, const struct doc *root, struct diag *diag, bool from_flags,
              struct plan *ret) MUST_CHECK;
void plan_free(struct plan *p);
bool plan_needs_docker(const struct plan *p);

/* Tables for docs, schema, completion: the root, and what hangs below it. */
extern const struct param_table plan_root_table, fault_timing_table;

/* ---- the timeline: all activations, in order of their planned instant; the same for the same seed
 * ---- */
struct activation {
    uint32_t fault;      /* index in plan.faults */
    uint32_t number;     /* 0.. within the fault */
    uint64_t planned_ns; /* offset from the start; UINT64_MAX while it waits for `after` */
};
size_t timeline_build(const struct plan *p, struct activation *out, size_t max);

#endif
