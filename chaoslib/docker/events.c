/* See events.h. One thread reads; everybody else looks at what it has put into the ring. When the
 * stream breaks (the engine was restarted) it is opened again from the last instant seen; what the
 * engine then tells twice is left out. */
#include "chaoslib/docker/events.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "chaoslib/docker/internal.h"
#include "chaoslib/wait.h"

#define RING_LEN 4096
#define LISTENERS_MAX 8
#define RETRY_MIN_NS (20 * NS_PER_MS)
#define RETRY_MAX_NS NS_PER_SEC
#define PODMAN_HEAD_NS (366 * 24 * 3600 * NS_PER_SEC)
#define LOOK_NS (20 * NS_PER_MS) /* how long a latch may be set unnoticed */

struct listener {
    docker_event_fn *fn;
    void *arg;
};

struct docker_events {
    struct docker *d;
    pthread_t thread;
    int stop[2]; /* a pipe: its end of file stops the thread */
    pthread_mutex_t lock;
    pthread_cond_t news; /* an event, or the state of the stream */
    struct docker_event *ring;
    uint64_t n; /* events so far; the last one's seq */
    bool opened, failed;
    uint64_t breaks;
    struct err why;
    struct listener listeners[LISTENERS_MAX];
    size_t n_listeners;
    /* The thread's own. */
    char since[64];          /* where to go on; "" at first */
    uint64_t last_time_nano; /* of the last event */
    bool again;              /* what comes may be known already */
    struct buf line;
    uint64_t retry_ns;
};

/* ---- the thread ---- */

/* The engine's wall clock to our monotonic one; for an engine elsewhere, the arrival. */
static uint64_t instant_of(const struct docker_events *ev, const struct docker_event *e)
{
    uint64_t now = clock_now_ns(), wall = clock_wall_ns();

    if (!ev->d->local || e->time_nano == 0 || e->time_nano > wall || wall - e->time_nano >= now)
        return now;
    return now - (wall - e->time_nano);
}

static bool is_same_event(const struct docker_event *a, const struct docker_event *b)
{
    return a->time_nano == b->time_nano && strcmp(a->id, b->id) == 0 &&
           strcmp(a->action, b->action) == 0 && strcmp(a->detail, b->detail) == 0;
}

/* With the lock held. */
static bool is_known(const struct docker_events *ev, const struct docker_event *e)
{
    for (uint64_t i = ev->n; i > 0 && i + RING_LEN > ev->n; i--)
        if (is_same_event(&ev->ring[i % RING_LEN], e))
            return true;
    return false;
}

static void put_event(struct docker_events *ev, struct docker_event *e)
{
    struct listener listeners[LISTENERS_MAX];
    size_t n;

    e->mono_ns = instant_of(ev, e);
    pthread_mutex_lock(&ev->lock);
    if (ev->again && e->time_nano <= ev->last_time_nano && is_known(ev, e)) {
        pthread_mutex_unlock(&ev->lock);
        return;
    }
    e->seq = ++ev->n;
    ev->ring[e->seq % RING_LEN] = *e;
    n = ev->n_listeners;
    memcpy(listeners, ev->listeners, sizeof(listeners));
    pthread_cond_broadcast(&ev->news);
    pthread_mutex_unlock(&ev->lock);
    ev->last_time_nano = MAX(ev->last_time_nano, e->time_nano);
    for (size_t i = 0; i < n; i++)
        listeners[i].fn(listeners[i].arg, e);
}

static void put_line(struct docker_events *ev, const char *line, size_t len)
{
    struct docker_event e;
    struct err err = { 0 };
    int rc = docker_event_parse(line, len, &e, &err);

    if (rc == 0)
        put_event(ev, &e);
    else if (rc < 0)
        log_debug("docker.events", "left out: %s", err.msg);
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct docker_events *ev = arg;

    while (len > 0) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;

        buf_add(&ev->line, data, n);
        if (buf_failed(&ev->line) && !end)
            return true; /* longer than an event may be: the rest of it is left out too */
        if (end) {
            if (!buf_failed(&ev->line))
                put_line(ev, buf_str(&ev->line), ev->line.len);
            buf_clear(&ev->line);
            n++;
        }
        data += n;
        len -= n;
    }
    return true;
}

static void set_state(struct docker_events *ev, bool opened, const struct err *why)
{
    pthread_mutex_lock(&ev->lock);
    if (opened) {
        ev->breaks += ev->opened;
        ev->opened = true;
    } else if (!ev->opened) {
        ev->failed = true;
        ev->why = *why;
    }
    pthread_cond_broadcast(&ev->news);
    pthread_mutex_unlock(&ev->lock);
}

