/* A command line of Pumba, as it stands: what `pumba: {run: …}` starts, what `import pumba` reads.
 *
 *     [global flags] COMMAND [its flags] [SUBCOMMAND [its flags]] [containers…]
 *
 * By the rules of urfave/cli v1, which Pumba uses: global flags come before the command, those of
 * netem and iptables before their subcommand; the last command's own flags may also follow the
 * containers, up to `--`; `-name` and `--name` are the same, and so are `--name value` and
 * `--name=value`. Read as of Pumba 1.1, with `netem combine` of 1.2. */
#ifndef CHAOSLIB_PUMBA_ARGS_H
#define CHAOSLIB_PUMBA_ARGS_H

#include "base/param.h"

#define PUMBA_TEXT_MAX ((size_t)64 << 10)
#define PUMBA_WORDS_MAX 1024
#define PUMBA_REGEX_PREFIX "re2:"

enum pumba_command {
    PUMBA_KILL,
    PUMBA_EXEC,
    PUMBA_RESTART,
    PUMBA_STOP,
    PUMBA_PAUSE,
    PUMBA_RM,
    PUMBA_STRESS,
    PUMBA_NETEM,
    PUMBA_IPTABLES,
    PUMBA_COMMAND_MAX
};

enum pumba_effect { /* subcommands of netem and iptables */
                    PUMBA_NO_EFFECT,
                    PUMBA_DELAY,
                    PUMBA_LOSS,
                    PUMBA_LOSS_STATE,
                    PUMBA_LOSS_GEMODEL,
                    PUMBA_RATE,
                    PUMBA_DUPLICATE,
                    PUMBA_CORRUPT,
                    PUMBA_COMBINE,
                    PUMBA_IPTABLES_LOSS,
                    PUMBA_EFFECT_MAX
};

struct pumba_delay {
    bool on;
    int64_t time_ms, jitter_ms;
    double correlation;
    const char *distribution; /* "" none */
};
struct pumba_share { /* of packets, in percent */
    bool on;
    double percent, correlation;
};
struct pumba_rate {
    bool on;
    const char *rate; /* "100kbit" */
    int64_t packet_overhead, cell_size, cell_overhead;
};

struct pumba_line {
    struct strs words;   /* all of them, without a leading `pumba` */
    size_t command_at;   /* which of them is the command; the global flags are before it */
    struct strs targets; /* positional arguments: exact names or full ids; none: every container */
    const char *pattern; /* of a sole `re2:…`; then targets is empty */
    enum pumba_command command;
    enum pumba_effect effect;

    /* global flags */
    const char *host, *runtime, *containerd_socket, *containerd_namespace, *podman_socket;
    const char *tlscacert, *tlscert, *tlskey, *log_level, *slackhook, *slackchannel;
    bool tls, tlsverify, json, random, dry_run, skip_error;
    uint64_t interval_ns;
    struct strs labels;

    int64_t limit; /* 0: all */
    uint64_t duration_ns;
    const char *signal;          /* kill */
    int64_t stop_time;           /* stop; seconds */
    bool stop_restart;           /* stop */
    uint64_t restart_timeout_ns; /* restart */
    bool force, links, volumes;  /* rm */
    const char *exec_command;    /* exec */
    struct strs exec_args;       /* exec */
    const char *stressors;       /* stress */
    bool inject_cgroup;          /* stress */
    const char *interface;       /* netem, iptables */
    const char *image;           /* of the side-car: tc, iptables, stress-ng */
    bool pull_image;
    struct strs net_targets;                /* netem */
    const char *egress_port, *ingress_port; /* netem: source port, destination port */
    struct pumba_delay delay;
    struct pumba_share loss, duplicate, corrupt;
    struct pumba_rate rate;
    double p13, p31, p32, p23, p14; /* netem loss-state */
    double pg, pb, one_h, one_k;    /* netem loss-gemodel */
    const char *protocol;           /* iptables */
    struct strs source, destination;
    const char *src_port, *dst_port;
    const char *mode; /* iptables loss: random, nth */
    double probability;
    int64_t every, packet;
};

/* Words as a shell would cut them, without a shell: quotes and backslashes work, and what only a
 * shell could do ($x, pipes, redirections) is refused by name. */
int pumba_words(const char *text, struct arena *arena, struct strs *ret,
                struct err *err) MUST_CHECK;
/* Everything lives in the arena. */
int pumba_read(const char *text, struct arena *arena, struct pumba_line *ret,
               struct err *err) MUST_CHECK;

/* Inside: what the parts mean together. */
int pumba_check(const struct pumba_line *l, struct err *err) MUST_CHECK;

const char *pumba_command_name(enum pumba_command c); /* "rm" */
const char *pumba_effect_name(enum pumba_effect e);   /* "loss-gemodel"; "" for none */
/* "netem delay", "kill" */
void pumba_line_name(const struct pumba_line *l, char out[32]);
/* What it does lasts, and Pumba takes it back: pause, netem, iptables, stress, stop --restart. */
bool pumba_is_lasting(const struct pumba_line *l);

/* ---- the tables of flags, also for docs ---- */
enum pumba_type { PUMBA_BOOL, PUMBA_TEXT, PUMBA_TEXTS, PUMBA_INT, PUMBA_FLOAT, PUMBA_DURATION };

struct pumba_flag {
    const char *names; /* comma separated: "signal,s" */
    enum pumba_type type;
    size_t offset; /* in struct pumba_line */
    const char *def;
    double lo, hi; /* bounds when hi > lo */
    const char *const *choices;
};
struct pumba_flags {
    const char *of; /* "", "kill", "netem", "netem delay" */
    const struct pumba_flag *rows;
    size_t n;
};
extern const struct pumba_flags pumba_global_flags;
extern const struct pumba_flags pumba_command_flags[PUMBA_COMMAND_MAX];
extern const struct pumba_flags pumba_effect_flags[PUMBA_EFFECT_MAX];

#endif
