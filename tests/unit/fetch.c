/* Keeps what a callback told, because its texts die with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/fetch.h"

void fetcher_plan(struct fetcher *f)
{
    *f = (struct fetcher){
        .http = { .timeout_ns = 600 * NS_PER_MS,
                  .connect_timeout_ns = 300 * NS_PER_MS,
                  .keep_alive = true,
                  .dns = DNS_TTL,
                  .dns_ttl_ns = 30 * NS_PER_SEC,
                  .tls = { .verify = true, .resume = true } },
    };
}

void fetcher_start_to(struct fetcher *f, const char *base_url, const char *connect_to)
{
    struct err err = { 0 };

    f->loop = loop_new(&err);
    assert_non_null(f->loop);
    f->client = client_new(
        &(struct client_opts){
            .loop = f->loop, .http = &f->http, .target = base_url, .connect_to = connect_to },
        &err);
    if (!f->client)
        fail_msg("%s", err.msg);
    f->origin = client_origin(f->client, base_url, &err);
    if (!f->origin)
        fail_msg("%s", err.msg);
}

void fetcher_start(struct fetcher *f, const char *base_url)
{
    fetcher_start_to(f, base_url, NULL);
}

void fetcher_stop(struct fetcher *f)
{
    client_free(f->client);
    loop_free(f->loop);
}

static void told(void *arg, const struct answer *a)
{
    struct fetched *r = arg;

    r->times++;
    r->sample = a->sample;
    r->reused = a->reused;
    r->has_body = a->body != NULL;
    r->body_len = a->body_len;
    snprintf(r->why, sizeof(r->why), "%s", a->why ? a->why : "");
    if (a->head)
        snprintf(r->head, sizeof(r->head), "%.*s", (int)MIN(a->head_len, 1000), a->head);
    if (a->body)
        memcpy(r->body, a->body, MIN(a->body_len, sizeof(r->body) - 1));
    assert_int_equal(a->why != NULL, a->sample.fail != FAIL_NONE);
    if (r->f->waiting && --r->f->waiting == 0)
        loop_stop(r->f->loop);
}

struct exchange *fetch_begin(struct fetcher *f, struct lane *lane, const char *text, bool want_body,
                             struct fetched *ret)
{
    uint64_t now = clock_now_ns();

    memset(ret, 0, sizeof(*ret));
    ret->f = f;
    f->waiting++;
    struct exchange *x = client_send(f->client, lane,
                                     &(struct request){ .origin = f->origin,
                                                        .bytes = text,
                                                        .len = strlen(text),
                                                        .is_head = strncmp(text, "HEAD ", 5) == 0,
                                                        .want_body = want_body,
                                                        .sched_ns = now,
                                                        .start_ns = now },
                                     told, ret);
    assert_int_equal(ret->times, 0); /* never from inside client_send */
    return x;
}

void fetch_wait(struct fetcher *f)
{
    struct err err = { 0 };

    if (f->waiting)
        assert_int_equal(loop_run(f->loop, &err), 0);
}

void fetch(struct fetcher *f, struct lane *lane, const char *text, bool want_body,
           struct fetched *ret)
{
    fetch_begin(f, lane, text, want_body, ret);
    fetch_wait(f);
    assert_int_equal(ret->times, 1);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

void loop_for_ms(struct fetcher *f, uint64_t ms)
{
    struct err err = { 0 };
    struct loop_timer *t = loop_timer_new(f->loop, stop_loop, f->loop);

    loop_timer_at(t, clock_now_ns() + ms * NS_PER_MS);
    assert_int_equal(loop_run(f->loop, &err), 0);
    loop_timer_free(t);
}
