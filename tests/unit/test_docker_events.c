/* The event stream: each shape of an event is read, a real engine's events come in order and in
 * time, and nothing is lost or told twice when the stream breaks. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/clock.h"
#include "chaoslib/docker/events.h"
#include "docker_fixture.h"

#define ID "e02b1e60fd3a093e0cc9981644fb2f95055aeca2c0440688cff67471772de508"
#define WAIT_NS (30 * NS_PER_SEC)
#define PAIRS_MAX 32

/* ---- reading one ---- */

static void each_shape_is_read(void **state)
{
    static const struct {
        const char *line, *action, *detail, *signal, *name;
        int exit_code;
        uint64_t nano;
        bool pumba;
    } rows[] = {
        { "{\"status\":\"die\",\"id\":\"" ID
          "\",\"from\":\"bb:1\",\"Type\":\"container\",\"Action\":"
          "\"die\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"exitCode\":\"137\",\"image\":\"bb:1\","
          "\"name\":\"shop-2\"}},\"scope\":\"local\",\"time\":1795245385,\"timeNano\":"
          "1795245385123456789}",
          "die", "", "", "shop-2", 137, 1795245385123456789, false },
        /* 1.52: no status, id, from */
        { "\x1e{\"Type\":\"container\",\"Action\":\"kill\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"signal\":\"9\",\"name\":\"a\"}},\"timeNano\":1}",
          "kill", "", "9", "a", -1, 1, false },
        { "{\"Type\":\"container\",\"Action\":\"exec_create: tc qdisc add\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"execID\":\"77\",\"com.gaiaadm.pumba.skip\":\"true\"}},\"timeNano\":"
          "2}",
          "exec_create", "tc qdisc add", "", "", -1, 2, true },
        { "{\"Type\":\"container\",\"Action\":\"exec_die\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"execID\":\"77\",\"exitCode\":\"2\"}},\"time\":3}",
          "exec_die", "77", "", "", 2, 3000000000, false },
        { "{\"Type\":\"container\",\"Action\":\"health_status: healthy\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"timeNano\":\"5\"}},\"timeNano\":4}",
          "health_status", "healthy", "", "", -1, 4, false },
        /* Podman */
        { "{\"status\":\"died\",\"id\":\"" ID
          "\",\"Type\":\"container\",\"Action\":\"died\",\"Actor\":{"
          "\"ID\":\"" ID "\",\"Attributes\":{\"containerExitCode\":\"143\",\"name\":\"p\"}},"
          "\"timeNano\":5}",
          "die", "", "", "p", 143, 5, false },
        { "{\"Type\":\"container\",\"Action\":\"remove\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{}},\"timeNano\":6}",
          "destroy", "", "", "", -1, 6, false },
        { "{\"Type\":\"network\",\"Action\":\"disconnect\",\"Actor\":{\"ID\":\"" ID
          "\",\"Attributes\":{\"container\":\"c1\",\"name\":\"lab\"}},\"timeNano\":7}",
          "disconnect", "c1", "", "lab", -1, 7, false },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_event e;
        struct err err = { 0 };

        assert_int_equal(docker_event_parse(rows[i].line, strlen(rows[i].line), &e, &err), 0);
        assert_string_equal(e.action, rows[i].action);
        assert_string_equal(e.detail, rows[i].detail);
        assert_string_equal(e.signal, rows[i].signal);
        assert_string_equal(e.name, rows[i].name);
        assert_string_equal(e.id, ID);
        assert_int_equal(e.exit_code, rows[i].exit_code);
        assert_true(e.time_nano == rows[i].nano);
        assert_true(e.pumba == rows[i].pumba);
    }
}

static void what_is_no_event_is_left_out(void **state)
{
    static const struct {
        const char *line;
        int sign;
    } rows[] = {
        { "", 1 },
        { "  \r", 1 },
        { "{}", 1 },
        { "[]", 1 },
        { "null", 1 },
        { "{\"Type\":\"container\",\"Action\":\"die\"}", 1 },
        { "{\"Type\":\"container\",\"Actor\":{\"ID\":\"x\"}}", 1 },
        { "{\"Type\":", -1 },
        { "not json", -1 },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct docker_event e;
        struct err err = { 0 };
        int rc = docker_event_parse(rows[i].line, strlen(rows[i].line), &e, &err);

        assert_true(rows[i].sign > 0 ? rc == 1 : rc < 0 && err_is_set(&err));
    }
}

