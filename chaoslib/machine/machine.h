/* What the machine kinds share on our side: where the hog works, and its life from prepare to
 * verify_out. A kind adds a table of parameters and a struct hog_kind. Inside chaoslib only. */
#ifndef CHAOSLIB_MACHINE_MACHINE_H
#define CHAOSLIB_MACHINE_MACHINE_H

#include "chaoslib/inject.h"
#include "chaoslib/machine/cgroup.h"
#include "chaoslib/machine/hog.h"
#include "chaoslib/machine/place.h"

enum hog_placement { PLACE_AUTO, PLACE_OWN, PLACE_TARGET };
extern const char *const hog_placements[];
extern const char *const hog_hosts[];

struct hog {
    const struct target *target; /* pidfd -1: this machine */
    struct cgroups cgroups;
    bool enters; /* the target's cgroups */
    struct json *spec;
    unsigned workers;
    int dirfd;     /* -1: needs no folder */
    uint64_t want; /* what must be held for the fault to be in; 0: anything at all */
    uint64_t free_before, free_at_end;
    struct helper *helper;
    struct proc_id *ids; /* of the workers */
    size_t n_ids;
};

struct hog_kind {
    const char *name;
    /* Fills h->spec, workers, dirfd, want; changes nothing. */
    int (*plan)(const void *params, struct hog *h, struct err *err);
    /* Besides the figures; optional. 0 it is in, 1 not yet. */
    int (*check)(const struct hog *h);
    /* Looks once more, just before it is ended; optional. */
    void (*note_end)(struct hog *h);
    /* The traces are gone; optional. 1: not yet. */
    int (*check_out)(const struct hog *h);
};
extern const struct hog_kind hog_cpu, hog_memory, hog_io, hog_disk_fill, hog_fds;

/* The folder `path` as the target sees it, symbolic links included; O_PATH. */
int hog_folder(const struct hog *h, const char *path, struct err *err) MUST_CHECK;

int hog_prepare(struct fault_run *r, struct err *err);
int hog_inject(struct fault_run *r, struct err *err);
int hog_verify_in(struct fault_run *r, struct err *err);
int hog_revert(struct fault_run *r, struct err *err);
int hog_verify_out(struct fault_run *r, struct err *err);
bool hog_target_gone(const struct fault_run *r);
int hog_still_in(const struct fault_run *r, struct err *err);
void hog_release(struct fault_run *r);

#define HOG_ON_PROCESS(struct_)                                  \
    PARAM(STR, "process", struct_, at.process, .required = true, \
          .help = "a name under processes:, or the program or script that is running")
#define HOG_ON_HOST(struct_)                                                     \
    PARAM(STR, "host", struct_, at.host, .required = true, .choices = hog_hosts, \
          .type_text = "any", .help = "this machine: any")
#define HOG_ON_DOCKER(struct_) DOCKER_PARAM(struct_, at.docker)
#define HOG_PLACEMENT(struct_)                                                                \
    PARAM(ENUM, "placement", struct_, at.placement, .def = "auto", .choices = hog_placements, \
          .help = "whose cgroup it works in, and whose limits hold it: target, own, or auto " \
                  "(the target's, when that is another one than ours)")

/* A kind from its table: everything but the parameters is the same. */
#define HOG_KIND(id_, name_, backend_, summary_, table_, struct_)   \
    const struct fault_kind id_ = { .name = (name_),                \
                                    .backend = (backend_),          \
                                    .summary = (summary_),          \
                                    .flags = FAULT_FREE,            \
                                    .params = &(table_),            \
                                    .params_size = sizeof(struct_), \
                                    .prepare = hog_prepare,         \
                                    .inject = hog_inject,           \
                                    .verify_in = hog_verify_in,     \
                                    .revert = hog_revert,           \
                                    .verify_out = hog_verify_out,   \
                                    .target_gone = hog_target_gone, \
                                    .still_in = hog_still_in,       \
                                    .release = hog_release }

#endif
