/* Every flag of Pumba: names, type, default, bounds, and where its value goes. */
#include "chaoslib/pumba/args.h"

#define FLAG(names_, type_, field_, ...)                                                         \
    {                                                                                            \
        .names = (names_), .type = PUMBA_##type_, .offset = offsetof(struct pumba_line, field_), \
        __VA_ARGS__                                                                              \
    }
#define SHARE(names_, field_, def_) FLAG(names_, FLOAT, field_, .def = (def_), .hi = 100)
#define COUNT(names_, field_, def_) FLAG(names_, INT, field_, .def = (def_), .hi = 2147483647)
#define TABLE(of_, rows_)                                   \
    {                                                       \
        .of = (of_), .rows = (rows_), .n = ARRAY_LEN(rows_) \
    }
#define NETTOOLS "ghcr.io/alexei-led/pumba-alpine-nettools:latest"

static const char *const runtimes[] = { "docker", "containerd", "podman", NULL };
static const char *const levels[] = { "debug", "info",  "warning", "warn",
                                      "error", "fatal", "panic",   NULL };
static const char *const protocols[] = { "any", "tcp", "udp", "icmp", NULL };
static const char *const modes[] = { "random", "nth", NULL };
static const char *const distributions[] = {
    "", "uniform", "normal", "pareto", "paretonormal", NULL
};
static const char *const signals[] = {
    "SIGHUP",    "SIGINT",  "SIGQUIT",  "SIGILL",  "SIGTRAP", "SIGIOT",  "SIGBUS",  "SIGFPE",
    "SIGKILL",   "SIGUSR1", "SIGSEGV",  "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGCHLD",
    "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",  "SIGXCPU", "SIGXFSZ",
    "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   NULL,
};

static const struct pumba_flag global_rows[] = {
    FLAG("host,H", TEXT, host, .def = "unix:///var/run/docker.sock"),
    FLAG("runtime", TEXT, runtime, .def = "docker", .choices = runtimes),
    FLAG("containerd-socket", TEXT, containerd_socket, .def = "/run/containerd/containerd.sock"),
    FLAG("containerd-namespace", TEXT, containerd_namespace, .def = "k8s.io"),
    FLAG("podman-socket", TEXT, podman_socket, .def = ""),
    FLAG("tls", BOOL, tls, .def = "false"),
    FLAG("tlsverify", BOOL, tlsverify, .def = "false"),
    FLAG("tlscacert", TEXT, tlscacert, .def = ""),
    FLAG("tlscert", TEXT, tlscert, .def = ""),
    FLAG("tlskey", TEXT, tlskey, .def = ""),
    FLAG("log-level,l", TEXT, log_level, .def = "warning", .choices = levels),
    FLAG("json,j", BOOL, json, .def = "false"),
    FLAG("slackhook", TEXT, slackhook, .def = ""),
    FLAG("slackchannel", TEXT, slackchannel, .def = "#pumba"),
    FLAG("interval,i", DURATION, interval_ns, .def = "0"),
    FLAG("label", TEXTS, labels, .def = NULL),
    FLAG("random,r", BOOL, random, .def = "false"),
    FLAG("dry-run", BOOL, dry_run, .def = "false"),
    FLAG("skip-error", BOOL, skip_error, .def = "false"),
};

