/* `doctor`: which faults work on this machine, and what is missing for the others. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/parse.h"
#include "campaign/campaign.h"
#include "campaign/text_table.h"
#include "chaoslib/doctor.h"
#include "cli/verbs.h"

#define GREEN "\033[32m"
#define RED "\033[31m"
#define WIDTH_DEFAULT 120
#define NAMES_MAX 128

/* ---- which ones ---- */

static bool is_one_of(const char *name, const struct verb_args *args)
{
    for (size_t i = 0; i < args->n_rest; i++)
        if (strcmp(args->rest[i], name) == 0)
            return true;
    return false;
}

static bool names_a_kind(const char *word)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (strcmp((*k)->name, word) == 0)
            return true;
    return false;
}

static bool names_a_backend(const char *word)
{
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (strcmp((*k)->backend, word) == 0)
            return true;
    return false;
}

/* `pumba` is both: it then means the kind, which has no other backend. */
static bool is_wanted(void *arg, const struct fault_kind *k)
{
    const struct verb_args *args = arg;
    bool any_kind = false, any_backend = false;

    for (size_t i = 0; i < args->n_rest; i++) {
        any_kind |= names_a_kind(args->rest[i]);
        any_backend |= names_a_backend(args->rest[i]) && !names_a_kind(args->rest[i]);
    }
    return (!any_kind || is_one_of(k->name, args)) && (!any_backend || is_one_of(k->backend, args));
}

static int unknown_word(const char *word)
{
    const char *names[NAMES_MAX];
    size_t n = 0;

    for (const struct fault_kind *const *k = fault_catalog; *k && n + 1 < NAMES_MAX; k++) {
        names[n++] = (*k)->name;
        names[n++] = (*k)->backend;
    }
    const char *near = nearest_name(word, names, n);
    if (near)
        fprintf(stderr, "chaos-load: no fault or backend '%s', did you mean '%s'?\n", word, near);
    else
        fprintf(stderr, "chaos-load: no fault or backend '%s'; 'chaos-load doctor' lists them\n",
                word);
    return EXIT_USAGE;
}

static int check_words(const struct verb_args *args)
{
    for (size_t i = 0; i < args->n_rest; i++)
        if (!names_a_kind(args->rest[i]) && !names_a_backend(args->rest[i]))
            return unknown_word(args->rest[i]);
    for (const struct fault_kind *const *k = fault_catalog; *k; k++)
        if (is_wanted((void *)(uintptr_t)args, *k))
            return 0;
    fprintf(stderr, "chaos-load: there is no '%s' by '%s'\n", args->rest[0],
            args->rest[args->n_rest - 1]);
    return EXIT_USAGE;
}

/* ---- what is printed ---- */

static unsigned terminal_width(void)
{
    struct winsize size = { 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return WIDTH_DEFAULT;
}

static void print_table(const struct doctor *d, bool colour)
{
    static const struct text_col cols[] = { { .title = "fault", .left = true },
                                            { .title = "backend", .left = true },
                                            { .title = "works", .left = true },
                                            { .title = "by", .left = true, .drop = 1 } };
    auto_table struct text_table t;
    auto_buf struct buf out = BUF_INIT((size_t)1 << 20);

    text_table_init(&t, cols, ARRAY_LEN(cols));
    for (size_t i = 0; i < d->n_findings; i++) {
        const struct doctor_finding *f = &d->findings[i];
        text_table_add(&t, f->kind->name, NULL);
        text_table_add(&t, f->kind->backend, NULL);
        text_table_add(&t, f->works ? "yes" : "no", f->works ? GREEN : RED);
        text_table_add(&t, f->how, NULL);
    }
    text_table_print(&t, 2, terminal_width(), colour, &out);
    fwrite(out.data, 1, out.len, stdout);
}

/* The same reason is told once, with all whom it stops. */
static bool is_told(const struct doctor *d, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!d->findings[k].works && strcmp(d->findings[k].why, d->findings[i].why) == 0)
            return true;
    return false;
}

static void print_reasons(const struct doctor *d)
{
    for (size_t i = 0; i < d->n_findings; i++) {
        const struct doctor_finding *f = &d->findings[i];
        if (f->works || is_told(d, i))
            continue;
        printf("\n%s\n", f->why);
        if (*f->remedy)
            printf("  remedy: %s\n", f->remedy);
        printf("  stops:");
        for (size_t k = i; k < d->n_findings; k++)
            if (!d->findings[k].works && strcmp(d->findings[k].why, f->why) == 0)
                printf(" %s/%s", d->findings[k].kind->name, d->findings[k].kind->backend);
        printf("\n");
    }
}

static void print_text(const struct doctor *d, const struct verb_args *args)
{
    const char *no_color = getenv("NO_COLOR"); // NOLINT(concurrency-mt-unsafe): no thread runs
    bool colour =
        opt_given(args, "color") || (!(no_color && *no_color) && isatty(STDOUT_FILENO) == 1);

    for (size_t i = 0; i < d->n_facts; i++)
        printf("%-8s %s\n", d->facts[i].name, d->facts[i].text);
    printf("\n");
    print_table(d, colour);
    print_reasons(d);
}

static bool all_work(const struct doctor *d)
{
    for (size_t i = 0; i < d->n_findings; i++)
        if (!d->findings[i].works)
            return false;
    return true;
}

static int doctor(const struct verb *v, const struct verb_args *args)
{
    struct doctor d = { 0 };
    struct err err = { 0 };
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    (void)v;
    if (check_words(args) != 0)
        return EXIT_USAGE;
    if (n < 0) {
        fprintf(stderr, "chaos-load: /proc is needed, and cannot be read\n");
        return EXIT_COULD_NOT_RUN;
    }
    self[n] = '\0';
    if (doctor_examine(self, is_wanted, (void *)(uintptr_t)args, &d, &err) < 0) {
        fprintf(stderr, "chaos-load: %s\n", err.msg);
        doctor_done(&d);
        return EXIT_COULD_NOT_RUN;
    }
    if (opt_given(args, "json")) {
        auto(json) struct json *j = doctor_to_json(&d);
        auto_free char *text = json_print(j, true);
        printf("%s\n", text);
    } else {
        print_text(&d, args);
    }
    bool ok = args->n_rest == 0 || all_work(&d);
    doctor_done(&d);
    return ok ? EXIT_PASS : EXIT_FAILED;
}

static const struct opt doctor_options[] = {
    { "json", 0, OPT_NONE, NULL, "print it as JSON", NULL, NULL },
    { "color", 0, OPT_NONE, NULL, "colours also when the output is no terminal", NULL, NULL },
    { 0 },
};

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "tell which faults work on this machine",
    .usage = "doctor [--json] [FAULT...] [BACKEND...]",
    .description =
        "Makes each fault for real, for a moment: on a small server of its own, in a network "
        "namespace of its own, by the same steps as in a run, and looks that it is in and out "
        "again. Faults on containers are tried in the same way, on a process; containers "
        "themselves are left alone, and their engine is only asked for its version. For each fault "
        "and backend it tells whether it works here and by what mechanism, or why not and what "
        "helps.\n\n"
        "Exit code 0, whatever it finds, when everything is looked at. With names of faults and "
        "backends it looks at these, and exits with 1 when one of them does not work.",
    .examples = "chaos-load doctor\nchaos-load doctor latency docker",
    .opts = doctor_options,
    .run = doctor,
};
