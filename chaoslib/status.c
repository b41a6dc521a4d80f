/* See status.h. A record counts from its intent on: before it is known to be in, it may be. */
#include "chaoslib/status.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/proc.h"
#include "chaoslib/journal_file.h"
#include "chaoslib/process/find.h"

static int is_journal(const struct dirent *e)
{
    size_t len = strlen(e->d_name), suffix = sizeof(JOURNAL_SUFFIX) - 1;

    return len > suffix && strcmp(e->d_name + len - suffix, JOURNAL_SUFFIX) == 0;
}

static const char *state_of(const struct journal_scan *scan)
{
    if (scan->writer_alive)
        return "active";
    return scan->same_boot ? "left" : "rebooted";
}

static void add_fault(struct json *faults, const char *path, const struct journal_scan *scan,
                      const struct json *intent)
{
    static const char *const copied[] = { "run", "fault", "kind", "backend", "target" };
    struct json *j = json_put(faults, NULL, json_object());
    uint64_t deadline_ms = json_u64(intent, "deadline_ms", 0);
    uint64_t now_ms = clock_now_ns() / NS_PER_MS;

    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        json_put_str(j, copied[i], json_str(intent, copied[i], ""));
    json_put_u64(j, "activation", json_u64(intent, "activation", 0));
    json_put_str(j, "state", state_of(scan));
    json_put_str(j, "journal", path);
    if (scan->writer_alive)
        json_put_u64(j, "overdue_in_ms", deadline_ms - MIN(now_ms, deadline_ms));
    else
        json_put_null(j, "overdue_in_ms");
}

static void read_journal(const char *path, struct json *faults, struct json *unreadable)
{
    struct journal_scan scan = { 0 };
    struct err err = { 0 };

    if (journal_scan(path, &scan, &err) < 0) {
        if (err.code == ENOENT)
            return; /* its run has just ended */
        struct json *j = json_put(unreadable, NULL, json_object());
        json_put_str(j, "journal", path);
        json_put_str(j, "error", err.msg);
        return;
    }
    for (const struct json *r = json_first(scan.open); r; r = json_next(r))
        add_fault(faults, path, &scan, r);
    journal_scan_done(&scan);
}

/* `chaos-load helper ROLE`, by the name it gave itself and by its arguments. */
static bool add_helper(void *arg, pid_t pid)
{
    auto_free char *path = xasprintf("/proc/%d/comm", (int)pid);
    FILE *f = fopen(path, "re");
    char comm[32] = "";

    if (f && !fgets(comm, sizeof(comm), f))
        comm[0] = '\0';
    if (f)
        fclose(f);
    if (strcmp(comm, "chaos-helper\n") != 0)
        return true;
    auto_free char **argv = proc_argv(pid);
    if (!argv || !argv[0] || !argv[1] || strcmp(argv[1], "helper") != 0 || !argv[2])
        return true;
    struct json *j = json_put(arg, NULL, json_object());
    json_put_u64(j, "pid", (uint64_t)pid);
    json_put_str(j, "role", argv[2]);
    json_put_u64(j, "run_pid", process_stat_field(pid, 4));
    return true;
}

int status_read(const char *dir, struct json **ret, struct err *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_journal, alphasort);

    if (n < 0)
        return err_sys(err, ERR_GENERIC, errno, "the state directory '%s' cannot be read", dir);
    struct json *j = json_object();
    struct json *faults = json_put(j, "faults", json_array());
    struct json *helpers = json_put(j, "helpers", json_array());
    struct json *unreadable = json_put(j, "unreadable", json_array());
    for (int i = 0; i < n; i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]->d_name);
        read_journal(path, faults, unreadable);
        free(names[i]);
    }
    free(names);
    err_ignore(process_each("/proc", add_helper, helpers), "then none is seen");
    *ret = j;
    return 0;
}