static const struct pumba_flag kill_rows[] = {
    FLAG("signal,s", TEXT, signal, .def = "SIGKILL", .choices = signals),
    COUNT("limit,l", limit, "0"),
};
static const struct pumba_flag exec_rows[] = {
    FLAG("command,s", TEXT, exec_command, .def = "kill 1"),
    FLAG("args,a", TEXTS, exec_args, .def = NULL),
    COUNT("limit,l", limit, "0"),
};
static const struct pumba_flag restart_rows[] = {
    FLAG("timeout,t", DURATION, restart_timeout_ns, .def = "1s"),
    COUNT("limit,l", limit, "0"),
};
static const struct pumba_flag stop_rows[] = {
    FLAG("time,t", INT, stop_time, .def = "5"),
    COUNT("limit,l", limit, "0"),
    FLAG("restart,r", BOOL, stop_restart, .def = "false"),
    FLAG("duration,d", DURATION, duration_ns, .def = "10s"),
};
static const struct pumba_flag pause_rows[] = {
    FLAG("duration,d", DURATION, duration_ns, .def = NULL),
    COUNT("limit,l", limit, "0"),
};
static const struct pumba_flag rm_rows[] = {
    FLAG("force,f", BOOL, force, .def = "true"),
    FLAG("links,n", BOOL, links, .def = "false"),
    FLAG("volumes,v", BOOL, volumes, .def = "true"),
    COUNT("limit,l", limit, "0"),
};
static const struct pumba_flag stress_rows[] = {
    FLAG("duration,d", DURATION, duration_ns, .def = NULL),
    FLAG("stress-image", TEXT, image, .def = "ghcr.io/alexei-led/stress-ng:latest"),
    FLAG("pull-image", BOOL, pull_image, .def = "true"),
    FLAG("stressors", TEXT, stressors, .def = "--cpu 4 --timeout 60s"),
    FLAG("inject-cgroup", BOOL, inject_cgroup, .def = "false"),
};
static const struct pumba_flag netem_rows[] = {
    FLAG("duration,d", DURATION, duration_ns, .def = NULL),
    FLAG("interface,i", TEXT, interface, .def = "eth0"),
    FLAG("target,t", TEXTS, net_targets, .def = NULL),
    FLAG("egress-port,egressPort", TEXT, egress_port, .def = ""),
    FLAG("ingress-port,ingressPort", TEXT, ingress_port, .def = ""),
    FLAG("tc-image", TEXT, image, .def = NETTOOLS),
    FLAG("pull-image", BOOL, pull_image, .def = "true"),
    COUNT("limit", limit, "0"),
};
static const struct pumba_flag iptables_rows[] = {
    FLAG("duration,d", DURATION, duration_ns, .def = NULL),
    FLAG("interface,i", TEXT, interface, .def = "eth0"),
    FLAG("protocol,p", TEXT, protocol, .def = "any", .choices = protocols),
    FLAG("source,src,s", TEXTS, source, .def = NULL),
    FLAG("destination,dest", TEXTS, destination, .def = NULL),
    FLAG("src-port,sport", TEXT, src_port, .def = ""),
    FLAG("dst-port,dport", TEXT, dst_port, .def = ""),
    FLAG("iptables-image", TEXT, image, .def = NETTOOLS),
    FLAG("pull-image", BOOL, pull_image, .def = "true"),
    COUNT("limit", limit, "0"),
};

static const struct pumba_flag delay_rows[] = {
    COUNT("time,t", delay.time_ms, "100"),
    COUNT("jitter,j", delay.jitter_ms, "10"),
    SHARE("correlation,c", delay.correlation, "20"),
    FLAG("distribution,d", TEXT, delay.distribution, .def = "", .choices = distributions),
};
static const struct pumba_flag loss_rows[] = {
    SHARE("percent,p", loss.percent, "0"),
    SHARE("correlation,c", loss.correlation, "0"),
};
static const struct pumba_flag loss_state_rows[] = {
    SHARE("p13", p13, "0"),   SHARE("p31", p31, "100"), SHARE("p32", p32, "0"),
    SHARE("p23", p23, "100"), SHARE("p14", p14, "0"),
};
static const struct pumba_flag loss_gemodel_rows[] = {
    SHARE("pg,p", pg, "0"),
    SHARE("pb,r", pb, "100"),
    SHARE("one-h", one_h, "100"),
    SHARE("one-k", one_k, "0"),
};
static const struct pumba_flag rate_rows[] = {
    FLAG("rate,r", TEXT, rate.rate, .def = "100kbit"),
    FLAG("packetoverhead,p", INT, rate.packet_overhead, .def = "0"),
    COUNT("cellsize,s", rate.cell_size, "0"),
    FLAG("celloverhead,c", INT, rate.cell_overhead, .def = "0"),
};
static const struct pumba_flag duplicate_rows[] = {
    SHARE("percent,p", duplicate.percent, "0"),
    SHARE("correlation,c", duplicate.correlation, "0"),
};
static const struct pumba_flag corrupt_rows[] = {
    SHARE("percent,p", corrupt.percent, "0"),
    SHARE("correlation,c", corrupt.correlation, "0"),
};
static const struct pumba_flag combine_rows[] = {
    FLAG("delay", BOOL, delay.on, .def = "false"),
    FLAG("loss", BOOL, loss.on, .def = "false"),
    FLAG("corrupt", BOOL, corrupt.on, .def = "false"),
    FLAG("duplicate", BOOL, duplicate.on, .def = "false"),
    FLAG("rate", BOOL, rate.on, .def = "false"),
    COUNT("delay-time", delay.time_ms, "100"),
    COUNT("delay-jitter", delay.jitter_ms, "10"),
    SHARE("delay-correlation", delay.correlation, "20"),
    FLAG("delay-distribution", TEXT, delay.distribution, .def = "", .choices = distributions),
    SHARE("loss-percent", loss.percent, "0"),
    SHARE("loss-correlation", loss.correlation, "0"),
    SHARE("corrupt-percent", corrupt.percent, "0"),
    SHARE("corrupt-correlation", corrupt.correlation, "0"),
    SHARE("duplicate-percent", duplicate.percent, "0"),
    SHARE("duplicate-correlation", duplicate.correlation, "0"),
    FLAG("rate-value", TEXT, rate.rate, .def = "100kbit"),
    FLAG("rate-packet-overhead", INT, rate.packet_overhead, .def = "0"),
    COUNT("rate-cell-size", rate.cell_size, "0"),
    FLAG("rate-cell-overhead", INT, rate.cell_overhead, .def = "0"),
};
static const struct pumba_flag iptables_loss_rows[] = {
    FLAG("mode", TEXT, mode, .def = "random", .choices = modes),
    FLAG("probability", FLOAT, probability, .def = "0", .hi = 1),
    COUNT("every", every, "0"),
    COUNT("packet", packet, "0"),
};

