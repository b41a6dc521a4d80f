/* `completion`: the script that makes a shell complete our command line. */
#include <stdio.h>

#include "campaign/campaign.h"
#include "cli/complete.h"
#include "cli/verbs.h"

static int completion(const struct verb *v, const struct verb_args *args)
{
    auto_buf struct buf out = BUF_INIT(0);

    (void)v;
    if (args->n_rest != 1 || !complete_script(args->rest[0], &out)) {
        fprintf(stderr, "chaos-load: for which shell? chaos-load completion bash|zsh|fish\n");
        return EXIT_USAGE;
    }
    fwrite(buf_str(&out), 1, out.len, stdout);
    return EXIT_PASS;
}

static const struct opt no_options[] = { { 0 } };

const struct verb verb_completion = {
    .name = "completion",
    .summary = "print the completion script of a shell",
    .usage = "completion bash|zsh|fish",
    .description = "Installed packages bring it along; for a build of your own, load it by hand.",
    .examples = "source <(chaos-load completion bash)\n"
                "chaos-load completion zsh > ~/.zfunc/_chaos-load\n"
                "chaos-load completion fish > ~/.config/fish/completions/chaos-load.fish",
    .opts = no_options,
    .run = completion,
};
