/* `import`: what other tools are told, as a plan of ours. */
#include <stdio.h>
#include <string.h>

#include "campaign/campaign.h"
#include "chaoslib/pumba/native.h"
#include "cli/verbs.h"

#define PLAN_MAX ((size_t)1 << 20)
#define TARGET "http://127.0.0.1:8080/"

static int fail(const char *text)
{
    fprintf(stderr, "chaos-load: %s\n", text);
    return EXIT_USAGE;
}

/* One argument is a line; several are the words that a shell has cut already. */
static void join(const struct verb_args *args, struct buf *out)
{
    if (args->n_rest == 2) {
        buf_adds(out, args->rest[1]);
        return;
    }
    for (size_t i = 1; i < args->n_rest; i++) {
        buf_addc(out, '\'');
        for (const char *p = args->rest[i]; *p; p++) {
            if (*p == '\'')
                buf_adds(out, "'\\'");
            buf_addc(out, *p);
        }
        buf_adds(out, "' ");
    }
}

static int print_plan(const struct verb_args *args, const char *line, struct err *err)
{
    auto(arena) struct arena *arena = arena_new(0);
    auto_buf struct buf faults = BUF_INIT(PLAN_MAX);
    const char *target = opt_value(args, "target");
    struct pumba_line l;

    if (pumba_read(line, arena, &l, err) < 0 || pumba_native(&l, arena, &faults, err) < 0)
        return -1;
    printf("# pumba");
    for (size_t i = 0; i < l.words.n; i++) {
        auto_buf struct buf word = BUF_INIT(PLAN_MAX);
        native_quote(&word, l.words.v[i]);
        bool plain = !strpbrk(l.words.v[i], " \t\r\n'\"\\$|&;<>()*?[]") && l.words.v[i][0];
        printf(" %s", plain ? l.words.v[i] : buf_str(&word));
    }
    printf("\ntarget: ");
    auto_buf struct buf quoted = BUF_INIT(PLAN_MAX);
    native_quote(&quoted, target ? target : TARGET);
    printf("%s%s\nusers:\n  - tasks: [{get: /}]\nload: {users: 10, for: 5m}\n\n%s",
           buf_str(&quoted), target ? "" : " # where your users go", buf_str(&faults));
    return 0;
}

static int import(const struct verb *v, const struct verb_args *args)
{
    auto_buf struct buf line = BUF_INIT(PUMBA_TEXT_MAX);
    struct err err = { 0 };

    (void)v;
    if (args->n_rest < 2)
        return fail("import what? write: chaos-load import pumba 'kill re2:^shop'");
    if (strcmp(args->rest[0], "pumba") != 0) {
        fprintf(stderr, "chaos-load: cannot import from '%s': known is pumba\n", args->rest[0]);
        return EXIT_USAGE;
    }
    join(args, &line);
    if (print_plan(args, buf_str(&line), &err) == 0)
        return EXIT_PASS;
    return fail(err.msg);
}

static const struct opt import_options[] = {
    { .name = "target",
      .arg = OPT_ONE,
      .meta = "URL",
      .help = "what the plan sends its load to (default " TARGET ")" },
    { .name = NULL },
};

const struct verb verb_import = {
    .name = "import",
    .summary = "print the plan that does what a command line of Pumba does",
    .usage = "import [OPTIONS] pumba 'COMMAND LINE'",
    .description =
        "Reads the command line as Pumba would and prints a plan with faults of our own that do "
        "the "
        "same, with what differs in comments. What has no equivalent is an error that names it: "
        "such a line can still be run as it stands, by the fault 'pumba' with run:. Nothing is "
        "started.",
    .examples =
        "chaos-load import pumba 'pumba --interval 10s --random kill re2:^shop' >plan.yaml\n"
        "chaos-load import pumba 'netem --duration 20s delay --time 300 shop-1'",
    .opts = import_options,
    .takes_line = true,
    .run = import,
};
