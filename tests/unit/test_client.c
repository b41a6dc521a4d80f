/* The native client's connections: kept, shared and given up as they should be; its callbacks,
 * large requests and what it measures. What misbehaving servers give is test_client_outcomes.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tests/unit/fetch.h"
#include "tests/unit/server.h"

#define OK_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static bool says_hi(const struct served *s)
{
    say(s->fd, OK_HI);
    return true;
}

static bool is_silent(const struct served *s)
{
    (void)s;
    return true;
}

static bool says_more_than_it_said(const struct served *s)
{
    say(s->fd, OK_HI " there");
    return true;
}

static bool says_close(const struct served *s)
{
    say(s->fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi");
    return false;
}

static bool drips_an_answer(const struct served *s)
{
    for (const char *at = OK_HI; *at; at++) {
        if (!say_bytes(s->fd, at, 1))
            return false;
        usleep(1000);
    }
    return true;
}

struct both {
    struct server s;
    struct fetcher f;
    struct lane lane;
};

static void begin(struct both *b, behave_fn *behave)
{
    char url[64];

    memset(b, 0, sizeof(*b));
    assert_true(server_start(&b->s, SERVER_V4, NULL, behave));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", b->s.port);
    fetcher_plan(&b->f);
    fetcher_start(&b->f, url);
}

static void end(struct both *b)
{
    lane_close(b->f.client, &b->lane);
    fetcher_stop(&b->f);
    server_stop(&b->s);
}

static void fetch_well(struct both *b, struct fetched *got)
{
    fetch(&b->f, &b->lane, GET, false, got);
    if (got->sample.fail)
        fail_msg("%s: %s", fail_class_name(got->sample.fail), got->why);
}

static void kept_connections_are_used_again(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, says_hi);
    for (unsigned i = 0; i < 5; i++) {
        fetch_well(&b, &got);
        assert_int_equal(got.reused, i > 0);
        assert_int_equal(got.sample.stage_ns[STAGE_CONNECT] != 0, i == 0);
    }
    assert_int_equal(b.s.conns, 1);
    assert_int_equal(client_connections(b.f.client), 1);
    end(&b);
}

static void closing_servers_get_a_connection_each(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, says_close);
    for (unsigned i = 0; i < 3; i++) {
        fetch_well(&b, &got);
        assert_false(got.reused);
        assert_int_equal(client_connections(b.f.client), 0);
    }
    assert_int_equal(b.s.conns, 3);
    end(&b);
}

static void bytes_past_the_answer_end_the_connection(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, says_more_than_it_said);
    fetch_well(&b, &got);
    fetch_well(&b, &got);
    assert_false(got.reused);
    assert_int_equal(client_counters(b.f.client).excess, 2);
    end(&b);
}

static bool answers_then_babbles(const struct served *s)
{
    say(s->fd, OK_HI);
    usleep(20000);
    say(s->fd, OK_HI);
    return true;
}

static void bytes_nobody_asked_for_are_no_answer(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, answers_then_babbles);
    fetch_well(&b, &got);
    loop_for_ms(&b.f, 80);
    fetch_well(&b, &got);
    assert_false(got.reused);
    assert_int_equal(client_counters(b.f.client).excess, 1);
    end(&b);
}

static bool answers_then_leaves(const struct served *s)
{
    say(s->fd, OK_HI);
    return false;
}

static void a_rest_that_the_server_ended_costs_no_failure(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, answers_then_leaves);
    for (unsigned i = 0; i < 3; i++) {
        fetch_well(&b, &got);
        loop_for_ms(&b.f, 40);
        assert_int_equal(client_connections(b.f.client), 0);
    }
    assert_int_equal(client_counters(b.f.client).idle_closed, 3);
    assert_int_equal(client_counters(b.f.client).retried, 0);
    end(&b);
}

/* The second request on a connection finds it closed, as by an idle timeout that has just struck.
 */
static bool leaves_at_the_second(const struct served *s)
{
    if (s->request > 0)
        return false;
    say(s->fd, OK_HI);
    return true;
}

