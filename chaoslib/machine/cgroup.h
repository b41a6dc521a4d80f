/* Cgroups of a process, v1, v2 and both at once: where they are in the file system, how to get in,
 * what they allow. Inside chaoslib only. */
#ifndef CHAOSLIB_MACHINE_CGROUP_H
#define CHAOSLIB_MACHINE_CGROUP_H

#include <sys/types.h>

#include "base/err.h"
#include "edge/json.h"

#define CGROUPS_MAX 24
#define CGROUP_PATH_MAX 1024

struct cgroup {
    char controllers[128]; /* "cpu,cpuacct"; "" for v2 */
    char dir[CGROUP_PATH_MAX];
};

struct cgroups {
    struct cgroup v[CGROUPS_MAX];
    size_t n;
};

/* The pure part: /proc/PID/cgroup and /proc/self/mountinfo. A hierarchy that is not mounted, or
 * whose cgroup lies outside of what is mounted, is left out. */
int cgroups_parse(const char *cgroup, const char *mountinfo, struct cgroups *ret,
                  struct err *err) MUST_CHECK;
int cgroups_of(pid_t pid, struct cgroups *ret, struct err *err) MUST_CHECK;
bool cgroups_equal(const struct cgroups *a, const struct cgroups *b);

/* Its folder for a v1 controller, else the v2 one; NULL: none. */
const char *cgroups_dir(const struct cgroups *g, const char *controller);

/* The cgroup.procs files to join, as a list. Never freezer and devices: a frozen hog could not be
 * ended. */
struct json *cgroups_to_join(const struct cgroups *g);
/* The calling process enters all of them. */
int cgroups_join(const struct json *procs_files, struct err *err) MUST_CHECK;

/* How many processors the quota lets run at once, rounded up; 0: no limit. */
unsigned cgroups_cpus(const struct cgroups *g);
/* UINT64_MAX: no limit. `used` without what the kernel can drop at once. */
struct cgroup_memory {
    uint64_t limit, used;
};
struct cgroup_memory cgroups_memory(const struct cgroups *g);

#endif
