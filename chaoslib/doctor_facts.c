/* Facts about this machine that decide what works: kernel, rights, cgroups, modules. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "chaoslib/doctor.h"

static struct doctor_fact *add(struct doctor *d, const char *name)
{
    struct doctor_fact *f = &d->facts[MIN(d->n_facts, DOCTOR_FACTS_MAX - 1)];

    f->name = name;
    d->n_facts = MIN(d->n_facts + 1, DOCTOR_FACTS_MAX);
    return f;
}

static void say(struct doctor *d, const char *name, const char *text)
{
    struct doctor_fact *f = add(d, name);

    snprintf(f->text, sizeof(f->text), "%s", text);
}

/* ---- rights ---- */

static uint64_t effective_capabilities(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    uint64_t bits = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "CapEff:", 7) == 0)
            bits = strtoull(line + 7, NULL, 16);
    if (f)
        fclose(f);
    return bits;
}

static void look_at_rights(struct doctor *d)
{
    static const struct {
        unsigned bit;
        const char *name;
    } wanted[] = { { 12, "net_admin" }, { 21, "sys_admin" },    { 19, "sys_ptrace" },
                   { 5, "kill" },       { 24, "sys_resource" }, { 13, "net_raw" } };
    struct doctor_fact *f = add(d, "rights");
    uint64_t have = effective_capabilities();
    size_t n = 0;

    n += (size_t)snprintf(f->text, sizeof(f->text), "user %u", (unsigned)geteuid());
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        n += (size_t)snprintf(f->text + n, sizeof(f->text) - n, ", %s%s",
                              have >> wanted[i].bit & 1 ? "" : "no ", wanted[i].name);
}

/* ---- the kernel ---- */

static void look_at_kernel(struct doctor *d)
{
    struct utsname u;
    struct doctor_fact *f = add(d, "kernel");

    if (uname(&u) == 0)
        snprintf(f->text, sizeof(f->text), "%s %s %s", u.sysname, u.release, u.machine);
}

/* Loaded ones only: what is built in is not listed, so the trials have the last word. */
static bool is_loaded(const char *module)
{
    FILE *f = fopen("/proc/modules", "re");
    const size_t n = strlen(module);
    char line[512];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f))
        found = strncmp(line, module, n) == 0 && line[n] == ' ';
    if (f)
        fclose(f);
    return found;
}

static void look_at_modules(struct doctor *d)
{
    static const char *const names[] = { "nf_tables",  "nfnetlink_queue", "nft_queue", "xt_NFQUEUE",
                                         "nft_compat", "sch_netem",       "sch_tbf" };
    struct doctor_fact *f = add(d, "modules");
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is_loaded(names[i]))
            n += (size_t)snprintf(f->text + n, sizeof(f->text) - n, "%s%s", n ? " " : "", names[i]);
    if (n == 0)
        snprintf(
            f->text, sizeof(f->text),
            "none of nf_tables, nfnetlink_queue, sch_netem … is loaded (they may be built in)");
}

static void look_at_cgroups(struct doctor *d)
{
    bool v2 = access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0;
    bool hybrid = access("/sys/fs/cgroup/unified/cgroup.controllers", R_OK) == 0;

    say(d, "cgroups", v2 ? "v2" : hybrid ? "v1 and v2" : "v1, or none");
}

void doctor_look(struct doctor *d, const char *engine)
{
    look_at_kernel(d);
    look_at_rights(d);
    look_at_modules(d);
    look_at_cgroups(d);
    say(d, "engine", engine);
}
