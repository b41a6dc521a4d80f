/* The load part of a plan: users, tasks, how they connect, how many of them and when. Parsed once
 * from the tables below, then immutable; threads share it without locks. All memory is in the
 * plan's arena.
 *
 * campaign/plan.h reads the whole file and calls load_plan_* for this part. */
#ifndef RUNNER_PLAN_H
#define RUNNER_PLAN_H

#include "base/param.h"
#include "runner/stats.h"

#define USERS_MAX 1000000
#define TASK_BODY_MAX ((size_t)16 << 20)

/* ---- think time: between(1s, 5s) | constant(1s) | pacing(10s) | throughput(0.5/s) |
 * exponential(2s) | none ---- */
enum think_kind { THINK_NONE, THINK_CONSTANT, THINK_BETWEEN, THINK_PACING, THINK_EXPONENTIAL };
struct think {
    enum think_kind
        kind; /* throughput(r) is pacing(1/r): from the start of one iteration to the next */
    uint64_t a_ns,
        b_ns; /* constant, pacing: a; between: a..b; exponential: mean a, cut at 100 x mean */
};

/* ---- what an answer must be ---- */
struct expect {
    struct strs status;       /* "200", "2xx", "200-204"; empty: anything below 400 */
    uint64_t status_bits[10]; /* bit (code-0) of 0..599, filled from `status` by the check */
    struct strs body_contains, body_not_contains;
    const char *body_regex; /* POSIX extended; NULL: none */
    struct pairs headers;   /* name: value the header must contain */
    uint64_t max_time_ns;   /* 0: none; a slower answer is a failure of class expectation */
    uint64_t max_body;      /* bytes; 0: no bound */
};

/* ---- what users can do wrong on purpose: see misdeed.h ---- */
enum misdeed_kind {
    MISDEED_NONE,
    MISDEED_SLOW_READ,
    MISDEED_SLOW_SEND,
    MISDEED_HALF_OPEN,
    MISDEED_ABORT,
    MISDEED_TLS_STALL,
    MISDEED_BIG_HEADERS,
    MISDEED_RETRY_STORM,
    MISDEED_MAX
};
const char *misdeed_name(enum misdeed_kind m);       /* "slow-read"; "" for none */
enum misdeed_kind misdeed_by_name(const char *name); /* MISDEED_MAX when unknown */

/* ---- a task: one request, or a sequence of steps ---- */
struct task {
    const char *name;   /* endpoint in reports: "GET /items" unless given */
    const char *method; /* upper case */
    const char *url;    /* path, or absolute; may hold {{slots}} */
    struct pairs headers;
    const char *body;      /* may hold {{slots}}; NULL: none */
    const char *body_file; /* read at load time into body */
    size_t body_len;
    double weight;
    const char *const *tags;
    size_t n_tags;
    struct expect expect;
    struct pairs
        extract;         /* variable: "header:Location" | "json:id" | "regex:..." from the answer */
    uint64_t timeout_ns; /* 0: the plan's */
    struct task
        *steps; /* a sequence: these run in order, one iteration; NULL for a plain request */
    size_t n_steps;
    uint32_t index;      /* series index, over all classes: tasks and steps of the same name in one
                            class share it */
    uint32_t form;       /* a number of its own per request task or step: see request.h */
    uint32_t user_class; /* index of the class it belongs to */
};

enum conn_policy { CONN_PER_USER, CONN_POOLED };
enum dns_policy { DNS_PINNED, DNS_TTL, DNS_PER_CONNECTION };

struct user_class {
    const char *name;
    double weight;       /* share of the users that are not fixed */
    int64_t fixed_count; /* 0: by weight */
    struct think think;
    bool sequential;    /* tasks in order instead of by weight */
    struct task *tasks; /* top level: picked by weight */
    size_t n_tasks;
    const char *host;     /* overrides the plan's target; NULL */
    struct pairs headers; /* for each of its requests */
    struct pairs variables;
    unsigned misdeeds; /* bit per enum misdeed_kind: what its users may do wrong in this run */
};

struct tls_plan {
    bool verify;                                                    /* default true */
    const char *ca_file, *cert_file, *key_file, *sni, *min_version; /* "1.2" "1.3" */
    bool resume; /* session resumption, default true */
};

struct http_plan {
    uint64_t timeout_ns;         /* a whole request; default 60 s */
    uint64_t connect_timeout_ns; /* default 10 s; TLS handshake has its own of the same length */
    bool follow_redirects;       /* default true */
    int64_t max_redirects;       /* default 30 */
    bool keep_alive;             /* default true; false: a connection per request */
    bool cookies;                /* default true */
    bool compressed;     /* send Accept-Encoding: gzip; decoded only when a check needs the body */
    int conn;            /* enum conn_policy, default per user */
    int dns;             /* enum dns_policy, default ttl */
    uint64_t dns_ttl_ns; /* default 30 s */
    struct strs source_addresses; /* local addresses to connect from, in turn */
    const char *engine;           /* "auto" "native" "curl" */
    const char *proxy;            /* HTTP or SOCKS proxy: the curl engine */
    const char *http_version;     /* "1.1" | "2": 2 is the curl engine */
    const char *basic_user, *basic_password_file, *basic_password_env;
    const char *bearer_file, *bearer_env;
    struct pairs headers; /* for every request */
    struct tls_plan tls;
};

