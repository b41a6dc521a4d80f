/* The native client against servers that behave, misbehave and vanish: the right class of failure,
 * bounded memory, and connections that are kept or not as they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "edge/gz.h"
#include "tests/unit/fetch.h"
#include "tests/unit/server.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define OK_HI OK "Content-Length: 2\r\n\r\nhi"

/* ---- behaviours ---- */

#define SAYS(name, text, goes_on)            \
    static bool name(const struct served *s) \
    {                                        \
        say(s->fd, text);                    \
        return goes_on;                      \
    }

SAYS(says_hi, OK_HI, true)
SAYS(says_chunks, OK "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", true)
SAYS(says_to_end, OK "\r\nall of it", false)
SAYS(says_interim, "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" OK_HI, true)
SAYS(says_head_only, OK "Content-Length: 500\r\n\r\n", true)
SAYS(says_nothing_to_say, "HTTP/1.1 204 No Content\r\n\r\n", true)
SAYS(says_close, OK "Connection: close\r\nContent-Length: 2\r\n\r\nhi", false)
SAYS(says_error, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", true)
SAYS(closes, "", false)
SAYS(says_garbage, "\x15\x03\x03 not HTTP\r\n\r\n", true)
SAYS(says_half_a_head, OK "Content-Le", false)
SAYS(says_half_a_body, OK "Content-Length: 50\r\n\r\nhi", false)
SAYS(says_less_than_it_said, OK "Content-Length: 50\r\n\r\nhi", true)
SAYS(says_more_than_it_said, OK "Content-Length: 2\r\n\r\nhi there", true)
SAYS(says_huge_chunk, OK "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhi", true)
SAYS(says_large_chunk, OK "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nhi", true)
SAYS(says_two_lengths, OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", true)
SAYS(says_bad_gzip, OK "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi", true)
SAYS(is_silent, "", true)

static bool resets(const struct served *s)
{
    reset(s->fd);
    return false;
}

static bool resets_in_the_body(const struct served *s)
{
    say(s->fd, OK "Content-Length: 50\r\n\r\nhi");
    usleep(20000); /* a reset may overtake what was said before */
    return resets(s);
}

static bool says_headers_for_ever(const struct served *s)
{
    char block[4096];

    say(s->fd, OK);
    memset(block, 'x', sizeof(block));
    memcpy(block, "A: ", 3);
    memcpy(block + sizeof(block) - 2, "\r\n", 2);
    while (say_bytes(s->fd, block, sizeof(block)))
        ;
    return false;
}

static bool says_chunks_for_ever(const struct served *s)
{
    static const char chunk[6 + 0x8000 + 2] = "8000\r\n";
    char *mine = malloc(sizeof(chunk));

    if (!mine)
        return false;
    memcpy(mine, chunk, sizeof(chunk));
    memcpy(mine + sizeof(chunk) - 2, "\r\n", 2);
    say(s->fd, OK "Transfer-Encoding: chunked\r\n\r\n");
    while (say_bytes(s->fd, mine, sizeof(chunk)))
        ;
    free(mine);
    return false;
}

static bool drips_for_ever(const struct served *s)
{
    say(s->fd, OK "Content-Length: 1000000\r\n\r\n");
    while (say_bytes(s->fd, "x", 1))
        usleep(5000);
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

static bool says_gzip(const struct served *s)
{
    auto_buf struct buf body = BUF_INIT(0), answer = BUF_INIT(0);
    struct err err = { 0 };

    if (gz_deflate("hi", 2, &body, &err) < 0)
        return false;
    buf_addf(&answer, OK "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", body.len);
    buf_add(&answer, body.data, body.len);
    return say_bytes(s->fd, answer.data, answer.len);
}

/* ---- one request, one outcome ---- */

#define HEAD_REQUEST "HEAD / HTTP/1.1\r\nHost: t\r\n\r\n"

static const struct outcome {
    const char *name;
    behave_fn *behave;
    enum fail_class fail;
    unsigned status;
    bool want_body;
    const char *body, *request;
    bool has_first; /* some byte of an answer came */
} outcomes[] = {
    { "length", says_hi, FAIL_NONE, 200, true, "hi", GET, true },
    { "length, only counted", says_hi, FAIL_NONE, 200, false, NULL, GET, true },
    { "chunked", says_chunks, FAIL_NONE, 200, true, "hi", GET, true },
    { "to the end", says_to_end, FAIL_NONE, 200, true, "all of it", GET, true },
    { "103 first", says_interim, FAIL_NONE, 200, true, "hi", GET, true },
    { "HEAD", says_head_only, FAIL_NONE, 200, true, "", HEAD_REQUEST, true },
    { "204", says_nothing_to_say, FAIL_NONE, 204, true, "", GET, true },
    { "503 is an answer", says_error, FAIL_NONE, 503, false, NULL, GET, true },
    { "gzip", says_gzip, FAIL_NONE, 200, true, "hi", GET, true },
    { "gzip, only counted", says_bad_gzip, FAIL_NONE, 200, false, NULL, GET, true },
    { "slow but whole", drips_an_answer, FAIL_NONE, 200, true, "hi", GET, true },
    { "closed", closes, FAIL_CLOSED, 0, false, NULL, GET, false },
    { "reset", resets, FAIL_RESET, 0, false, NULL, GET, false },
    { "reset in the body", resets_in_the_body, FAIL_RESET, 200, false, NULL, GET, true },
    { "half a head", says_half_a_head, FAIL_SHORT_BODY, 0, false, NULL, GET, true },
    { "half a body", says_half_a_body, FAIL_SHORT_BODY, 200, false, NULL, GET, true },
    { "a length that lies", says_less_than_it_said, FAIL_TRANSFER_TIMEOUT, 200, false, NULL, GET,
      true },
    { "silence", is_silent, FAIL_RESPONSE_TIMEOUT, 0, false, NULL, GET, false },
    { "drip", drips_for_ever, FAIL_TRANSFER_TIMEOUT, 200, false, NULL, GET, true },
    { "garbage", says_garbage, FAIL_MALFORMED, 0, false, NULL, GET, true },
    { "two lengths", says_two_lengths, FAIL_MALFORMED, 0, false, NULL, GET, true },
    { "huge chunk", says_huge_chunk, FAIL_MALFORMED, 200, false, NULL, GET, true },
    { "bad gzip", says_bad_gzip, FAIL_MALFORMED, 200, true, NULL, GET, true },
    { "endless headers", says_headers_for_ever, FAIL_TOO_LARGE, 0, false, NULL, GET, true },
    { "large chunk, wanted", says_large_chunk, FAIL_TOO_LARGE, 200, true, NULL, GET, true },
    { "endless chunks, wanted", says_chunks_for_ever, FAIL_TOO_LARGE, 200, true, NULL, GET, true },
    { "endless chunks", says_chunks_for_ever, FAIL_TRANSFER_TIMEOUT, 200, false, NULL, GET, true },
};

static void check_stamps(const struct outcome *o, const struct sample *s)
{
    assert_true(s->sched <= s->start && s->start <= s->send && s->send <= s->done);
    assert_int_equal(s->first != 0, o->has_first);
    if (o->has_first) {
        assert_true(s->send <= s->first && s->first <= s->done);
        assert_true(s->stage_ns[STAGE_WAIT] && s->stage_ns[STAGE_TRANSFER]);
        assert_true(s->bytes_in > 0);
    }
    assert_true(s->stage_ns[STAGE_CONNECT] > 0); /* each on a connection of its own */
    assert_int_equal(s->stage_ns[STAGE_DNS], 0);
    assert_int_equal(s->bytes_out, strlen(o->request));
    if (fail_class_is_censored(o->fail))
        assert_in_range(s->done - s->start, 600 * NS_PER_MS, 5 * NS_PER_SEC);
}

static void try_outcome(const struct outcome *o)
{
    struct fetcher f;
    struct fetched got;
    struct server s;
    char url[64];

    assert_true(server_start(&s, SERVER_V4, NULL, o->behave));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", s.port);
    fetcher_plan(&f);
    fetcher_start(&f, url);
    struct lane lane = { 0 };
    fetch(&f, &lane, o->request, o->want_body, &got);
    if (got.sample.fail != o->fail || got.sample.status != o->status)
        fail_msg("%s: '%s' %u (%s) instead of '%s' %u", o->name, fail_class_name(got.sample.fail),
                 got.sample.status, got.why, fail_class_name(o->fail), o->status);
    check_stamps(o, &got.sample);
    if (o->body)
        assert_string_equal(got.body, o->body);
    assert_true(!o->body || got.has_body);
    lane_close(f.client, &lane);
    assert_int_equal(client_connections(f.client), 0);
    fetcher_stop(&f);
    server_stop(&s);
}

static void each_server_gives_its_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++)
        try_outcome(&outcomes[i]);
}

/* ---- connections ---- */

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
        cmocka_unit_test(each_server_gives_its_outcome),
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
