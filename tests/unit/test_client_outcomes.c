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
SAYS(says_error, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", true)
SAYS(closes, "", false)
SAYS(says_garbage, "\x15\x03\x03 not HTTP\r\n\r\n", true)
SAYS(says_half_a_head, OK "Content-Le", false)
SAYS(says_half_a_body, OK "Content-Length: 50\r\n\r\nhi", false)
SAYS(says_less_than_it_said, OK "Content-Length: 50\r\n\r\nhi", true)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_server_gives_its_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