/* ---- a relay before the engine, whose connections can be cut ---- */

struct relay {
    char path[64];
    int listener;
    _Atomic bool cut, stop;
    pthread_t thread;
};

static int connect_to(const char *path)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static bool pass_on(int from, int to)
{
    char part[8192];
    ssize_t n = recv(from, part, sizeof(part), 0);

    return n > 0 && send(to, part, (size_t)n, MSG_NOSIGNAL) == n;
}

static void drop_pair(struct pollfd *p, size_t *n, size_t i)
{
    close(p[i].fd);
    close(p[i + 1].fd);
    memmove(p + i, p + i + 2, (*n - i - 2) * sizeof(*p));
    *n -= 2;
}

static void *relay_run(void *arg)
{
    struct relay *r = arg;
    const char *engine = getenv("DOCKER_HOST"); // NOLINT(concurrency-mt-unsafe): nobody sets it
    struct pollfd p[1 + 2 * PAIRS_MAX] = { { .fd = r->listener, .events = POLLIN } };
    size_t n = 1;

    while (!r->stop || n > 1) {
        for (size_t i = 1; (r->cut || r->stop) && i < n;)
            drop_pair(p, &n, i);
        r->cut = false;
        if (poll(p, n, 10) <= 0)
            continue;
        for (size_t i = 1; i < n; i += 2)
            if ((p[i].revents && !pass_on(p[i].fd, p[i + 1].fd)) ||
                (p[i + 1].revents && !pass_on(p[i + 1].fd, p[i].fd))) {
                drop_pair(p, &n, i);
                break;
            }
        if ((p[0].revents & POLLIN) && n + 2 <= ARRAY_LEN(p)) {
            p[n++] = (struct pollfd){ .fd = accept(r->listener, NULL, NULL), .events = POLLIN };
            p[n++] =
                (struct pollfd){ .fd = connect_to(engine ? engine + 7 : ""), .events = POLLIN };
        }
    }
    return NULL;
}

static void relay_start(struct relay *r)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };

    *r = (struct relay){ .listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    snprintf(r->path, sizeof(r->path), "/tmp/chaos-relay-%d.sock", (int)getpid());
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", r->path);
    unlink(r->path);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(r->listener, 16), 0);
    assert_int_equal(pthread_create(&r->thread, NULL, relay_run, r), 0);
}

static void relay_stop(struct relay *r)
{
    r->stop = true;
    pthread_join(r->thread, NULL);
    close(r->listener);
    unlink(r->path);
}

/* ---- with an engine ---- */

struct world {
    struct docker *d;
    struct docker_events *ev;
};

static int open_world(void **state)
{
    struct world *w = xcalloc(1, sizeof(*w));
    struct err err = { 0 };

    w->d = docker_fixture_open();
    w->ev = docker_events_start(w->d, &err);
    if (!w->ev)
        fail_msg("%s", err.msg);
    *state = w;
    return 0;
}

static int close_world(void **state)
{
    struct world *w = *state;

    docker_events_stop(w->ev);
    docker_fixture_close(w->d);
    free(w);
    return 0;
}

static struct docker_event expect(struct docker_events *ev, uint64_t mark, const char *id,
                                  const char *actions)
{
    const struct docker_event_query q = {
        .mark = mark, .id = id, .actions = actions, .until_ns = clock_now_ns() + WAIT_NS
    };
    struct docker_event e = { 0 };

    if (docker_events_wait(ev, &q, &e) != 0)
        fail_msg("no %s came", actions);
    return e;
}

static void a_kill_is_seen_when_it_happened(void **state)
{
    struct world *w = *state;
    auto_free char *id = box_start(w->d, &(struct box){ 0 });
    uint64_t mark = docker_events_mark(w->ev), sent = clock_now_ns();

    box_do(w->d, id, "kill");
    uint64_t received = clock_now_ns();
    struct docker_event kill = expect(w->ev, mark, id, "kill");
    struct docker_event die = expect(w->ev, mark, id, "oom|die");

    assert_string_equal(kill.signal, "9");
    assert_int_equal(die.exit_code, 137);
    assert_string_equal(die.image, "bb:1");
    assert_true(die.seq > kill.seq && kill.seq > mark);
    /* Not a bound of speed: the stamps must be of this call. */
    assert_true(kill.mono_ns + 5 * NS_PER_MS > sent && kill.mono_ns < received + 5 * NS_PER_MS);
    assert_true(docker_event_within(&die, sent, received) >= sent);
    assert_true(docker_event_within(&die, sent, received) <= received);
}