static bool on_head(void *arg, unsigned status)
{
    struct docker_events *ev = arg;

    if (status != 200)
        return false;
    ev->retry_ns = RETRY_MIN_NS;
    set_state(ev, true, NULL);
    return true;
}

/* Where to go on after a break: the last event, or the engine's own clock when there was none. */
static void set_since(struct docker_events *ev)
{
    ev->again = true;
    if (ev->last_time_nano)
        snprintf(ev->since, sizeof(ev->since), "%llu.%09llu",
                 (unsigned long long)(ev->last_time_nano / NS_PER_SEC),
                 (unsigned long long)(ev->last_time_nano % NS_PER_SEC));
}

static int read_stream(struct docker_events *ev, struct err *err)
{
    auto_buf struct buf url = BUF_INIT(4096);
    const struct http_follower follower = {
        .on_head = on_head, .on_data = on_data, .arg = ev, .stop_fd = ev->stop[0]
    };
    uint64_t head_ns = ev->d->podman ? PODMAN_HEAD_NS : ev->d->timeout_ns;
    struct http_req req = { .timeout_ms = MAX(head_ns / NS_PER_MS, 1) };
    int rc;

    buf_addf(&url, "%s/v1.%u/events", ev->d->host.base, (unsigned)ev->d->api_minor);
    if (ev->again && ev->since[0]) {
        buf_adds(&url, "?since=");
        http_escape(&url, ev->since);
    }
    req.url = buf_str(&url);
    docker_request(ev->d, &req);
    buf_clear(&ev->line);
    rc = http_stream(&req, &follower, err);
    return rc < 0 && !err_is_set(err) ? err_set(err, ERR_PREPARE, EIO, "no events") : rc;
}

static bool is_stopped(const struct docker_events *ev, uint64_t for_ns)
{
    return wait_fd(ev->stop[0], NULL, clock_now_ns() + for_ns) == WAIT_READY;
}

static void *run(void *arg)
{
    struct docker_events *ev = arg;

    /* Podman sends the head of its answer with the first event; but it tells all `since`. */
    if (ev->d->podman) {
        ev->again = true;
        set_state(ev, true, NULL);
    }
    while (!is_stopped(ev, 0)) {
        struct err err = { 0 };
        int rc = read_stream(ev, &err);

        if (is_stopped(ev, 0))
            break;
        if (rc >= 0)
            (void)err_set(&err, ERR_PREPARE, EIO, "it ended the stream at once");
        set_state(ev, false, &err);
        log_debug("docker.events", "the stream broke, and is opened again: %s", err.msg);
        set_since(ev);
        if (is_stopped(ev, ev->retry_ns))
            break;
        ev->retry_ns = MIN(ev->retry_ns * 2, RETRY_MAX_NS);
    }
    return NULL;
}

/* ---- for everybody ---- */

/* "2026-11-26T01:00:51.255150839+01:00" to "1795651251.255150839"; "" when it is none. */
static void since_of(const char *text, char out[64])
{
    struct tm tm = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = 0, hours = 0, minutes = 0;
    char fraction[10] = "0";

    out[0] = '\0';
    if (!rest)
        return;
    if (*rest == '.') {
        n = (int)strspn(rest + 1, "0123456789");
        snprintf(fraction, sizeof(fraction), "%.*s", MIN(n, 9), rest + 1);
        rest += 1 + n;
    }
    if ((*rest == '+' || *rest == '-') && strlen(rest) >= 6) {
        int sign = *rest == '-' ? -1 : 1;
        hours = sign * ((rest[1] - '0') * 10 + rest[2] - '0');
        minutes = sign * ((rest[4] - '0') * 10 + rest[5] - '0');
    }
    /* Docker wants all nine digits of the fraction. */
    n = (int)strlen(fraction);
    snprintf(out, 64, "%lld.%s%.*s", (long long)timegm(&tm) - hours * 3600 - minutes * 60, fraction,
             9 - n, "000000000");
}

/* The instant of the engine's own clock, so that nothing from before is told after a break. */
static int ask_clock(struct docker_events *ev, struct err *err)
{
    auto(json) struct json *info = NULL;
    int rc = docker_do(ev->d, &(struct docker_call){ .path = "/info" }, &info, err);

    if (rc == 0)
        since_of(json_str(info, "SystemTime", ""), ev->since);
    return rc < 0 ? rc : 0;
}

static void init_sync(struct docker_events *ev)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&ev->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&ev->news, &attr);
    pthread_condattr_destroy(&attr);
}

static void free_all(struct docker_events *ev)
{
    pthread_cond_destroy(&ev->news);
    pthread_mutex_destroy(&ev->lock);
    buf_done(&ev->line);
    free(ev->ring);
    free(ev);
}