static const struct retry_case {
    const char *name, *request;
    unsigned rest_ms;
    enum fail_class fail;
    unsigned retried;
} retry_cases[] = {
    { "rested", GET, 1100, FAIL_NONE, 1 },
    { "not rested", GET, 10, FAIL_CLOSED, 0 },
    { "POST", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n", 1100, FAIL_CLOSED, 0 },
};

static void only_rested_connections_are_tried_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(retry_cases); i++) {
        const struct retry_case *r = &retry_cases[i];
        struct both b;
        struct fetched got;

        begin(&b, leaves_at_the_second);
        fetch_well(&b, &got);
        loop_for_ms(&b.f, r->rest_ms);
        fetch(&b.f, &b.lane, r->request, false, &got);
        if (got.sample.fail != r->fail)
            fail_msg("%s: %s", r->name, fail_class_name(got.sample.fail));
        assert_int_equal(client_counters(b.f.client).retried, r->retried);
        assert_true(got.sample.send <= got.sample.done);
        end(&b);
    }
}

static void pools_share_what_rests(void **state)
{
    struct both b;
    static struct fetched got[20];

    (void)state;
    begin(&b, says_hi);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++)
            fetch_begin(&b.f, NULL, GET, false, &got[i]);
        fetch_wait(&b.f);
        for (unsigned i = 0; i < 20; i++) {
            assert_int_equal(got[i].sample.fail, FAIL_NONE);
            assert_int_equal(got[i].reused, round > 0);
        }
    }
    assert_int_equal(b.s.conns, 20);
    end(&b);
}

static void a_lane_stays_connected_to_each_origin(void **state)
{
    struct both a, b;
    struct fetched got;
    char url[64];
    struct err err = { 0 };

    (void)state;
    begin(&a, says_hi);
    begin(&b, says_hi);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", b.s.port);
    const struct origin *here = a.f.origin, *there = client_origin(a.f.client, url, &err);
    assert_ptr_equal(there, client_origin(a.f.client, url, &err));
    for (unsigned i = 0; i < 4; i++) {
        a.f.origin = i % 2 ? there : here;
        fetch_well(&a, &got);
        assert_int_equal(got.reused, i >= 2);
    }
    assert_int_equal(client_connections(a.f.client), 2);
    end(&a);
    end(&b);
}

/* ---- cutting ---- */

static void a_cut_request_says_so_later(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, is_silent);
    struct exchange *x = fetch_begin(&b.f, &b.lane, GET, false, &got);
    b.f.waiting = 0;
    loop_for_ms(&b.f, 50);
    b.f.waiting = 1;
    client_cut(x, FAIL_INTERRUPTED);
    assert_int_equal(got.times, 0);
    fetch_wait(&b.f);
    assert_int_equal(got.times, 1);
    assert_int_equal(got.sample.fail, FAIL_INTERRUPTED);
    assert_in_range(got.sample.done - got.sample.sched, 50 * NS_PER_MS, 5 * NS_PER_SEC);
    /* The lane goes on. */
    fetch(&b.f, &b.lane, GET, false, &got);
    assert_int_equal(got.sample.fail, FAIL_RESPONSE_TIMEOUT);
    end(&b);
}

static void freeing_the_client_cuts_all(void **state)
{
    struct both b;
    static struct fetched got[10];

    (void)state;
    begin(&b, is_silent);
    for (unsigned i = 0; i < 10; i++)
        fetch_begin(&b.f, NULL, GET, false, &got[i]);
    b.f.waiting = 0;
    loop_for_ms(&b.f, 20);
    end(&b);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(got[i].times, 1);
        assert_int_equal(got[i].sample.fail, FAIL_INTERRUPTED);
    }
}

struct chain {
    struct both *b;
    struct lane *lane;
    unsigned left;
};

/* Sends again from the callback, and closes the lane from the last one. */
static void chain_done(void *arg, const struct answer *a)
{
    struct chain *c = arg;

    assert_int_equal(a->sample.fail, FAIL_NONE);
    if (--c->left) {
        struct request r = { .origin = c->b->f.origin, .bytes = GET, .len = strlen(GET) };
        client_send(c->b->f.client, c->lane, &r, chain_done, c);
        assert_memory_equal(a->head, "HTTP/1.1 200", 12); /* still valid */
        return;
    }
    lane_close(c->b->f.client, c->lane);
    assert_memory_equal(a->head, "HTTP/1.1 200", 12);
    loop_stop(c->b->f.loop);
}

