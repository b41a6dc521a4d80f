/* The client's patience and memory, against a server that says what the test wants: busy, gone,
 * away, an old token, an event in pieces. What a real API server does is tests/kube's. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "chaoslib/kube/internal.h"
#include "tests/unit/raw_server.h"

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
#define POD "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"7\"}}"
#define GOOD JSON_HEAD "\r\n" POD

struct api {
    struct raw_server *s;
    struct kube *k;
    struct latch *abort;
    char config[64];
};

static void write_config(struct api *a, const char *user)
{
    FILE *f = fopen(a->config, "we");

    assert_non_null(f);
    fprintf(f,
            "{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],\n"
            " clusters: [{name: c, cluster: {server: 'http://127.0.0.1:%u'}}],\n"
            " users: [{name: u, user: {%s}}]}\n",
            raw_server_port(a->s), user);
    fclose(f);
}

static void open_api(struct api *a, const char *user, uint64_t patience_ms)
{
    struct err err = { 0 };

    memset(a, 0, sizeof(*a));
    snprintf(a->config, sizeof(a->config), "/tmp/kube-test-%d", (int)getpid());
    a->s = raw_server_new(NULL);
    a->abort = latch_new();
    write_config(a, user);
    a->k = kube_open(&(struct kube_opts){ .kubeconfig = a->config,
                                          .timeout_ns = NS_PER_SEC,
                                          .patience_ns = patience_ms * NS_PER_MS,
                                          .abort = a->abort },
                     &err);
    if (!a->k)
        fail_msg("%s", err.msg);
}

static void close_api(struct api *a)
{
    kube_free(a->k);
    raw_server_free(a->s);
    latch_free(a->abort);
    unlink(a->config);
}

static void says(struct api *a, const char *bytes)
{
    raw_server_script(a->s, &(struct raw_script){ .bytes = bytes, .end = RAW_CLOSE });
}

/* Says something else after a while. */
struct later {
    pthread_t thread;
    struct api *a;
    const char *bytes;
    unsigned ms;
};

static void *say_later(void *arg)
{
    struct later *l = arg;

    usleep(l->ms * 1000);
    if (l->bytes)
        says(l->a, l->bytes);
    else
        latch_set(l->a->abort);
    return NULL;
}

static int get(struct api *a, struct err *err)
{
    err_clear(err);
    return kube_get(a->k, &kube_pods, "shop", "a", NULL, err);
}

static const struct {
    const char *first;
    enum raw_end end;
} troubles[] = {
    { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", RAW_KEEP },
    { "HTTP/1.1 500 etcd\r\nContent-Length: 0\r\n\r\n", RAW_KEEP },
    { "HTTP/1.1 429 Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", RAW_KEEP },
    { "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", RAW_CLOSE },
    { "", RAW_RESET },
};

static void a_server_in_trouble_is_asked_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
        struct api a;
        struct err err = { 0 };
        struct later l = { .a = &a, .bytes = GOOD, .ms = 250 };

        open_api(&a, "token: t", 20000);
        raw_server_script(
            a.s, &(struct raw_script){ .bytes = troubles[i].first, .end = troubles[i].end });
        pthread_create(&l.thread, NULL, say_later, &l);
        if (get(&a, &err) != KUBE_OK)
            fail_msg("row %zu: %s", i, err.msg);
        pthread_join(l.thread, NULL);
        assert_true(raw_server_connections(a.s) > 1 || troubles[i].end == RAW_KEEP);
        close_api(&a);
    }
}