static int wait_open(struct docker_events *ev, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&ev->lock);
    while (!ev->opened && !ev->failed)
        pthread_cond_wait(&ev->news, &ev->lock);
    if (!ev->opened) {
        if (err)
            *err = ev->why;
        rc = -EIO;
    }
    pthread_mutex_unlock(&ev->lock);
    return rc < 0 ? err_wrap(err, "the events of the container engine at %s", ev->d->host.address)
                  : 0;
}

struct docker_events *docker_events_start(struct docker *d, struct err *err)
{
    struct docker_events *ev = xcalloc(1, sizeof(*ev));

    ev->d = d;
    ev->ring = xcalloc(RING_LEN, sizeof(*ev->ring));
    ev->line = BUF_INIT(DOCKER_EVENT_MAX);
    ev->retry_ns = RETRY_MIN_NS;
    init_sync(ev);
    if (ask_clock(ev, err) < 0 || pipe2(ev->stop, O_CLOEXEC) < 0) {
        free_all(ev);
        return NULL;
    }
    if (pthread_create(&ev->thread, NULL, run, ev) != 0)
        abort();
    if (wait_open(ev, err) < 0) {
        docker_events_stop(ev);
        return NULL;
    }
    return ev;
}

void docker_events_stop(struct docker_events *ev)
{
    if (!ev)
        return;
    close(ev->stop[1]);
    pthread_join(ev->thread, NULL);
    close(ev->stop[0]);
    free_all(ev);
}

uint64_t docker_events_breaks(struct docker_events *ev)
{
    pthread_mutex_lock(&ev->lock);
    uint64_t n = ev->breaks;
    pthread_mutex_unlock(&ev->lock);
    return n;
}

uint64_t docker_events_mark(struct docker_events *ev)
{
    pthread_mutex_lock(&ev->lock);
    uint64_t n = ev->n;
    pthread_mutex_unlock(&ev->lock);
    return n;
}

static bool is_among(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = words; *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == n && strncmp(at, word, n) == 0)
            return true;
    return false;
}

/* With the lock held. */
static bool find(const struct docker_events *ev, const struct docker_event_query *q,
                 struct docker_event *ret)
{
    uint64_t first = ev->n > RING_LEN - 1 ? ev->n - (RING_LEN - 1) : 1;

    for (uint64_t i = MAX(q->mark + 1, first); i <= ev->n; i++) {
        const struct docker_event *e = &ev->ring[i % RING_LEN];

        if (strcmp(e->id, q->id) == 0 && is_among(q->actions, e->action) &&
            (!q->detail || strcmp(e->detail, q->detail) == 0)) {
            *ret = *e;
            return true;
        }
    }
    return false;
}

static void wait_news(struct docker_events *ev, uint64_t until_ns)
{
    uint64_t t = MIN(until_ns, clock_now_ns() + LOOK_NS);
    const struct timespec at = { .tv_sec = (time_t)(t / NS_PER_SEC),
                                 .tv_nsec = (long)(t % NS_PER_SEC) };

    pthread_cond_timedwait(&ev->news, &ev->lock, &at);
}

int docker_events_wait(struct docker_events *ev, const struct docker_event_query *q,
                       struct docker_event *ret)
{
    bool found, over = false;

    pthread_mutex_lock(&ev->lock);
    while (!(found = find(ev, q, ret)) && !over) {
        over = latch_is_set(q->latch) || clock_now_ns() >= q->until_ns;
        if (!over)
            wait_news(ev, q->until_ns);
    }
    pthread_mutex_unlock(&ev->lock);
    return found ? 0 : 1;
}

int docker_events_next(struct docker_events *ev, uint64_t mark, const struct latch *l,
                       uint64_t until_ns, struct docker_event *ret)
{
    bool found, over = false;

    pthread_mutex_lock(&ev->lock);
    while (!(found = ev->n > mark) && !over) {
        over = (l && latch_is_set(l)) || clock_now_ns() >= until_ns;
        if (!over)
            wait_news(ev, until_ns);
    }
    if (found) /* who is too slow misses the oldest */
        *ret = ev->ring[MAX(mark + 1, ev->n > RING_LEN ? ev->n - RING_LEN + 1 : 1) % RING_LEN];
    pthread_mutex_unlock(&ev->lock);
    return found ? 0 : 1;
}

int docker_events_listen(struct docker_events *ev, docker_event_fn *fn, void *arg, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&ev->lock);
    if (ev->n_listeners == LISTENERS_MAX)
        rc = err_set(err, ERR_LIMIT, ENOSPC, "more than %d listen to the container engine",
                     LISTENERS_MAX);
    else
        ev->listeners[ev->n_listeners++] = (struct listener){ fn, arg };
    pthread_mutex_unlock(&ev->lock);
    return rc;
}