const struct pumba_flags pumba_global_flags = TABLE("", global_rows);
const struct pumba_flags pumba_command_flags[PUMBA_COMMAND_MAX] = {
    [PUMBA_KILL] = TABLE("kill", kill_rows),
    [PUMBA_EXEC] = TABLE("exec", exec_rows),
    [PUMBA_RESTART] = TABLE("restart", restart_rows),
    [PUMBA_STOP] = TABLE("stop", stop_rows),
    [PUMBA_PAUSE] = TABLE("pause", pause_rows),
    [PUMBA_RM] = TABLE("rm", rm_rows),
    [PUMBA_STRESS] = TABLE("stress", stress_rows),
    [PUMBA_NETEM] = TABLE("netem", netem_rows),
    [PUMBA_IPTABLES] = TABLE("iptables", iptables_rows),
};
const struct pumba_flags pumba_effect_flags[PUMBA_EFFECT_MAX] = {
    [PUMBA_DELAY] = TABLE("netem delay", delay_rows),
    [PUMBA_LOSS] = TABLE("netem loss", loss_rows),
    [PUMBA_LOSS_STATE] = TABLE("netem loss-state", loss_state_rows),
    [PUMBA_LOSS_GEMODEL] = TABLE("netem loss-gemodel", loss_gemodel_rows),
    [PUMBA_RATE] = TABLE("netem rate", rate_rows),
    [PUMBA_DUPLICATE] = TABLE("netem duplicate", duplicate_rows),
    [PUMBA_CORRUPT] = TABLE("netem corrupt", corrupt_rows),
    [PUMBA_COMBINE] = TABLE("netem combine", combine_rows),
    [PUMBA_IPTABLES_LOSS] = TABLE("iptables loss", iptables_loss_rows),
};

const char *pumba_command_name(enum pumba_command c)
{
    return (unsigned)c < PUMBA_COMMAND_MAX ? pumba_command_flags[c].of : "";
}

const char *pumba_effect_name(enum pumba_effect e)
{
    static const char *const names[] = {
        [PUMBA_NO_EFFECT] = "",
        [PUMBA_DELAY] = "delay",
        [PUMBA_LOSS] = "loss",
        [PUMBA_LOSS_STATE] = "loss-state",
        [PUMBA_LOSS_GEMODEL] = "loss-gemodel",
        [PUMBA_RATE] = "rate",
        [PUMBA_DUPLICATE] = "duplicate",
        [PUMBA_CORRUPT] = "corrupt",
        [PUMBA_COMBINE] = "combine",
        [PUMBA_IPTABLES_LOSS] = "loss",
    };
    _Static_assert(ARRAY_LEN(names) == PUMBA_EFFECT_MAX, "every effect has a name");

    return (unsigned)e < PUMBA_EFFECT_MAX ? names[e] : "";
}