static void callbacks_may_send_and_close(void **state)
{
    struct both b;
    struct err err = { 0 };

    (void)state;
    for (unsigned split = 0; split < 2; split++) {
        begin(&b, split ? drips_an_answer : says_hi);
        struct chain c = { .b = &b, .lane = &b.lane, .left = 4 };
        struct request r = { .origin = b.f.origin, .bytes = GET, .len = strlen(GET) };
        client_send(b.f.client, &b.lane, &r, chain_done, &c);
        assert_int_equal(loop_run(b.f.loop, &err), 0);
        assert_int_equal(c.left, 0);
        end(&b);
    }
}

/* ---- large requests ---- */

#define UPLOAD \
    ((size_t)32 << 20) /* more than the kernel would hold for a server that does not read */

static bool reads_all(const struct served *s)
{
    static char block[65536];
    size_t left = UPLOAD;

    while (left) {
        ssize_t n = recv(s->fd, block, MIN(sizeof(block), left), 0);
        if (n <= 0)
            return false;
        left -= (size_t)n;
    }
    say(s->fd, OK_HI);
    return true;
}

static bool answers_before_reading(const struct served *s)
{
    say(s->fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    usleep(200000);
    return false;
}

static void large_requests_go_out_in_parts(void **state)
{
    struct buf text = BUF_INIT(UPLOAD + 200);
    struct both b;
    struct fetched got;

    (void)state;
    buf_addf(&text, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n", UPLOAD);
    char *body = buf_reserve(&text, UPLOAD);
    assert_non_null(body);
    memset(body, 'x', UPLOAD);
    body[UPLOAD] = '\0';
    text.len += UPLOAD;

    begin(&b, reads_all);
    for (unsigned i = 0; i < 2; i++) {
        fetch(&b.f, &b.lane, text.data, false, &got);
        assert_int_equal(got.sample.fail, FAIL_NONE);
        assert_int_equal(got.sample.bytes_out, text.len);
        assert_int_equal(got.reused, i);
    }
    end(&b);
    begin(&b, answers_before_reading);
    fetch(&b.f, &b.lane, text.data, false, &got);
    assert_int_equal(got.sample.status, 413); /* the answer counts, and the connection goes */
    assert_int_equal(got.sample.fail, FAIL_NONE);
    assert_int_equal(client_connections(b.f.client), 0);
    end(&b);
    buf_done(&text);
}

/* ---- time ---- */

static bool answers_after_50_ms(const struct served *s)
{
    usleep(50000);
    say(s->fd, OK_HI);
    return true;
}

static void a_known_wait_is_measured(void **state)
{
    struct both b;
    struct fetched got;

    (void)state;
    begin(&b, answers_after_50_ms);
    for (unsigned i = 0; i < 5; i++) {
        fetch_well(&b, &got);
        uint64_t service = got.sample.done - got.sample.send;
        assert_in_range(service, 50 * NS_PER_MS, 250 * NS_PER_MS);
        assert_in_range(got.sample.stage_ns[STAGE_WAIT], 50 * NS_PER_MS, service + NS_PER_US);
    }
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_connections_are_used_again),
        cmocka_unit_test(closing_servers_get_a_connection_each),
        cmocka_unit_test(bytes_past_the_answer_end_the_connection),
        cmocka_unit_test(bytes_nobody_asked_for_are_no_answer),
        cmocka_unit_test(a_rest_that_the_server_ended_costs_no_failure),
        cmocka_unit_test(only_rested_connections_are_tried_again),
        cmocka_unit_test(pools_share_what_rests),
        cmocka_unit_test(a_lane_stays_connected_to_each_origin),
        cmocka_unit_test(a_cut_request_says_so_later),
        cmocka_unit_test(freeing_the_client_cuts_all),
        cmocka_unit_test(callbacks_may_send_and_close),
        cmocka_unit_test(large_requests_go_out_in_parts),
        cmocka_unit_test(a_known_wait_is_measured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
