/* Runs a plan as `chaos-load run` does, and dies of SIGKILL at a step of its fault: for the kinds
 * of the safety matrix (tests/e2e/test_safety.py) that need a whole run, such as what the load
 * itself does.
 *
 *     campaign_driver WHEN alone|both DELAY_US PLAN.yaml
 *
 * WHEN, `both` and DELAY_US: see doom.h. The state folder is the program's own. The steps are known
 * from the log, which is written on the fault's thread. */
#include <stdio.h>

#include "base/log.h"
#include "campaign/campaign.h"
#include "edge/yaml.h"
#include "tests/tools/doom.h"

#define PLAN_MAX ((size_t)64 << 10)
#define STEP " step="

static void on_line(void *arg, const char *line, size_t len)
{
    auto_free char *text = xstrndup(line, len);
    char *step = strstr(text, " fault.step ") ? strstr(text, STEP) : NULL;

    if (!step)
        return;
    step[strcspn(step, "\n")] = '\0';
    doom_at(arg, step + strlen(STEP));
}

static int read_plan(const char *path, struct diag *diag, struct plan *ret)
{
    auto_free char *text = xcalloc(PLAN_MAX + 1, 1);
    struct arena *arena = arena_new(0);
    struct doc *root = NULL;
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, PLAN_MAX, f) : 0;

    if (f)
        fclose(f);
    if (yaml_load(path, text, n, arena, diag, &root) < 0) {
        arena_free(arena);
        return -1;
    }
    return plan_read(arena, root, diag, false, ret);
}

int main(int argc, char **argv)
{
    struct observer *const nobody[] = { NULL };
    int role = doom_other_role(argc, argv);
    struct result *result = NULL;
    struct err err = { 0 };
    struct plan plan = { 0 };
    struct diag diag;
    struct doom doom;

    if (role >= 0)
        return role;
    if (argc != 5 || !doom_read(&doom, argv[1], argv[2], argv[3])) {
        fprintf(stderr, "usage: campaign_driver WHEN alone|both DELAY_US PLAN.yaml\n");
        return 2;
    }
    diag_init(&diag);
    if (read_plan(argv[4], &diag, &plan) < 0) {
        fprintf(stderr, "%s", buf_str(&diag.text));
        return 2;
    }
    log_setup(LOG_DEBUG, LOG_TEXT, false);
    log_set_sink(on_line, &doom);
    doom_at(&doom, "the program");
    int rc = campaign_run(&(struct campaign_opts){ .plan = &plan,
                                                   .observers = nobody,
                                                   .self_path = "/proc/self/exe" },
                          &result, &err);
    fprintf(stderr, "campaign_driver: %s %s\n", err.msg, result->reason ? result->reason : "");
    result_free(result);
    plan_free(&plan);
    diag_done(&diag);
    return rc;
}