static void patience_has_an_end(void **state)
{
    struct api a;
    struct err err = { 0 };

    (void)state;
    open_api(&a, "token: t", 400);
    says(&a, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    assert_true(get(&a, &err) < 0);
    assert_non_null(strstr(err.msg, "503"));
    raw_server_script(a.s, &(struct raw_script){ .bytes = "", .end = RAW_RESET });
    assert_true(get(&a, &err) < 0);
    assert_non_null(strstr(err.msg, "no answer from the API server at http://127.0.0.1"));
    close_api(&a);
}

static void an_abort_ends_the_pauses(void **state)
{
    struct api a;
    struct err err = { 0 };
    struct later l = { .a = &a, .bytes = NULL, .ms = 200 };
    uint64_t began = clock_now_ns();

    (void)state;
    open_api(&a, "token: t", 600000);
    says(&a, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    pthread_create(&l.thread, NULL, say_later, &l);
    assert_true(get(&a, &err) < 0);
    pthread_join(l.thread, NULL);
    assert_true(clock_now_ns() - began < 300 * NS_PER_SEC); /* and not ten minutes */
    close_api(&a);
}

static void a_rotated_token_is_read_again(void **state)
{
    struct api a;
    struct err err = { 0 };
    char path[] = "/tmp/kube-token-XXXXXX";
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, "old\n", 4), 4);
    auto_free char *user = xasprintf("tokenFile: %s", path);
    open_api(&a, user, 20000);
    says(&a, GOOD);
    assert_int_equal(get(&a, &err), KUBE_OK);
    auto_free char *first = raw_server_request(a.s);
    assert_non_null(strstr(first, "Authorization: Bearer old\r\n"));

    assert_int_equal(pwrite(fd, "new\n", 4, 0), 4);
    says(&a, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_true(get(&a, &err) < 0); /* refused again with the new one: believed */
    assert_non_null(strstr(err.msg, "does not know us"));
    auto_free char *second = raw_server_request(a.s);
    assert_non_null(strstr(second, "Authorization: Bearer new\r\n"));
    close_api(&a);
    close(fd);
    unlink(path);
}

static void a_plugins_token_is_used_and_its_failure_told(void **state)
{
    struct api a;
    struct err err = { 0 };

    (void)state;
    open_api(
        &a,
        "exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, 'echo "
        "{\\\"status\\\":{\\\"token\\\":\\\"$SAID\\\"}}'], env: [{name: SAID, value: s3cret}]}",
        2000);
    says(&a, GOOD);
    if (get(&a, &err) != KUBE_OK)
        fail_msg("%s", err.msg);
    auto_free char *request = raw_server_request(a.s);
    assert_non_null(strstr(request, "Authorization: Bearer s3cret\r\n"));
    close_api(&a);
    open_api(&a,
             "exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false', installHint: "
             "log in first}",
             2000);
    assert_true(get(&a, &err) < 0);
    assert_non_null(strstr(err.msg, "plugin false ended with 1: log in first"));
    close_api(&a);
}

/* ---- lists and watches ---- */

static void lists_go_on_where_a_page_ended(void **state)
{
    struct api a;
    struct err err = { 0 };
    auto(json) struct json *items = NULL;

    (void)state;
    open_api(&a, "token: t", 2000);
    says(&a, JSON_HEAD
         "\r\n{\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[{\"n\":1},{\"n\":2}]}");
    assert_int_equal(kube_list(a.k, &kube_pods,
                               &(struct kube_where){ .ns = "shop", .labels = "a=b" }, &items, &err),
                     KUBE_OK);
    assert_int_equal(json_len(items), 2);
    auto_free char *request = raw_server_request(a.s);
    assert_memory_equal(
        request, "GET /api/v1/namespaces/shop/pods?limit=500&labelSelector=a%3Db HTTP/1.1", 70);
    close_api(&a);
}

struct seen {
    char text[256];
    unsigned n, enough;
};

static bool see(void *arg, const char *type, const struct json *object)
{
    struct seen *s = arg;
    size_t used = strlen(s->text);

    snprintf(s->text + used, sizeof(s->text) - used, "%s:%s ", type,
             json_str(object, "metadata.name", "-"));
    return ++s->n < s->enough;
}

/* A list and a stream are told apart by the request only: this answer serves as both. */
#define BOTH                                                                     \
    JSON_HEAD "\r\n"                                                             \
              "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"b\"," \
              "\"resourceVersion\":\"9\"}},"                                     \
              "\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[" POD "]}\n"

static void a_watch_tells_what_is_there_and_what_changes(void **state)
{
    struct api a;
    struct err err = { 0 };
    struct seen s = { .enough = 3 };

    (void)state;
    open_api(&a, "token: t", 5000);
    says(&a, BOTH);
    int rc = kube_watch(a.k, &kube_pods, &(struct kube_where){ .ns = "shop" }, see, &s, &err);
    if (rc != 0)
        fail_msg("%d: %s", rc, err.msg);
    /* The stream ended after its event, and was taken up again from there. */
    assert_string_equal(s.text, "ADDED:a MODIFIED:b MODIFIED:b ");
    auto_free char *request = raw_server_request(a.s);
    assert_non_null(strstr(request, "watch=true&allowWatchBookmarks=true"));
    assert_non_null(strstr(request, "resourceVersion=9"));
    close_api(&a);
}

#define TOO_OLD                                                \
    JSON_HEAD "\r\n"                                           \
              "{\"type\":\"ERROR\",\"object\":{\"code\":410}," \
              "\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[" POD "]}\n"

static void what_was_forgotten_is_told_anew(void **state)
{
    struct api a;
    struct err err = { 0 };
    struct seen s = { .enough = 3 };

    (void)state;
    open_api(&a, "token: t", 5000);
    says(&a, TOO_OLD);
    assert_int_equal(
        kube_watch(a.k, &kube_pods, &(struct kube_where){ .ns = "shop" }, see, &s, &err), 0);
    assert_string_equal(s.text, "ADDED:a RELIST:- ADDED:a ");
    close_api(&a);
}

static void a_watch_ends_with_the_latch(void **state)
{
    struct api a;
    struct err err = { 0 };
    struct seen s = { .enough = 100 };
    struct later l = { .a = &a, .bytes = NULL, .ms = 300 };

    (void)state;
    open_api(&a, "token: t", 5000);
    raw_server_script(
        a.s, &(struct raw_script){
                 .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n"
                          "{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[]          }\n   ",
                 .end = RAW_HANG });
    pthread_create(&l.thread, NULL, say_later, &l);
    assert_int_equal(
        kube_watch(a.k, &kube_pods, &(struct kube_where){ .ns = "shop" }, see, &s, &err), 1);
    pthread_join(l.thread, NULL);
    close_api(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_in_trouble_is_asked_again),
        cmocka_unit_test(patience_has_an_end),
        cmocka_unit_test(an_abort_ends_the_pauses),
        cmocka_unit_test(a_rotated_token_is_read_again),
        cmocka_unit_test(a_plugins_token_is_used_and_its_failure_told),
        cmocka_unit_test(lists_go_on_where_a_page_ended),
        cmocka_unit_test(a_watch_tells_what_is_there_and_what_changes),
        cmocka_unit_test(what_was_forgotten_is_told_anew),
        cmocka_unit_test(a_watch_ends_with_the_latch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
