/* What was measured, per series: (phase, task). One `struct stats` is a delta: what one worker
 * thread saw since the last hand-over. Totals, phases and the rows of each second are merges of
 * deltas, so their sums are equal by construction.
 *
 * A task belongs to one user class, so a series is also per endpoint and per class. */
#ifndef RUNNER_STATS_H
#define RUNNER_STATS_H

#include "runner/hist.h"

#define STATS_PHASES_MAX 1024
#define STATS_TASKS_MAX 1024

/* Why a request failed. The order is the order in reports. */
enum fail_class {
    FAIL_NONE,
    FAIL_DNS,
    FAIL_REFUSED,     /* connect: ECONNREFUSED */
    FAIL_UNREACHABLE, /* connect: no route, network down, no local port or address */
    FAIL_CONNECT_TIMEOUT,
    FAIL_TLS, /* handshake or certificate */
    FAIL_TLS_TIMEOUT,
    FAIL_RESET,            /* ECONNRESET, EPIPE, while sending or receiving */
    FAIL_CLOSED,           /* end of stream before the first byte of the answer */
    FAIL_SHORT_BODY,       /* end of stream inside head or body */
    FAIL_RESPONSE_TIMEOUT, /* nothing came */
    FAIL_TRANSFER_TIMEOUT, /* it began and did not end */
    FAIL_MALFORMED,        /* not HTTP, or HTTP that breaks its own framing */
    FAIL_TOO_LARGE,        /* head or wanted body over its named limit */
    FAIL_STATUS,           /* an answer, but not an expected status (default: >= 400) */
    FAIL_EXPECTATION,      /* an answer, but a check of it failed */
    FAIL_REDIRECTS,        /* more hops than allowed, or a Location that leads nowhere */
    FAIL_DROPPED,          /* open load: an arrival for which no user was free */
    FAIL_INTERRUPTED,      /* still running when the run ended: censored */
    FAIL_INTERNAL,         /* ours: out of files, memory */
    FAIL_CLASS_MAX
};
const char *fail_class_name(
    enum fail_class c); /* "refused", "connect-timeout", ... ; "" for none */
const char *fail_class_help(enum fail_class c);       /* one sentence for reports */
enum fail_class fail_class_by_name(const char *name); /* FAIL_CLASS_MAX when unknown */
/* A timeout of any stage, or interrupted: what we know is "at least T", and it stays in the tail.
 */
bool fail_class_is_censored(enum fail_class c);

/* The parts of one request's time; 0 = did not happen (a reused connection has no dns, connect,
 * tls). */
enum stage { STAGE_DNS, STAGE_CONNECT, STAGE_TLS, STAGE_WAIT, STAGE_TRANSFER, STAGE_MAX };
const char *stage_name(enum stage s);

/* Five stamps (CLOCK_MONOTONIC ns) and the parts. sched: when the schedule wanted it; start: a user
 * took it; send: first byte out (0 when none went out); first: first byte back (0: none came);
 * done. */
struct sample {
    uint32_t task;
    enum fail_class fail;
    uint16_t status;    /* 0 when there was no answer */
    uint16_t redirects; /* hops that were followed, counted apart */
    uint64_t sched, start, send, first, done;
    uint64_t stage_ns[STAGE_MAX];
    uint64_t bytes_in, bytes_out;
};

struct cell {
    uint64_t n_ok, n_fail;
    uint64_t fails[FAIL_CLASS_MAX];
    uint64_t redirects, bytes_in, bytes_out, reused; /* reused: went over a kept-alive connection */
    uint64_t first_fail_ns, last_fail_ns;            /* by sched; 0: none */
    struct hist response; /* done - sched: successes, and censored failures as "at least" */
    struct hist service;  /* done - send: the same requests */
    struct hist lag;      /* send - sched: all that were sent */
    struct hist
        lateness; /* start - sched: our own part of the lag; it alone can make a run Invalid */
    struct hist failed; /* done - sched of failures that are not censored */
    struct hist stages[STAGE_MAX];
    uint32_t *statuses; /* [600], counts by status code; NULL until the first answer */
};

struct stats {
    uint32_t n_tasks;
    struct cell **cells;             /* [STATS_PHASES_MAX * n_tasks], each NULL until used */
    uint32_t first_phase, end_phase; /* cells outside [first, end) are empty */
    struct cell **spare;             /* cleared cells, kept for the next ones */
    size_t n_spare, cap_spare;
    char *example[FAIL_CLASS_MAX]; /* the first failure of its class in words; NULL: none */
};

struct stats *stats_new(uint32_t n_tasks);
void stats_free(struct stats *s);
/* The hot path: one call for each finished request. Allocates only when a series or page is first
 * touched. */
void stats_record(struct stats *s, uint32_t phase, const struct sample *sample);
struct cell *stats_cell(struct stats *s, uint32_t phase, uint32_t task); /* makes it */
const struct cell *stats_peek(const struct stats *s, uint32_t phase,
                              uint32_t task); /* NULL when empty */
void stats_merge(struct stats *into, const struct stats *from);
void stats_clear(struct stats *s); /* keeps the memory, and the examples */
bool stats_is_empty(const struct stats *s);
/* "GET /items: the body does not contain 'ok'": kept when it is the first of its class. Merging
 * keeps the first as well. */
void stats_note_example(struct stats *s, enum fail_class fail, const char *task, const char *why);

struct cell *cell_new(void) __attribute__((returns_nonnull));
void cell_free(struct cell *c);
void cell_record(struct cell *c, const struct sample *sample);
void cell_merge(struct cell *into, const struct cell *from);
void cell_clear(struct cell *c);

#endif