static void what_an_engine_does_comes_in_order(void **state)
{
    static const char *const steps[] = { "create", "start", "pause", "unpause", "kill",
                                         "die",    "stop",  "start", "restart", "destroy" };
    struct world *w = *state;
    uint64_t mark = docker_events_mark(w->ev);
    auto_free char *id = box_start(w->d, &(struct box){ 0 });

    box_do(w->d, id, "pause");
    box_do(w->d, id, "unpause");
    box_do(w->d, id, "restart?t=5");
    box_remove(w->d, id);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        mark = expect(w->ev, mark, id, steps[i]).seq;
}

static void a_wait_ends_when_told(void **state)
{
    struct world *w = *state;
    struct latch *l = latch_new();
    struct docker_event_query q = { .id = ID, .actions = "die", .latch = l };
    struct docker_event e;

    q.until_ns = clock_now_ns() + 50 * NS_PER_MS;
    assert_int_equal(docker_events_wait(w->ev, &q, &e), 1);
    latch_set(l);
    q.until_ns = clock_now_ns() + 600 * NS_PER_SEC;
    assert_int_equal(docker_events_wait(w->ev, &q, &e), 1);
    latch_free(l);
}

static void count_starts(void *arg, const struct docker_event *e)
{
    if (strcmp(e->action, "start") == 0)
        atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

static void listeners_are_told_each_event(void **state)
{
    struct world *w = *state;
    _Atomic unsigned starts = 0;
    struct err err = { 0 };
    struct docker_events *ev = docker_events_start(w->d, &err);

    assert_non_null(ev);
    for (int i = 0; i < 8; i++)
        assert_int_equal(docker_events_listen(ev, count_starts, &starts, &err), 0);
    assert_true(docker_events_listen(ev, count_starts, &starts, &err) < 0);
    assert_string_equal(err.msg, "more than 8 listen to the container engine");
    auto_free char *id = box_start(w->d, &(struct box){ 0 });
    box_do(w->d, id, "kill");
    (void)expect(ev, 0, id, "die");
    docker_events_stop(ev);
    assert_int_equal(starts, 8);
}

/* Cut again and again while containers live and die: each event comes once, in order. */
static void a_broken_stream_loses_nothing(void **state)
{
    struct world *w = *state;
    struct relay relay;
    struct err err = { 0 };

    relay_start(&relay);
    auto_free char *host = xasprintf("unix://%s", relay.path);
    struct docker *d = docker_open(&(struct docker_plan){ .host = host }, &err);
    if (!d)
        fail_msg("%s", err.msg);
    struct docker_events *ev = docker_events_start(d, &err);
    if (!ev)
        fail_msg("%s", err.msg);
    for (int i = 0; i < 6; i++) {
        uint64_t mark = docker_events_mark(ev);

        relay.cut = true;
        auto_free char *id = box_start(w->d, &(struct box){ 0 });
        relay.cut = true;
        box_do(w->d, id, "kill");
        relay.cut = true;
        box_remove(w->d, id);
        static const char *const steps[] = { "create", "start", "kill", "die", "destroy" };
        for (size_t k = 0; k < ARRAY_LEN(steps); k++)
            mark = expect(ev, mark, id, steps[k]).seq;
        struct docker_event e;
        const struct docker_event_query again = { .mark = mark,
                                                  .id = id,
                                                  .actions = "create|start|kill|die|destroy" };
        assert_int_equal(docker_events_wait(ev, &again, &e), 1);
    }
    docker_events_stop(ev);
    docker_free(d);
    relay_stop(&relay);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest pure[] = {
        cmocka_unit_test(each_shape_is_read),
        cmocka_unit_test(what_is_no_event_is_left_out),
    };
    const struct CMUnitTest real[] = {
        cmocka_unit_test(a_kill_is_seen_when_it_happened),
        cmocka_unit_test(what_an_engine_does_comes_in_order),
        cmocka_unit_test(a_wait_ends_when_told),
        cmocka_unit_test(listeners_are_told_each_event),
        cmocka_unit_test(a_broken_stream_loses_nothing),
    };

    (void)argv;
    if (argc > 1)
        return cmocka_run_group_tests(pure, NULL, NULL);
    return cmocka_run_group_tests(real, open_world, close_world);
}
