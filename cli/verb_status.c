/* `status`: which faults are active on this machine, and by which run. */
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "chaoslib/journal.h"
#include "chaoslib/status.h"
#include "cli/verbs.h"

static const char *meaning_of(const char *state)
{
    if (strcmp(state, "active") == 0)
        return "running";
    if (strcmp(state, "rebooted") == 0)
        return "ended by a reboot: 'chaos-load recover' tidies up";
    return "dead: 'chaos-load recover' takes its faults back";
}

static void print_faults(const struct json *faults)
{
    const char *last = "";

    for (const struct json *f = json_first(faults); f; f = json_next(f)) {
        const char *run = json_str(f, "run", "");
        if (strcmp(run, last) != 0)
            printf("run %s, %s\n", run, meaning_of(json_str(f, "state", "")));
        last = run;
        printf("  %-14s %-20s %s\n", json_str(f, "kind", ""), json_str(f, "fault", ""),
               json_str(f, "target", ""));
    }
}

static void print_text(const struct json *status)
{
    const struct json *faults = json_get(status, "faults");
    const struct json *helpers = json_get(status, "helpers");
    const struct json *unreadable = json_get(status, "unreadable");

    print_faults(faults);
    for (const struct json *h = json_first(helpers); h; h = json_next(h))
        printf("helper %s (pid %llu) of pid %llu\n", json_str(h, "role", ""),
               (unsigned long long)json_u64(h, "pid", 0),
               (unsigned long long)json_u64(h, "run_pid", 0));
    for (const struct json *u = json_first(unreadable); u; u = json_next(u))
        printf("unreadable: %s\n", json_str(u, "error", ""));
    if (json_len(faults) + json_len(helpers) + json_len(unreadable) == 0)
        printf("nothing is active\n");
}

static int status(const struct verb *v, const struct verb_args *args)
{
    auto(json) struct json *j = NULL;
    struct err err = { 0 };
    char dir[256];

    (void)v;
    if (args->n_rest) {
        fprintf(stderr, "chaos-load: status takes no arguments\n");
        return EXIT_USAGE;
    }
    if (journal_dir(dir, &err) < 0 || status_read(dir, &j, &err) < 0) {
        fprintf(stderr, "chaos-load: %s\n", err.msg);
        return EXIT_COULD_NOT_RUN;
    }
    if (opt_given(args, "json")) {
        auto_free char *text = json_print(j, true);
        printf("%s\n", text);
    } else {
        print_text(j);
    }
    return EXIT_PASS;
}

static const struct opt status_options[] = {
    { "json", 0, OPT_NONE, NULL, "print it as JSON", NULL, NULL },
    { 0 },
};

const struct verb verb_status = {
    .name = "status",
    .summary = "list the faults that are active on this machine",
    .usage = "status [--json]",
    .description =
        "Reads the journals in $CHAOS_LOAD_STATE, else $XDG_STATE_HOME/chaos-load, else "
        "~/.local/state/chaos-load, and lists each fault that is in by the run that put it in. The "
        "faults of a dead run, which its guardian is about to take back or could not, are told "
        "apart. Then come the helper processes that live, of any run on this machine. Nothing is "
        "changed. Exit code 0, whether there is something or not; 3 when the state directory "
        "cannot be read.",
    .examples = "chaos-load status",
    .opts = status_options,
    .run = status,
};