/* ---- how much load ---- */
enum load_kind { LOAD_CLOSED, LOAD_OPEN };
enum arrival_process { ARRIVAL_CONSTANT, ARRIVAL_POISSON };

/* From the value before it, linearly to `target` over `duration`; duration 0 is a step. */
struct stage_plan {
    uint64_t duration_ns;
    double target;     /* users, or arrivals per second */
    double spawn_rate; /* closed, Locust's shape stages: > 0 means move at this rate, then hold */
    const char *name;  /* for explain; may be NULL */
};

struct load_plan_part { /* one generator; a plan may have several, with start offsets */
    const char *name;
    enum load_kind kind;
    const char *only_class;    /* this part drives only that user class; NULL: all, by weight */
    uint64_t start_ns;         /* offset from the start of the run */
    struct stage_plan *stages; /* always filled: {users, spawn, for} becomes stages too */
    size_t n_stages;
    double start_value;   /* value at the start: 0 users, or the first rate */
    uint64_t duration_ns; /* sum of the stages; 0: until iterations are done, or Ctrl-C */
    uint64_t iterations;  /* 0: no limit; else in all users together */
    enum arrival_process process;
    uint64_t max_users; /* open: users at most at once; default 10 x peak rate, at least 100 */
};

struct load_plan {
    const char
        *target; /* "http://127.0.0.1:5001", "unix:/path.sock" with http semantics; never NULL */
    struct user_class *classes;
    size_t n_classes;
    uint32_t n_series;          /* distinct (class, name, misdeed): the size of stats */
    uint32_t n_honest;          /* the first so many are of requests that are as they should be */
    const struct task **series; /* [n_series], the first task of each */
    uint8_t *misdeeds;          /* [n_series], enum misdeed_kind */
    uint32_t n_forms;           /* request tasks and steps in all */
    const struct task **forms;  /* [n_forms] */
    struct http_plan http;
    struct load_plan_part *parts;
    size_t n_parts;
    uint64_t graceful_stop_ns; /* in-flight requests may finish; default 30 s */
    uint64_t warmup_ns;  /* the first so much is phase "warm-up", outside baseline; default 0 */
    int64_t threads;     /* 0: one per CPU, at most 1 per 50 users */
    uint64_t max_lag_ns; /* run is Invalid when p99 of the schedule lag passes it; default 100 ms */
    uint64_t duration_ns; /* end of the last part; 0: none has an end */
    uint64_t seed;
};

/* Tables of the plan keys this folder owns: users[], load, http. For docs, schema and completion.
 */
extern const struct param_table user_class_table, task_table, load_table, arrivals_table,
    http_table;
extern const struct param_table step_table, expect_table, stage_table, arrivals_stage_table,
    basic_auth_table, bearer_table, tls_table;
/* The keys of the plan's root that load_plan_read reads: target, users, load, http, graceful_stop,
 * warmup, threads, max_lag, seed. The root's own table lists these rows too (for docs and so that
 * they are not unknown keys), but does not load them. */
extern const struct param_table load_root_table;

/* Reads the keys of load_root_table out of the plan's root map. Mistakes go to ctx->diag; `ret` is
 * undefined when there were any. A `target` that is a map ({embedded: shop}) is left to the caller:
 * ret->target is then TARGET_LATER until it is known and written there. Without a seed one is
 * drawn. */
#define TARGET_LATER "http://127.0.0.1:1"
void load_plan_read(const struct param_ctx *ctx, const struct doc *root, struct load_plan *ret);
/* "users" -> value of the closed curve at t; also the rate of an open part. */
double load_part_value_at(const struct load_plan_part *p, uint64_t t_ns);
/* Users of a class (-1: of all) may misbehave so: makes the series for it. -E2BIG: too many. */
int load_plan_misbehave(struct load_plan *p, int64_t user_class, enum misdeed_kind m,
                        struct err *err) MUST_CHECK;
/* Where requests of series `honest` are recorded when they do `m`. */
uint32_t load_plan_series(const struct load_plan *p, uint32_t honest, enum misdeed_kind m);
/* "GET /items", "GET /items (slow-read)": in the arena, or the task's own. */
const char *load_plan_series_name(const struct load_plan *p, struct arena *a, uint32_t series);
/* The tasks carrying any of `tags` stay (Locust's --tags), those in `exclude` go. An empty class is
 * an error. */
int load_plan_filter_tags(struct load_plan *p, const struct strs *tags, const struct strs *exclude,
                          struct err *err) MUST_CHECK;

#endif
